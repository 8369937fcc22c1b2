"""What the tests of llamaindex-behest share: memories of each kind, engines without embeddings, and what a thread says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer, Memory

from behest_base import Behest
from behest_base.emulator import Emulator
from llamaindex_behest import BehestAsyncChatStore, BehestChatStore, BehestLLM, BehestMemory
from support.llamaindex import MEMORIES

MakeMemory = Callable[..., BaseMemory]


def _buffer(behest: Behest, thread_id: str, user_id: str | None) -> BaseMemory:
    return ChatMemoryBuffer.from_defaults(
        chat_store=BehestChatStore(client=behest, user_id=user_id), chat_store_key=thread_id, tokenizer_fn=str.split
    )


def _memory(behest: Behest, thread_id: str, user_id: str | None) -> BaseMemory:
    store = BehestAsyncChatStore(client=behest, user_id=user_id)
    return Memory.from_defaults(session_id=thread_id, chat_store=store, tokenizer_fn=str.split)


def _behest(behest: Behest, thread_id: str, user_id: str | None) -> BaseMemory:
    return BehestMemory(client=behest, thread_id=thread_id, user_id=user_id)


_KINDS: dict[str, Any] = dict(zip(MEMORIES, (_buffer, _memory, _behest), strict=True))


@pytest.fixture(params=MEMORIES)
def make_memory(request: pytest.FixtureRequest, behest: Behest) -> MakeMemory:
    """Make memories of one kind: `make_memory(thread_id, user_id)`."""
    kind = _KINDS[request.param]

    def make(thread_id: str = "trip", user_id: str | None = "alice") -> BaseMemory:
        memory: BaseMemory = kind(behest, thread_id, user_id)
        return memory

    return make


@pytest.fixture(params=[True, False], ids=["tools-stored", "tools-not-stored"])
def tier(request: pytest.FixtureRequest, gateway: Emulator) -> Emulator:
    """Give the emulator with a tier that stores tool calls in threads, and with one that doesn't."""
    gateway.store_tool_calls = request.param
    return gateway


@pytest.fixture
def llm(behest: Behest) -> BehestLLM:
    """Give a model for alice, in the thread `trip`."""
    return BehestLLM(client=behest, user_id="alice", thread_id="trip")
