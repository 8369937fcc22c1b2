"""Chat on the wire: headers, bodies, endings, retries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from behest_base import (
    Behest,
    BehestBadRequestError,
    BehestConfigError,
    BehestContentBlockedError,
    BehestError,
    BehestNotFoundError,
    BehestQuotaError,
    BehestRateLimitError,
    BehestServerError,
    BehestStreamError,
    Clock,
    Scope,
    scope,
)
from behest_base.emulator import Emulator, RawResponse, RawSSE
from support.retry_table import ROWS, Row, refuse

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}
ALICE = Scope("alice")


def text_of(chunks: list[dict[str, Any]]) -> str:
    """Return the text of a stream's chunks."""
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def event(**fields: Any) -> bytes:
    """Write an event with these fields."""
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(content: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """Write a chunk's event."""
    given = {"content": content, **fields} if content is not None else fields
    return event(
        id="1", object="chat.completion.chunk", choices=[{"index": 0, "delta": given, "finish_reason": finish}]
    )


DONE = b"data: [DONE]\n\n"


def test_the_chat_request(gateway: Emulator, behest: Behest) -> None:
    """The user's token, a fresh session for each call, and a thread only when one is named."""
    for _ in range(2):
        behest.complete(HELLO, scope=ALICE)
    behest.complete(HELLO, scope=Scope("alice", session_id="s", thread_id="t"))
    first, second, third = gateway.chats
    assert first.claims is not None
    assert first.claims["uid"] == "alice"
    assert first.json == HELLO
    assert first.session_id != second.session_id
    assert "x-thread-id" not in first.headers
    assert (third.headers["x-session-id"], third.headers["x-thread-id"]) == ("s", "t")


def test_plain_calls_share_no_memory(gateway: Emulator, behest: Behest) -> None:
    """Two calls without a session see nothing of each other; in a named one they do."""
    for where in (ALICE, ALICE, Scope("alice", session_id="s"), Scope("alice", session_id="s")):
        behest.complete(HELLO, scope=where)
    assert [len(chat.effective_prompt or ()) for chat in gateway.chats] == [1, 1, 1, 3]


def test_what_comes_back(gateway: Emulator, behest: Behest) -> None:
    """The completion as it was sent, and where it was made."""
    gateway.script("Good day.")
    answer = behest.complete(HELLO, scope=Scope("alice", session_id="s", thread_id="t"))
    assert answer["choices"][0]["message"]["content"] == "Good day."
    assert answer["usage"]["total_tokens"] > 0
    assert answer["behest"]["user_id"] == "alice"
    assert answer["behest"]["session_id"] == "s"
    assert answer["behest"]["thread_id"] == "t"
    assert answer["behest"]["trace_id"]
    assert answer["behest"]["request_id"]


async def test_streams(gateway: Emulator, behest: Behest) -> None:
    """Plain and streamed calls, sync and async, say the same, and streams report the usage."""
    for _ in range(4):
        gateway.script("Ünïcode, in pieces: 🛶.")
    plain = behest.complete(HELLO, scope=ALICE)["choices"][0]["message"]["content"]
    aplain = (await behest.acomplete(HELLO, scope=ALICE))["choices"][0]["message"]["content"]
    chunks = list(behest.stream(HELLO, scope=ALICE))
    achunks = [chunk async for chunk in behest.astream(HELLO, scope=ALICE)]
    assert plain == aplain == text_of(chunks) == text_of(achunks) == "Ünïcode, in pieces: 🛶."
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert "session_id" in chunks[0]["behest"]
    assert "behest" not in chunks[1]
    assert gateway.chats[-1].json == {**HELLO, "stream": True, "stream_options": {"include_usage": True}}


def test_the_callers_stream_options_win(behest: Behest) -> None:
    """Whoever asks for no usage gets none."""
    chunks = list(behest.stream({**HELLO, "stream_options": {"include_usage": False}}, scope=ALICE))
    assert not any(chunk.get("usage") for chunk in chunks)


def test_identity_is_decided_when_the_call_is_made(gateway: Emulator, behest: Behest) -> None:
    """Not when its generator is first advanced, by which time the scope may be another's; and nothing is sent before."""
    with scope("alice"):
        stream = behest.stream(HELLO)
    assert gateway.requests == []
    with scope("bob"):
        list(stream)
    assert gateway.chats[0].user_id == "alice"


@pytest.mark.parametrize(
    "ending",
    [
        [delta("One, ", role="assistant"), delta("two")],
        [delta("One, ", role="assistant"), delta("two"), DONE],
        [delta("One, ", role="assistant"), delta("two"), b"data: {not json\n\n"],
        [delta("One, ", role="assistant"), delta("two"), event(error={"message": "oops"})],
        [delta("One, ", role="assistant"), delta("two"), b"data: 5\n\n"],
    ],
)
async def test_a_cut_answer_never_ends_well(gateway: Emulator, behest: Behest, ending: list[bytes]) -> None:
    """No finish reason, a broken event or an error raises, with the text so far."""
    gateway.script(RawSSE(ending), RawSSE(ending))
    with pytest.raises(BehestStreamError) as caught:
        list(behest.stream(HELLO, scope=ALICE))
    assert caught.value.partial == "One, two"
    with pytest.raises(BehestStreamError) as caught:
        async for _ in behest.astream(HELLO, scope=ALICE):
            pass
    assert caught.value.partial == "One, two"
    assert caught.value.trace_id
    assert len(gateway.chats) == 2


def test_an_error_event_is_typed(gateway: Emulator, behest: Behest) -> None:
    """An error in the middle of a stream that names a status is that error, with the text so far."""
    gateway.script(RawSSE([delta("One"), event(error={"message": "slow down", "code": 429})]))
    with pytest.raises(BehestRateLimitError) as caught:
        list(behest.stream(HELLO, scope=ALICE))
    assert caught.value.partial == "One"


def test_a_connection_that_breaks(gateway: Emulator, behest: Behest) -> None:
    """A dropped connection in the middle raises with the text so far, and is not sent again."""
    gateway.script("One two three four five six.")
    gateway.fail_next(path="chat", after_chunks=3, close=True)
    with pytest.raises(BehestStreamError, match="broke off") as caught:
        list(behest.stream(HELLO, scope=ALICE))
    assert caught.value.partial
    assert "One two three four five six.".startswith(caught.value.partial)
    assert len(gateway.chats) == 1


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_something_else_than_a_stream(gateway: Emulator, behest: Behest, kind: str) -> None:
    """A page with status 200 is no answer."""
    page = RawResponse(200, {"content-type": kind}, b"<html>Welcome</html>")
    gateway.script(page, page)
    with pytest.raises(BehestStreamError, match=kind):
        list(behest.stream(HELLO, scope=ALICE))
    with pytest.raises(BehestServerError):
        behest.complete(HELLO, scope=ALICE)


@pytest.mark.parametrize(
    "wire",
    [
        [delta("Hi", role="assistant"), delta(finish="stop")],  # no [DONE]
        [
            event(
                id="1", choices=[{"index": 0, "delta": {"content": "Hi", "role": "assistant"}}]
            ),  # no finish_reason key
            event(id="1", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
            event(id="1", choices=[{"index": 0, "delta": {}}], usage={"total_tokens": 3}),
            DONE,
        ],
        [b": comment\r\n\r\n", delta("Hi").replace(b"\n", b"\r\n"), b"\n", delta(finish="stop"), DONE],
    ],
)
def test_forms_of_a_whole_answer(gateway: Emulator, behest: Behest, wire: list[bytes]) -> None:
    """A finish reason makes an answer whole, in LiteLLM's forms too."""
    gateway.script(RawSSE(wire))
    assert text_of(list(behest.stream(HELLO, scope=ALICE))) == "Hi"


def test_line_ends_that_are_none_of_an_event_stream(gateway: Emulator, behest: Behest) -> None:
    """Characters at which Python splits lines, and which JSON may contain as they are."""
    text = "one\u2028two\x85three"
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    gateway.script(RawSSE([b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"]))
    assert text_of(list(behest.stream(HELLO, scope=ALICE))) == text


async def test_leaving_early_closes_the_connection(gateway: Emulator, behest: Behest) -> None:
    """The gateway sees the client go, sync and async, and stops."""
    gateway.chunk_delay = 0.02
    for _ in range(2):
        gateway.script("word " * 500)
    with behest.stream(HELLO, scope=ALICE) as chunks:
        for _ in chunks:
            break
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[0].disconnected)
    async with behest.astream(HELLO, scope=ALICE) as achunks:
        async for _ in achunks:
            break
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[1].disconnected)


async def test_a_cancelled_task_closes_the_connection(gateway: Emulator, behest: Behest) -> None:
    """Cancellation reaches the gateway too."""
    gateway.chunk_delay = 0.02
    gateway.script("word " * 500)
    began = asyncio.Event()

    async def read() -> None:
        async for _ in behest.astream(HELLO, scope=ALICE):
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[0].disconnected)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 400, "code": "bad"}, BehestBadRequestError),
        ({"status": 402, "code": "quota", "upgrade_url": "https://u.test"}, BehestQuotaError),
        ({"status": 429, "code": "budget_exceeded"}, BehestQuotaError),
        ({"status": 404}, BehestNotFoundError),
        ({"status": 451, "code": "pii"}, BehestContentBlockedError),
        ({"status": 500, "times": 3}, BehestServerError),
        ({"status": 503, "times": 3, "body": "<html>down</html>"}, BehestServerError),
    ],
)
async def test_errors_are_the_same_in_all_forms(
    gateway: Emulator, fault: dict[str, Any], kind: type[BehestError], instant: Clock
) -> None:
    """Plain, streamed, sync and async raise the same error."""
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest:

        async def astreamed() -> None:
            async for _ in behest.astream(HELLO, scope=ALICE):
                pass

        for call in (
            lambda: behest.complete(HELLO, scope=ALICE),
            lambda: list(behest.stream(HELLO, scope=ALICE)),
        ):
            gateway.fail_next(path="chat", **fault)
            with pytest.raises(kind):
                call()
        for acall in (lambda: behest.acomplete(HELLO, scope=ALICE), astreamed):
            gateway.fail_next(path="chat", **fault)
            with pytest.raises(kind):
                await acall()
        await behest.aclose()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("row", ROWS)
