"""The chunks of a streamed completion as LlamaIndex's cumulative responses. Pure; its work per chunk is that of the chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)

from llamaindex_behest.messages_in import thinking_blocks, token_counts
from llamaindex_behest.messages_out import THREAD_MARK

__all__ = ["Accumulator"]

# Fields of a delta that are gathered below; others (annotations, refusal, audio …) are kept as they came last.
_GATHERED: Final = frozenset({"role", "content", "tool_calls", "reasoning_content", "thinking_blocks"})


class Accumulator:
    """Builds the message so far from chunks, each of which becomes one response."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._text = ""
        self._reasoning = ""
        self._signed: list[dict[str, Any]] = []
        self._calls: dict[int, dict[str, str | None]] = {}
        self._kwargs: dict[str, Any] = {}
        self._usage: Mapping[str, Any] | None = None

    def add(self, chunk: dict[str, Any]) -> ChatResponse:
        """Return the response that a chunk makes: the message so far, and what is new in it."""
        about: dict[str, Any] = {}
        delta_text = ""
        if place := chunk.get("behest"):
            self._note_place(place)
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue  # LlamaIndex has one message per response; further choices are in raw
            if reason := choice.get("finish_reason"):
                about["finish_reason"] = reason
            if delta := choice.get("delta"):
                delta_text += delta.get("content") or ""
                self._note(delta, about)
        self._text += delta_text
        return self._response(chunk, delta_text, about)

    def _response(self, chunk: dict[str, Any], delta_text: str, about: dict[str, Any]) -> ChatResponse:
        self._usage = chunk.get("usage") or self._usage
        if self._usage is not None:
            # Who counts tokens looks at the last response, whichever chunk had the usage.
            chunk = chunk if chunk.get("usage") else {**chunk, "usage": self._usage}
            about |= token_counts(chunk)
        # Not validated: these are our own blocks, and validation would cost more than all the rest of a chunk.
        kwargs = dict(self._kwargs)
        if self._calls:
            kwargs["tool_calls"] = [_wire_call(self._calls[index]) for index in sorted(self._calls)]
        message = ChatMessage.model_construct(
            role=MessageRole.ASSISTANT, blocks=self._blocks(), additional_kwargs=kwargs
        )
        return ChatResponse.model_construct(
            message=message, raw=chunk, delta=delta_text, logprobs=None, additional_kwargs=about
        )

    def _note(self, delta: Mapping[str, Any], about: dict[str, Any]) -> None:
        if thought := delta.get("reasoning_content"):
            self._reasoning += thought
            about["thinking_delta"] = thought
        for block in delta.get("thinking_blocks") or ():
            self._note_signed(block)
        for call in delta.get("tool_calls") or ():
            self._note_call(call)
        if delta.keys() - _GATHERED:
            rest = {name: value for name, value in delta.items() if name not in _GATHERED and value is not None}
            self._kwargs |= rest

    def _note_place(self, place: Mapping[str, Any]) -> None:
        if place.get("thread_id"):
            self._kwargs[THREAD_MARK] = dict(place)

    def _note_signed(self, block: Mapping[str, Any]) -> None:
        """Put a piece of signed thinking to the block that it continues: a signature ends one."""
        last = self._signed[-1] if self._signed else None
        if last is None or last.get("signature") or last.get("type") != block.get("type"):
            self._signed.append(dict(block))
            return
        last["thinking"] = (last.get("thinking") or "") + (block.get("thinking") or "")
        last |= {name: value for name, value in block.items() if name != "thinking" and value}

    def _note_call(self, piece: Mapping[str, Any]) -> None:
        function = piece.get("function") or {}
        call = self._calls.setdefault(self._index_of(piece), {"id": None, "name": "", "arguments": ""})
        call["id"] = piece.get("id") or call["id"]
        call["name"] = (call["name"] or "") + (function.get("name") or "")
        call["arguments"] = (call["arguments"] or "") + (function.get("arguments") or "")

    def _index_of(self, piece: Mapping[str, Any]) -> int:
        """Return which call a piece belongs to; some servers leave the index out, then an id begins a call."""
        index = piece.get("index")
        if index is not None:
            return int(index)
        if piece.get("id"):
            known = (i for i, call in self._calls.items() if call["id"] == piece["id"])
            return next(known, len(self._calls))
        return max(self._calls, default=0)

    def _blocks(self) -> list[ContentBlock]:
        blocks: list[ContentBlock] = []
        if self._signed or self._reasoning:
            blocks += thinking_blocks({"thinking_blocks": self._signed, "reasoning_content": self._reasoning})
        if self._text or not (blocks or self._calls):
            blocks.append(TextBlock.model_construct(block_type="text", text=self._text))
        blocks += [_call_block(self._calls[index]) for index in sorted(self._calls)]
        return blocks


def _call_block(call: Mapping[str, str | None]) -> ToolCallBlock:
    return ToolCallBlock(tool_call_id=call["id"], tool_name=call["name"] or "", tool_kwargs=call["arguments"] or "")


def _wire_call(call: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        "id": call["id"],
        "type": "function",
        "function": {"name": call["name"], "arguments": call["arguments"]},
    }
