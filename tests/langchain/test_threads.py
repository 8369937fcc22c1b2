"""Threads: each message is in the thread once and in the effective prompt once, however the conversation is passed in."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, trim_messages

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest
from support.langchain import WAYS, Ask, texts, turns

pytestmark = pytest.mark.usefixtures("every_tier")

SYSTEM = SystemMessage("Answer briefly.")

every_way = pytest.mark.parametrize("ask", WAYS, ids=lambda ask: ask.__name__)


def check(gateway: Emulator, count: int, system: str = str(SYSTEM.content)) -> None:
    """Check that thread and last effective prompt hold the turns once."""
    assert texts(gateway.thread("alice", "t")) == turns(count)
    assert texts(gateway.chats[-1].effective_prompt) == [("system", system), *turns(count)[:-1]]


@every_way
async def test_only_the_new_message(ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """Five turns, sending only what is new."""
    gateway.script(*(f"a{number}" for number in range(5)))
    for number in range(5):
        await ask(threaded, [SYSTEM, HumanMessage(f"q{number}")])
    check(gateway, 5)


@every_way
async def test_the_whole_list(ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """Five turns, passing in the whole conversation every time: only what is new goes out."""
    gateway.script(*(f"a{number}" for number in range(5)))
    messages: list[AnyMessage] = [SYSTEM]
    for number in range(5):
        messages.append(HumanMessage(f"q{number}"))
        messages.append(await ask(threaded, messages))
    check(gateway, 5)
    assert texts(gateway.chats[-1].json["messages"]) == [("system", SYSTEM.content), ("user", "q4")]
    assert not [request for request in gateway.requests if request.kind == "threads"]


@every_way
async def test_a_front_ends_plain_dicts(ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """Five turns with the marks lost on the way through a front end: the thread is read once per call, and tells."""
    gateway.script(*(f"a{number}" for number in range(5)))
    messages = [{"role": "system", "content": SYSTEM.content}]
    for number in range(5):
        messages.append({"role": "user", "content": f"q{number}"})
        reply = await ask(threaded, messages)
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


@every_way
@pytest.mark.parametrize("marks", ["kept", "lost"])
async def test_a_trimmed_list(marks: str, ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """A list cut short by `trim_messages` doubles nothing, also where a front end has lost the marks."""
    gateway.script(*(f"a{number}" for number in range(4)))
    messages: list[Any] = [SYSTEM]
    for number in range(4):
        messages.append(HumanMessage(f"q{number}"))
        cut = trim_messages(messages, max_tokens=3, token_counter=len, include_system=True, start_on="human")
        reply = await ask(threaded, cut)
        messages.append(reply if marks == "kept" else {"role": "assistant", "content": reply.text})
    check(gateway, 4)


@every_way
@pytest.mark.parametrize("marks", ["kept", "lost"])
async def test_a_summary_in_front(marks: str, ask: Ask, threaded: ChatBehest, gateway: Emulator) -> None:
    """A list that begins with a summary of what was left out doubles nothing."""
    gateway.script("a0", "a1", "a2")
    await ask(threaded, [SYSTEM, HumanMessage("q0")])
    second = await ask(threaded, [SYSTEM, HumanMessage("q1")])
    summary = SystemMessage("Earlier they said q0 and a0.")
    reply = second if marks == "kept" else {"role": "assistant", "content": second.text}
    await ask(threaded, [summary, HumanMessage("q1"), reply, HumanMessage("q2")])
    check(gateway, 3, str(summary.content))
    assert texts(gateway.chats[-1].json["messages"]) == [("system", summary.content), ("user", "q2")]


def test_a_thread_is_for_one_call(model: ChatBehest, gateway: Emulator) -> None:
    """A thread given to one call is that call's only, and content lists are kept as they are."""
    parts: list[str | dict[Any, Any]] = [{"type": "text", "text": "What is this?"}]
    model.invoke([HumanMessage(parts)], thread_id="t")
    model.invoke("Hello.")
    assert gateway.thread("alice", "t")[0]["content"] == parts
    assert gateway.chats[1].thread_id is None


@every_way
@pytest.mark.parametrize("ambient", [False, True], ids=["field", "ambient"])
async def test_a_condensing_call_leaves_no_trace(
    ambient: bool,  # noqa: FBT001
    ask: Ask,
    threaded: ChatBehest,
    gateway: Emulator,
) -> None:
    """`bind(thread_id=None)` keeps a helper's call out of the thread, ambient or configured or a field."""
    config: Any = {"configurable": {"behest_thread_id": "t"}}
    with scope(thread_id="t") if ambient else scope():
        await ask(threaded.bind(thread_id=None), "Condense this.", None if ambient else config)
    assert gateway.chats[0].thread_id is None
    assert gateway.thread("alice", "t") == []
