"""Tool calling: what goes out, and that no call is lost, however its pieces come."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.tools import FunctionTool

from behest_base.emulator import Emulator, RawSSE
from llamaindex_behest import BehestLLM


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sun in {city}."


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOLS = [FunctionTool.from_defaults(weather), FunctionTool.from_defaults(add)]
HISTORY = [ChatMessage(role=MessageRole.SYSTEM, content="Use tools.")]
QUESTION = "What is the weather in Oslo?"


@pytest.fixture
def llm(llm: BehestLLM) -> BehestLLM:
    """Give the model outside of any thread."""
    return llm.for_user("alice")


def _piece(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    first = {"id": call_id, "type": "function"} if call_id else {}
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"index": index, **first, "function": function}


def _sse(*deltas: dict[str, Any]) -> RawSSE:
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    return RawSSE("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n")


async def _each_way(llm: BehestLLM, **kwargs: Any) -> list[ChatResponse]:
    arguments: dict[str, Any] = {"user_msg": QUESTION, "chat_history": HISTORY, **kwargs}
    return [
        llm.chat_with_tools(TOOLS, **arguments),
        await llm.achat_with_tools(TOOLS, **arguments),
        list(llm.stream_chat_with_tools(TOOLS, **arguments))[-1],
        [piece async for piece in await llm.astream_chat_with_tools(TOOLS, **arguments)][-1],
    ]


async def test_four_ways_to_chat_with_tools(llm: BehestLLM, gateway: Emulator) -> None:
    """Each offers the tools, gets the call with its arguments read, and leaves the caller's history alone."""
    before = copy.deepcopy(HISTORY)
    for response in await _each_way(llm):
        (call,) = llm.get_tool_calls_from_response(response)
        assert call.tool_name == "weather"
        assert "Oslo" in call.tool_kwargs["city"]
        assert call.tool_id
    assert before == HISTORY
    for request in gateway.chats:
        assert [tool["function"]["name"] for tool in request.json["tools"]] == ["weather", "add"]
        assert request.json["tool_choice"] == "auto"
        assert request.json["parallel_tool_calls"] is False
        assert [message["role"] for message in request.json["messages"]] == ["system", "user"]


async def test_tool_required_and_choice(llm: BehestLLM, gateway: Emulator) -> None:
    """`tool_required` demands a call; `tool_choice` names a tool, or says `any`."""
    await _each_way(llm, tool_required=True, allow_parallel_tool_calls=True)
    assert [call.json["tool_choice"] for call in gateway.chats] == ["required"] * 4
    assert [call.json["parallel_tool_calls"] for call in gateway.chats] == [True] * 4
    gateway.clear()
    llm.chat_with_tools(TOOLS, user_msg="Add 1 and 2.", tool_choice="add")
    llm.chat_with_tools(TOOLS, user_msg="Add 1 and 2.", tool_choice="any")
    assert [call.json["tool_choice"] for call in gateway.chats] == [
        {"type": "function", "function": {"name": "add"}},
        "required",
    ]


def test_no_tools_no_tool_fields(llm: BehestLLM, gateway: Emulator) -> None:
    """Without tools nothing about tools is sent, which models would refuse."""
    llm.chat_with_tools([], user_msg="Hello.")
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & gateway.chats[0].json.keys()


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(
            _sse(
                {"role": "assistant", "tool_calls": [_piece(0, "", "w", "weather")]},
                {"tool_calls": [_piece(1, "", "s", "add")]},
                {"tool_calls": [_piece(0, '{"city": ')]},
                {"tool_calls": [_piece(1, '{"a": 1, ')]},
                {"tool_calls": [_piece(0, '"Oslo"}')]},
                {"tool_calls": [_piece(1, '"b": 2}')]},
            ),
            id="interleaved",
        ),
        pytest.param(
            _sse(
                {"tool_calls": [_piece(0, '{"city": "Oslo"}', "w", "weather"), _piece(1, '{"a": 1', "s", "add")]},
                {"tool_calls": [_piece(1, ', "b": 2}')]},
            ),
            id="two-in-one-chunk",
        ),
    ],
)
async def test_parallel_calls_arrive_whole(stream: RawSSE, llm: BehestLLM, gateway: Emulator) -> None:
    """Both calls are there with their own arguments, sync and async."""
    gateway.script(stream, stream)
    kwargs: dict[str, Any] = {"user_msg": QUESTION, "allow_parallel_tool_calls": True}
    responses = [
        list(llm.stream_chat_with_tools(TOOLS, **kwargs))[-1],
        [piece async for piece in await llm.astream_chat_with_tools(TOOLS, **kwargs)][-1],
    ]
    for response in responses:
        calls = llm.get_tool_calls_from_response(response)
        assert [(call.tool_id, call.tool_name, call.tool_kwargs) for call in calls] == [
            ("w", "weather", {"city": "Oslo"}),
            ("s", "add", {"a": 1, "b": 2}),
        ]


