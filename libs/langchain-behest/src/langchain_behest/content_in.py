"""What `content_blocks` shows of a reply beside its text and calls: reasoning with its signature, refusal, audio."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages import AIMessage
from langchain_core.messages import content as types
from langchain_core.messages.block_translators import register_translator

from langchain_behest.messages_in import PROVIDER

__all__ = ["content_blocks", "register"]

_SHOWN = ("thinking_blocks", "reasoning", "refusal", "audio")


def register() -> None:
    """Make langchain-core read the content blocks of this package's replies with `content_blocks`."""
    register_translator(PROVIDER, content_blocks, content_blocks)


def content_blocks(message: AIMessage) -> list[types.ContentBlock]:
    """Return the content blocks of a reply, or of a chunk of one.

    Raises:
        NotImplementedError: It holds nothing that langchain-core doesn't read by itself, which it then does.
    """
    extra = message.additional_kwargs
    if not any(extra.get(name) for name in _SHOWN):
        raise NotImplementedError
    blocks = message.model_copy(update={"response_metadata": {}}).content_blocks
    if reasoning := _reasoning(extra):
        blocks = [*reasoning, *(block for block in blocks if block["type"] != "reasoning")]
    return [*blocks, *_others(extra)]


def _reasoning(extra: dict[str, Any]) -> list[types.ContentBlock]:
    thoughts = [_thought(block) for block in extra.get("thinking_blocks") or () if isinstance(block, dict)]
    if thoughts:  # LiteLLM repeats their text in reasoning_content
        return thoughts
    text = extra.get("reasoning_content") or extra.get("reasoning")
    return [types.ReasoningContentBlock(type="reasoning", reasoning=text)] if isinstance(text, str) else []


def _thought(block: dict[str, Any]) -> types.ContentBlock:
    if block.get("type") == "redacted_thinking":
        return types.NonStandardContentBlock(type="non_standard", value=block)
    thought = types.ReasoningContentBlock(type="reasoning", reasoning=block.get("thinking") or "")
    if block.get("signature"):
        thought["extras"] = {"signature": block["signature"]}
    if "index" in block:
        thought["index"] = block["index"]
    return thought


def _others(extra: dict[str, Any]) -> list[types.ContentBlock]:
    blocks: list[types.ContentBlock] = []
    if refusal := extra.get("refusal"):
        blocks.append(types.NonStandardContentBlock(type="non_standard", value={"type": "refusal", "refusal": refusal}))
    audio = extra.get("audio")
    if isinstance(audio, dict):
        extras = {name: value for name, value in audio.items() if name not in ("id", "data")}
        fields = {"id": audio.get("id"), "base64": audio.get("data"), "extras": extras}
        found = {name: value for name, value in fields.items() if value}
        blocks.append(cast("types.AudioContentBlock", {"type": "audio", **found}))
    return blocks
