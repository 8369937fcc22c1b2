"""LlamaIndex messages as OpenAI messages. Pure, and never at the cost of the caller's objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from behest_base import BehestConfigError

__all__ = ["THREAD_MARK", "marks_of", "to_wire", "wire_message"]

THREAD_MARK: Final = "behest"
"""The key of `additional_kwargs` under which a message says which user's thread it came out of."""

# Names that other providers' histories use.
_ROLES: Final[Mapping[MessageRole, str]] = {MessageRole.MODEL: "assistant", MessageRole.CHATBOT: "assistant"}

# What of additional_kwargs is the OpenAI message's own. Anything else belongs to whoever put it there.
_PASSED_ON: Final = ("name", "tool_call_id", "tool_calls", "function_call", "refusal")


def to_wire(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Return messages as the OpenAI wire has them.

    Raises:
        BehestConfigError: A block has no form there.
    """
    return [wire_message(message) for message in messages]


def marks_of(messages: Sequence[ChatMessage], user_id: str) -> list[str | None]:
    """Return for each message the id of this user's thread that it came out of, or None."""
    places = (message.additional_kwargs.get(THREAD_MARK) or {} for message in messages)
    return [place.get("thread_id") if place.get("user_id", user_id) == user_id else None for place in places]


def wire_message(message: ChatMessage) -> dict[str, Any]:
    """Return one message as the OpenAI wire has it.

    Raises:
        BehestConfigError: A block has no form there.
    """
    wire: dict[str, Any] = {"role": _ROLES.get(message.role, message.role.value), "content": None}
    parts: list[dict[str, Any]] = []
    thoughts: list[ThinkingBlock] = []
    calls: list[ToolCallBlock] = []
    for block in message.blocks:
        if isinstance(block, ThinkingBlock):
            thoughts.append(block)
        elif isinstance(block, ToolCallBlock):
            calls.append(block)
        elif isinstance(block, CachePoint):
            _cache_through(parts, block)
        else:
            parts.append(_part(block))
    wire["content"] = _content(parts, may_be_none=bool(calls or thoughts or message.additional_kwargs))
    wire |= {
        name: _plain(message.additional_kwargs[name]) for name in _PASSED_ON if message.additional_kwargs.get(name)
    }
    if calls:
        wire["tool_calls"] = [_tool_call(call) for call in calls]
    if thoughts:
        wire |= _thinking(thoughts)
    return wire


def _content(parts: list[dict[str, Any]], *, may_be_none: bool) -> str | list[dict[str, Any]] | None:
    if not parts:
        return None if may_be_none else ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _part(block: Any) -> dict[str, Any]:
    for kind, form in _FORMS.items():
        if isinstance(block, kind):
            return form(block)
    kinds = ", ".join(sorted(kind.__name__ for kind in _FORMS))
    msg = f"The gateway's chat takes no {type(block).__name__}. Send its content as one of: {kinds}."
    raise BehestConfigError(msg, code="unsupported_block")


def _text(block: TextBlock) -> dict[str, Any]:
    return {"type": "text", "text": block.text}


def _image(block: ImageBlock) -> dict[str, Any]:
    # An address is passed on for the model's side to load: reading it here would let a message choose what this host fetches.
    url = str(block.url) if block.url and not (block.image or block.path) else block.inline_url()
    return {"type": "image_url", "image_url": {"url": url, **({"detail": block.detail} if block.detail else {})}}


def _audio(block: AudioBlock) -> dict[str, Any]:
    _needs_data(block, block.audio or block.path, "audio")
    data = block.resolve_audio(as_base64=True).read().decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": block.format or "wav"}}


def _document(block: DocumentBlock) -> dict[str, Any]:
    _needs_data(block, block.data or block.path, "data")
    return {"type": "file", "file": {"filename": block.title, "file_data": block.inline_url()}}


def _needs_data(block: Any, data: Any, name: str) -> None:
    if not data:
        msg = f"{type(block).__name__} needs {name}= or path=: the chat wire has no form for an address of it."
        raise BehestConfigError(msg, code="unsupported_block")


_FORMS: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {
    TextBlock: _text,
    ImageBlock: _image,
    AudioBlock: _audio,
    DocumentBlock: _document,
}


def _cache_through(parts: list[dict[str, Any]], point: CachePoint) -> None:
    """Mark the part before the point: that is how LiteLLM passes a prompt cache's breakpoints on."""
    if parts:
        parts[-1]["cache_control"] = point.cache_control.model_dump()


def _tool_call(block: ToolCallBlock) -> dict[str, Any]:
    arguments = block.tool_kwargs if isinstance(block.tool_kwargs, str) else json.dumps(block.tool_kwargs)
    # A call without arguments is streamed as no text at all, which models refuse when it comes back.
    function = {"name": block.tool_name, "arguments": arguments or "{}"}
    return {"id": block.tool_call_id or "", "type": "function", "function": function}


def _thinking(blocks: Sequence[ThinkingBlock]) -> dict[str, Any]:
    """Give thinking back as it came: signed blocks are checked by the model that wrote them."""
    wire: dict[str, Any] = {}
    if text := "".join(block.content or "" for block in blocks):
        wire["reasoning_content"] = text
    if signed := [_signed(block) for block in blocks if block.additional_information]:
        wire["thinking_blocks"] = signed
    return wire


def _signed(block: ThinkingBlock) -> dict[str, Any]:
    shown = {"thinking": block.content} if block.content is not None else {}
    return {"type": "thinking", **shown, **block.additional_information}


def _plain(value: Any) -> Any:
    """Return plain data for what another provider's history may hold as its SDK's objects."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump(exclude_none=True) if hasattr(value, "model_dump") else value
