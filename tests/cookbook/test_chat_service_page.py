"""The chat service's page in a real browser: two users at once, streaming, the stop button, and what is said when refused."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from behest_base.emulator import Emulator
from cookbook.page import HAS_BROWSER, Page, open_browser
from cookbook.service import THINKING, serving

pytestmark = pytest.mark.skipif(not HAS_BROWSER, reason="no Chromium here: apt-get install chromium chromium-driver")

FACT, QUESTION = "My boat is called Petrel.", "What is my boat called?"


@pytest.fixture(scope="module")
def address(emulator: Emulator) -> Generator[str]:
    """Run the service for this module."""
    with serving(emulator) as running:
        yield running


@pytest.fixture(scope="module")
def windows() -> Generator[tuple[Page, Page]]:
    """Open two browsers, with cookies of their own."""
    browsers = (open_browser(), open_browser())
    yield (Page(browsers[0]), Page(browsers[1]))
    for browser in browsers:
        browser.quit()


@pytest.fixture
def pages(windows: tuple[Page, Page], address: str, gateway: Emulator) -> tuple[Page, Page]:
    """Sign alice in at one and bob at the other, at a gateway as new."""
    del gateway
    for page, user in zip(windows, ("alice", "bob"), strict=True):
        page.driver.delete_all_cookies()
        page.open(address, user)
    return windows


def test_two_users_at_once(pages: tuple[Page, Page], gateway: Emulator) -> None:
    """Each sees only their own threads, also while the other's answer streams."""
    alice, bob = pages
    gateway.chunk_delay = 0.2
    alice.say(FACT)
    bob.say("My cat is called Tom.")
    assert alice.shown("#stop")
    assert bob.shown("#stop")
    for page in pages:
        page.until_answered()
    gateway.chunk_delay = 0
    assert "Petrel" in alice.ask(QUESTION)
    assert "Petrel" not in bob.ask(QUESTION)
    assert alice.texts("#threads li button:first-child") == [FACT]
    assert bob.texts("#threads li button:first-child") == ["My cat is called Tom."]
    assert {call.user_id for call in gateway.chats} == {"alice", "bob"}
    for user in ("alice", "bob"):
        assert len(gateway.threads(user)) == 1


def test_threads_in_the_sidebar(pages: tuple[Page, Page], gateway: Emulator) -> None:
    """A thread can be left, opened again with all that was said, and deleted."""
    alice, _ = pages
    alice.ask(FACT)
    alice.click("#new")
    alice.ask("Another matter.")
    alice.until(lambda: len(alice.texts("#threads li")) == 2)
    alice.driver.find_elements(By.CSS_SELECTOR, "#threads li button:first-child")[-1].click()
    alice.until(lambda: alice.texts("#messages li") == [FACT, f"Noted: {FACT}"])
    alice.click("#threads li.shown button:last-child")
    alice.until(lambda: alice.texts("#threads li button:first-child") == ["Another matter."])
    assert alice.texts("#messages li") == []
    assert [thread["title"] for thread in gateway.threads("alice")] == ["Another matter."]


def test_the_stop_button_stops_the_gateway(pages: tuple[Page, Page], gateway: Emulator) -> None:
    """What had come stays on the page, the gateway's stream has ended, and the next message is answered."""
    alice, _ = pages
    gateway.chunk_delay = 0.05
    gateway.script(" ".join(f"word{n}" for n in range(200)))
    alice.say("Talk.")
    alice.until(lambda: "word3" in "".join(alice.texts("#messages .assistant")))
    alice.click("#stop")
    alice.until(lambda: alice.shown("#send"))
    gateway.wait_for(lambda: gateway.chats[0].disconnected)
    assert "word199" not in alice.texts("#messages .assistant")[0]
    gateway.chunk_delay = 0
    assert alice.ask(FACT) == f"Noted: {FACT}"


def test_stopping_before_the_first_word(pages: tuple[Page, Page], gateway: Emulator) -> None:
    """The button stops a model that still thinks, too."""
    alice, _ = pages
    gateway.chunk_delay = 60
    gateway.script(THINKING)
    alice.say("Think.")
    gateway.wait_for(lambda: gateway.chats)
    alice.click("#stop")
    alice.until(lambda: alice.shown("#send"))
    gateway.wait_for(lambda: gateway.chats[0].disconnected)
    assert alice.texts("#messages .assistant") == []


def test_what_is_refused(pages: tuple[Page, Page], gateway: Emulator) -> None:
    """402 is an upgrade notice with the gateway's link, 429 a countdown; the text that was typed is not lost."""
    alice, _ = pages
    alice.ask(FACT)
    alice.click("#new")
    gateway.set_quota("alice", upgrade_url="https://shop.example/plans")
    alice.say("Hello.")
    alice.until(lambda: alice.shown("#notice"))
    assert "used up" in alice.text("#notice")
    link = alice.driver.find_element(By.CSS_SELECTOR, "#notice a")
    assert link.get_attribute("href") == "https://shop.example/plans"
    assert alice.texts("#messages li") == []
    gateway.set_quota("alice", exhausted=False)
    gateway.fail_next(status=429, retry_after=3, path="chat")
    alice.click("#send")  # the text is still there
    alice.until(lambda: "again in 2 s" in alice.text("#notice"))
    alice.click("#threads li button:first-child")  # the wait goes on in every thread
    alice.until(lambda: len(alice.texts("#messages li")) == 2)
    assert "again in" in alice.text("#notice")
    assert not alice.driver.find_element(By.CSS_SELECTOR, "#send").is_enabled()
    alice.until(lambda: alice.driver.find_element(By.CSS_SELECTOR, "#send").is_enabled())
    assert not alice.shown("#notice")
    alice.click("#send")
    alice.until(lambda: alice.texts("#messages li")[-2:] == ["Hello.", "Noted: Hello."])


