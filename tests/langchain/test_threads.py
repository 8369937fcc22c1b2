"""Threads: each message is in the thread once and in the effective prompt once, however the conversation is passed in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, trim_messages

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from langchain_behest import BehestStreamError, ChatBehest

SYSTEM = SystemMessage("Answer briefly.")

Call = Callable[[ChatBehest, list[Any]], Awaitable[AIMessage]]


async def plain(model: ChatBehest, messages: list[Any]) -> AIMessage:
    """Call it plainly."""
    return model.invoke(messages)


async def task(model: ChatBehest, messages: list[Any]) -> AIMessage:
    """Call it in a task."""
    return await model.ainvoke(messages)


async def streamed(model: ChatBehest, messages: list[Any]) -> AIMessage:
    """Read its stream."""
    whole = None
    for chunk in model.stream(messages):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


async def astreamed(model: ChatBehest, messages: list[Any]) -> AIMessage:
    """Read its stream in a task."""
    whole = None
    async for chunk in model.astream(messages):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


CALLS: list[Call] = [plain, task, streamed, astreamed]

every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
every_tier = pytest.mark.parametrize("stores", [False, True], ids=["tier-drops-tools", "tier-stores-tools"])


@pytest.fixture
def threaded(behest: Behest) -> ChatBehest:
    """Give a model in a thread."""
    return ChatBehest(client=behest, user_id="alice", thread_id="t")


def texts(messages: list[dict[str, Any]] | None) -> list[tuple[str, Any]]:
    """Return roles and contents."""
    return [(message["role"], message.get("content")) for message in messages or ()]


def turns(count: int) -> list[tuple[str, str]]:
    """Return so many turns as they should be in the thread."""
    return [said for number in range(count) for said in (("user", f"q{number}"), ("assistant", f"a{number}"))]


def check(gateway: Emulator, count: int) -> None:
    """Check that thread and last effective prompt hold the turns once."""
    assert texts(gateway.thread("alice", "t")) == turns(count)
    assert texts(gateway.chats[-1].effective_prompt) == [("system", SYSTEM.content), *turns(count)[:-1]]


@every_call
async def test_only_the_new_message(call: Call, threaded: ChatBehest, gateway: Emulator) -> None:
    """Five turns, sending only what is new."""
    gateway.script(*(f"a{number}" for number in range(5)))
    for number in range(5):
        await call(threaded, [SYSTEM, HumanMessage(f"q{number}")])
    check(gateway, 5)


@every_call
async def test_the_whole_list(call: Call, threaded: ChatBehest, gateway: Emulator) -> None:
    """Five turns, passing in the whole conversation every time: only what is new goes out."""
    gateway.script(*(f"a{number}" for number in range(5)))
    messages: list[AnyMessage] = [SYSTEM]
    for number in range(5):
        messages.append(HumanMessage(f"q{number}"))
        messages.append(await call(threaded, messages))
    check(gateway, 5)
    assert texts(gateway.chats[-1].json["messages"]) == [("system", SYSTEM.content), ("user", "q4")]
    assert not [request for request in gateway.requests if request.kind == "threads"]


@every_call
async def test_a_front_ends_plain_dicts(call: Call, threaded: ChatBehest, gateway: Emulator) -> None:
    """Five turns with the marks lost on the way through a front end: the thread is read once per call, and tells."""
    gateway.script(*(f"a{number}" for number in range(5)))
    messages = [{"role": "system", "content": SYSTEM.content}]
    for number in range(5):
        messages.append({"role": "user", "content": f"q{number}"})
        reply = await call(threaded, messages)
        messages.append({"role": "assistant", "content": reply.text})
    check(gateway, 5)
    assert len([request for request in gateway.requests if request.kind == "threads"]) == 4


def test_the_same_question_twice(threaded: ChatBehest, gateway: Emulator) -> None:
    """A user who says the same again is heard again."""
    gateway.script("a0", "a1")
    messages: list[AnyMessage] = [SYSTEM, HumanMessage("go on")]
    messages += [threaded.invoke(messages), HumanMessage("go on")]
    threaded.invoke(messages)
    assert [content for role, content in texts(gateway.thread("alice", "t")) if role == "user"] == ["go on", "go on"]


def test_two_users_have_two_threads(behest: Behest, gateway: Emulator) -> None:
    """A thread's id is a user's own: another user's marked messages are new in the thread of the same name."""
    gateway.script("a0", "b0")
    alices = ChatBehest(client=behest, user_id="alice", thread_id="t").invoke("q0")
    ChatBehest(client=behest, user_id="bob", thread_id="t").invoke([HumanMessage("q0"), alices, HumanMessage("q1")])
    assert texts(gateway.chats[-1].json["messages"]) == [("user", "q0"), ("assistant", "a0"), ("user", "q1")]


