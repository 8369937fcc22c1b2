"""Structured answers by each method, for each kind of schema, plain and streamed, and refusals."""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel

from behest_base.emulator import Emulator
from langchain_behest import BehestRefusalError, ChatBehest


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str = ""


class JokeDict(TypedDict):
    """A joke."""

    setup: Annotated[str, ..., "How it begins"]
    punchline: str


SCHEMA = {
    "title": "JokeSchema",
    "description": "A joke.",
    "type": "object",
    "properties": {"setup": {"type": "string"}, "punchline": {"type": "string"}},
    "required": ["setup", "punchline"],
}

SCHEMAS: dict[str, Any] = {"Joke": Joke, "JokeDict": JokeDict, "JokeSchema": SCHEMA}

ANSWER = {"setup": "Knock, knock.", "punchline": "Who's there?"}


def reply(method: str, name: str) -> Any:
    """Return a model's reply with the answer, as the method asks for it."""
    if method != "function_calling":
        return json.dumps(ANSWER)
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": json.dumps(ANSWER)}}
    return {"content": None, "tool_calls": [call]}


every_method = pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])


@every_method
@pytest.mark.parametrize("name", SCHEMAS)
async def test_every_schema_by_every_method(method: Any, name: str, model: ChatBehest, gateway: Emulator) -> None:
    """Pydantic schemas give instances, the others dicts, in threads and tasks."""
    structured = model.with_structured_output(SCHEMAS[name], method=method)
    gateway.script(reply(method, name), reply(method, name))
    expected = Joke(**ANSWER) if name == "Joke" else ANSWER
    assert structured.invoke("Joke.") == expected
    assert await structured.ainvoke("Joke.") == expected


@every_method
async def test_partial_objects_are_streamed(method: Any, model: ChatBehest, gateway: Emulator) -> None:
    """Answers grow as they come; the last one is whole."""
    for schema in (JokeDict, Joke):
        name = schema.__name__
        gateway.script(reply(method, name), reply(method, name))
        structured = model.with_structured_output(schema, method=method)
        parts = list(structured.stream("Joke."))
        assert len(parts) > 1
        assert parts[-1] == (Joke(**ANSWER) if schema is Joke else ANSWER)
        assert parts[0] != parts[-1]
        assert [part async for part in structured.astream("Joke.")] == parts


def test_what_goes_out_by_json_schema(model: ChatBehest, gateway: Emulator) -> None:
    """The default method sends the schema as `response_format`; strict closes it."""
    model.with_structured_output(Joke).invoke("Joke.")
    model.with_structured_output(Joke, strict=True).invoke("Joke.")
    loose, strict = (chat.json["response_format"]["json_schema"] for chat in gateway.chats)
    assert (loose["name"], loose["description"]) == ("Joke", "A joke.")
    assert loose["schema"]["required"] == ["setup"]
    assert "strict" not in loose
    assert strict["strict"] is True
    assert strict["schema"]["additionalProperties"] is False
    assert strict["schema"]["required"] == ["setup", "punchline"]


def test_what_goes_out_by_function_calling(model: ChatBehest, gateway: Emulator) -> None:
    """A tool of the schema's name is asked for, one call at most."""
    model.with_structured_output(JokeDict, method="function_calling", strict=True).invoke("Joke.")
    sent = gateway.chats[0].json
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "JokeDict"}}
    assert sent["parallel_tool_calls"] is False
    assert sent["tools"][0]["function"]["strict"] is True


def test_json_mode_does_without_a_schema(model: ChatBehest, gateway: Emulator) -> None:
    """Any JSON will do, if that is what is asked for."""
    gateway.script('```json\n{"any": 1}\n```')
    assert model.with_structured_output(None, method="json_mode").invoke("JSON.") == {"any": 1}
    assert gateway.chats[0].json["response_format"] == {"type": "json_object"}


@every_method
def test_include_raw(method: Any, model: ChatBehest, gateway: Emulator) -> None:
    """The message and the error of parsing come along, where they are asked for."""
    structured = model.with_structured_output(Joke, method=method, include_raw=True)
    bad = {"id": "c1", "type": "function", "function": {"name": "Joke", "arguments": '{"punchline": "?"}'}}
    gateway.script(
        reply(method, "Joke"),
        {"content": None, "tool_calls": [bad]} if method == "function_calling" else '{"punchline": "?"}',
    )
    good = structured.invoke("Joke.")
    assert good["parsed"] == Joke(**ANSWER)
    assert good["parsing_error"] is None
    assert good["raw"].usage_metadata
    failed = structured.invoke("Joke.")
    assert failed["parsed"] is None
    assert isinstance(failed["parsing_error"], Exception)