def test_sends_and_pauses(gateway: Emulator, instant: Clock, waits: list[float], row: Row, *, streamed: bool) -> None:
    """One layer of retries, and none in a thread once the gateway may have stored the turn."""
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest:
        refuse(gateway, row)
        where = Scope("alice", thread_id="t" if row.in_thread else None)
        with pytest.raises(BehestError):
            list(behest.stream(HELLO, scope=where)) if streamed else behest.complete(HELLO, scope=where)
    assert len(gateway.chats) == 1 + len(row.pauses)
    assert waits == pytest.approx(row.pauses, abs=row.tolerance)


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_lost_answer(gateway: Emulator, instant: Clock, *, in_thread: bool) -> None:
    """An answer lost after the gateway did its work is asked for again, but not in a thread."""
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest:
        gateway.fail_next(path="chat", close="after")
        if in_thread:
            with pytest.raises(BehestError, match="broke"):
                behest.complete(HELLO, scope=Scope("alice", thread_id="t"))
            assert len(gateway.thread("alice", "t")) == 2
        else:
            behest.complete(HELLO, scope=ALICE)
    assert len(gateway.chats) == (1 if in_thread else 2)


@pytest.mark.parametrize("path", ["mint", "chat", "threads", "usage", "models"])
def test_retries_are_the_same_everywhere(gateway: Emulator, instant: Clock, waits: list[float], path: Any) -> None:
    """Mint, chat, threads, usage and models wait what Retry-After says, on the injected clock."""
    with Behest(gateway.api_key, base_url=gateway.base_url, user_id="alice", clock=instant) as behest:
        gateway.fail_next(status=429, retry_after=7, path=path)
        calls: dict[str, Callable[[], object]] = {
            "threads": behest.threads.list,
            "usage": behest.usage,
            "models": behest.models,
        }
        calls.get(path, partial(behest.complete, HELLO))()
    assert waits == [7]


