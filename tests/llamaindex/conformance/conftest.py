"""The suites' assertions say what they saw, as those of a test file do; and conversations in threads of the gateway."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

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


@pytest.fixture
def knows_ada(gateway: Emulator) -> str:
    """Have the gateway's model know Ada, by a function call where it is offered one; return what it is told."""
    ada = json.dumps({"name": "Ada", "age": 36})

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        calls = {"content": None, "tool_calls": [_call("p", "Person", ada)]}
        return calls if asked.get("tools") else {"content": ada}

    gateway.script(answer)
    return "Ada is 36 years old."


@pytest.fixture
def calls_both_tools(gateway: Emulator) -> Callable[[], None]:
    """Have the gateway's model call both tools of the suite at once, when it is called next."""
    calls = [_call("w", "weather", '{"city": "Oslo"}'), _call("d", "distance", '{"city": "Rome"}')]
    return lambda: gateway.script({"role": "assistant", "content": None, "tool_calls": calls})


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
