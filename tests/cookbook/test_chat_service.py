"""The chat service's own endpoints: whose calls they make, how answers stream, stop and fail."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jwt
import pytest

from behest_base.emulator import Emulator
from cookbook.conftest import COOKBOOK
from cookbook.service import THINKING, serving
from support.keys import api_key

FACT, QUESTION = "My boat is called Petrel.", "What is my boat called?"


@pytest.fixture(scope="module")
def address(emulator: Emulator) -> Generator[str]:
    """Run the service for this module."""
    with serving(emulator) as running:
        yield running


class Browser(httpx.Client):
    """A signed-in user's browser."""

    def sign_in(self, user: str) -> Browser:
        """Sign in."""
        assert self.post("/api/sign-in", json={"name": user}).status_code == 200
        return self

    def say(self, thread: str, text: str) -> httpx.Response:
        """Say something in a thread."""
        return self.post(f"/api/threads/{thread}/messages", json={"text": text})

    def ask(self, thread: str, text: str) -> str:
        """Say something, and read the whole answer."""
        answer = events(self.say(thread, text).text)
        assert answer[-1][0] == "done"
        return "".join(data["text"] for kind, data in answer if kind == "text")


@pytest.fixture
def alice(address: str, gateway: Emulator) -> Generator[Browser]:
    """Sign alice in, at a gateway as new."""
    del gateway
    with Browser(base_url=address, timeout=10) as browser:
        yield browser.sign_in("alice")


@pytest.fixture
def bob(address: str, gateway: Emulator) -> Generator[Browser]:
    """Sign bob in."""
    del gateway
    with Browser(base_url=address, timeout=10) as browser:
        yield browser.sign_in("bob")


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read server-sent events."""
    found = []
    for block in text.split("\n\n")[:-1]:
        kind, data = block.split("\n")
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_conversation(alice: Browser, gateway: Emulator) -> None:
    """The answer streams, the thread remembers, and it can be listed, read and deleted."""
    assert alice.ask("t1", FACT) == f"Noted: {FACT}"
    assert len(events(alice.say("t1", QUESTION).text)) > 3
    assert "Petrel" in alice.ask("t1", QUESTION)
    assert alice.get("/api/threads").json() == [{"id": "t1", "title": FACT}]
    assert [message["role"] for message in alice.get("/api/threads/t1").json()] == ["user", "assistant"] * 3
    assert alice.delete("/api/threads/t1").status_code == 204
    assert alice.delete("/api/threads/t1").status_code == 204
    assert alice.get("/api/threads/t1").status_code == 404
    assert gateway.threads("alice") == []


def test_two_users_at_once(alice: Browser, bob: Browser, gateway: Emulator) -> None:
    """Interleaved in one process, each call carries its own user's token, and nobody sees another's thread."""
    gateway.chunk_delay = 0.005
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda n: (alice, bob)[n % 2].ask(f"t{n}", f"I am {('alice', 'bob')[n % 2]}."), range(16)):
            pass
    for call in gateway.chats:
        assert call.json["messages"][-1]["content"] == f"I am {call.user_id}."
    assert len(gateway.mints) <= 2
    assert {thread["id"] for thread in bob.get("/api/threads").json()} == {f"t{n}" for n in range(1, 16, 2)}
    assert bob.get("/api/threads/t0").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/user"),
        ("GET", "/api/threads"),
        ("GET", "/api/threads/t"),
        ("DELETE", "/api/threads/t"),
        ("POST", "/api/threads/t/messages"),
        ("POST", "/api/behest-token"),
    ],
)
def test_nobody_is_nobody(address: str, gateway: Emulator, method: str, path: str) -> None:
    """Without a session nothing goes out, whatever the body or a cookie of one's own says."""
    forged = {"Cookie": "session=eyJ1c2VyIjogImFsaWNlIn0=.made.up"}
    answer = (
        httpx.request(method, address + path, json={"text": "x", "user": "alice"}, headers=forged)
        if (method == "POST")
        else httpx.request(method, address + path, headers=forged)
    )
    assert answer.status_code == 401
    assert gateway.requests == []


def test_the_cookie_is_ours_alone(address: str) -> None:
    """Scripts can't read it, and other sites' pages don't send it."""
    with httpx.Client(base_url=address) as browser:
        cookie = browser.post("/api/sign-in", json={"name": "alice"}).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        browser.post("/api/sign-out")
        assert browser.get("/api/user").status_code == 401
        assert browser.post("/api/sign-in", json={"name": "<b>"}).status_code == 422


def test_stopping_stops_the_gateway(alice: Browser, gateway: Emulator) -> None:
    """When the browser goes away in the middle, the gateway's stream ends, and the next turn works."""
    gateway.chunk_delay = 0.05
    gateway.script(" ".join(["word"] * 200))
    with alice.stream("POST", "/api/threads/t/messages", json={"text": "Talk."}) as answer:
        assert next(answer.iter_lines()) == "event: text"
    gateway.wait_for(lambda: gateway.chats[0].disconnected)
    gateway.chunk_delay = 0
    assert alice.ask("t", FACT) == f"Noted: {FACT}"


def test_stopping_before_the_first_word(alice: Browser, gateway: Emulator) -> None:
    """Who goes away while the model still thinks leaves no stream behind either."""
    gateway.chunk_delay = 60
    gateway.script(THINKING)
    with pytest.raises(httpx.ReadTimeout):
        alice.post("/api/threads/t/messages", json={"text": "Think."}, timeout=1)
    gateway.wait_for(lambda: gateway.chats[0].disconnected)
    gateway.chunk_delay = 0
    assert alice.ask("t2", FACT) == f"Noted: {FACT}"


