"""Chat engines over four turns: what they leave in the thread, and what the model was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.memory import BaseMemory
from llama_index.core.query_engine import RetrieverQueryEngine

from behest_base import BehestConfigError
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM
from support.llamaindex import WAYS, Ask, Shelf, said

MakeMemory = Callable[..., BaseMemory]

TURNS = [
    "My favourite colour is teal.",
    "The train leaves at nine.",
    "What is my favourite colour?",
    "When does the train leave?",
]
CONTEXT = "The museum is closed on Mondays."


def _context(llm: BehestLLM, memory: BaseMemory) -> Any:
    return ContextChatEngine.from_defaults(Shelf(CONTEXT), llm=llm, memory=memory)


def _condense_plus(llm: BehestLLM, memory: BaseMemory) -> Any:
    return CondensePlusContextChatEngine.from_defaults(Shelf(CONTEXT), llm=llm, memory=memory)


def _assert_turns(gateway: Emulator, answers: list[str]) -> None:
    expected = [
        pair for turn in zip(TURNS, answers, strict=True) for pair in (("user", turn[0]), ("assistant", turn[1]))
    ]
    assert said(gateway.thread("alice", "trip")) == expected
    in_thread = [call for call in gateway.chats if call.thread_id == "trip"]
    assert len(in_thread) == len(TURNS)
    for number, call in enumerate(in_thread):
        assert said(call.effective_prompt) == expected[: 2 * number + 1]


@pytest.mark.parametrize("ask", WAYS)
async def test_simple_engine(ask: Ask, make_memory: MakeMemory, llm: BehestLLM, tier: Emulator) -> None:
    """The thread has the turns once each, as typed, and each prompt has each message once."""
    memory = make_memory()
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt="Be brief.")
    answers = [await ask(engine, message) for message in TURNS]
    _assert_turns(tier, answers)
    assert "teal" in answers[2]
    assert said([{"role": m.role.value, "content": m.content} for m in memory.get_all()]) == said(
        tier.thread("alice", "trip")
    )


@pytest.mark.parametrize("ask", WAYS)
async def test_simple_engine_with_history_given(
    ask: Ask, make_memory: MakeMemory, llm: BehestLLM, tier: Emulator
) -> None:
    """A front end that sends its plain history along each time changes nothing."""
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=make_memory())
    history: list[ChatMessage] = []
    answers = []
    for message in TURNS:
        answers.append(await ask(engine, message, chat_history=list(history)))
        history.append(ChatMessage(role=MessageRole.USER, content=message))
        history.append(ChatMessage(role=MessageRole.ASSISTANT, content=answers[-1]))
    _assert_turns(tier, answers)


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("make_engine", [_context, _condense_plus])
async def test_context_engines(
    make_engine: Callable[[BehestLLM, BaseMemory], Any],
    ask: Ask,
    make_memory: MakeMemory,
    llm: BehestLLM,
    tier: Emulator,
) -> None:
    """The thread has the user's words; the retrieved context is in the system message; condensing is outside of it."""
    engine = make_engine(llm, make_memory())
    answers = [await ask(engine, message) for message in TURNS]
    _assert_turns(tier, answers)
    for call in tier.chats:
        if call.thread_id == "trip":
            assert CONTEXT in said(call.effective_prompt, "system")[0][1]
        else:
            assert "Follow Up Input" in call.json["messages"][-1]["content"]
            assert call.headers["x-session-id"] != "default"


# The framework's writer thread hands the error on to the reader, and raises it in the thread as well.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("ask", WAYS)
async def test_condense_question_engine_says_why_not(
    ask: Ask, make_memory: MakeMemory, llm: BehestLLM, tier: Emulator
) -> None:
    """Its answers come from a query engine that never sees what the user typed: an error names the one to use."""
    query_engine = RetrieverQueryEngine.from_args(Shelf(CONTEXT), llm=llm)
    engine = CondenseQuestionChatEngine.from_defaults(query_engine, llm=llm, memory=make_memory())
    with pytest.raises(BehestConfigError, match="CondensePlusContextChatEngine"):
        await ask(engine, "When is the museum closed?")
    assert tier.thread("alice", "trip") == []


def _simple(llm: BehestLLM, memory: BaseMemory) -> Any:
    return SimpleChatEngine.from_defaults(llm=llm, memory=memory)


every_engine = pytest.mark.parametrize("make_engine", [_simple, _context, _condense_plus])


@pytest.mark.parametrize("ask", WAYS)
@every_engine
async def test_requests_per_turn(
    make_engine: Callable[..., Any], ask: Ask, make_memory: MakeMemory, llm: BehestLLM, gateway: Emulator
) -> None:
    """A turn costs its chat call, that which condenses its question if there is one, and at most one read of the thread."""
    engine = make_engine(llm, make_memory())
    for number, message in enumerate(TURNS):
        gateway.clear()
        await ask(engine, message)
        kinds = [request.kind for request in gateway.requests if request.kind != "mint"]
        assert kinds.count("chat") == (2 if make_engine is _condense_plus and number else 1)
        assert kinds.count("threads") <= 1
        assert set(kinds) <= {"chat", "threads"}


@pytest.mark.parametrize("ask", WAYS)
@every_engine
async def test_reset_deletes_the_thread(
    make_engine: Callable[..., Any], ask: Ask, make_memory: MakeMemory, llm: BehestLLM, tier: Emulator
) -> None:
    """After a reset the thread is gone, and the next turn begins a new one."""
    engine = make_engine(llm, make_memory())
    await ask(engine, TURNS[0])
    engine.reset()
    assert tier.threads("alice") == []
    assert engine.chat_history == []
    assert "teal" not in await ask(engine, TURNS[2])
    assert said(tier.thread("alice", "trip"), "user") == [("user", TURNS[2])]
