"""Tools: every way to give them, every choice, and every shape in which calls come back."""

from __future__ import annotations

import json
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from behest_base import Behest
from behest_base.emulator import Emulator, RawSSE
from langchain_behest import ChatBehest
from langchain_behest.chunks import ChunkReader


class Weather(BaseModel):
    """Tell the weather."""

    city: str = Field(description="The city")


class WeatherDict(TypedDict):
    """Tell the weather."""

    city: str


def weather_function(city: str) -> str:
    """Tell the weather."""
    return city


@tool
def weather_tool(city: str) -> str:
    """Tell the weather."""
    return city


SCHEMA = {
    "title": "weather_schema",
    "description": "Tell the weather.",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}

WIRE = {"type": "function", "function": {"name": "weather_wire", "description": "Tell it.", "parameters": SCHEMA}}

TOOLS: dict[str, Any] = {
    "Weather": Weather,
    "WeatherDict": WeatherDict,
    "weather_function": weather_function,
    "weather_tool": weather_tool,
    "weather_schema": SCHEMA,
    "weather_wire": WIRE,
}


@pytest.mark.parametrize("name", TOOLS)
def test_every_kind_of_tool(name: str, model: ChatBehest, gateway: Emulator) -> None:
    """Pydantic and TypedDict classes, functions, LangChain tools, JSON schemas and OpenAI tools go out as functions."""
    model.bind_tools([TOOLS[name]]).invoke("Hello.")
    [sent] = gateway.chats[0].json["tools"]
    assert sent["type"] == "function"
    assert sent["function"]["name"] == name
    assert sent["function"]["parameters"]["properties"]["city"]["type"] == "string"
    assert sent["function"]["parameters"]["required"] == ["city"]
    assert "strict" not in sent["function"]


NAMED = {"type": "function", "function": {"name": "Weather"}}


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("Weather", NAMED),
        (NAMED, NAMED),
        (None, None),
        (False, None),
    ],
    ids=str,
)
def test_every_choice(choice: Any, wire: Any, model: ChatBehest, gateway: Emulator) -> None:
    """A choice goes out in the wire's words."""
    model.bind_tools([Weather], tool_choice=choice).invoke("Hello.")
    assert gateway.chats[0].json.get("tool_choice") == wire


def test_a_choice_of_no_tool_is_refused(model: ChatBehest) -> None:
    """The name of a tool that isn't there is said at once."""
    with pytest.raises(ValueError, match="Weather"):
        model.bind_tools([Weather], tool_choice="Wether")


def test_strict_and_parallel(model: ChatBehest, gateway: Emulator) -> None:
    """`strict` closes the schema, `parallel_tool_calls` goes out."""
    model.bind_tools([Weather], strict=True, parallel_tool_calls=False).invoke("Hello.")
    sent = gateway.chats[0].json
    assert sent["tools"][0]["function"]["strict"] is True
    assert sent["tools"][0]["function"]["parameters"]["additionalProperties"] is False
    assert sent["parallel_tool_calls"] is False


def test_further_arguments_are_bound(model: ChatBehest, gateway: Emulator) -> None:
    """What else is given to `bind_tools` goes out with each call."""
    model.bind_tools([Weather], temperature=0.25).invoke("Hello.")
    assert gateway.chats[0].json["temperature"] == 0.25


def test_the_model_calls_a_tool_and_reads_its_result(model: ChatBehest) -> None:
    """The loop closes: a call, its result, the answer from it."""
    bound = model.bind_tools([weather_tool], tool_choice="weather_tool")
    asked = bound.invoke("How is the weather in 'Turin'?")
    [call] = asked.tool_calls
    assert call["name"] == "weather_tool"
    result = weather_tool.invoke(call)
    assert isinstance(result, ToolMessage)
    answer = model.bind_tools([weather_tool]).invoke([HumanMessage("How is the weather in 'Turin'?"), asked, result])
    assert str(result.content) in answer.text


