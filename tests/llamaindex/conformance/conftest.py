"""The suites' assertions say what they saw, as those of a test file do; and conversations in threads of the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from behest_base import Behest
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM
from llamaindex_behest.messages_out import wire_message

for suite in ("async_chat_stores", "chat_stores", "function_calling", "llms", "memories", "messages"):
    pytest.register_assert_rewrite(f"llamaindex.conformance.{suite}")

Get = Callable[[], Awaitable[list[ChatMessage]]]
Put = Callable[[ChatMessage], Awaitable[None]]


@pytest.fixture
def take_turns(gateway: Emulator, behest: Behest) -> Callable[..., Awaitable[None]]:
    """Have a conversation in a thread of alice's as engines have it: put, get, call the model, put its reply.

    The gateway's model gives the replies that are in the messages.
    """
    gateway.store_tool_calls = True

    async def take(thread_id: str, messages: Sequence[ChatMessage], get: Get, put: Put) -> None:
        llm = BehestLLM(client=behest, user_id="alice", thread_id=thread_id)
        for message in messages:
            if message.role is MessageRole.ASSISTANT:
                gateway.script(wire_message(message))
                await put((await llm.achat(await get())).message)
            else:
                await put(message)

    return take
