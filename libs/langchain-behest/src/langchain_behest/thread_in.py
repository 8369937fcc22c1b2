"""Messages of a thread as LangChain messages, marked with the thread they came out of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from behest_base import Identity, ThreadMessage
from langchain_behest.messages_in import PROVIDER, extras, parsed_calls
from langchain_behest.messages_out import PLACE

__all__ = ["messages_of_thread", "pending_messages"]


def messages_of_thread(thread: Sequence[ThreadMessage], identity: Identity) -> list[BaseMessage]:
    """Return a thread's messages; ids, times and unknown fields are in `response_metadata["behest"]`."""
    return [_message(message, identity) for message in thread]


def pending_messages(pending: Sequence[dict[str, Any]]) -> list[BaseMessage]:
    """Return the user messages that wait for the next call; they are in no thread yet."""
    return [HumanMessage(content=wire["content"], name=wire.get("name")) for wire in pending]


def _message(message: ThreadMessage, identity: Identity) -> BaseMessage:
    wire = message.wire()
    kept = {name: value for name, value in (message.model_extra or {}).items() if name not in wire}
    place = {"user_id": identity.user_id, "thread_id": identity.thread_id, **kept}
    if message.created_at is not None:
        place["created_at"] = message.created_at
    fields: dict[str, Any] = {
        "content": wire.get("content") or "",
        "id": None if message.id is None else str(message.id),
        "name": message.name,
        "response_metadata": {PLACE: place},
    }
    match message.role:
        case "user":
            return HumanMessage(**fields)
        case "assistant":
            return _reply(wire, fields)
        case "tool":
            return ToolMessage(tool_call_id=message.tool_call_id or "", **fields)
        case "system":
            return SystemMessage(**fields)
        case "developer":
            return SystemMessage(additional_kwargs={"__openai_role__": "developer"}, **fields)
        case role:
            return ChatMessage(role=role, **fields)


def _reply(wire: dict[str, Any], fields: dict[str, Any]) -> AIMessage:
    calls, invalid = parsed_calls(wire.get("tool_calls"))
    fields["response_metadata"] = {"model_provider": PROVIDER, **fields["response_metadata"]}
    return AIMessage(**fields, tool_calls=calls, invalid_tool_calls=invalid, additional_kwargs=extras(wire))
