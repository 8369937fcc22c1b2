"""Memories that cut, archive or add to what they give: the thread has the turns all the same, and the model all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import TextBlock
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine, SimpleChatEngine
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer, Memory, StaticMemoryBlock
from llama_index.core.memory.memory import InsertMethod
from llama_index.core.storage.chat_store.base_db import MessageStatus

from behest_base import Behest, BehestConfigError
from behest_base.emulator import Emulator
from llamaindex_behest import BehestAsyncChatStore, BehestChatStore, BehestLLM
from support.llamaindex import Shelf, said

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # llama-index-core's agents use what is deprecated

TURNS = [f"Fact number {number} is the word w{number}." for number in range(6)]


def _short_buffer(behest: Behest) -> BaseMemory:
    store = BehestChatStore(client=behest, user_id="alice")
    return ChatMemoryBuffer.from_defaults(
        chat_store=store, chat_store_key="trip", token_limit=12, tokenizer_fn=str.split
    )


def _memory(behest: Behest, **more: Any) -> Memory:
    store = BehestAsyncChatStore(client=behest, user_id="alice")
    return Memory.from_defaults(session_id="trip", chat_store=store, tokenizer_fn=str.split, **more)


def _short_memory(behest: Behest) -> BaseMemory:
    return _memory(behest, token_limit=30, token_flush_size=10)


def _memory_with_block(behest: Behest) -> BaseMemory:
    return _memory(
        behest, memory_blocks=[StaticMemoryBlock(name="user", static_content=[TextBlock(text="The user is Ada.")])]
    )


async def _agent(llm: BehestLLM, memory: BaseMemory, text: str) -> None:
    await FunctionAgent(llm=llm).run(text, memory=memory)


async def _simple(llm: BehestLLM, memory: BaseMemory, text: str) -> None:
    await SimpleChatEngine.from_defaults(llm=llm, memory=memory).achat(text)


async def _context(llm: BehestLLM, memory: BaseMemory, text: str) -> None:
    engine = ContextChatEngine.from_defaults(Shelf("It is closed."), llm=llm, memory=memory)
    await engine.achat(text)


async def _condense_plus(llm: BehestLLM, memory: BaseMemory, text: str) -> None:
    engine = CondensePlusContextChatEngine.from_defaults(Shelf("It is closed."), llm=llm, memory=memory)
    await engine.achat(text)


@pytest.mark.parametrize("ask", [_agent, _simple, _context, _condense_plus])
@pytest.mark.parametrize("make", [_short_buffer, _short_memory, _memory_with_block])
async def test_turns_are_whole(
    ask: Callable[..., Any], make: Callable[[Behest], BaseMemory], behest: Behest, llm: BehestLLM, tier: Emulator
) -> None:
    """The thread has each turn once, and each prompt all turns before it, whatever the memory gave."""
    memory = make(behest)
    for text in TURNS:
        await ask(llm, memory, text)
    assert said(tier.thread("alice", "trip"), "user") == [("user", text) for text in TURNS]
    in_thread = [call for call in tier.chats if call.thread_id == "trip"]
    assert len(in_thread) == len(TURNS)
    for number, call in enumerate(in_thread):
        assert said(call.effective_prompt, "user") == [("user", text) for text in TURNS[: number + 1]]
    if make is not _memory_with_block:
        assert len(await memory.aget()) < 2 * len(TURNS)
    else:
        assert "The user is Ada." in str(said(in_thread[-1].effective_prompt, "system"))


async def test_what_is_archived_is_noted(behest: Behest, llm: BehestLLM, gateway: Emulator) -> None:
    """`Memory` gives its blocks what it archives; the thread keeps it, and so does `get_all`."""
    memory = _short_memory(behest)
    assert isinstance(memory, Memory)
    for text in TURNS:
        await _simple(llm, memory, text)
    archived = await memory.aget_all(MessageStatus.ARCHIVED)
    active = await memory.aget_all(MessageStatus.ACTIVE)
    assert archived
    assert active == await memory.aget()
    everything = await memory.aget_all()
    assert everything == [*archived, *active]
    assert [message.content for message in everything] == [
        message["content"] for message in gateway.thread("alice", "trip")
    ]


async def test_a_new_thread_of_the_name_has_nothing_archived(behest: Behest, llm: BehestLLM, gateway: Emulator) -> None:
    """After a thread was deleted past the memory, what it had archived of it is no more; the new one shows whole."""
    memory = _short_memory(behest)
    for text in TURNS:
        await _simple(llm, memory, text)
    await behest.threads.adelete("trip", user_id="alice")
    assert await memory.aget() == []
    await _simple(llm, memory, "Anew.")
    assert [message.content for message in await memory.aget_all()] == [
        message["content"] for message in gateway.thread("alice", "trip")
    ]
    assert isinstance(memory, Memory)
    assert await memory.aget_all(MessageStatus.ARCHIVED) == []


async def test_blocks_in_the_users_message(behest: Behest, llm: BehestLLM, gateway: Emulator) -> None:
    """They would be stored as if the user had said them: the error says where they go instead."""
    block = StaticMemoryBlock(name="user", static_content=[TextBlock(text="The user is Ada.")])
    memory = _memory(behest, memory_blocks=[block], insert_method=InsertMethod.USER)
    with pytest.raises(BehestConfigError, match=r"InsertMethod\.SYSTEM"):
        await _simple(llm, memory, TURNS[0])
    assert gateway.thread("alice", "trip") == []
