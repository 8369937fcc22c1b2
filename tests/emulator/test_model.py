"""The built-in model: it answers from what it was given, calls tools, and fills schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from behest_base.emulator.model import answer
from behest_base.emulator.schemas import fill
from emulator.wire import assistant_calling, system, tool, tool_result, user

PETRELS = "Petrels nest on cliffs."
MATERIAL = f"The sea is cold in winter. {PETRELS} Gulls eat nearly everything."
UNKNOWN = "I don't know: nothing in what I was given answers that."


def reply(*messages: dict[str, Any], **request: Any) -> dict[str, Any]:
    """Let the model answer."""
    return answer({"messages": list(messages), **request})


@pytest.mark.parametrize(
    "messages",
    [
        [system(f"Answer from this.\n\n{MATERIAL}"), user("Where do petrels nest?")],
        [user(f"{MATERIAL} Where do petrels nest?")],
        [user(MATERIAL), {"role": "assistant", "content": "Noted."}, user("Tell me where the petrel nests.")],
        [user(f"Context: {MATERIAL}\n\nQuestion: Where do petrels nest?\nAnswer:")],
        [user(f"Context:\n{MATERIAL}\n\nQuestion: where do petrels nest\nHelpful Answer:")],
        [
            user(
                f"Context information is below.\n-----\nfile: birds.md\n\n{MATERIAL}\n-----\nGiven the context "
                "information and not prior knowledge, answer the query.\nQuery: Where do petrels nest?\nAnswer: "
            )
        ],
    ],
    ids=["system", "one message", "earlier message", "labelled", "labelled, bare", "query engine"],
)
def test_answers_with_the_sentence_that_matches(messages: list[dict[str, Any]]) -> None:
    """The sentence that best matches the question is the answer, wherever in the prompt it stands."""
    assert reply(*messages)["content"] == PETRELS


def test_finds_nothing() -> None:
    """It says so when nothing matches."""
    assert reply(system(MATERIAL), user("Who founded Rome?"))["content"] == UNKNOWN


def test_takes_note_of_statements() -> None:
    """A message without a question is acknowledged; what was noted can be asked for."""
    fact = user("My favourite colour is teal.")
    noted = reply(fact)
    assert noted["content"] == "Noted: My favourite colour is teal."
    assert reply(fact, noted, user("What is my favourite colour?"))["content"] == "My favourite colour is teal."


def test_does_not_answer_with_a_question() -> None:
    """Earlier questions, and its own not knowing, are no answers."""
    asked = [user("Where do petrels nest?"), {"role": "assistant", "content": UNKNOWN}]
    assert reply(*asked, user("Do petrels nest somewhere?"))["content"] == UNKNOWN


def test_takes_the_later_of_two_facts() -> None:
    """Of two sentences that match alike, the later one counts."""
    facts = [user("My favourite colour is teal."), user("My favourite colour is red.")]
    assert reply(*facts, user("What is my favourite colour?"))["content"] == "My favourite colour is red."


def test_rephrases_a_follow_up() -> None:
    """A prompt that wants a standalone question gets the follow-up back."""
    prompt = "Chat History:\nuser: Petrels?\n\nFollow Up Input: Where do petrels nest?\nStandalone question:"
    assert reply(user(prompt))["content"] == "Where do petrels nest?"


MULTIPLY = tool("multiply", "Multiply two numbers.", a={"type": "integer"}, b={"type": "integer"})
WEATHER = tool("get_weather", "Look up the weather of a city.", city={"type": "string"})


def called(message: dict[str, Any]) -> tuple[str, Any]:
    """Return name and arguments of a message's one tool call."""
    (call,) = message["tool_calls"]
    return call["function"]["name"], json.loads(call["function"]["arguments"])


def test_calls_the_tool_that_matches() -> None:
    """The tool whose description matches is called, with arguments out of the question."""
    tools = [MULTIPLY, WEATHER]
    assert called(reply(user("Multiply 6 by 7."), tools=tools)) == ("multiply", {"a": 6, "b": 7})
    weather = called(reply(user("How is the weather in Lisbon today?"), tools=tools))
    assert weather == ("get_weather", {"city": "Lisbon"})


def test_calls_none_that_does_not_match() -> None:
    """A question that is about no tool is answered."""
    assert "tool_calls" not in reply(user(f"{PETRELS} Where do petrels nest?"), tools=[MULTIPLY, WEATHER])


def test_tool_choice() -> None:
    """A choice of tool is obeyed: none, any, or one by name."""
    question, tools = user("Hello there."), [MULTIPLY, WEATHER]
    assert "tool_calls" not in reply(user("Multiply 6 by 7."), tools=tools, tool_choice="none")
    assert called(reply(question, tools=tools, tool_choice="required"))
    named = {"type": "function", "function": {"name": "get_weather"}}
    assert called(reply(question, tools=tools, tool_choice=named))[0] == "get_weather"


def test_answers_with_the_results() -> None:
    """Once the results are there, they are the answer; a new question starts anew."""
    turn = [user("Multiply 6 by 7."), assistant_calling("c1", name="multiply"), tool_result("c1", "42")]
    assert reply(*turn, tools=[MULTIPLY])["content"] == "42"
    again = [*turn, {"role": "assistant", "content": "42"}, user("Multiply 2 by 3.")]
    assert called(reply(*again, tools=[MULTIPLY]))[1] == {"a": 2, "b": 3}


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "height": {"type": "number"},
        "mood": {"enum": ["sad", "happy"]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}, "minItems": 2},
        "nickname": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        "kind": {"const": "person"},
        "alive": {"type": "boolean"},
    },
    "required": ["name", "age", "height", "mood", "tags", "nickname", "kind", "alive"],
    "$defs": {"Tag": {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}},
}


def test_fills_a_schema() -> None:
    """Every type of a schema gets a value that it allows, out of the text where it can be."""
    filled = fill(PERSON, 'Ada is "Ada Lovelace", 36 years old, 1.65 m tall, and happy.')
    assert (filled["name"], filled["age"], filled["height"]) == ("Ada Lovelace", 36, 1.65)
    assert (filled["mood"], filled["kind"], filled["alive"]) == ("happy", "person", True)
    assert [list(tag) for tag in filled["tags"]] == [["label"], ["label"]]
    assert isinstance(filled["nickname"], str)


def test_structured_answers() -> None:
    """A response format is obeyed: a schema is filled, an object is an object."""
    asked = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    filled = json.loads(reply(user("Ada is 36 years old."), response_format=asked)["content"])
    assert filled["age"] == 36
    free = reply(user(f"{PETRELS} Where do petrels nest?"), response_format={"type": "json_object"})
    assert json.loads(free["content"]) == {"answer": PETRELS}


def test_recursive_schemas_end() -> None:
    """A schema that refers to itself is filled to a certain depth."""
    node: dict[str, Any] = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
        "required": ["children"],
    }
    assert json.dumps(fill({"$ref": "#/$defs/Node", "$defs": {"Node": node}}, "text"))


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    """Whatever is said, there is an answer, and the same one again."""
    first = reply(user(text), response_format={"type": "text"})
    assert isinstance(first["content"], str)
    assert reply(user(text)) == first


@given(st.text(), st.integers(-100, 100), st.integers(0, 100))
def test_numbers_are_within_bounds(text: str, low: int, width: int) -> None:
    """Numbers are between minimum and maximum, whatever the text says."""
    bounded = {"type": "integer", "minimum": low, "maximum": low + width}
    assert low <= fill(bounded, text) <= low + width
