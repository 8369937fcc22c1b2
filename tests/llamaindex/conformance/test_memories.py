"""The suite of memories, on llama-index-core's own, on those with a store of ours, and on ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer, Memory
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from behest_base import Behest, BehestConfigError
from behest_base.emulator import Emulator
from llamaindex.conformance.memories import Converse, MemoryTests
from llamaindex_behest import BehestAsyncChatStore, BehestChatStore, BehestMemory


class TestChatMemoryBuffer(MemoryTests):
    """llama-index-core's buffer."""

    @pytest.fixture
    def memory(self) -> ChatMemoryBuffer:
        """Give an empty one."""
        return ChatMemoryBuffer.from_defaults(tokenizer_fn=str.split)


class TestMemory(MemoryTests):
    """llama-index-core's memory, on its store in a database."""

    @pytest.fixture
    def memory(self, tmp_path: Path) -> Memory:
        """Give an empty one; without a pool no connection outlives the event loop that it was made in."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/messages.db", poolclass=NullPool)
        return Memory.from_defaults(async_engine=engine, tokenizer_fn=str.split)


class OnThreads(MemoryTests):
    """What holds of a memory on threads of the gateway: they are written by the model's calls only (D7)."""

    writes_replies = False
    changes_history = False
    refusal = BehestConfigError
    refusal_says = "thread"

    def make(self, client: Behest | None) -> BaseMemory:
        """Return a memory of alice's trip; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def memory(self, environment: Emulator, behest: Behest) -> BaseMemory:
        """Give one on the emulator."""
        assert environment.base_url
        return self.make(behest)

    @pytest.fixture
    def reopened(self, memory: BaseMemory) -> BaseMemory:
        """Give one on another client."""
        again = self.make(None)
        assert again is not memory
        return again

    @pytest.fixture
    def converse(self, take_turns: Callable[..., Awaitable[None]]) -> Converse:
        """Have each reply come from the model, called in the thread."""

        async def talk(memory: BaseMemory, messages: Sequence[ChatMessage]) -> None:
            await take_turns("trip", messages, memory.aget, memory.aput)

        return talk


class TestBehestMemory(OnThreads):
    """Our memory."""

    def make(self, client: Behest | None) -> BehestMemory:
        """Return one."""
        return BehestMemory("trip", user_id="alice", client=client)


class TestBufferOnBehestChatStore(OnThreads):
    """The buffer on our store."""

    def make(self, client: Behest | None) -> ChatMemoryBuffer:
        """Return one."""
        store = BehestChatStore(user_id="alice", client=client)
        return ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="trip", tokenizer_fn=str.split)


class TestMemoryOnBehestAsyncChatStore(OnThreads):
    """The memory on our store."""

    def make(self, client: Behest | None) -> Memory:
        """Return one."""
        store = BehestAsyncChatStore(user_id="alice", client=client)
        return Memory.from_defaults(session_id="trip", chat_store=store, tokenizer_fn=str.split)
