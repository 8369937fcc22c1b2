"""The chat service's page in a real browser, for its tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

__all__ = ["HAS_BROWSER", "Page", "open_browser"]

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
HAS_BROWSER = CHROMIUM is not None and DRIVER is not None


class Page:
    """One user's window."""

    def __init__(self, driver: Chrome) -> None:
        """Take a browser."""
        self.driver = driver

    def open(self, address: str, user: str) -> None:
        """Open the page and sign in."""
        self.driver.get(address)
        self.until(lambda: self.shown("#sign-in"))
        self.type(user, Keys.ENTER)  # the field has the focus
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

    def type(self, *keys: str) -> None:
        """Press keys in whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def below(self) -> int:
        """Return how many pixels of the conversation are below what is in view."""
        return int(
            self.driver.execute_script(
                "const list = document.getElementById('messages');"
                "return list.scrollHeight - list.scrollTop - list.clientHeight"
            )
        )

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


def open_browser() -> Chrome:
    """Open a browser without a window, with cookies of its own."""
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
