"""Threads whose turns are given up, fail, or go on elsewhere: the next turn works, its prompt is valid, nothing is doubled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage

from behest_base import Behest
from behest_base.emulator import Emulator
from langchain_behest import BehestBadRequestError, BehestConnectionError, BehestStreamError, ChatBehest
from support.langchain import WAYS, Ask, said, texts, turns

pytestmark = pytest.mark.usefixtures("every_tier")

SYSTEM = SystemMessage("Answer briefly.")
CANCELLED = "The call was cancelled before it had a result."

every_way = pytest.mark.parametrize("ask", WAYS, ids=lambda ask: ask.__name__)


def prompts(gateway: Emulator) -> list[list[tuple[str, Any]]]:
    """Return the effective prompts, all of which the model took."""
    assert [chat.status for chat in gateway.chats] == [200] * len(gateway.chats)
    return [texts(chat.effective_prompt) for chat in gateway.chats]


@every_way
@pytest.mark.parametrize("passes", ["all", "new", "dicts"])
async def test_an_abandoned_tool_call(passes: str, ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """A turn given up between a tool call and its result doesn't block the thread; the open call is answered as cancelled."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    gateway.script({"content": None, "tool_calls": [call]}, "a1", "a2")
    asked = await ask(threaded, [SYSTEM, HumanMessage("q0")])
    assert asked.tool_calls
    earlier: dict[str, list[Any]] = {
        "all": [HumanMessage("q0"), asked],
        "new": [],
        "dicts": [{"role": "user", "content": "q0"}, {"role": "assistant", "content": "", "tool_calls": [call]}],
    }
    reply = await ask(threaded, [SYSTEM, *earlier[passes], HumanMessage("q1")])
    await ask(threaded, [SYSTEM, *earlier[passes], HumanMessage("q1"), reply, HumanMessage("q2")])
    thread = gateway.thread("alice", "t")
    expected = [("user", "q0"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
    assert said(thread) == expected
    last = gateway.chats[-1]
    assert last.status == 200
    assert said(last.effective_prompt) == expected[:-1]
    results = [content for role, content in texts(thread) if role == "tool"]
    assert results == ([CANCELLED] if gateway.store_tool_calls else [])


@pytest.mark.parametrize("form", ["stream", "astream"])
@pytest.mark.parametrize("passes", ["all", "new", "dicts"])
async def test_a_stream_broken_off_by_the_user(passes: str, form: str, threaded: ChatBehest, gateway: Emulator) -> None:
    """After a stream that the user stopped, the next turn works, and nothing is doubled."""
    gateway.chunk_delay = 0.02
    gateway.script("one two three four five six seven eight", "a1")
    partial: Any = None
    if form == "stream":
        for chunk in threaded.stream([SYSTEM, HumanMessage("q0")]):
            partial = chunk if partial is None else partial + chunk
            if "two" in partial.text:
                break
    else:
        async for chunk in threaded.astream([SYSTEM, HumanMessage("q0")]):
            partial = chunk if partial is None else partial + chunk
            if "two" in partial.text:
                break
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.thread("alice", "t"))
    gateway.chunk_delay = 0
    earlier: dict[str, list[Any]] = {
        "all": [HumanMessage("q0"), partial],
        "new": [],
        "dicts": [{"role": "user", "content": "q0"}, {"role": "assistant", "content": partial.text}],
    }
    threaded.invoke([SYSTEM, *earlier[passes], HumanMessage("q1")])
    first, kept, *rest = texts(gateway.thread("alice", "t"))
    assert first == ("user", "q0")
    assert kept[1].startswith("one two")
    assert rest == [("user", "q1"), ("assistant", "a1")]
    assert prompts(gateway)[-1] == [("system", SYSTEM.content), first, kept, ("user", "q1")]


@every_way
async def test_the_model_errs(ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """After a turn that failed before the model, the next one works, and brings what the failed one had."""
    gateway.fail_next(status=400, path="chat")
    with pytest.raises(BehestBadRequestError):
        await ask(threaded, [SYSTEM, HumanMessage("q0")])
    gateway.script("a1")
    await ask(threaded, [SYSTEM, HumanMessage("q0"), HumanMessage("q1")])
    assert texts(gateway.thread("alice", "t")) == [("user", "q0"), ("user", "q1"), ("assistant", "a1")]
    assert texts(gateway.chats[-1].effective_prompt) == [("system", SYSTEM.content), ("user", "q0"), ("user", "q1")]


@every_way
async def test_an_answer_lost_on_the_way(ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """A turn that the gateway has, but whose answer never came, is not sent twice; the next one stands after it."""
    gateway.script("a0", "a1")
    gateway.fail_next(path="chat", close="after")
    with pytest.raises(BehestConnectionError):
        await ask(threaded, [SYSTEM, HumanMessage("q0")])
    # A stream that nobody reads is stored as far as it got: not at all.
    kept = texts(gateway.thread("alice", "t"))
    await ask(threaded, [SYSTEM, HumanMessage("q1")])
    assert len(gateway.chats) == 2
    assert texts(gateway.thread("alice", "t")) == [*kept, *turns(2)[2:]]
    assert texts(gateway.chats[-1].effective_prompt) == [("system", SYSTEM.content), *kept, ("user", "q1")]


@pytest.mark.parametrize("ask", WAYS[2:], ids=lambda ask: ask.__name__)
@pytest.mark.parametrize(
    "how", [{"close": True}, {"end": True}, {"error_event": True}], ids=lambda how: next(iter(how))
)
async def test_a_stream_cut_in_the_middle(
    how: dict[str, Any], ask: Ask, threaded: ChatBehest, gateway: Emulator
) -> None:
    """After an answer that broke off, the next turn works and each message is there once."""
    gateway.script("one two three four", "a1")
    gateway.fail_next(path="chat", after_chunks=3, **how)
    with pytest.raises(BehestStreamError):
        await ask(threaded, [SYSTEM, HumanMessage("q0")])
    kept = texts(gateway.thread("alice", "t"))
    assert kept[:1] == ([] if "error_event" in how else [("user", "q0")])
    threaded.invoke([SYSTEM, HumanMessage("q1")])
    assert prompts(gateway)[-1] == [("system", SYSTEM.content), *kept, ("user", "q1")]
    assert texts(gateway.thread("alice", "t")) == [*kept, ("user", "q1"), ("assistant", "a1")]


@every_way
@pytest.mark.parametrize("marks", ["kept", "lost"])
async def test_another_process_goes_on(marks: str, ask: Ask, gateway: Emulator) -> None:
    """A process that knows nothing of the earlier turns, but has the messages, goes on where the other stopped."""
    gateway.script("a0", "a1", "a2")
    messages: list[Any] = [SYSTEM, HumanMessage("q0")]
    for number in range(3):
        async with Behest(gateway.api_key, base_url=gateway.base_url) as client:
            reply = await ask(ChatBehest(client=client, user_id="alice", thread_id="t"), messages)
        messages += [reply if marks == "kept" else ("ai", reply.text), HumanMessage(f"q{number + 1}")]
    assert texts(gateway.thread("alice", "t")) == turns(3)
    assert prompts(gateway)[-1] == [("system", SYSTEM.content), *turns(3)[:-1]]


@every_way
async def test_two_writers_at_once(ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """Two calls in one thread at once, in threads or tasks, leave both turns in it, and the next prompt has both."""
    gateway.model = lambda request: f"reply to {request['messages'][-1]['content']}"
    calls = [ask(threaded, [HumanMessage(text)]) for text in ("one", "two")]
    if ask.__name__.startswith("a"):
        await asyncio.gather(*calls)
    else:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, call) for call in calls))  # type: ignore[arg-type]
    both = [("assistant", "reply to one"), ("assistant", "reply to two"), ("user", "one"), ("user", "two")]
    assert sorted(texts(gateway.thread("alice", "t"))) == both
    threaded.invoke("three")
    *earlier, last = prompts(gateway)[-1]
    assert (sorted(earlier), last) == (both, ("user", "three"))


def test_a_list_without_its_reply_is_new(threaded: ChatBehest, gateway: Emulator) -> None:
    """Where no message of a list says that it came out of the thread, all of it is what the user says now."""
    gateway.script("a0", "a1")
    messages: list[AnyMessage] = [HumanMessage("q0")]
    threaded.invoke(messages)
    threaded.invoke([*messages, HumanMessage("q1")])
    assert [content for role, content in texts(gateway.thread("alice", "t")) if role == "user"] == ["q0", "q0", "q1"]