ENDINGS: dict[str, tuple[dict[str, Any], Any]] = {
    "answered": ({}, type(None)),
    "refused": ({"refusal": "I'd rather not."}, BehestRefusalError),
    "cut": ({"cut": True}, OutputParserException),
}


@every_method
@pytest.mark.parametrize("schema", [Joke, JokeDict], ids=lambda schema: schema.__name__)
@pytest.mark.parametrize("ending", ENDINGS)
async def test_include_raw_streams(ending: str, schema: Any, method: Any, model: ChatBehest, gateway: Emulator) -> None:
    """The message comes in pieces, the answer grows, and the error of parsing ends the stream instead of breaking it."""
    given, error = ENDINGS[ending]
    text = json.dumps(ANSWER)[: -4 if ending == "cut" else None]
    call = {"id": "c1", "type": "function", "function": {"name": schema.__name__, "arguments": text}}
    message: Any = {"content": None, "tool_calls": [call]} if method == "function_calling" else {"content": text}
    gateway.script(*[{"content": None, **given} if ending == "refused" else message] * 2)
    structured = model.with_structured_output(schema, method=method, include_raw=True)
    parts = list(structured.stream("Joke."))
    assert reduce(add, [part["raw"] for part in parts if "raw" in part]).usage_metadata
    parsed = [part["parsed"] for part in parts if "parsed" in part]
    assert isinstance(parts[-1]["parsing_error"], error)
    assert [part for part in parts if "parsing_error" in part] == [parts[-1]]
    if ending == "answered":
        assert len(parsed) > 1
        assert parsed[-1] == (Joke(**ANSWER) if schema is Joke else ANSWER)
    if ending == "refused":
        assert parsed == [None]
    tasks = [part async for part in structured.astream("Joke.")]
    assert [part["parsed"] for part in tasks if "parsed" in part] == parsed
    assert isinstance(tasks[-1]["parsing_error"], error)


@every_method
async def test_a_refusal_is_said(method: Any, model: ChatBehest, gateway: Emulator) -> None:
    """A model that refuses is neither an empty answer nor a parsing riddle, plain, streamed or raw."""
    refusal = {"content": None, "refusal": "I'd rather not."}
    structured = model.with_structured_output(Joke, method=method)
    gateway.script(*[refusal] * 4)
    with pytest.raises(BehestRefusalError, match="rather not") as caught:
        structured.invoke("Joke.")
    assert isinstance(caught.value, OutputParserException)
    with pytest.raises(BehestRefusalError, match="rather not"):
        list(structured.stream("Joke."))
    with pytest.raises(BehestRefusalError, match="rather not"):
        [_ async for _ in structured.astream("Joke.")]
    raw = model.with_structured_output(Joke, method=method, include_raw=True).invoke("Joke.")
    assert raw["raw"].additional_kwargs["refusal"] == "I'd rather not."
    assert isinstance(raw["parsing_error"], BehestRefusalError)


@every_method
@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("reason", ["length", "stop"])
async def test_an_answer_cut_short_is_none(
    reason: str, name: str, method: Any, model: ChatBehest, gateway: Emulator
) -> None:
    """JSON that ends in the middle is never completed to an answer, plain, streamed or raw."""
    cut = '{"setup": "Knock, kn'
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": cut}}
    message: Any = {"content": None, "tool_calls": [call]} if method == "function_calling" else {"content": cut}
    answer = {"choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", **message}}]}
    gateway.script(*[answer] * 5)
    structured = model.with_structured_output(SCHEMAS[name], method=method)
    hint = "max_tokens" if reason == "length" else reason
    with pytest.raises(OutputParserException, match=hint):
        structured.invoke("Joke.")
    with pytest.raises(OutputParserException, match=hint):
        await structured.ainvoke("Joke.")
    with pytest.raises(OutputParserException, match=hint):
        list(structured.stream("Joke."))
    with pytest.raises(OutputParserException, match=hint):
        [_ async for _ in structured.astream("Joke.")]
    raw = model.with_structured_output(SCHEMAS[name], method=method, include_raw=True).invoke("Joke.")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], OutputParserException)


