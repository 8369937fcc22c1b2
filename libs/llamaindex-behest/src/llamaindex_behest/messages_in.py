"""OpenAI messages and completions as LlamaIndex has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from llamaindex_behest.messages_out import THREAD_MARK

__all__ = [
    "call_block",
    "chat_response",
    "from_wire",
    "logprobs_of",
    "reasoning_text",
    "thinking_blocks",
    "token_counts",
]

# What has a place of its own in a ChatMessage; the rest goes into additional_kwargs as it came. Tool calls go to both: parts
# of llama-index-core look for them there (is_function, process_streaming_objects).
_PLACED: Final = frozenset({"role", "content", "reasoning_content", "reasoning", "thinking_blocks", "audio"})

_DATA_URL_PREFIX: Final = "data:"


def from_wire(message: Mapping[str, Any], place: Mapping[str, Any] | None = None) -> ChatMessage:
    """Return an OpenAI message as a ChatMessage.

    Args:
        message: The message, as a completion or a thread has it.
        place: Where it came from: the completion's `behest`, or the thread; a thread in it becomes the message's mark.
    """
    blocks: list[ContentBlock] = [*thinking_blocks(message)]
    unread = _read_content(message.get("content"), blocks)
    if audio := message.get("audio"):
        blocks.append(AudioBlock(audio=str(audio.get("data") or "").encode("ascii")))
    calls = message.get("tool_calls") or ()
    blocks += [call_block(call) for call in calls]
    kwargs = {name: value for name, value in message.items() if name not in _PLACED and value not in (None, [])}
    if unread:
        kwargs["content_parts"] = unread
    if place and place.get("thread_id"):
        kwargs[THREAD_MARK] = dict(place)
    return ChatMessage(role=_role(message), blocks=blocks, additional_kwargs=kwargs)


def _role(message: Mapping[str, Any]) -> MessageRole:
    try:
        return MessageRole(message.get("role") or "assistant")
    except ValueError:
        return MessageRole.ASSISTANT


def _read_content(content: Any, blocks: list[ContentBlock]) -> list[Any]:
    """Append the content's blocks, and return the parts that have no block."""
    if isinstance(content, str):
        blocks.append(TextBlock(text=content))
        return []
    unread: list[Any] = []
    for part in content or ():
        block = TextBlock(text=part) if isinstance(part, str) else _block(part)
        if block is None:
            unread.append(part)
        else:
            blocks.append(block)
    return unread


def _block(part: Mapping[str, Any]) -> ContentBlock | None:
    kind = part.get("type")
    if kind in ("text", "output_text"):
        return TextBlock(text=part.get("text") or "")
    if kind == "image_url":
        return _image(part["image_url"])
    if kind == "input_audio":
        audio = part["input_audio"]
        return AudioBlock(audio=audio["data"].encode("ascii"), format=audio.get("format"))
    if kind == "file" and (data := part["file"].get("file_data")):
        return _document(data, part["file"].get("filename"))
    if kind == "thinking":
        return _thought(part)
    return None


def _image(image: Mapping[str, Any] | str) -> ImageBlock:
    url, detail = (image, None) if isinstance(image, str) else (image["url"], image.get("detail"))
    if url.startswith(_DATA_URL_PREFIX):
        mimetype, data = _data_url(url)
        return ImageBlock(image=data, image_mimetype=mimetype, detail=detail)
    return ImageBlock(url=url, detail=detail)


def _document(data: str, filename: str | None) -> DocumentBlock:
    mimetype, payload = _data_url(data)
    return DocumentBlock(data=payload, title=filename, document_mimetype=mimetype)


def _data_url(url: str) -> tuple[str | None, bytes]:
    head, _, data = url.partition(",")
    return head.removeprefix(_DATA_URL_PREFIX).split(";")[0] or None, data.encode("ascii")


def thinking_blocks(message: Mapping[str, Any]) -> list[ThinkingBlock]:
    """Return the thinking of a message: the signed blocks where there are such, else the plain text."""
    if signed := message.get("thinking_blocks"):
        return [_thought(block) for block in signed]
    text = reasoning_text(message)
    return [ThinkingBlock(content=text)] if text else []


def reasoning_text(message: Mapping[str, Any]) -> str:
    """Return a message's or delta's reasoning, under either of the names that servers have for it."""
    text = message.get("reasoning_content") or message.get("reasoning")
    return text if isinstance(text, str) else ""


def _thought(block: Mapping[str, Any]) -> ThinkingBlock:
    rest = {
        name: value for name, value in block.items() if name != "thinking" and (name, value) != ("type", "thinking")
    }
    return ThinkingBlock(content=block.get("thinking"), additional_information=rest)


def call_block(call: Mapping[str, Any]) -> ToolCallBlock:
    """Return a call of a message as a block; its arguments stay the text that they are."""
    function = call.get("function") or {}
    return ToolCallBlock(
        tool_call_id=call.get("id"), tool_name=function.get("name") or "", tool_kwargs=function.get("arguments") or ""
    )


def chat_response(completed: Mapping[str, Any]) -> ChatResponse:
    """Return a whole completion as a ChatResponse; `raw` is the completion, `behest` and `usage` in it."""
    choice: Mapping[str, Any] = next(iter(completed["choices"]), {})
    return ChatResponse(
        message=from_wire(choice.get("message") or {}, completed.get("behest")),
        raw=completed,
        logprobs=logprobs_of(choice),
        additional_kwargs=_about(choice) | token_counts(completed),
    )


def token_counts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the token counts of a completion or chunk under the names that LlamaIndex's counters read."""
    usage = raw.get("usage")
    if not usage:
        return {}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: usage.get(name) or 0 for name in names}


def _about(choice: Mapping[str, Any]) -> dict[str, Any]:
    reason = choice.get("finish_reason")
    return {"finish_reason": reason} if reason else {}


def logprobs_of(choice: Mapping[str, Any]) -> list[list[LogProb]] | None:
    """Return the log probabilities of a choice's tokens, None if there are none."""
    tokens = cast("Sequence[Mapping[str, Any]] | None", (choice.get("logprobs") or {}).get("content"))
    if not tokens:
        return None
    return [[_logprob(top) for top in token.get("top_logprobs") or [token]] for token in tokens]


def _logprob(token: Mapping[str, Any]) -> LogProb:
    return LogProb(token=token["token"], logprob=token["logprob"], bytes=token.get("bytes") or [])
