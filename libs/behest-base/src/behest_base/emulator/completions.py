"""A reply as an OpenAI completion, whole or in chunks."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

from behest_base.emulator.model import text_of

__all__ = ["assembled", "chunks_of", "completion_of", "event", "token_count"]

Message = dict[str, Any]

DONE: Final = b"data: [DONE]\n\n"
# Tool arguments arrive in pieces, as they do from real models.
ARGUMENT_PIECE_CHARACTERS: Final = 7
_WORDS: Final = re.compile(r"\s*\S+|\s+$")


def token_count(messages: Sequence[Message]) -> int:
    """Estimate tokens: words and punctuation of text and of tool calls."""
    texts = (
        text_of(message.get("content")) + (json.dumps(message["tool_calls"]) if message.get("tool_calls") else "")
        for message in messages
    )
    return sum(3 + len(re.findall(r"\w+|[^\w\s]", text)) for text in texts)


def completion_of(request: dict[str, Any], reply: Message) -> dict[str, Any]:
    """Return the completion of a request whose messages are the effective prompt; a whole completion is taken as it is."""
    if "choices" in reply:
        return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": int(time.time()), **reply}
    # Models reason before they speak; the order of the fields is that of a stream's deltas.
    first = {name: reply[name] for name in ("reasoning_content",) if name in reply}
    message, finish = _limited(request, {"role": "assistant", **first, "content": None, **reply})
    choices = [
        {"index": index, "message": message, "finish_reason": finish, "logprobs": None}
        for index in range(int(request.get("n") or 1))
    ]
    prompt, output = token_count(request["messages"]), token_count([message]) * len(choices)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request["model"],
        "system_fingerprint": None,
        "choices": choices,
        "usage": {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output},
    }


def chunks_of(completion: dict[str, Any], *, include_usage: bool) -> Iterator[dict[str, Any]]:
    """Cut a completion into the chunks of a stream."""
    head: dict[str, Any] = {
        name: completion[name] for name in ("id", "created", "model", "system_fingerprint") if name in completion
    }
    head["object"] = "chat.completion.chunk"
    for choice in completion["choices"]:
        index = choice.get("index", 0)
        for delta in _deltas(choice["message"]):
            yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        finish = choice.get("finish_reason") or "stop"
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": finish}]}
    if include_usage and "usage" in completion:
        yield {**head, "choices": [], "usage": completion["usage"]}


def event(chunk: dict[str, Any]) -> bytes:
    """Write a chunk as an event."""
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def assembled(chunks: Sequence[dict[str, Any]]) -> Message | None:
    """Put the first choice's message together again from its chunks; None if there was nothing of it."""
    message: Message = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue
            delta: dict[str, Any] = choice.get("delta") or {}
            for name in ("content", "reasoning_content", "refusal"):
                if isinstance(delta.get(name), str) and delta[name]:
                    message[name] = (message.get(name) or "") + delta[name]
            pieces: list[dict[str, Any]] = delta.get("tool_calls") or []
            for piece in pieces:
                _join(calls, piece)
    if calls:
        message["tool_calls"] = list(calls.values())
    return message if len(message) > 2 or message["content"] is not None else None  # noqa: PLR2004 - role and content


def _join(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    call = calls.setdefault(
        piece.get("index") or 0, {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
    )
    call["id"] = piece.get("id") or call["id"]
    function: dict[str, Any] = piece.get("function") or {}
    for name in ("name", "arguments"):
        call["function"][name] += function.get(name) or ""


def _deltas(message: Message) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for name, value in message.items():
        if name in ("reasoning_content", "content", "refusal") and isinstance(value, str):
            yield from ({name: piece} for piece in _WORDS.findall(value))
        elif name not in ("role", "content", "tool_calls") and value is not None:
            yield {name: value}
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {"name": function["name"], "arguments": ""}}]}
        arguments = function["arguments"]
        for start in range(0, len(arguments), ARGUMENT_PIECE_CHARACTERS):
            piece = arguments[start : start + ARGUMENT_PIECE_CHARACTERS]
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _limited(request: dict[str, Any], message: Message) -> tuple[Message, str]:
    """Apply `stop` and the token limit to a message's text, and name the reason why it ended."""
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    text = message.get("content")
    if not isinstance(text, str):
        return message, finish
    stops: str | list[str] = request.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop, 1)[0]
    limit: int | None = request.get("max_completion_tokens") or request.get("max_tokens")
    tokens = list(re.finditer(r"\w+|[^\w\s]", text))
    if limit is not None and len(tokens) > limit:
        text, finish = text[: tokens[limit].start()].rstrip(), "length"
    return {**message, "content": text}, finish
