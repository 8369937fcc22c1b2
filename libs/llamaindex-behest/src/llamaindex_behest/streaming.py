"""The chunks of a streamed completion as LlamaIndex's cumulative responses. Pure; its work per chunk is that of the chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    LogProb,
    MessageRole,
    TextBlock,
)

from behest_base import ToolCallPieces
from llamaindex_behest.messages_in import call_block, logprobs_of, reasoning_text, thinking_blocks, token_counts
from llamaindex_behest.messages_out import THREAD_MARK

__all__ = ["Accumulator"]

# Fields of a delta that have a place of their own.
_GATHERED: Final = frozenset({"role", "content", "tool_calls", "reasoning_content", "reasoning", "thinking_blocks"})
# Other texts that come in pieces.
_GROWING: Final = frozenset({"refusal"})


class Accumulator:
    """Builds the message so far from chunks, each of which becomes one response."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._text = ""
        self._reasoning = ""
        self._signed: list[dict[str, Any]] = []
        self._calls = ToolCallPieces()
        self._kwargs: dict[str, Any] = {}
        self._usage: Mapping[str, Any] | None = None

    def add(self, chunk: dict[str, Any]) -> ChatResponse:
        """Return the response that a chunk makes: the message so far, and what is new in it."""
        about: dict[str, Any] = {}
        delta_text, logprobs = "", None
        if place := chunk.get("behest"):
            self._note_place(place)
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue  # LlamaIndex has one message per response; further choices are in raw
            if reason := choice.get("finish_reason"):
                about["finish_reason"] = reason
            logprobs = logprobs_of(choice) if choice.get("logprobs") else None
            if delta := choice.get("delta"):
                delta_text += delta.get("content") or ""
                self._note(delta, about)
        self._text += delta_text
        return self._response(chunk, delta_text, about, logprobs)

    def _response(
        self, chunk: dict[str, Any], delta_text: str, about: dict[str, Any], logprobs: list[list[LogProb]] | None
    ) -> ChatResponse:
        self._usage = chunk.get("usage") or self._usage
        if self._usage is not None:
            # Who counts tokens looks at the last response, whichever chunk had the usage.
            chunk = chunk if chunk.get("usage") else {**chunk, "usage": self._usage}
            about |= token_counts(chunk)
        # Not validated: these are our own blocks, and validation would cost more than all the rest of a chunk.
        kwargs = dict(self._kwargs)
        if self._calls.calls:
            kwargs["tool_calls"] = [{**call, "function": {**call["function"]}} for call in self._calls.calls]
        message = ChatMessage.model_construct(
            role=MessageRole.ASSISTANT, blocks=self._blocks(), additional_kwargs=kwargs
        )
        return ChatResponse.model_construct(
            message=message, raw=chunk, delta=delta_text, logprobs=logprobs, additional_kwargs=about
        )

    def _note(self, delta: Mapping[str, Any], about: dict[str, Any]) -> None:
        if thought := reasoning_text(delta):
            self._reasoning += thought
            about["thinking_delta"] = thought
        for block in delta.get("thinking_blocks") or ():
            self._note_signed(block)
        for call in delta.get("tool_calls") or ():
            self._calls.add(call)
        for name in delta.keys() - _GATHERED:
            self._keep(name, delta[name])

    def _keep(self, name: str, value: Any) -> None:
        """Put a further field to what came of it before: texts and lists grow, anything else is as it came last."""
        known = self._kwargs.get(name)
        if isinstance(known, list) and isinstance(value, list):
            value = [*known, *value]
        if name in _GROWING and isinstance(known, str) and isinstance(value, str):
            value = f"{known}{value}"
        if value is not None:
            self._kwargs[name] = value

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

    def _blocks(self) -> list[ContentBlock]:
        blocks: list[ContentBlock] = []
        if self._signed or self._reasoning:
            blocks += thinking_blocks({"thinking_blocks": self._signed, "reasoning_content": self._reasoning})
        if self._text or not (blocks or self._calls.calls):
            blocks.append(TextBlock.model_construct(block_type="text", text=self._text))
        blocks += [call_block(call) for call in self._calls.calls]
        return blocks
