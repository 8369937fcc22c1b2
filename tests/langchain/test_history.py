"""BehestChatHistory: a thread as a chat history, alone and in chains."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from langchain_behest import BehestAuthError, BehestChatHistory, BehestConfigError, ChatBehest
from support.keys import api_key

pytestmark = pytest.mark.filterwarnings("ignore:.*RunnableWithMessageHistory:DeprecationWarning")

IN_THREAD: RunnableConfig = {
    "configurable": {"session_id": "t", "behest_thread_id": "t", "behest_user_id": "alice"},
}


@pytest.fixture
def history(behest: Behest) -> BehestChatHistory:
    """Give alice's thread as a history."""
    return BehestChatHistory("t", "alice", client=behest)


@pytest.fixture
def threaded(behest: Behest) -> ChatBehest:
    """Give a model in that thread."""
    return ChatBehest(client=behest, user_id="alice", thread_id="t")


def texts(messages: Any) -> list[tuple[str, Any]]:
    """Return roles and contents of wire messages."""
    return [(message["role"], message.get("content")) for message in messages or ()]


def turns(count: int) -> list[tuple[str, str]]:
    """Return so many turns as they should be in the thread."""
    return [said for number in range(count) for said in (("user", f"q{number}"), ("assistant", f"a{number}"))]


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


def test_a_user_message_goes_out_with_the_next_call(
    history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """A message added before a call is shown, sent with the call, once, and then is the thread's."""
    gateway.script("a0", "a1")
    history.add_user_message("q0")
    assert gateway.requests == []
    assert [message.content for message in history.messages] == ["q0"]
    threaded.invoke(history.messages)
    assert texts(gateway.chats[-1].json["messages"]) == [("user", "q0")]
    threaded.invoke("q1")
    assert texts(gateway.thread("alice", "t")) == turns(2)
    assert [message.content for message in history.messages] == ["q0", "a0", "q1", "a1"]


async def test_pending_messages_go_out_in_front(
    history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """Messages that wait go out before the call's own, after its system messages."""
    await history.aadd_messages([HumanMessage("First."), HumanMessage("Second.")])
    await threaded.ainvoke([SystemMessage("Be brief."), HumanMessage("Third.")])
    sent = texts(gateway.chats[-1].json["messages"])
    assert sent == [("system", "Be brief."), ("user", "First."), ("user", "Second."), ("user", "Third.")]


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


# -- in chains


@pytest.mark.parametrize("keyed", [True, False], ids=["history-key", "one-list"])
@pytest.mark.parametrize("form", ["invoke", "stream", "ainvoke", "astream"])
async def test_with_message_history(
    keyed: bool,  # noqa: FBT001
    form: str,
    anyone: ChatBehest,
    behest: Behest,
    gateway: Emulator,
) -> None:
    """Five turns in RunnableWithMessageHistory: each message once in thread and prompt, and the history agrees."""
    gateway.script(*(f"a{number}" for number in range(5)))
    places = [MessagesPlaceholder("history"), ("human", "{question}")] if keyed else [MessagesPlaceholder("messages")]
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), *places])
    keys: dict[str, Any] = (
        {"input_messages_key": "question", "history_messages_key": "history"}
        if keyed
        else {"input_messages_key": "messages"}
    )
    chain: Any = RunnableWithMessageHistory(
        prompt | anyone, lambda session_id: BehestChatHistory(session_id, "alice", client=behest), **keys
    )
    for number in range(5):
        given: Any = {"question": f"q{number}"} if keyed else {"messages": [HumanMessage(f"q{number}")]}
        match form:
            case "invoke":
                chain.invoke(given, IN_THREAD)
            case "stream":
                list(chain.stream(given, IN_THREAD))
            case "ainvoke":
                await chain.ainvoke(given, IN_THREAD)
            case _:
                [_ async for _ in chain.astream(given, IN_THREAD)]
    assert texts(gateway.thread("alice", "t")) == turns(5)
    assert texts(gateway.chats[-1].effective_prompt) == [("system", "Be brief."), *turns(5)[:-1]]
    read = BehestChatHistory("t", "alice", client=behest).messages
    assert [message.content for message in read] == [content for _, content in turns(5)]


def test_a_rag_chain_keeps_questions_as_they_were_typed(
    history: BehestChatHistory, threaded: ChatBehest, gateway: Emulator
) -> None:
    """With the context in the system message and a condensing step outside of the thread, it holds what was said, and no more."""
    documents = [Document("The depot is in Turin."), Document("The head office is in Lyon.")]
    condense = (
        ChatPromptTemplate.from_messages(
            [("system", "Make it a question of its own."), MessagesPlaceholder("history"), ("human", "{question}")]
        )
        | threaded.bind(thread_id=None)
        | StrOutputParser()
    )
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Answer from this: {context}"), MessagesPlaceholder("history"), ("human", "{question}")]
    )
    searched: list[str] = []

    def retrieve(query: str) -> str:
        searched.append(query)
        return " ".join(document.page_content for document in documents)

    chain: Any = (
        RunnablePassthrough.assign(history=RunnableLambda(lambda _: history.messages))
        | RunnablePassthrough.assign(context=condense | RunnableLambda(retrieve))
        | prompt
        | threaded
    )
    gateway.script("Where is the depot?", "a0", "Where is the head office?", "a1")
    for number in range(2):
        chain.invoke({"question": f"q{number}"})
    assert searched == ["Where is the depot?", "Where is the head office?"]
    assert texts(gateway.thread("alice", "t")) == turns(2)
    context = "Answer from this: The depot is in Turin. The head office is in Lyon."
    assert texts(gateway.chats[-1].effective_prompt) == [("system", context), *turns(2)[:-1]]
