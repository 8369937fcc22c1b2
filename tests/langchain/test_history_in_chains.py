"""Chains with a BehestChatHistory, or beside a thread: what they leave in it, and what the model is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableBranch, RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory

from behest_base import Behest
from behest_base.emulator import Emulator
from langchain_behest import BehestChatHistory, ChatBehest
from support.langchain import WAYS, Ask, texts, turns

pytestmark = [
    pytest.mark.usefixtures("every_tier"),
    pytest.mark.filterwarnings("ignore:.*RunnableWithMessageHistory:DeprecationWarning"),
]

IN_THREAD: RunnableConfig = {
    "configurable": {"session_id": "t", "behest_thread_id": "t", "behest_user_id": "alice"},
}

every_way = pytest.mark.parametrize("ask", WAYS, ids=lambda ask: ask.__name__)

# Each form of RunnableWithMessageHistory: the prompt before the model, the keys, and a turn's input.
Keys = dict[str, Any]
FORMS: dict[str, tuple[list[Any] | None, Keys, Callable[[str], Any]]] = {
    "history-key": (
        [MessagesPlaceholder("history"), ("human", "{question}")],
        {"input_messages_key": "question", "history_messages_key": "history"},
        lambda text: {"question": text},
    ),
    "one-list": (
        [MessagesPlaceholder("messages")],
        {"input_messages_key": "messages"},
        lambda text: {"messages": [HumanMessage(text)]},
    ),
    "bare-model": (None, {}, lambda text: text),
    "bare-model-message": (None, {}, HumanMessage),
}


@every_way
@pytest.mark.parametrize("form", FORMS)
async def test_with_message_history(form: str, ask: Ask, anyone: ChatBehest, behest: Behest, gateway: Emulator) -> None:
    """Five turns in RunnableWithMessageHistory: each message once in thread and prompt, and the history agrees."""
    gateway.script(*(f"a{number}" for number in range(5)))
    places, keys, turn = FORMS[form]
    system = [] if places is None else [("system", "Be brief.")]
    inner: Any = anyone if places is None else ChatPromptTemplate.from_messages([*system, *places]) | anyone
    chain: Any = RunnableWithMessageHistory(
        inner, lambda session_id: BehestChatHistory(session_id, "alice", client=behest), **keys
    )
    for number in range(5):
        await ask(chain, turn(f"q{number}"), IN_THREAD)
    assert texts(gateway.thread("alice", "t")) == turns(5)
    assert texts(gateway.chats[-1].effective_prompt) == [*system, *turns(5)[:-1]]
    read = BehestChatHistory("t", "alice", client=behest).messages
    assert [message.content for message in read] == [content for _, content in turns(5)]


@every_way
async def test_a_rag_chain_keeps_questions_as_they_were_typed(
    ask: Ask, behest: Behest, threaded: ChatBehest, gateway: Emulator
) -> None:
    """With the context in the system message the thread holds what was said, and no more."""
    history = BehestChatHistory("t", "alice", client=behest)
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Answer from this: {context}"), MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chain: Any = (
        RunnablePassthrough.assign(history=RunnableLambda(lambda _: history.messages), context=lambda _: CONTEXT)
        | prompt
        | threaded
    )
    gateway.script("a0", "a1", "a2")
    for number in range(3):
        await ask(chain, {"question": f"q{number}"})
    assert texts(gateway.thread("alice", "t")) == turns(3)
    system = ("system", f"Answer from this: {CONTEXT}")
    assert texts(gateway.chats[-1].effective_prompt) == [system, *turns(3)[:-1]]


CONTEXT = "The depot is in Turin. The head office is in Lyon."


@every_way
async def test_a_history_aware_retriever_leaves_no_trace(
    ask: Ask, behest: Behest, anyone: ChatBehest, gateway: Emulator
) -> None:
    """The call that condenses a follow-up into a question of its own is made outside of the thread that is configured."""
    searched: list[str] = []

    def retrieve(query: str) -> str:
        searched.append(query)
        return CONTEXT

    condense = ChatPromptTemplate.from_messages(
        [("system", "Make it a question of its own."), MessagesPlaceholder("history"), ("human", "{question}")]
    ) | anyone.bind(thread_id=None)
    retriever = RunnableBranch(
        (lambda given: not given["history"], RunnableLambda(lambda given: given["question"]) | retrieve),
        condense | StrOutputParser() | retrieve,
    )
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Answer from this: {context}"), MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chain: Any = RunnableWithMessageHistory(
        RunnablePassthrough.assign(context=retriever) | prompt | anyone,
        lambda session_id: BehestChatHistory(session_id, "alice", client=behest),
        input_messages_key="question",
        history_messages_key="history",
    )
    gateway.script("a0", "condensed 1", "a1", "condensed 2", "a2")
    for number in range(3):
        await ask(chain, {"question": f"q{number}"}, IN_THREAD)
    assert searched == ["q0", "condensed 1", "condensed 2"]
    assert [chat.thread_id for chat in gateway.chats] == ["t", None, "t", None, "t"]
    assert {chat.user_id for chat in gateway.chats} == {"alice"}
    assert texts(gateway.thread("alice", "t")) == turns(3)
    system = ("system", f"Answer from this: {CONTEXT}")
    assert texts(gateway.chats[-1].effective_prompt) == [system, *turns(3)[:-1]]
