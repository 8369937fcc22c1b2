"""What the suites put into stores and memories, and how they compare what comes back."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

__all__ = ["PIXEL", "assistant", "rich_turn", "said", "same", "tool_turn", "turn", "user"]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def user(text: str) -> ChatMessage:
    """Return what a user says."""
    return ChatMessage(role=MessageRole.USER, content=text)


def assistant(text: str) -> ChatMessage:
    """Return a reply."""
    return ChatMessage(role=MessageRole.ASSISTANT, content=text)


def turn(number: int) -> list[ChatMessage]:
    """Return a turn like no other."""
    return [user(f"Question {number}?"), assistant(f"Answer {number}.")]


def rich_turn(additional_kwargs: Mapping[str, Any]) -> list[ChatMessage]:
    """Return a turn with a block of each kind that models commonly take, and with thinking in the reply."""
    blocks: list[ContentBlock] = [
        TextBlock(text="What is this? “Größe” 漢字"),
        ImageBlock(url="https://example.org/cat.png", detail="low"),
        ImageBlock(image=PIXEL, image_mimetype="image/png"),
        AudioBlock(audio=b"sound", format="wav"),
        DocumentBlock(data=b"%PDF-1.4", title="paper.pdf", document_mimetype="application/pdf"),
    ]
    thought: list[ContentBlock] = [ThinkingBlock(content="It has whiskers."), TextBlock(text="A cat.")]
    return [
        ChatMessage(role=MessageRole.USER, blocks=blocks, additional_kwargs=dict(additional_kwargs)),
        ChatMessage(role=MessageRole.ASSISTANT, blocks=thought),
    ]


def tool_turn() -> list[ChatMessage]:
    """Return a turn in which the model calls two tools at once."""
    calls: list[ContentBlock] = [
        ToolCallBlock(tool_call_id=f"call-{city}", tool_name="weather", tool_kwargs=f'{{"city": "{city}"}}')
        for city in ("Oslo", "Rome")
    ]
    return [
        user("What is the weather in Oslo and Rome?"),
        ChatMessage(role=MessageRole.ASSISTANT, blocks=calls),
        *(
            ChatMessage(
                role=MessageRole.TOOL, content=f"Sun in {city}.", additional_kwargs={"tool_call_id": f"call-{city}"}
            )
            for city in ("Oslo", "Rome")
        ),
        assistant("Sun in both."),
    ]


def said(messages: Sequence[ChatMessage]) -> list[tuple[str, str | None]]:
    """Return who said what."""
    return [(message.role.value, message.content) for message in messages]


def same(found: Sequence[ChatMessage], given: Sequence[ChatMessage]) -> bool:
    """Say whether what was found is what was given: roles, blocks, and each of its additional_kwargs."""
    return len(found) == len(given) and all(_same(*pair) for pair in zip(found, given, strict=True))


def _same(found: ChatMessage, given: ChatMessage) -> bool:
    kept = {name: found.additional_kwargs.get(name) for name in given.additional_kwargs}
    return (found.role, _blocks(found), kept) == (given.role, _blocks(given), given.additional_kwargs)


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    return [block.model_dump(mode="json") for block in message.blocks]