def test_quota_and_rate_limit(alice: Browser, gateway: Emulator) -> None:
    """402 comes with the gateway's link, 429 with Retry-After, both before anything streams; a short wait is waited."""
    gateway.set_quota("alice", upgrade_url="https://shop.example/plans")
    refused = alice.say("t", "Hello.")
    assert (refused.status_code, refused.json()["upgrade_url"]) == (402, "https://shop.example/plans")
    gateway.set_quota("alice", exhausted=False)
    gateway.fail_next(status=429, retry_after=30, path="chat")
    refused = alice.say("t", "Hello.")
    assert (refused.status_code, refused.headers["retry-after"], refused.json()["retry_after"]) == (429, "30", 30)
    gateway.fail_next(status=429, retry_after=0, path="chat")
    assert alice.say("t", "Hello.").status_code == 200


def test_what_breaks_off_is_told(alice: Browser, gateway: Emulator) -> None:
    """A stream that breaks off ends in an event that says so; another failure is a 502, with the gateway's trace id."""
    gateway.fail_next(status=200, path="chat", after_chunks=3, close=True)
    kind, data = events(alice.say("t", "Hello there, you.").text)[-1]
    assert kind == "error"
    assert "broke off" in data["message"]
    gateway.fail_next(status=500, path="chat")
    refused = alice.say("t", "Hello.")
    assert refused.status_code == 502
    assert refused.json()["trace_id"].startswith("tr_")


def test_a_browsers_token(alice: Browser, gateway: Emulator) -> None:
    """The token endpoint answers with a token of the session's user, whatever the body asks for, and nobody caches it."""
    answer = alice.post("/api/behest-token", json={"user_id": "bob", "tier": "enterprise"})
    assert answer.headers["cache-control"] == "no-store"
    given = answer.json()
    assert sorted(given) == ["expiresAt", "sessionId", "token", "ttl"]
    assert jwt.decode(given["token"], options={"verify_signature": False})["uid"] == "alice"
    asked = gateway.mints[-1].json
    assert (asked["user_id"], asked["ttl"], asked.get("tier")) == ("alice", 600, None)


def test_a_front_ends_token(address: str, alice: Browser, gateway: Emulator) -> None:
    """A front end that has a token of the gateway is answered as its user, with that very token; others are refused."""
    token = alice.post("/api/behest-token").json()["token"]
    gateway.clear()
    asked = {"text": "Hello."}
    answer = httpx.post(f"{address}/api/ask", json=asked, headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"text": "Noted: Hello."}
    assert gateway.chats[0].headers["authorization"] == f"Bearer {token}"
    assert gateway.mints == []
    gateway.clear()
    for wrong in (gateway.issue("alice", ttl=-60), f"{token[:-8]}AAAAAAAA", "nonsense"):
        refused = httpx.post(f"{address}/api/ask", json=asked, headers={"Authorization": f"Bearer {wrong}"})
        assert refused.status_code == 401
    assert httpx.post(f"{address}/api/ask", json=asked).status_code == 401
    assert gateway.chats == []
    gateway.reject_token(token)
    assert httpx.post(f"{address}/api/ask", json=asked, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_key_that_is_refused_is_our_fault(gateway: Emulator) -> None:
    """The gateway's 401 for our own key is a 502: the browser's user is signed in, and can't mend it."""
    with serving(gateway, key=api_key()) as running, Browser(base_url=running) as browser:
        refused = browser.sign_in("alice").get("/api/threads")
        assert refused.status_code == 502
        assert "key" in refused.json()["message"]


@pytest.mark.parametrize(
    ("thread", "text"), [("t", ""), ("t", "x" * 4_001), ("a%0Ab", "Hello."), ("a%20b", "Hello."), ("x" * 256, "Hello.")]
)
def test_what_is_malformed_is_refused(alice: Browser, gateway: Emulator, thread: str, text: str) -> None:
    """Ids and texts that can't be right go no further."""
    gateway.clear()
    assert alice.say(thread, text).status_code == 422
    assert gateway.requests == []


def test_the_page(address: str) -> None:
    """The page and its parts are served."""
    for path, kind in (("/", "text/html"), ("/static/app.js", "javascript"), ("/static/style.css", "text/css")):
        answer = httpx.get(address + path)
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
    assert "default-src 'self'" in httpx.get(address).headers["content-security-policy"]


def test_no_thread_is_left(emulator: Emulator) -> None:
    """When the service ends, nothing of it goes on."""
    before = threading.active_count()
    with serving(emulator) as running, Browser(base_url=running) as browser:
        browser.sign_in("alice").ask("t", "Hello.")
    assert threading.active_count() == before


def test_it_runs_alone() -> None:
    """Run alone, it starts the emulator, says where to look, serves, and ends with Ctrl-C."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(COOKBOOK / "chat_service"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        assert "runs on the emulator" in service.stdout.readline()
        assert f"http://127.0.0.1:{port}" in service.stdout.readline()
        with Browser(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=8)) as browser:
            assert browser.sign_in("alice").ask("t", FACT) == f"Noted: {FACT}"
        service.send_signal(signal.SIGINT)
        assert service.wait(10) in (0, -signal.SIGINT, 130)
