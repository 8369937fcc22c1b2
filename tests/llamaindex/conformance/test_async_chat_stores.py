"""The suite of `Memory`'s chat stores, on llama-index-core's own and on ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from sqlalchemy.ext.asyncio import create_async_engine

from behest_base import Behest, BehestConfigError
from behest_base.emulator import Emulator
from llamaindex.conformance.async_chat_stores import AsyncChatStoreTests, Converse
from llamaindex_behest import BehestAsyncChatStore


class TestSQLAlchemyChatStore(AsyncChatStoreTests):
    """llama-index-core's store in a database."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SQLAlchemyChatStore]:
        """Give an empty one."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/messages.db")
        yield SQLAlchemyChatStore(table_name="messages", async_engine=engine)
        await engine.dispose()

    @pytest.fixture
    async def reopened(self, store: SQLAlchemyChatStore, tmp_path: Path) -> AsyncIterator[SQLAlchemyChatStore]:
        """Give one with connections of its own to the same database."""
        assert store.table_name == "messages"
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/messages.db")
        yield SQLAlchemyChatStore(table_name="messages", async_engine=engine)
        await engine.dispose()

    def index_of(self, position: int) -> int:
        """Return the row, which it goes by."""
        return position + 1


class TestBehestAsyncChatStore(AsyncChatStoreTests):
    """Threads of the gateway: they are written by the model's calls only, and have no archive (D7)."""

    writes_replies = False
    changes_history = False
    adds_archived = False
    holds_instructions = False
    refusal = BehestConfigError
    refusal_says = "thread|gateway"
    additional_kwargs: ClassVar[dict[str, Any]] = {"name": "Ada"}

    @pytest.fixture
    def store(self, environment: Emulator, behest: Behest) -> BehestAsyncChatStore:
        """Give one on the emulator."""
        assert environment.base_url
        return BehestAsyncChatStore(client=behest, user_id="alice")

    @pytest.fixture
    def reopened(self, store: BehestAsyncChatStore) -> BehestAsyncChatStore:
        """Give one on another client."""
        again = BehestAsyncChatStore(user_id="alice")
        assert again.client is not store.client
        return again

    @pytest.fixture
    def converse(self, take_turns: Callable[..., Awaitable[None]]) -> Converse:
        """Have each reply come from the model, called in the thread."""

        async def talk(store: BehestAsyncChatStore, key: str, messages: Sequence[ChatMessage]) -> None:
            await take_turns(
                key, messages, lambda: store.get_messages(key, None), lambda message: store.add_message(key, message)
            )

        return talk
