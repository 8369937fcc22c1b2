"""BehestChatHistory: a thread as a chat history."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from behest_base import Behest, BehestNotFoundError, scope
from behest_base.emulator import Emulator
from langchain_behest import BehestAuthError, BehestBadRequestError, BehestChatHistory, BehestConfigError, ChatBehest
from support.keys import api_key
from support.langchain import WAYS, Ask, texts, turns


@pytest.fixture
def history(behest: Behest) -> BehestChatHistory:
    """Give alice's thread as a history."""
    return BehestChatHistory("t", "alice", client=behest)


def reads(gateway: Emulator) -> int:
    """Count the requests that read or delete threads."""
    return len([request for request in gateway.requests if request.kind == "threads"])


# -- reading


async def test_an_unknown_thread_reads_as_empty(history: BehestChatHistory) -> None:
    """A thread that no call was made in yet has no messages."""
    assert history.messages == []
    assert await history.aget_messages() == []


async def test_a_thread_is_read_with_one_request(
    history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """Reading gives the messages with their ids and times, marked with the thread."""
    gateway.script("a0")
    threaded.invoke([HumanMessage("q0", name="Alice")])
    gateway.clear()
    question, reply = history.messages
    assert (question.type, question.content, question.name) == ("human", "q0", "Alice")
    assert (reply.type, reply.content) == ("ai", "a0")
    assert reads(gateway) == 1
    stored = gateway.thread("alice", "t")
    assert [question.id, reply.id] == [message["id"] for message in stored]
    place = reply.response_metadata["behest"]
    assert (place["thread_id"], place["user_id"], place["created_at"]) == ("t", "alice", stored[1]["created_at"])
    assert await history.aget_messages() == [question, reply]


def test_pages_are_followed(history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator) -> None:
    """A thread in pages is read to its end."""
    gateway.script("a0", "a1", "a2")
    for number in range(3):
        threaded.invoke(f"q{number}")
    gateway.list_shape, gateway.page_size = "data", 4
    assert [message.content for message in history.messages] == ["q0", "a0", "q1", "a1", "q2", "a2"]


def test_tool_calls_and_content_lists_are_kept(
    history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """What a tier that stores tool calls has of them is read back as LangChain's."""
    gateway.store_tool_calls = True
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"where":"there"}'}}
    gateway.script({"content": "Looking.", "tool_calls": [call]}, "Found.")
    parts: list[str | dict[Any, Any]] = [{"type": "text", "text": "Where?"}]
    asked = threaded.invoke([HumanMessage(parts)])
    threaded.invoke([HumanMessage(parts), asked, ToolMessage("Here.", tool_call_id="c1")])
    question, calling, result, reply = history.messages
    assert question.content == parts
    assert isinstance(calling, AIMessage)
    assert calling.tool_calls == [{"name": "look", "args": {"where": "there"}, "id": "c1", "type": "tool_call"}]
    assert isinstance(result, ToolMessage)
    assert (result.tool_call_id, result.content) == ("c1", "Here.")
    assert reply.content == "Found."


def test_messages_read_are_not_sent_again(history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator) -> None:
    """A conversation read from the history and passed in is known to the thread."""
    gateway.script("a0", "a1")
    threaded.invoke("q0")
    threaded.invoke([*history.messages, HumanMessage("q1")])
    assert texts(gateway.chats[-1].json["messages"]) == [("user", "q1")]
    assert texts(gateway.thread("alice", "t")) == turns(2)


def test_a_history_is_its_users(behest: Behest, threaded: ChatBehest) -> None:
    """Another user's thread of the same name is another thread; the ambient user counts."""
    threaded.invoke("q0")
    assert BehestChatHistory("t", "bob", client=behest).messages == []
    with scope("alice"):
        assert len(BehestChatHistory("t", client=behest).messages) == 2


# -- writing


@pytest.mark.usefixtures("every_tier")
@pytest.mark.parametrize("passes", ["history", "nothing"])
@pytest.mark.parametrize("ask", WAYS, ids=lambda ask: ask.__name__)
async def test_a_user_message_goes_out_with_the_next_call(
    ask: Ask, passes: str, history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """A message added before a call is shown, sent with the call, once, and then is the thread's."""
    gateway.script("a0", "a1")
    history.add_user_message("q0")
    assert gateway.requests == []
    assert [message.content for message in history.messages] == ["q0"]
    await ask(threaded, history.messages if passes == "history" else [])
    assert texts(gateway.chats[-1].json["messages"]) == [("user", "q0")]
    await ask(threaded, "q1")
    assert texts(gateway.thread("alice", "t")) == turns(2)
    assert texts(gateway.chats[-1].effective_prompt) == turns(2)[:-1]
    assert [message.content for message in history.messages] == ["q0", "a0", "q1", "a1"]


async def test_pending_messages_go_out_in_front(
    history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """Messages that wait go out before the call's own, after its system messages."""
    await history.aadd_messages([HumanMessage("First."), HumanMessage("Second.")])
    await threaded.ainvoke([SystemMessage("Be brief."), HumanMessage("Third.")])
    sent = texts(gateway.chats[-1].json["messages"])
    assert sent == [("system", "Be brief."), ("user", "First."), ("user", "Second."), ("user", "Third.")]


@pytest.mark.parametrize("form", ["ainvoke", "invoke", "astream"])
async def test_a_waiting_message_goes_out_with_one_of_many_calls(
    form: str, history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """Of calls made in the thread at once, in tasks or in threads, one brings it."""
    ask = next(ask for ask in WAYS if ask.__name__ == form)
    await ask(threaded, "Warm up.")  # a token to call with, so that they do go out at once
    await history.aadd_messages([HumanMessage("Wait for me.")])
    calls = [ask(threaded, f"q{number}") for number in range(4)]
    if form == "invoke":
        calls = [asyncio.to_thread(asyncio.run, call) for call in calls]  # type: ignore[arg-type]
    with gateway.holding("chat"):
        together = asyncio.gather(*calls)
        await asyncio.to_thread(gateway.wait_for, lambda: len(gateway.chats) == 5)
    await together
    users = [content for role, content in texts(gateway.thread("alice", "t")) if role == "user"]
    assert sorted(users) == ["Wait for me.", "Warm up.", "q0", "q1", "q2", "q3"]


@pytest.mark.parametrize("ask", WAYS, ids=lambda ask: ask.__name__)
async def test_a_waiting_message_outlives_a_call_that_fails(
    ask: Ask, history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """A message that a refused call had with it waits for the next one."""
    history.add_user_message("Wait for me.")
    gateway.fail_next(status=400, path="chat")
    with pytest.raises(BehestBadRequestError):
        await ask(threaded, "q0")
    assert [message.content for message in history.messages] == ["Wait for me."]
    gateway.script("a1")
    await ask(threaded, "q1")
    assert texts(gateway.thread("alice", "t")) == [("user", "Wait for me."), *turns(2)[2:]]
    assert [message.content for message in history.messages] == ["Wait for me.", "q1", "a1"]


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "mark-lost"])
def test_a_turn_that_the_gateway_has(
    marked: bool,  # noqa: FBT001
    history: BehestChatHistory,
    threaded: ChatBehest,
    gateway: Emulator,
) -> None:
    """Adding a turn after the call that wrote it is nothing to do: no request, no double."""
    gateway.script("a0", "a1")
    for number in range(2):
        reply = threaded.invoke(f"q{number}")
        history.add_messages([HumanMessage(f"q{number}"), reply if marked else AIMessage(reply.text)])
    assert reads(gateway) == 0
    assert texts(gateway.thread("alice", "t")) == turns(2)
    assert [message.content for message in history.messages] == ["q0", "a0", "q1", "a1"]


def test_a_turn_added_message_by_message(history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator) -> None:
    """Apps that add question and answer one by one after the call double nothing; the same text may come again."""
    gateway.script("a0", "a1")
    for number in range(2):
        reply = threaded.invoke("go on")
        history.add_user_message("go on")
        history.add_ai_message(reply.text)
        assert len(history.messages) == 2 * (number + 1)
    history.add_user_message("go on")
    assert [message.content for message in history.messages] == ["go on", "a0", "go on", "a1", "go on"]
    gateway.script("a2")
    threaded.invoke([])
    assert len(gateway.thread("alice", "t")) == 6


async def test_a_foreign_reply_is_refused(history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator) -> None:
    """A reply that no call in the thread made can't be stored: the error says so, and nothing of the addition is kept."""
    gateway.script("a0")
    threaded.invoke("q0")
    with pytest.raises(BehestConfigError, match="thread_id="):
        history.add_messages([HumanMessage("q1"), AIMessage("Made up.")])
    with pytest.raises(BehestConfigError, match="behest_thread_id"):
        await history.aadd_messages([AIMessage("Made up.")])
    with pytest.raises(BehestConfigError, match="role tool"):
        history.add_message(ToolMessage("Made up.", tool_call_id="c1"))
    assert [message.content for message in history.messages] == ["q0", "a0"]


def test_a_reply_of_another_process_is_known(gateway: Emulator, threaded: ChatBehest) -> None:
    """A reply that another process's call put into the thread is found there."""
    gateway.script("a0")
    threaded.invoke("q0")
    with Behest(gateway.api_key, base_url=gateway.base_url) as other:
        history = BehestChatHistory("t", "alice", client=other)
        history.add_messages([HumanMessage("q0"), AIMessage("a0")])
        assert [message.content for message in history.messages] == ["q0", "a0"]


async def test_clear_deletes_the_thread(history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator) -> None:
    """Clearing deletes the thread and what waits for it; an unknown thread is clear already."""
    threaded.invoke("q0")
    history.add_user_message("q1")
    history.clear()
    assert gateway.thread("alice", "t") == []
    assert history.messages == []
    history.add_user_message("q2")
    await history.aclear()
    assert await history.aget_messages() == []


def test_what_was_known_of_a_deleted_thread_is_forgotten(
    history: BehestChatHistory, threaded: ChatBehest, behest: Behest
) -> None:
    """After a thread is deleted, by the history or past it, what is added is judged by what came since."""
    threaded.invoke("q0")
    history.add_messages([SystemMessage("Noted after the call, which the history hears of so.")])
    history.clear()
    history.add_user_message("q0")
    assert [message.content for message in history.messages] == ["q0"]
    with pytest.raises(BehestNotFoundError):
        behest.threads.delete("t", user_id="alice")
    threaded.invoke("q0")
    history.add_user_message("q0")
    assert [message.content for message in history.messages if message.type == "human"] == ["q0"]


def test_errors_are_langchains(gateway: Emulator) -> None:
    """A refused key is the error that LangChain code catches."""
    from langchain_core.exceptions import ModelAuthenticationError  # noqa: PLC0415

    with (
        Behest(api_key(), base_url=gateway.base_url) as wrong,
        pytest.raises(BehestAuthError) as caught,
    ):
        _ = BehestChatHistory("t", "alice", client=wrong).messages
    assert isinstance(caught.value, ModelAuthenticationError)


def test_the_environment_is_enough(environment: Emulator) -> None:
    """Without a client the history uses the environment's, which it shares with models."""
    ChatBehest(user_id="alice", thread_id="t").invoke("q0")
    assert len(BehestChatHistory("t", "alice").messages) == 2
    assert len(environment.mints) == 1


async def test_every_request_is_of_the_tier(behest: Behest, gateway: Emulator) -> None:
    """A history of a tier reads, looks and deletes with the token of that tier: its only one."""
    history = BehestChatHistory("t", "alice", client=behest, tier="pro")
    assert history.messages == await history.aget_messages() == []
    with pytest.raises(BehestConfigError):
        history.add_messages([AIMessage("Made up.")])
    with pytest.raises(BehestConfigError):
        await history.aadd_messages([AIMessage("Made up.")])
    history.clear()
    await history.aclear()
    assert reads(gateway) == 6
    assert [mint.json.get("tier") for mint in gateway.mints] == ["pro"]
