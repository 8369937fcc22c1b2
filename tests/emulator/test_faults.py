"""Faults and limits: what goes wrong when a test asks for it, and when a limit is reached."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from behest_base.emulator import Emulator
from emulator.wire import Caller, data_of


def statuses(alice: Caller, count: int) -> list[int]:
    """Call so many times and return the statuses."""
    return [alice.post("Hello.").status_code for _ in range(count)]


def test_fails_as_often_as_told(gateway: Emulator, alice: Caller) -> None:
    """Faults come in order, each as often as it was asked for, then all is well."""
    gateway.fail_next(status=500, times=2)
    gateway.fail_next(status=429, retry_after=7)
    assert statuses(alice, 4) == [500, 500, 429, 200]


def test_the_envelope_of_a_fault(gateway: Emulator, alice: Caller) -> None:
    """Code, message, details, upgrade address and headers are the test's."""
    gateway.fail_next(
        status=402,
        code="quota_exceeded",
        message="No more.",
        details={"limit": 1},
        upgrade_url="https://up.example",
        retry_after="Wed, 21 Oct 2026 07:28:00 GMT",
        headers={"X-Region": "eu"},
    )
    answer = alice.post("Hello.")
    assert answer.json() == {
        "error": {
            "message": "No more.",
            "code": "quota_exceeded",
            "details": {"limit": 1},
            "upgrade_url": "https://up.example",
        }
    }
    assert (answer.headers["Retry-After"], answer.headers["X-Region"]) == ("Wed, 21 Oct 2026 07:28:00 GMT", "eu")
    assert answer.headers["X-Trace-Id"]


@pytest.mark.parametrize(
    ("body", "media"),
    [
        ("<html>Bad gateway</html>", "text/html"),
        ("Bad gateway", "text/plain"),
        ({"message": "Bad", "code": "odd"}, "application/json"),
        ([], "application/json"),
    ],
)
def test_other_bodies(gateway: Emulator, alice: Caller, body: Any, media: str) -> None:
    """An error's body may be anything that stands between a client and a gateway."""
    gateway.fail_next(status=502, body=body)
    answer = alice.post("Hello.")
    assert answer.headers["Content-Type"].startswith(media)
    assert (answer.text if isinstance(body, str) else answer.json()) == body


def test_faults_wait_for_their_kind(gateway: Emulator, alice: Caller) -> None:
    """A fault of threads leaves chats alone."""
    gateway.fail_next(status=503, path="threads")
    assert statuses(alice, 1) == [200]
    assert [alice.get("/v1/threads").status_code for _ in range(2)] == [503, 200]


def test_drops_the_connection_before_doing_anything(gateway: Emulator, alice: Caller) -> None:
    """The client gets no answer, and nothing was stored."""
    gateway.fail_next(close=True)
    with pytest.raises(httpx.RemoteProtocolError):
        alice.post("Hello.", thread="t")
    assert gateway.thread("alice", "t") == []
    assert gateway.chats[0].status is None


@pytest.mark.parametrize("stream", [False, True])
def test_drops_the_connection_after_the_work(gateway: Emulator, alice: Caller, stream: bool) -> None:  # noqa: FBT001
    """The client gets no answer, and the turn is stored all the same."""
    gateway.fail_next(close="after")
    with pytest.raises(httpx.RemoteProtocolError):
        alice.post("Hello.", thread="t", stream=stream)
    assert [message["role"] for message in gateway.thread("alice", "t")] == ["user", "assistant"]


def test_drops_the_connection_in_a_stream(gateway: Emulator, alice: Caller) -> None:
    """The stream breaks off without its last chunk; what was sent is stored."""
    gateway.script("One two three four.")
    gateway.fail_next(after_chunks=3, close=True)
    with alice.streaming("Count.", thread="t") as response, pytest.raises(httpx.RemoteProtocolError):
        response.read()
    assert gateway.thread("alice", "t")[1]["content"] == "One two"


def test_a_stream_that_just_ends(gateway: Emulator, alice: Caller) -> None:
    """The stream ends as a whole one does for HTTP, but without finish reason and `[DONE]`."""
    gateway.script("One two three four.")
    gateway.fail_next(after_chunks=3, end=True)
    with alice.streaming("Count.", thread="t") as response:
        events = data_of(response)
    assert len(events) == 3
    assert "[DONE]" not in events
    assert gateway.thread("alice", "t")[1]["content"] == "One two"


def test_a_fault_of_streams_leaves_plain_answers_alone(gateway: Emulator, alice: Caller) -> None:
    """There is no middle in a plain answer."""
    gateway.fail_next(after_chunks=1, close=True)
    assert statuses(alice, 1) == [200]


def test_holds_requests_until_let_go(gateway: Emulator, alice: Caller) -> None:
    """Held requests are recorded and wait; others are answered meanwhile."""
    with ThreadPoolExecutor() as pool:
        with gateway.holding("chat"):
            held = pool.submit(alice.post, "Hello.")
            gateway.wait_for(lambda: gateway.chats)
            assert alice.get("/v1/models").status_code == 200
            assert not held.done()
        assert held.result().status_code == 200


def test_delays(gateway: Emulator, alice: Caller) -> None:
    """A delay is a pause of one answer; it doesn't hold up the others."""
    gateway.chat_delay = 30
    answered = threading.Event()
    with httpx.Client(base_url=gateway.base_url, timeout=0.05) as hasty:
        with pytest.raises(httpx.ReadTimeout):
            hasty.post("/v1/chat/completions", json={"messages": []}, headers=alice.headers)
        answered.set()
    assert alice.get("/v1/models").status_code == 200


def test_rate_of_the_project(gateway: Emulator, alice: Caller, bob: Caller) -> None:
    """The project's limit counts all users, and says how long to wait."""
    gateway.limits.requests_per_minute = 2
    assert [alice.post("Hello.").status_code, bob.post("Hello.").status_code] == [200, 200]
    refused = alice.post("Hello.")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


def test_rate_of_a_user(gateway: Emulator, alice: Caller, bob: Caller) -> None:
    """A user's limit is theirs alone."""
    gateway.limits.user_requests_per_minute = 1
    assert statuses(alice, 2) == [200, 429]
    assert statuses(bob, 1) == [200]


def test_token_budget(gateway: Emulator, alice: Caller) -> None:
    """A spent budget is a 429 of its own code, without a time to wait."""
    gateway.limits.token_budget = 1
    assert statuses(alice, 1) == [200]
    refused = alice.post("Hello.")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert "Retry-After" not in refused.headers


def test_quota_of_a_tier(gateway: Emulator, alice: Caller, bob: Caller) -> None:
    """A user whose tier is used up is told where to get more, until it is filled again."""
    gateway.set_quota("alice", upgrade_url="https://up.example")
    alice.headers = {"Authorization": f"Bearer {gateway.issue('alice', tier='pro')}"}
    error = alice.post("Hello.").json()["error"]
    assert (error["code"], error["upgrade_url"]) == ("quota_exceeded", "https://up.example")
    assert error["details"]["tier"] == "pro"
    assert statuses(bob, 1) == [200]
    gateway.set_quota("alice", exhausted=False)
    assert statuses(alice, 1) == [200]


def test_guardrail(gateway: Emulator, alice: Caller) -> None:
    """A blocked word is refused, wherever it stands, and leaves nothing in the thread."""
    gateway.blocked_words = ("hunter2",)
    refused = alice.post("My password is Hunter2.", thread="t")
    assert (refused.status_code, refused.json()["error"]["code"]) == (451, "content_blocked")
    assert gateway.thread("alice", "t") == []
    assert statuses(alice, 1) == [200]
