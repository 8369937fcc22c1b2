"""The suite of chat stores, on llama-index-core's own and on ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store import SimpleChatStore

from behest_base import Behest, BehestConfigError
from behest_base.emulator import Emulator
from llamaindex.conformance.chat_stores import Ask, ChatStoreTests
from llamaindex_behest import BehestChatStore


class TestSimpleChatStore(ChatStoreTests):
    """llama-index-core's store in memory."""

    @pytest.fixture
    def store(self) -> SimpleChatStore:
        """Give an empty one."""
        return SimpleChatStore()


class TestBehestChatStore(ChatStoreTests):
    """Threads of the gateway: they are written by the model's calls only (D7)."""

    writes_replies = False
    changes_history = False
    holds_instructions = False
    refusal = BehestConfigError
    refusal_says = "thread"
    additional_kwargs: ClassVar[dict[str, Any]] = {"name": "Ada"}
    keys = ("a", "A", "a/b", "a%2Fb", "a?b=c", "a..b")
    refused_keys = ("", "a b", "größe")

    @pytest.fixture
    def store(self, environment: Emulator, behest: Behest) -> BehestChatStore:
        """Give one on the emulator, whose address a store that is made anew finds in the environment."""
        assert environment.base_url
        return BehestChatStore(client=behest, user_id="alice")

    @pytest.fixture
    def reopened(self, store: BehestChatStore) -> BehestChatStore:
        """Give one on another client."""
        again = BehestChatStore(user_id="alice")
        assert again.client is not store.client
        return again

    @pytest.fixture
    def converse(self, take_turns: Callable[..., Awaitable[None]]) -> Ask:
        """Have each reply come from the model, called in the thread."""

        async def talk(store: BehestChatStore, key: str, messages: Sequence[ChatMessage]) -> None:
            await take_turns(
                key, messages, lambda: store.aget_messages(key), lambda message: store.async_add_message(key, message)
            )

        return talk