def test_what_goes_wrong_is_said(pages: tuple[Page, Page], gateway: Emulator) -> None:
    """An answer that breaks off, a gateway that fails, a service that can't be reached, a name that is none."""
    alice, _ = pages
    gateway.fail_next(status=200, path="chat", after_chunks=3, close=True)
    alice.say(FACT)
    alice.until(lambda: "broke off" in alice.text("#notice"))
    alice.until(lambda: alice.texts("#threads li button:first-child") == [FACT])
    gateway.fail_next(status=500, path="chat", times=3)
    alice.say("Hello.")
    alice.until(lambda: "(tr_" in alice.text("#notice"))
    alice.driver.set_network_conditions(offline=True, latency=0, throughput=0)
    alice.click("#send")
    alice.until(lambda: "can't be reached" in alice.text("#notice"))
    alice.driver.delete_network_conditions()
    alice.click("#sign-out")
    alice.until(lambda: alice.shown("#sign-in"))
    alice.driver.execute_script("document.getElementById('sign-in').noValidate = true")
    alice.driver.find_element(By.NAME, "name").send_keys("<b>", Keys.ENTER)
    alice.until(lambda: "422" in alice.text("#notice"))


def test_the_keyboard_is_enough(pages: tuple[Page, Page]) -> None:
    """Shift and Enter begin a line, Enter sends, the next message can be typed at once, and all controls have names."""
    alice, _ = pages
    alice.type("My boat", Keys.SHIFT + Keys.ENTER, Keys.NULL, "is called Petrel.", Keys.ENTER)
    alice.until_answered()
    alice.until(lambda: alice.texts("#threads li button:first-child") == ["My boat\nis called Petrel."])
    controls = alice.driver.find_elements(By.CSS_SELECTOR, "#chat button, #chat textarea")
    names = [control.accessible_name for control in controls if control.is_displayed()]
    assert names[:2] == ["Sign out", "New thread"]
    assert names[3:] == ["Delete My boat is called Petrel.", "Message", "Send"]
    alice.type(QUESTION, Keys.TAB)
    alice.type(Keys.SPACE)  # the button, which is gone while the answer streams
    alice.until(lambda: len(alice.texts("#messages .assistant")) == 2 and alice.shown("#send"))
    alice.type("What else?", Keys.ENTER)
    alice.until(lambda: alice.texts("#messages .user")[-1] == "What else?")


def test_a_long_answer_stays_in_view(pages: tuple[Page, Page], gateway: Emulator) -> None:
    """The list follows what streams, and leaves who has scrolled up where they are."""
    alice, _ = pages
    lines = "\n".join(f"line {number}" for number in range(80))
    gateway.script(lines, lines)
    alice.ask("Talk.")
    assert alice.below() < 5
    gateway.chunk_delay = 0.02
    alice.say("Go on.")
    alice.until(lambda: "line 5" in alice.texts("#messages li:last-child")[0])
    alice.driver.execute_script("document.getElementById('messages').scrollTop = 0")
    alice.until(lambda: alice.shown("#send"))
    assert alice.below() > 1_000


def test_it_fits_a_phone(pages: tuple[Page, Page]) -> None:
    """On a narrow screen nothing is cut off, and threads can be changed."""
    alice, _ = pages
    alice.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        alice.ask(FACT)
        alice.click("#new")
        alice.ask("A long message. " * 20)
        alice.until(lambda: len(alice.texts("#threads li")) == 2)
        assert alice.driver.execute_script("return document.documentElement.scrollWidth") <= 360
        for selector in ("#sign-out", "#new", "#say textarea", "#send", "#messages .user"):
            box = alice.driver.find_element(By.CSS_SELECTOR, selector).rect
            assert box["x"] >= 0, selector
            assert box["x"] + box["width"] <= 360, selector
        alice.click("#threads li:last-child button:first-child")
        alice.until(lambda: alice.texts("#messages .user") == [FACT])
    finally:
        alice.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_that_is_said_becomes_html(pages: tuple[Page, Page]) -> None:
    """Markup from users and models is shown as text."""
    alice, _ = pages
    said = "<img src=x onerror=\"document.title='gone'\">"
    assert alice.ask(said) == f"Noted: {said}"
    assert alice.driver.title == "Chat"


def test_signing_out(pages: tuple[Page, Page]) -> None:
    """Who signs out is asked for a name again."""
    alice, _ = pages
    alice.click("#sign-out")
    alice.until(lambda: alice.shown("#sign-in"))
    alice.driver.refresh()
    alice.until(lambda: alice.shown("#sign-in"))


def test_the_screenshot(pages: tuple[Page, Page], tmp_path: Path) -> None:
    """The picture in the recipe's README shows this page; `--basetemp` says where a new one is put."""
    alice, _ = pages
    alice.ask("My favourite colour is teal.")
    alice.click("#new")
    alice.ask(FACT)
    alice.ask(QUESTION)
    alice.until(lambda: len(alice.texts("#threads li")) == 2)
    picture = tmp_path / "screenshot.png"
    assert alice.driver.save_screenshot(str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
