"""The chat service's page in a real browser: two users at once, streaming, the stop button, and what is said when refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from behest_base.emulator import Emulator
from cookbook.service import serving

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no Chromium here: apt-get install chromium chromium-driver",
)

FACT, QUESTION = "My boat is called Petrel.", "What is my boat called?"


class Page:
    """One user's window."""

    def __init__(self, driver: Chrome) -> None:
        """Take a browser."""
        self.driver = driver

    def open(self, address: str, user: str) -> None:
        """Open the page and sign in."""
        self.driver.get(address)
        self.until(lambda: self.shown("#sign-in"))
        self.driver.find_element(By.NAME, "name").send_keys(user)
        self.click("#sign-in button")
        self.until(lambda: self.text("#user") == user)

    def say(self, text: str) -> None:
        """Type a message and send it."""
        self.driver.find_element(By.NAME, "text").send_keys(text)
        self.click("#send")

    def ask(self, text: str) -> str:
        """Say something, and wait for the whole answer."""
        answers = len(self.texts("#messages .assistant"))
        self.say(text)
        self.until(lambda: len(self.texts("#messages .assistant")) == answers + 1 and self.shown("#send"))
        return self.texts("#messages .assistant")[-1]

    def until_answered(self) -> None:
        """Wait until no answer streams."""
        self.until(lambda: self.texts("#messages .assistant") and self.shown("#send"))

    def click(self, selector: str) -> None:
        """Click on something."""
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def shown(self, selector: str) -> bool:
        """Say whether something can be seen."""
        return self.driver.find_element(By.CSS_SELECTOR, selector).is_displayed()

    def text(self, selector: str) -> str:
        """Return the text of something."""
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all that are such."""
        found: list[str] = self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)", selector
        )
        return found

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to be so."""
        WebDriverWait(self.driver, 10, poll_frequency=0.05).until(lambda _: condition())


@pytest.fixture(scope="module")
def address(emulator: Emulator) -> Generator[str]:
    """Run the service for this module."""
    with serving(emulator) as running:
        yield running


def _browser() -> Chrome:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1000,640",
    ):
        options.add_argument(argument)
    return Chrome(options=options, service=Service(str(DRIVER)))


@pytest.fixture(scope="module")
def windows() -> Generator[tuple[Page, Page]]:
    """Open two browsers, with cookies of their own."""
    browsers = (_browser(), _browser())
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
    gateway.chunk_delay = 0.02
    alice.say(FACT)
    bob.say("My cat is called Tom.")
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


def test_what_is_refused(pages: tuple[Page, Page], gateway: Emulator) -> None:
    """402 is an upgrade notice with the gateway's link, 429 a countdown; the text that was typed is not lost."""
    alice, _ = pages
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
    assert not alice.driver.find_element(By.CSS_SELECTOR, "#send").is_enabled()
    alice.until(lambda: alice.driver.find_element(By.CSS_SELECTOR, "#send").is_enabled())
    assert not alice.shown("#notice")
    alice.click("#send")
    alice.until(lambda: alice.texts("#messages li") == ["Hello.", "Noted: Hello."])


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