def test_a_long_retry_after_surfaces(gateway: Emulator, instant: Clock, waits: list[float]) -> None:
    """Beyond 60 s it is raised with .retry_after."""
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest:
        gateway.fail_next(status=429, retry_after=61, path="chat")
        with pytest.raises(BehestRateLimitError) as caught:
            behest.complete(HELLO, scope=ALICE)
    assert caught.value.retry_after == 61
    assert waits == []


def test_retries_and_timeout_of_one_call(gateway: Emulator, behest: Behest) -> None:
    """Both can be said for a call."""
    gateway.fail_next(status=500, path="chat")
    with pytest.raises(BehestServerError):
        behest.complete(HELLO, scope=ALICE, max_retries=0)
    gateway.chat_delay = 0.5
    with pytest.raises(BehestError, match="in time"):
        behest.complete(HELLO, scope=ALICE, timeout=0.05, max_retries=0)


@pytest.mark.parametrize("content", [float("nan"), "\ud800", object()])
def test_a_body_that_json_cannot_say(gateway: Emulator, behest: Behest, content: Any) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(BehestBadRequestError, match="JSON"):
        behest.complete({"messages": [{"role": "user", "content": content}]}, scope=ALICE)
    assert gateway.chats == []


@pytest.mark.parametrize("name", ["thread_id", "session_id"])
@pytest.mark.parametrize("value", ["", "a b", "a\nb", "é", "x" * 256, 5])
def test_ids_that_no_header_can_carry(behest: Behest, name: str, value: Any) -> None:
    """They are refused by name before anything is sent."""
    with pytest.raises(BehestConfigError, match=name):
        behest.complete(HELLO, scope=Scope("alice", **{name: value}))