def test_resend_history_sends_all(behest: Behest, gateway: Emulator) -> None:
    """Who wants every message sent can have it."""
    gateway.script("a0", "a1")
    model = ChatBehest(client=behest, user_id="alice", thread_id="t", resend_history=True)
    first = model.invoke("q0")
    model.invoke([HumanMessage("q0"), first, HumanMessage("q1")])
    assert texts(gateway.chats[-1].json["messages"]) == [("user", "q0"), ("assistant", "a0"), ("user", "q1")]


def test_a_trimmed_list(threaded: ChatBehest, gateway: Emulator) -> None:
    """A list cut short by `trim_messages` doubles nothing."""
    gateway.script(*(f"a{number}" for number in range(4)))
    messages: list[AnyMessage] = [SYSTEM]
    for number in range(4):
        messages.append(HumanMessage(f"q{number}"))
        cut = trim_messages(messages, max_tokens=3, token_counter=len, include_system=True, start_on="human")
        messages.append(threaded.invoke(cut))
    check(gateway, 4)


def test_a_summary_in_front(threaded: ChatBehest, gateway: Emulator) -> None:
    """A list that begins with a summary of what was left out doubles nothing."""
    gateway.script("a0", "a1", "a2")
    first = threaded.invoke([SYSTEM, HumanMessage("q0")])
    second = threaded.invoke([SYSTEM, HumanMessage("q0"), first, HumanMessage("q1")])
    summary = SystemMessage("Earlier they said q0 and a0.")
    threaded.invoke([summary, HumanMessage("q1"), second, HumanMessage("q2")])
    assert texts(gateway.thread("alice", "t")) == turns(3)
    assert texts(gateway.chats[-1].json["messages"]) == [("system", summary.content), ("user", "q2")]