def test_calls_go_back_as_they_came(model: ChatBehest, gateway: Emulator) -> None:
    """Calls, invalid ones too, and results go out in the wire's form, a reply that only calls with no content."""
    reply = AIMessage(
        "",
        tool_calls=[{"name": "a", "args": {"x": "é"}, "id": "c1"}],
        invalid_tool_calls=[{"name": "b", "args": "{oops", "id": "c2", "error": "no JSON"}],
    )
    results = [ToolMessage("1", tool_call_id="c1"), ToolMessage("failed", tool_call_id="c2", status="error")]
    model.invoke([HumanMessage("Go."), reply, *results])
    _, assistant, first, second = gateway.chats[0].json["messages"]
    assert assistant == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "a", "arguments": '{"x": "é"}'}},
            {"id": "c2", "type": "function", "function": {"name": "b", "arguments": "{oops"}},
        ],
    }
    assert first == {"role": "tool", "tool_call_id": "c1", "content": "1"}
    assert second["tool_call_id"] == "c2"


def test_invalid_arguments_are_told_apart(model: ChatBehest, gateway: Emulator) -> None:
    """Arguments that are no JSON object make an invalid call, beside the valid ones, plain and streamed."""
    calls = [
        {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": arguments}}
        for number, arguments in enumerate(['{"x": 1}', '{"x": ', "[1]", ""])
    ]
    gateway.script({"content": None, "tool_calls": calls}, {"content": None, "tool_calls": calls})
    plain = model.invoke("Go.")
    assert [call["id"] for call in plain.tool_calls] == ["c0", "c3"]
    assert [call["id"] for call in plain.invalid_tool_calls] == ["c1", "c2"]
    assert all(call["error"] for call in plain.invalid_tool_calls)
    streamed = reduce(add, model.stream("Go."))
    assert streamed.tool_calls[0] == plain.tool_calls[0]
    # LangChain reads the arguments of chunks as far as they go: c1 is among the valid calls of a sum, whatever we do.
    assert [call["id"] for call in streamed.response_metadata["invalid_tool_calls"]] == ["c1", "c2"]


CUT = {"id": "c1", "type": "function", "function": {"name": "weather_tool", "arguments": '{"city": "Tur'}}
WHOLE = {"id": "c2", "type": "function", "function": {"name": "weather_tool", "arguments": '{"city": "Rome"}'}}


@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_a_call_cut_short_is_never_valid(output_version: str, behest: Behest, gateway: Emulator) -> None:
    """A model that streams for its callbacks tells cut calls apart as one that doesn't, from the cache too."""
    model = ChatBehest(
        client=behest, user_id="alice", streaming=True, output_version=output_version, cache=InMemoryCache()
    )
    gateway.script(*[{"content": None, "tool_calls": [CUT, WHOLE]}] * 2)
    for reply in (model.invoke("Go."), model.invoke("Go."), await model.ainvoke("Go now.")):
        assert [call["args"] for call in reply.tool_calls] == [{"city": "Rome"}]
        assert [call["args"] for call in reply.invalid_tool_calls] == ['{"city": "Tur']
        assert "invalid_tool_calls" not in reply.response_metadata
        shown = [block["args"] for block in reply.content_blocks if block["type"] == "tool_call"]
        assert shown == [{"city": "Rome"}]
    assert [chat.json["stream"] for chat in gateway.chats] == [True, True]


@pytest.mark.filterwarnings("ignore:.*in beta")
def test_a_call_cut_short_in_events(model: ChatBehest, gateway: Emulator) -> None:
    """So do the events of version 3."""
    gateway.script({"content": None, "tool_calls": [CUT, WHOLE]})
    reply = model.stream_events("Go.", version="v3").output
    assert [call["args"] for call in reply.tool_calls] == [{"city": "Rome"}]
    assert [call["args"] for call in reply.invalid_tool_calls] == ['{"city": "Tur']


def test_tools_of_a_call(model: ChatBehest, gateway: Emulator) -> None:
    """Tools and choice given to a call or to `bind` go out as `bind_tools` would send them."""
    model.invoke("Hello.", tools=[Weather, WIRE], tool_choice="any")
    model.bind(tools=[Weather]).invoke("Hello.", tool_choice="Weather")
    first, second = (chat.json for chat in gateway.chats)
    assert [tool["function"]["name"] for tool in first["tools"]] == ["Weather", "weather_wire"]
    assert (first["tool_choice"], second["tool_choice"]) == ("required", NAMED)


def pieces_of(calls: list[tuple[str, str, dict[str, Any]]], cuts: list[int]) -> list[list[dict[str, Any]]]:
    """Return the deltas of calls whose arguments are cut at these places, interleaved."""
    deltas: list[list[dict[str, Any]]] = []
    texts = [json.dumps(arguments, ensure_ascii=False) for _, _, arguments in calls]
    for index, (call_id, name, _) in enumerate(calls):
        deltas.append(
            [{"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}]
        )
    for start, end in pairwise(sorted({0, *cuts, max(map(len, texts), default=0)})):
        found = [
            {"index": i, "function": {"arguments": text[start:end]}} for i, text in enumerate(texts) if text[start:end]
        ]
        deltas.append(found)
    return deltas


CALLS = st.lists(
    st.tuples(
        st.text("abc_", min_size=1, max_size=4), st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=3)
    ),
    min_size=1,
    max_size=4,
)


@given(calls=CALLS, cuts=st.lists(st.integers(0, 60), max_size=10))
def test_calls_cut_anywhere_are_put_together(calls: list[tuple[str, dict[str, str]]], cuts: list[int]) -> None:
    """However many calls there are, and wherever their arguments are cut, they come out as they went in."""
    named = [(f"call_{number}", name, arguments) for number, (name, arguments) in enumerate(calls)]
    reader = ChunkReader("default")
    read = [
        reader.read({"choices": [{"index": 0, "delta": {"tool_calls": delta}}]})
        for delta in pieces_of(named, cuts)
        if delta
    ]
    whole = reduce(add, [chunk for chunk in [*read, reader.last()] if chunk is not None])
    assert isinstance(whole, ChatGenerationChunk)
    message = whole.message
    assert isinstance(message, AIMessage)
    assert [(call["id"], call["name"], call["args"]) for call in message.tool_calls] == named


def test_calls_are_streamed_as_they_come(model: ChatBehest, gateway: Emulator) -> None:
    """The pieces of a call can be seen before it is whole."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"text": "word " * 20})}}
    gateway.script({"content": None, "tool_calls": [call]})
    chunks = list(model.stream("Go."))
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    assert len(pieces) > 2
    assert [piece["name"] for piece in pieces if piece["name"]] == ["f"]
    assert reduce(add, chunks).tool_calls[0]["args"] == {"text": "word " * 20}


def test_a_call_without_a_number(model: ChatBehest, gateway: Emulator) -> None:
    """Whole calls that a server numbers alike, or not at all, stay apart."""
    for index in ({"index": 0}, {}):
        deltas = [
            {"tool_calls": [{**index, "id": f"c{n}", "function": {"name": f"f{n}", "arguments": '{"n":1}'}}]}
            for n in (1, 2)
        ]
        chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
        gateway.script(RawSSE("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()))
        assert [call["name"] for call in reduce(add, model.stream("Go.")).tool_calls] == ["f1", "f2"]


@pytest.mark.parametrize("made_up", ["", "null", "call_another"])
def test_a_call_whose_pieces_have_ids_of_their_own(made_up: str, model: ChatBehest, gateway: Emulator) -> None:
    """Servers that make up an id for each piece of a call don't make several calls of one."""
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}},
        {"index": 1, "id": "c2", "function": {"name": "g", "arguments": '{"x":'}},
        {"index": 0, "id": made_up, "function": {"name": None, "arguments": '{"n":'}},
        {"index": 1, "id": made_up, "function": {"name": "", "arguments": "2}"}},
        {"index": 0, "id": made_up, "function": {"arguments": "1}"}},
    ]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    gateway.script(RawSSE("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()))
    calls = reduce(add, model.stream("Go.")).tool_calls
    assert [(call["id"], call["name"], call["args"]) for call in calls] == [
        ("c1", "f", {"n": 1}),
        ("c2", "g", {"x": 2}),
    ]


def test_further_fields_of_a_call_go_back(model: ChatBehest, gateway: Emulator) -> None:
    """What a provider adds to a call, such as Gemini's thought signatures, is kept and goes back with it."""
    signed = {"provider_specific_fields": {"thought_signature": "c2ln"}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, **signed}
    delta = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    gateway.script(
        {"content": None, "tool_calls": [call]},
        RawSSE("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in (delta, end)).encode()),
    )
    for asked in (model.invoke("Go."), reduce(add, model.stream("Go."))):
        model.invoke([HumanMessage("Go."), asked, ToolMessage("1", tool_call_id="c1")])
        assert gateway.chats[-1].json["messages"][1]["tool_calls"] == [call]