def test_calls_can_be_read_while_they_stream(llm: BehestLLM, gateway: Emulator) -> None:
    """Arguments that are not whole yet are read as far as they go."""
    gateway.script(
        _sse({"tool_calls": [_piece(0, '{"city": "Os', "w", "weather")]}, {"tool_calls": [_piece(0, 'lo"}')]})
    )
    seen = [
        llm.get_tool_calls_from_response(piece)[0].tool_kwargs
        for piece in llm.stream_chat_with_tools(TOOLS, user_msg=QUESTION)
    ]
    assert seen[0].keys() == {"city"}
    assert seen[-1] == {"city": "Oslo"}


def test_one_at_a_time_keeps_the_first(llm: BehestLLM, gateway: Emulator) -> None:
    """A model that calls two tools though it was told not to: the caller gets the first."""
    calls = [
        {"id": "w", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
        {"id": "s", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}},
    ]
    gateway.script({"content": None, "tool_calls": calls})
    response = llm.chat_with_tools(TOOLS, user_msg=QUESTION)
    assert [call.tool_id for call in llm.get_tool_calls_from_response(response)] == ["w"]


async def test_predict_and_call(llm: BehestLLM) -> None:
    """The tool is called with the model's arguments and its output is the answer."""
    assert "Oslo" in llm.predict_and_call(TOOLS, user_msg=QUESTION).response
    assert "Oslo" in (await llm.apredict_and_call(TOOLS, user_msg=QUESTION)).response


def test_no_call_is_an_error_on_request(llm: BehestLLM, gateway: Emulator) -> None:
    """A response without calls gives none, or an error where the caller wants one."""
    gateway.script("No tool needed.")
    response = llm.chat_with_tools(TOOLS, user_msg=QUESTION)
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="at least one tool call"):
        llm.get_tool_calls_from_response(response)


def test_invalid_arguments_are_no_crash(llm: BehestLLM, gateway: Emulator) -> None:
    """Arguments that are no JSON object are none; the raw text stays in the block."""
    call = {"id": "w", "type": "function", "function": {"name": "weather", "arguments": "Oslo!"}}
    gateway.script({"content": None, "tool_calls": [call]})
    response = llm.chat_with_tools(TOOLS, user_msg=QUESTION)
    assert llm.get_tool_calls_from_response(response)[0].tool_kwargs == {}
    (block,) = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    assert block.tool_kwargs == "Oslo!"


def test_results_go_back_as_the_wire_has_them(llm: BehestLLM, gateway: Emulator) -> None:
    """The reply with its calls and the tool's message go out again as OpenAI has them; a call without arguments as `{}`."""
    call = {"id": "n", "type": "function", "function": {"name": "now", "arguments": ""}}
    gateway.script({"content": None, "tool_calls": [call]}, "Noon.")
    history = [ChatMessage("What time is it?")]
    history.append(llm.chat(history).message)
    history.append(ChatMessage(role=MessageRole.TOOL, content="12:00", additional_kwargs={"tool_call_id": "n"}))
    assert llm.chat(history).message.content == "Noon."
    assert gateway.chats[-1].json["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "n", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "12:00", "tool_call_id": "n"},
    ]
