"""Content: text, pictures, files and sound, in every form that LangChain users write them, on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from behest_base.emulator import Emulator, RawSSE
from langchain_behest import ChatBehest
from langchain_behest.messages_out import wire_messages
from support.replay import recording

Block = dict[str, Any]

PNG = "data:image/png;base64,iVBO"
PDF = {"filename": "file.pdf", "file_data": "data:application/pdf;base64,JVBE"}

BLOCKS: dict[str, tuple[Block, Block]] = {
    "text": ({"type": "text", "text": "Hi"}, {"type": "text", "text": "Hi"}),
    "text-with-index": ({"type": "text", "text": "Hi", "index": 0, "annotations": []}, {"type": "text", "text": "Hi"}),
    "text-cached": (
        {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
    ),
    "text-plain": ({"type": "text-plain", "text": "Hi", "mime_type": "text/plain"}, {"type": "text", "text": "Hi"}),
    "text-plain-file": (
        {"type": "text-plain", "base64": "SGk=", "mime_type": "text/plain"},
        {"type": "file", "file": {"filename": "file.txt", "file_data": "data:text/plain;base64,SGk="}},
    ),
    "openai-image": (
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
    ),
    "openai-image-text": ({"type": "image_url", "image_url": PNG}, {"type": "image_url", "image_url": {"url": PNG}}),
    "image-url": (
        {"type": "image", "url": "https://example.com/a.png"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ),
    "image-base64": (
        {"type": "image", "base64": "iVBO", "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": PNG}},
    ),
    "image-detail": (
        {"type": "image", "base64": "iVBO", "mime_type": "image/png", "extras": {"detail": "high"}},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
    ),
    "image-v0": (
        {"type": "image", "source_type": "base64", "data": "iVBO", "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": PNG}},
    ),
    "image-v0-url": (
        {"type": "image", "source_type": "url", "url": "https://example.com/a.png"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ),
    "image-anthropic": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
        {"type": "image_url", "image_url": {"url": PNG}},
    ),
    "image-anthropic-url": (
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ),
    "file": ({"type": "file", "base64": "JVBE", "mime_type": "application/pdf"}, {"type": "file", "file": PDF}),
    "file-named": (
        {"type": "file", "base64": "JVBE", "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}},
        {"type": "file", "file": {**PDF, "filename": "a.pdf"}},
    ),
    "file-v0": (
        {"type": "file", "source_type": "base64", "data": "JVBE", "mime_type": "application/pdf", "filename": "b.pdf"},
        {"type": "file", "file": {**PDF, "filename": "b.pdf"}},
    ),
    "file-id": ({"type": "file", "file_id": "file_1"}, {"type": "file", "file": {"file_id": "file_1"}}),
    "file-v0-id": ({"type": "file", "source_type": "id", "id": "f"}, {"type": "file", "file": {"file_id": "f"}}),
    "file-url": (
        {"type": "file", "url": "https://example.com/a.pdf"},
        {"type": "file", "file": {"file_id": "https://example.com/a.pdf"}},
    ),
    "file-openai": ({"type": "file", "file": PDF}, {"type": "file", "file": PDF}),
    "document-anthropic": (
        {
            "type": "document",
            "title": "c.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
        },
        {"type": "file", "file": {**PDF, "filename": "c.pdf"}},
    ),
    "document-anthropic-text": (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}},
        {"type": "text", "text": "Hi"},
    ),
    "document-anthropic-content": (
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]},
        },
        {"type": "text", "text": "Hi"},
    ),
    "audio": (
        {"type": "audio", "base64": "UklG", "mime_type": "audio/mpeg"},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}},
    ),
    "audio-v0": (
        {"type": "audio", "source_type": "base64", "data": "UklG", "mime_type": "audio/wav"},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
    ),
    "audio-openai": (
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
    ),
    "video": (
        {"type": "video", "url": "https://example.com/a.mp4"},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
    ),
    "non-standard": (
        {"type": "non_standard", "value": {"type": "guarded", "text": "Hi"}},
        {"type": "guarded", "text": "Hi"},
    ),
    "unknown": ({"type": "guarded", "text": "Hi"}, {"type": "guarded", "text": "Hi"}),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block(name: str, model: ChatBehest, gateway: Emulator) -> None:
    """Each block goes out as an OpenAI content part, from users, in tool results and in system messages."""
    block, part = BLOCKS[name]
    call = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "c1"}])
    model.invoke(
        [SystemMessage([block]), HumanMessage(["Look:", block]), call, ToolMessage([block], tool_call_id="c1")]
    )
    system, user, _, result = gateway.chats[0].json["messages"]
    assert system["content"] == result["content"] == [part]
    assert user["content"] == [{"type": "text", "text": "Look:"}, part]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image"},
        {"type": "image", "base64": "iVBO"},
        {"type": "audio", "url": "https://example.com/a.mp3"},
        {"type": "file"},
    ],
    ids=str,
)
def test_a_block_that_lacks_something(block: Block, model: ChatBehest, gateway: Emulator) -> None:
    """A block without what its type needs is said before anything is sent."""
    with pytest.raises(ValueError, match=r"needs|is required"):
        model.invoke([HumanMessage([block])])
    assert gateway.chats == []


def test_every_role(model: ChatBehest, gateway: Emulator) -> None:
    """System, developer, user, assistant and free roles, and names, go out as they are."""
    messages: list[BaseMessage] = [
        SystemMessage("S", name="boss"),
        SystemMessage("D", additional_kwargs={"__openai_role__": "developer"}),
        HumanMessage("H", name="Ada"),
        AIMessage("A", name="bot"),
        ChatMessage(content="C", role="user"),
    ]
    model.invoke(messages)
    assert gateway.chats[0].json["messages"] == [
        {"role": "system", "content": "S", "name": "boss"},
        {"role": "developer", "content": "D"},
        {"role": "user", "content": "H", "name": "Ada"},
        {"role": "assistant", "content": "A", "name": "bot"},
        {"role": "user", "content": "C"},
    ]


def test_function_messages_of_old() -> None:
    """The calls of before there were tools keep their form."""
    call = AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}})
    wire, _ = wire_messages([call, FunctionMessage(content="1", name="f")])
    assert wire == [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "content": "1", "name": "f"},
    ]


def test_a_message_without_a_place() -> None:
    """A message that is no part of a conversation is refused."""
    with pytest.raises(TypeError, match="RemoveMessage"):
        wire_messages([RemoveMessage(id="1")])


@pytest.mark.parametrize("parsed", [True, False])
def test_anthropics_tool_blocks(parsed: bool, model: ChatBehest, gateway: Emulator) -> None:  # noqa: FBT001
    """Tool use in an assistant's content goes out as its calls, a user's tool results as tool messages."""
    reply = AIMessage(
        [{"type": "text", "text": "Looking."}, {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}}],
        tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c1"}] if parsed else [],
    )
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "Found."}]}
    model.invoke([HumanMessage("Go."), reply, HumanMessage([result, {"type": "text", "text": "And now?"}])])
    _, assistant, tool, user = gateway.chats[0].json["messages"]
    assert assistant["content"] == "Looking."
    function = {"name": "f", "arguments": '{"x": 1}'}
    assert assistant["tool_calls"] == [{"id": "c1", "type": "function", "function": function}]
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "Found."}]}
    assert user == {"role": "user", "content": [{"type": "text", "text": "And now?"}]}


def test_a_reply_in_blocks_goes_back_as_text(model: ChatBehest, gateway: Emulator) -> None:
    """What LangChain's version 1 content holds of a reply goes back as the wire knows it."""
    reply = AIMessage(
        content_blocks=[
            {"type": "reasoning", "reasoning": "Hm."},
            {"type": "text", "text": "One "},
            {"type": "text", "text": "two."},
            {"type": "tool_call", "id": "c1", "name": "f", "args": {"x": 1}},
        ]
    )
    model.invoke([HumanMessage("Go."), reply, ToolMessage("1", tool_call_id="c1")])
    assistant = gateway.chats[0].json["messages"][1]
    assert assistant["content"] == "One two."
    assert assistant["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x": 1}'}


