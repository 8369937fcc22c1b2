"""Reasoning: kept, streamed, shown in content blocks, and sent back where models want it."""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage

from behest_base.emulator import Emulator, RawSSE
from langchain_behest import ChatBehest
from support.replay import recording

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

THOUGHTS = [
    {"type": "thinking", "thinking": "Six by seven.", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
]


def streamed(model: ChatBehest, gateway: Emulator, name: str) -> AIMessageChunk:
    """Return what a recorded stream adds up to."""
    gateway.script(RawSSE((recording(name).sse or "").encode()))
    return reduce(add, model.stream("Think."))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking_blocks", "reasoning_details"], ids=str)
def test_reasoning_is_kept(field: str, model: ChatBehest, gateway: Emulator) -> None:
    """Each field in which models hand out their reasoning is kept under its name."""
    value: Any = (
        THOUGHTS if field == "thinking_blocks" else [{"text": "Hm."}] if field == "reasoning_details" else "Hm."
    )
    gateway.script({"content": "42", field: value})
    reply = model.invoke("Think.")
    assert reply.text == "42"
    assert reply.additional_kwargs[field] == value


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_shown(field: str, model: ChatBehest, gateway: Emulator) -> None:
    """Content blocks begin with the reasoning, plain and streamed."""
    gateway.script({"content": "42", field: "Hm."}, {"content": "42", field: "Hm."})
    expected = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "42"}]
    assert model.invoke("Think.").content_blocks == expected
    chunks = list(model.stream("Think."))
    assert reduce(add, chunks).content_blocks == expected
    assert [chunk for chunk in chunks if chunk.additional_kwargs.get(field)]


def test_thoughts_keep_their_signatures(model: ChatBehest, gateway: Emulator) -> None:
    """Thinking that comes in pieces is put together, with its signature, and what is redacted is kept."""
    reply = streamed(model, gateway, "stream-litellm-thinking-blocks")
    assert reply.text == "42"
    assert reply.content_blocks == [
        {"type": "reasoning", "reasoning": "Six by seven.", "extras": {"signature": "c2ln"}, "index": 0},
        {"type": "non_standard", "value": {**THOUGHTS[1], "index": 1}},
        {"type": "text", "text": "42"},
    ]


def test_openrouters_details_are_kept(model: ChatBehest, gateway: Emulator) -> None:
    """OpenRouter's reasoning is kept both ways: as text and in its details."""
    reply = streamed(model, gateway, "stream-reasoning-openrouter")
    assert reply.additional_kwargs["reasoning"] == "Because."
    assert [detail["text"] for detail in reply.additional_kwargs["reasoning_details"]] == ["Because."]
    assert reply.response_metadata["cost"] == 0.00014


def test_openrouters_details_go_back_whole(model: ChatBehest, gateway: Emulator) -> None:
    """Details that came in pieces go back as they would have come whole: a signature fits nothing else."""
    text, summary = {"type": "reasoning.text", "index": 0}, {"type": "reasoning.summary", "index": 1}
    pieces = [
        {**text, "text": "Six by ", "signature": None, "format": "anthropic-claude-v1"},
        {**text, "text": "seven.", "format": "anthropic-claude-v1"},
        {**text, "text": "", "signature": "c2ln", "format": None},
        {**summary, "summary": "Multi"},
        {**summary, "summary": "plied."},
        {"type": "reasoning.encrypted", "data": "ZGE=", "index": None},
        {"type": "reasoning.encrypted", "data": "dGE=", "index": None},
    ]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"reasoning_details": [p]}}]} for p in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **CALL}]}}]})
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    gateway.script(RawSSE("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()))
    asked = reduce(add, model.stream("Think."))
    model.invoke([HumanMessage("Think."), asked, ToolMessage("1", tool_call_id="c1")])
    assert gateway.chats[1].json["messages"][1]["reasoning_details"] == [
        {**text, "text": "Six by seven.", "signature": "c2ln", "format": "anthropic-claude-v1"},
        {**summary, "summary": "Multiplied."},
        *pieces[-2:],
    ]


def test_reasoning_goes_back_within_the_turn(model: ChatBehest, gateway: Emulator) -> None:
    """Between tool calls models want their reasoning back; in earlier turns some refuse it, so it isn't sent."""
    gateway.script({"content": None, "tool_calls": [CALL], "reasoning_content": "Hm.", "thinking_blocks": THOUGHTS})
    asked = model.invoke("Think.")
    result = ToolMessage("1", tool_call_id="c1")
    model.invoke([HumanMessage("Think."), asked, result])
    model.invoke([HumanMessage("Think."), asked, result, AIMessage("42"), HumanMessage("Sure?")])
    within, after = (chat.json["messages"][1] for chat in gateway.chats[1:])
    assert (within["reasoning_content"], within["thinking_blocks"]) == ("Hm.", THOUGHTS)
    assert not after.keys() & {"reasoning_content", "thinking_blocks"}


def test_streamed_thoughts_go_back_whole(model: ChatBehest, gateway: Emulator) -> None:
    """Thoughts put together from a stream go back as the provider wrote them."""
    deltas: list[dict[str, Any]] = [
        {"thinking_blocks": [{"type": "thinking", "thinking": "Six by ", "signature": None}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "seven.", "signature": None}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "c2ln"}]},
        {"thinking_blocks": [THOUGHTS[1]]},
        {"tool_calls": [{"index": 0, **CALL}]},
    ]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    gateway.script(RawSSE("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()))
    asked = reduce(add, model.stream("Think."))
    model.invoke([HumanMessage("Think."), asked, ToolMessage("1", tool_call_id="c1")])
    assert gateway.chats[1].json["messages"][1]["thinking_blocks"] == THOUGHTS


@pytest.mark.parametrize(
    ("block", "field", "value"),
    [
        (THOUGHTS[0], "thinking_blocks", [THOUGHTS[0]]),
        ({"type": "reasoning", "reasoning": "Hm."}, "reasoning_content", "Hm."),
        (
            {"type": "reasoning", "reasoning": "Six by seven.", "extras": {"signature": "c2ln"}},
            "thinking_blocks",
            [THOUGHTS[0]],
        ),
    ],
    ids=["anthropic", "standard", "standard-signed"],
)
def test_reasoning_in_blocks_goes_back(
    block: dict[str, Any], field: str, value: Any, model: ChatBehest, gateway: Emulator
) -> None:
    """Reasoning in content blocks, of whatever origin, goes back in the wire's field."""
    asked = AIMessage([block, {"type": "text", "text": "Looking."}], tool_calls=[{"name": "f", "args": {}, "id": "c1"}])
    model.invoke([HumanMessage("Think."), asked, ToolMessage("1", tool_call_id="c1")])
    sent = gateway.chats[0].json["messages"][1]
    assert sent[field] == value
    assert sent["content"] == "Looking."