@every_tier
def test_an_abandoned_tool_call(stores: bool, threaded: ChatBehest, gateway: Emulator) -> None:  # noqa: FBT001
    """A turn given up between a tool call and its result doesn't block the thread; the open call is answered as cancelled."""
    gateway.store_tool_calls = stores
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    gateway.script({"content": None, "tool_calls": [call]}, "a1", "a2")
    asked = threaded.invoke([SYSTEM, HumanMessage("q0")])
    assert asked.tool_calls
    reply = threaded.invoke([SYSTEM, HumanMessage("q1")])
    assert reply.text == "a1"
    threaded.invoke([SYSTEM, HumanMessage("q0"), asked, HumanMessage("q1"), reply, HumanMessage("q2")])
    said = [said for said in texts(gateway.thread("alice", "t")) if said[0] != "tool" and said[1]]
    assert said == [("user", "q0"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
    assert [chat.status for chat in gateway.chats][-1] == 200


@pytest.mark.parametrize("passes_all", [False, True])
def test_a_stream_broken_off_by_the_user(passes_all: bool, threaded: ChatBehest, gateway: Emulator) -> None:  # noqa: FBT001
    """After a stream that the user stopped, the next turn works, and nothing is doubled."""
    gateway.chunk_delay = 0.02
    gateway.script("one two three four five six seven eight", "a1")
    partial = None
    for chunk in threaded.stream([SYSTEM, HumanMessage("q0")]):
        partial = chunk if partial is None else partial + chunk
        if "two" in partial.text:
            break
    gateway.wait_for(lambda: gateway.thread("alice", "t"))
    assert partial is not None
    earlier = [HumanMessage("q0"), partial] if passes_all else []
    threaded.invoke([SYSTEM, *earlier, HumanMessage("q1")])
    users = [content for role, content in texts(gateway.thread("alice", "t")) if role == "user"]
    assert users == ["q0", "q1"]
    prompt = texts(gateway.chats[-1].effective_prompt)
    assert [content for role, content in prompt if role == "user"] == ["q0", "q1"]


def test_the_model_errs(threaded: ChatBehest, gateway: Emulator) -> None:
    """After a turn that failed before the model, the next one works."""
    gateway.fail_next(status=400, path="chat")
    with pytest.raises(Exception, match="400"):
        threaded.invoke([SYSTEM, HumanMessage("q0")])
    gateway.script("a1")
    threaded.invoke([SYSTEM, HumanMessage("q0"), HumanMessage("q1")])
    assert texts(gateway.thread("alice", "t")) == [("user", "q0"), ("user", "q1"), ("assistant", "a1")]


def test_a_stream_cut_in_the_middle(threaded: ChatBehest, gateway: Emulator) -> None:
    """After an answer that broke off, the next turn works and each message is there once."""
    gateway.fail_next(path="chat", after_chunks=3, close=True)
    with pytest.raises(BehestStreamError):
        list(threaded.stream([SYSTEM, HumanMessage("q0 and some more words.")]))
    gateway.script("a1")
    threaded.invoke([SYSTEM, HumanMessage("q1")])
    prompt = gateway.chats[-1].effective_prompt or []
    assert len({str(message) for message in prompt}) == len(prompt)


def test_another_process_goes_on(gateway: Emulator) -> None:
    """A process that knows nothing of the earlier turns, but has the messages, goes on where the other stopped."""
    gateway.script("a0", "a1")
    messages: list[AnyMessage] = [SYSTEM, HumanMessage("q0")]
    for number in range(2):
        with Behest(gateway.api_key, base_url=gateway.base_url) as client:
            reply = ChatBehest(client=client, user_id="alice", thread_id="t").invoke(messages)
        messages += [reply, HumanMessage(f"q{number + 1}")]
    check(gateway, 2)


async def test_two_writers_at_once(threaded: ChatBehest, gateway: Emulator) -> None:
    """Two calls in one thread at once leave both turns in it."""
    gateway.model = lambda request: f"reply to {request['messages'][-1]['content']}"
    await asyncio.gather(threaded.ainvoke([HumanMessage("one")]), threaded.ainvoke([HumanMessage("two")]))
    thread = texts(gateway.thread("alice", "t"))
    assert sorted(thread) == [
        ("assistant", "reply to one"),
        ("assistant", "reply to two"),
        ("user", "one"),
        ("user", "two"),
    ]


def test_a_thread_is_for_one_call(model: ChatBehest, gateway: Emulator) -> None:
    """A thread given to one call is that call's only, and content lists are kept as they are."""
    parts: list[str | dict[Any, Any]] = [{"type": "text", "text": "What is this?"}]
    model.invoke([HumanMessage(parts)], thread_id="t")
    model.invoke("Hello.")
    assert gateway.thread("alice", "t")[0]["content"] == parts
    assert gateway.chats[1].thread_id is None


def test_a_condensing_call_leaves_no_trace(threaded: ChatBehest, gateway: Emulator) -> None:
    """`bind(thread_id=None)` keeps a helper's call out of the thread, ambient or not."""
    with scope(thread_id="t"):
        threaded.bind(thread_id=None).invoke("Condense this.")
    assert gateway.chats[0].thread_id is None
    assert gateway.thread("alice", "t") == []