def test_refusals_go_back(model: ChatBehest, gateway: Emulator) -> None:
    """A refusal goes back as one, whether it was kept beside the content or is a block of it."""
    beside = AIMessage("", additional_kwargs={"refusal": "No."})
    model.invoke(
        [HumanMessage("Go."), beside, HumanMessage("Please."), AIMessage([{"type": "refusal", "refusal": "No."}])]
    )
    _, first, _, second = gateway.chats[0].json["messages"]
    assert first == second == {"role": "assistant", "content": "", "refusal": "No."}


def test_spoken_replies_go_back_by_their_id(model: ChatBehest, gateway: Emulator) -> None:
    """The API takes back the id of what it spoke, not the sound."""
    audio = {"id": "audio_1", "data": "UklG", "transcript": "Hello."}
    gateway.script({"content": None, "audio": audio})
    reply = model.invoke("Speak.")
    assert reply.additional_kwargs["audio"]["transcript"] == "Hello."
    [block] = [block for block in reply.content_blocks if block["type"] == "audio"]
    assert block["base64"] == "UklG"
    model.invoke([HumanMessage("Speak."), reply, HumanMessage("Again.")])
    assert gateway.chats[1].json["messages"][1]["audio"] == {"id": "audio_1"}


def test_output_version_1(model: ChatBehest, gateway: Emulator) -> None:
    """With `output_version="v1"` content is standard blocks, plain and streamed alike."""
    events = RawSSE((recording("stream-litellm-reasoning-content").sse or "").encode())
    gateway.script({"content": "Three.", "reasoning_content": "Hm."}, events)
    blocks = model.model_copy(update={"output_version": "v1"})
    plain = blocks.invoke("Count.")
    assert plain.content == [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Three."}]
    assert plain.response_metadata["output_version"] == "v1"
    first, *rest = blocks.stream("Count.")
    streamed = first + rest
    assert isinstance(streamed.content, list)
    assert [(block["type"], block.get("text") or block.get("reasoning")) for block in streamed.content] == [  # type: ignore[union-attr, index]
        ("reasoning", "r-a-s-p-berry: three."),
        ("text", "3"),
    ]


def test_unicode_is_kept(model: ChatBehest, gateway: Emulator) -> None:
    """Whatever can be written arrives and comes back as it was."""
    text = "Zoë — 東京 🚀 שלום e\u0301 \u2028"
    gateway.script(text, text)
    assert model.invoke(text).text == text
    assert "".join(chunk.text for chunk in model.stream(text)) == text
    assert gateway.chats[0].json["messages"][0]["content"] == text