@every_method
@pytest.mark.parametrize("schema", [Joke, JokeDict], ids=lambda schema: schema.__name__)
async def test_a_chain_streams_a_model_that_does_not(
    schema: Any, method: Any, model: ChatBehest, gateway: Emulator
) -> None:
    """With `disable_streaming` a streamed chain gives the answer in one piece, and refuses what it has to."""
    structured = model.model_copy(update={"disable_streaming": True}).with_structured_output(schema, method=method)
    cut = {"id": "c1", "type": "function", "function": {"name": schema.__name__, "arguments": '{"setup": "Kn'}}
    gateway.script(
        reply(method, schema.__name__),
        reply(method, schema.__name__),
        {"content": None, "tool_calls": [cut]} if method == "function_calling" else '{"setup": "Kn',
        {"content": None, "refusal": "I'd rather not."},
    )
    answer = Joke(**ANSWER) if schema is Joke else ANSWER
    assert list(structured.stream("Joke.")) == [answer]
    assert [part async for part in structured.astream("Joke.")] == [answer]
    with pytest.raises(OutputParserException, match="not whole"):
        list(structured.stream("Joke."))
    with pytest.raises(BehestRefusalError):
        list(structured.stream("Joke."))
    assert not any(chat.json.get("stream") for chat in gateway.chats)


@pytest.mark.parametrize("form", ["invoke", "stream"])
def test_an_answer_that_does_not_fit(form: str, model: ChatBehest, gateway: Emulator) -> None:
    """An answer that misses the schema is LangChain's parsing error, at the end of a stream too."""
    gateway.script('{"punchline": "?"}')
    structured = model.with_structured_output(Joke)
    with pytest.raises(OutputParserException):
        structured.invoke("Joke.") if form == "invoke" else list(structured.stream("Joke."))


def test_what_stands_around_the_answer(model: ChatBehest, gateway: Emulator) -> None:
    """A fence around the JSON, words after it and line breaks in its texts are no reason to refuse it."""
    answer = json.dumps({"setup": "One\ntwo", "punchline": ""})
    structured = model.with_structured_output(JokeDict)
    for text in (f"```json\n{answer}\n```", f"{answer} Hope you like it!", answer.replace("\\n", "\n")):
        gateway.script(text, text)
        assert structured.invoke("Joke.") == list(structured.stream("Joke."))[-1] == json.loads(answer)


def test_arguments_that_make_no_sense(model: ChatBehest) -> None:
    """An unknown method, strict without a schema, and a missing schema are said at once."""
    with pytest.raises(ValueError, match="yaml"):
        model.with_structured_output(Joke, method="yaml")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strict"):
        model.with_structured_output(Joke, method="json_mode", strict=True)
    with pytest.raises(ValueError, match="needs a schema"):
        model.with_structured_output(None)


def test_the_emulator_fills_a_schema(model: ChatBehest) -> None:
    """End to end with the built-in model: what comes back fits."""
    assert isinstance(model.with_structured_output(Joke).invoke("Tell a joke."), Joke)


def test_a_schema_of_a_call(model: ChatBehest, gateway: Emulator) -> None:
    """`response_format=` of a call takes a class as well as the wire's form."""
    model.invoke("Joke.", response_format=Joke)
    model.bind(response_format={"type": "json_object"}).invoke("Joke.")
    first, second = (chat.json["response_format"] for chat in gateway.chats)
    assert first["json_schema"]["name"] == "Joke"
    assert second == {"type": "json_object"}


def test_a_schema_beside_tools(model: ChatBehest, gateway: Emulator) -> None:
    """Tools may come with the schema, to either method of binding; `strict` is for both."""
    structured = model.with_structured_output(Joke, strict=True, tools=[JokeDict])
    assert structured.invoke("Joke dict.") is None  # the model called the tool: no answer yet
    model.bind_tools([JokeDict], response_format=Joke, strict=True).invoke("Joke.")
    for sent in (chat.json for chat in gateway.chats):
        assert [tool["function"]["name"] for tool in sent["tools"]] == ["JokeDict"]
        assert sent["response_format"]["json_schema"]["strict"] is True
    assert gateway.chats[1].json["tools"][0]["function"]["strict"] is True
