"""LangChain messages as OpenAI chat messages: what of a conversation goes over the wire, without I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from langchain_behest.content_out import wire_content

__all__ = ["CALL_EXTRAS", "PLACE", "mark_of", "wire_messages"]

PLACE: Final = "behest"
"""The key of `response_metadata` that says where a message came from: user, session, thread, and the gateway's ids."""

CALL_EXTRAS: Final = "tool_call_extras"
"""The key of `additional_kwargs` under which a call's further fields are kept by its id; Gemini's want to be sent back."""

# The fields in which models hand out their reasoning; they take it back under the same name.
_REASONING: Final = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")

_WIRE_CALL_KEYS: Final = frozenset({"id", "type", "function"})


def wire_messages(messages: Sequence[BaseMessage]) -> tuple[list[dict[str, Any]], list[BaseMessage]]:
    """Return messages as the wire's, and for each of these the message it came from.

    A human message with Anthropic's `tool_result` blocks becomes several; every other one becomes one.

    Raises:
        TypeError: A message is of a kind that a chat request has no place for.
        ValueError: A content block lacks what its type needs.
    """
    turn = max((i for i, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    pairs = [(wire, message) for i, message in enumerate(messages) for wire in _wire(message, is_of_this_turn=i > turn)]
    return [wire for wire, _ in pairs], [message for _, message in pairs]


def mark_of(message: BaseMessage, user_id: str) -> str | None:
    """Return the thread that a message came out of, None if it came out of none of this user's."""
    place = message.response_metadata.get(PLACE)
    if not isinstance(place, Mapping) or place.get("user_id", user_id) != user_id:
        return None
    thread_id = place.get("thread_id")
    return thread_id if isinstance(thread_id, str) else None


def _wire(message: BaseMessage, *, is_of_this_turn: bool) -> list[dict[str, Any]]:
    match message:
        case AIMessage():
            return [_assistant(message, is_of_this_turn=is_of_this_turn)]
        case HumanMessage():
            return _human(message)
        case SystemMessage():
            return [_named(message, message.additional_kwargs.get("__openai_role__", "system"))]
        case ToolMessage():
            return [_tool(message.tool_call_id, message.content)]
        case FunctionMessage():
            return [_named(message, "function")]
        case ChatMessage():
            return [_named(message, message.role)]
        case _:
            msg = f"A chat request has no place for a message of type {type(message).__name__}."
            raise TypeError(msg)


def _named(message: BaseMessage, role: str) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": role, "content": wire_content(message.content)}
    name = message.name or message.additional_kwargs.get("name")
    return {**wire, "name": name} if name is not None else wire


def _human(message: HumanMessage) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [_named(message, "user")]
    results = [block for block in message.content if isinstance(block, dict) and block.get("type") == "tool_result"]
    if not results:
        return [_named(message, "user")]
    rest: list[str | dict[str, Any]] = [block for block in message.content if block not in results]
    said = [_named(message.model_copy(update={"content": rest}), "user")] if rest else []
    return [_tool(str(block.get("tool_use_id")), block.get("content") or "") for block in results] + said


def _tool(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": wire_content(content)}


def _assistant(message: AIMessage, *, is_of_this_turn: bool) -> dict[str, Any]:
    extra = message.additional_kwargs
    wire = _named(message, "assistant")
    wire["content"] = _said(wire["content"])
    if calls := _calls(message):
        wire["tool_calls"] = calls
    elif "function_call" in extra:
        wire["function_call"] = extra["function_call"]
    if not wire["content"] and wire.keys() & {"tool_calls", "function_call"}:
        wire["content"] = None
    if (refusal := _refusal(message)) and not wire["content"]:
        wire["refusal"] = refusal
    if audio := _audio(message):
        wire["audio"] = audio
    # Models that reason between tool calls want their reasoning back until the turn is over; in an earlier turn's messages
    # some of them refuse it.
    if is_of_this_turn and "tool_calls" in wire:
        wire.update(_reasoning(message))
    return wire


def _said(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Join a reply's texts: not every model behind the gateway takes a list from an assistant."""
    if isinstance(content, str):
        return content
    parts = [part for part in content if part["type"] != "input_audio"]
    if any(part.keys() != {"type", "text"} for part in parts):
        return parts
    return "".join(part["text"] for part in parts)


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    more = message.additional_kwargs.get(CALL_EXTRAS) or {}
    parsed = [_call(call, json.dumps(call["args"], ensure_ascii=False), more) for call in message.tool_calls]
    invalid = [_call(call, call["args"] or "", more) for call in message.invalid_tool_calls]
    if parsed or invalid:
        return parsed + invalid
    if raw := message.additional_kwargs.get("tool_calls"):
        return [{name: value for name, value in call.items() if name in _WIRE_CALL_KEYS} for call in raw]
    used = [
        block for block in _blocks(message) if block.get("type") == "tool_use"
    ]  # Anthropic's, copied without tool_calls
    calls = [ToolCall(name=block["name"], args=block.get("input") or {}, id=block["id"]) for block in used]
    return [_call(call, json.dumps(call["args"], ensure_ascii=False), more) for call in calls]


def _call(call: ToolCall | InvalidToolCall, arguments: str, more: Mapping[str, Any]) -> dict[str, Any]:
    kept = more.get(call["id"] or "") or {}
    function = {**(kept.get("function") or {}), "name": call["name"], "arguments": arguments}
    return {**kept, "id": call["id"], "type": "function", "function": function}


def _blocks(message: AIMessage) -> list[dict[str, Any]]:
    return [block for block in message.content if isinstance(block, dict)]


def _refusal(message: AIMessage) -> str | None:
    blocks = [block.get("refusal") for block in _blocks(message) if block.get("type") == "refusal"]
    return next((each for each in (message.additional_kwargs.get("refusal"), *blocks) if isinstance(each, str)), None)


def _audio(message: AIMessage) -> dict[str, Any] | None:
    """Return the reference to a spoken reply: the API takes back its id, not its data."""
    ids = [block["id"] for block in _blocks(message) if block.get("type") == "audio" and block.get("id")]
    audio = message.additional_kwargs.get("audio")
    if not ids and isinstance(audio, dict):
        return {"id": audio["id"]} if "id" in audio else audio
    return {"id": ids[-1]} if ids else None


def _reasoning(message: AIMessage) -> dict[str, Any]:
    found = {name: value for name in _REASONING if (value := message.additional_kwargs.get(name))}
    if not found:
        found = _reasoning_of_blocks(_blocks(message))
    if "thinking_blocks" in found:
        found["thinking_blocks"] = [_without_index(block) for block in found["thinking_blocks"]]
    return found


def _reasoning_of_blocks(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the reasoning that stands in content blocks: Anthropic's, and LangChain's with a signature or without."""
    thinking = [thought for block in blocks if (thought := _thought(block)) is not None]
    plain = "".join(block.get("reasoning") or "" for block in blocks if block.get("type") == "reasoning")
    if thinking:
        return {"thinking_blocks": thinking}
    return {"reasoning_content": plain} if plain else {}


def _thought(block: dict[str, Any]) -> dict[str, Any] | None:
    if block.get("type") in ("thinking", "redacted_thinking"):
        return block
    signature = (block.get("extras") or {}).get("signature") if block.get("type") == "reasoning" else None
    return {"type": "thinking", "thinking": block.get("reasoning") or "", "signature": signature} if signature else None


def _without_index(block: Any) -> Any:
    return {name: value for name, value in block.items() if name != "index"} if isinstance(block, dict) else block
