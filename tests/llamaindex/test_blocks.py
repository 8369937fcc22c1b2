"""Content blocks on the wire and back, and replies as LlamaIndex has them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from behest_base import BehestConfigError
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM
from llamaindex_behest.messages_in import from_wire
from llamaindex_behest.messages_out import wire_message

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n"


def test_user_blocks_on_the_wire(llm: BehestLLM, gateway: Emulator) -> None:
    """Text, image, audio and document go out as OpenAI's content parts, an address as it is."""
    blocks: list[Any] = [
        TextBlock(text="Look and listen."),
        ImageBlock(image=PNG, detail="low"),
        ImageBlock(url="https://images.example/cat.png"),
        AudioBlock(audio=WAV, format="wav"),
        DocumentBlock(data=PDF, title="paper.pdf", document_mimetype="application/pdf"),
    ]
    llm.chat([ChatMessage(role=MessageRole.USER, blocks=blocks)])
    text, image, address, audio, document = gateway.chats[0].json["messages"][0]["content"]
    assert text == {"type": "text", "text": "Look and listen."}
    assert image["image_url"]["detail"] == "low"
    assert image["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert address == {"type": "image_url", "image_url": {"url": "https://images.example/cat.png"}}
    assert audio == {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"},
    }
    assert document["file"]["filename"] == "paper.pdf"
    assert document["file"]["file_data"] == f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}"


@pytest.mark.parametrize(
    "block", [VideoBlock(url="https://videos.example/cat.mp4"), AudioBlock(url="https://sounds.example/cat.wav")]
)
def test_block_without_a_form_is_a_clear_error(block: Any, llm: BehestLLM, gateway: Emulator) -> None:
    """What the wire can't have is named, and nothing is sent."""
    with pytest.raises(BehestConfigError, match=type(block).__name__):
        llm.chat([ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="See."), block])])
    assert gateway.chats == []


async def test_thinking_comes_in_and_goes_back(llm: BehestLLM, gateway: Emulator) -> None:
    """Reasoning becomes a ThinkingBlock, plain and streamed, and goes out again with the message."""
    reply = {"content": "42.", "reasoning_content": "Six times seven."}
    gateway.script(reply, reply, "Sure.")
    stateless = llm.for_user("alice")
    question = ChatMessage("What is it?")
    answer = stateless.chat([question]).message
    pieces = list(stateless.stream_chat([question]))
    for message in (answer, pieces[-1].message):
        thought, text = message.blocks
        assert isinstance(thought, ThinkingBlock)
        assert (thought.content, text) == ("Six times seven.", TextBlock(text="42."))
    assert "".join(piece.additional_kwargs.get("thinking_delta", "") for piece in pieces) == "Six times seven."
    await stateless.achat([question, answer, ChatMessage("Sure?")])
    assert gateway.chats[-1].json["messages"][1] == {
        "role": "assistant",
        "content": "42.",
        "reasoning_content": "Six times seven.",
    }


def test_signed_thinking_goes_back_as_it_came() -> None:
    """Signed blocks keep their signatures, and redacted ones their data."""
    wire = {
        "role": "assistant",
        "content": "42.",
        "reasoning_content": "Six times seven.",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "Six times seven.", "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "aGlkZGVu"},
        ],
    }
    again = wire_message(from_wire(wire))
    assert again["thinking_blocks"][0] == wire["thinking_blocks"][0]
    assert again["thinking_blocks"][1]["data"] == "aGlkZGVu"
    assert again["thinking_blocks"][1]["type"] == "redacted_thinking"


@pytest.mark.parametrize(
    "wire",
    [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Hello.", "name": "Ada"},
        {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See."},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "file",
                    "file": {
                        "filename": "paper.pdf",
                        "file_data": f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}",
                    },
                }
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "content": "3", "tool_call_id": "a"},
        {"role": "assistant", "content": "42.", "reasoning_content": "Six times seven."},
        {"role": "developer", "content": "Be brief."},
    ],
    ids=lambda wire: f"{wire['role']}-{len(str(wire))}",
)
def test_round_trip(wire: dict[str, Any]) -> None:
    """A message of a thread becomes a ChatMessage and the same message again, also by way of JSON."""
    message = from_wire(wire)
    assert wire_message(message) == wire
    assert wire_message(ChatMessage.model_validate_json(message.model_dump_json())) == wire


def test_cache_point_marks_the_part_before() -> None:
    """A prompt cache's breakpoint is the mark on the part that it follows."""
    blocks: list[Any] = [
        TextBlock(text="A long document."),
        CachePoint(cache_control=CacheControl(type="ephemeral")),
        TextBlock(text="A question."),
    ]
    first, second = wire_message(ChatMessage(role=MessageRole.USER, blocks=blocks))["content"]
    assert first["cache_control"]["type"] == "ephemeral"
    assert second == {"type": "text", "text": "A question."}


def test_other_providers_histories() -> None:
    """Roles and tool calls as other providers' messages have them are understood; their private fields are left out."""
    message = ChatMessage(
        role=MessageRole.MODEL,
        blocks=[TextBlock(text="Adding."), ToolCallBlock(tool_call_id="a", tool_name="add", tool_kwargs={"a": 1})],
        additional_kwargs={"some_provider": {"id": 7}},
    )
    wire = wire_message(message)
    assert wire["role"] == "assistant"
    assert wire["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert "some_provider" not in wire


def test_images_that_models_draw_arrive() -> None:
    """Content parts of a reply become blocks; a part of an unknown kind is kept."""
    parts = [
        {"type": "text", "text": "Here."},
        {"type": "image_url", "image_url": {"url": "https://images.example/drawn.png"}},
        {"type": "hologram", "data": "…"},
    ]
    message = from_wire({"role": "assistant", "content": parts})
    assert [block.block_type for block in message.blocks] == ["text", "image"]
    assert message.additional_kwargs["content_parts"] == parts[2:]
