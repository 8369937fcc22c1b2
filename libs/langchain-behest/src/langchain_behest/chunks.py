"""OpenAI stream chunks as LangChain chunks that add up to the message a plain call returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from behest_base import ToolCallPieces
from langchain_behest.messages_in import CUT_CALLS, PROVIDER, answer_metadata, extras, parsed_calls
from langchain_behest.messages_out import PLACE
from langchain_behest.usage import usage_metadata

__all__ = ["ChunkReader"]

# Texts that grow with each delta: LangChain adds strings up. Everything unknown is kept back for the last chunk, since
# adding up what is not a piece of text (a name, a flag, a score) would falsify or refuse it.
_GROWING_TEXTS: Final = frozenset({"reasoning_content", "reasoning", "refusal"})
_GROWING: Final = _GROWING_TEXTS | {"function_call", "audio", "thinking_blocks"}
# The fields of a reasoning detail that come in pieces; of the others the last says all.
_DETAIL_TEXTS: Final = ("text", "summary")

Wire = Mapping[str, Any]


class ChunkReader:
    """Reads the chunks of one streamed completion; its first choice, as a stream shows one answer."""

    def __init__(self, model: str) -> None:
        """Begin.

        Args:
            model: The model asked for, should no chunk name one.
        """
        self._metadata: dict[str, Any] = {"model_name": model}
        self._extras: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._finish_reason: str | None = None
        self._calls = ToolCallPieces()
        self._thoughts = _ThoughtPositions()

    def read(self, chunk: Wire) -> ChatGenerationChunk | None:
        """Return what a chunk adds, None if it adds nothing to see."""
        if chunk.get("usage"):
            # Servers that count as they go send the sum so far each time: the last one stands.
            self._usage = chunk["usage"]
            self._metadata.update(answer_metadata(chunk))
        metadata: dict[str, Any] = {"model_provider": PROVIDER}
        is_first = PLACE in chunk
        if is_first:
            metadata[PLACE] = chunk[PLACE]
        choice = next((choice for choice in chunk.get("choices") or () if not choice.get("index")), None)
        if choice is None or not (choice.get("delta") or choice.get("finish_reason")):
            self._metadata.update(answer_metadata(chunk))
            return _chunk("", {}, metadata, []) if is_first else None
        return self._read_choice(choice, chunk, metadata, is_first=is_first)

    def last(self) -> ChatGenerationChunk:
        """Return the chunk that closes the stream: usage, and what the answer says about itself."""
        metadata = {"model_provider": PROVIDER, **self._metadata}
        if self._usage:
            metadata["token_usage"] = self._usage
        if self._calls.calls and (cut := parsed_calls(self._calls.calls)[1]):
            metadata[CUT_CALLS] = cut
        message = AIMessageChunk(
            content="",
            additional_kwargs=self._extras,
            response_metadata=metadata,
            usage_metadata=usage_metadata(self._usage, metadata.get("service_tier")) if self._usage else None,
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)

    def _read_choice(
        self, choice: Wire, chunk: Wire, metadata: dict[str, Any], *, is_first: bool
    ) -> ChatGenerationChunk | None:
        delta: Wire = choice.get("delta") or {}
        if (reason := choice.get("finish_reason")) and self._finish_reason is None:
            self._finish_reason = metadata["finish_reason"] = reason
        if logprobs := choice.get("logprobs"):
            metadata["logprobs"] = logprobs
        if (
            is_first or reason
        ):  # most chunks say the same about the answer; reading that from each would cost more than its text
            self._metadata.update(answer_metadata(chunk))
        content = delta.get("content") or ""
        growing = self._growing(delta)
        calls = [_call_chunk(self._calls, piece) for piece in delta.get("tool_calls") or ()]
        seen = content or growing or calls or is_first or len(metadata) > 1
        return _chunk(content, growing, metadata, calls) if seen else None

    def _growing(self, delta: Wire) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in extras(delta).items():
            if name == "thinking_blocks":
                found[name] = self._thoughts.read(value)
            elif name in _GROWING and (name not in _GROWING_TEXTS or isinstance(value, str)):
                found[name] = value
            else:
                self._keep(name, value)
        return found

    def _keep(self, name: str, value: Any) -> None:
        known = self._extras.get(name)
        if name == "reasoning_details" and isinstance(value, list):
            self._extras[name] = _joined_details([*(known or ()), *value])
        elif isinstance(known, list) and isinstance(value, list):
            self._extras[name] = known + value
        elif isinstance(known, dict) and isinstance(value, dict):
            self._extras[name] = {**known, **value}
        else:
            self._extras[name] = value


def _chunk(
    content: str, growing: dict[str, Any], metadata: dict[str, Any], calls: list[ToolCallChunk]
) -> ChatGenerationChunk:
    message = AIMessageChunk(
        content=content, additional_kwargs=growing, response_metadata=metadata, tool_call_chunks=calls
    )
    # Where a plain call's result has it, for callbacks that look there.
    reason = metadata.get("finish_reason")
    return ChatGenerationChunk(message=message, generation_info={"finish_reason": reason} if reason else None)


def _call_chunk(pieces: ToolCallPieces, piece: Wire) -> ToolCallChunk:
    """Return a piece of a call as LangChain adds them up: by its position, with id and name once."""
    position, is_repeated = pieces.add(piece)
    function: Wire = piece.get("function") or {}
    return tool_call_chunk(
        name=None if is_repeated else function.get("name") or None,
        args=function.get("arguments"),
        id=None if is_repeated else piece.get("id") or None,
        index=position,
    )


def _joined_details(details: list[Any]) -> list[Any]:
    """Join the pieces of each of OpenRouter's details: its signature fits the whole only, which is what has to go back."""
    whole: list[Any] = []
    for detail in details:
        last = whole[-1] if whole else None
        if isinstance(last, dict) and isinstance(detail, dict) and _is_of(last, detail):
            texts = {
                name: (last.get(name) or "") + (detail.get(name) or "") for name in _DETAIL_TEXTS if name in detail
            }
            whole[-1] = {**last, **{name: value for name, value in detail.items() if value is not None}, **texts}
        else:
            whole.append(detail)
    return whole


def _is_of(last: Wire, detail: Wire) -> bool:
    is_same = all(last.get(name) == detail.get(name) for name in ("type", "index"))
    return is_same and detail.get("index") is not None


class _ThoughtPositions:
    """Gives each thinking block a position of its own: its text comes in pieces, its signature ends it."""

    def __init__(self) -> None:
        self._position = 0
        self._is_open = False

    def read(self, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**piece, "index": self._place(piece)} for piece in pieces]

    def _place(self, piece: dict[str, Any]) -> int:
        position = self._position
        is_whole = piece.get("type") == "redacted_thinking"
        if is_whole and self._is_open:
            position += 1
        self._is_open = not (is_whole or piece.get("signature"))
        self._position = position if self._is_open else position + 1
        return position
