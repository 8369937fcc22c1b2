"""Structured answers: the native mode, the fallback, streams of growing objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from behest_base import BehestContextOverflowError, BehestStreamError, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM


class Person(BaseModel):
    """A person."""

    name: str
    age: int | None = None


class Free(BaseModel):
    """Anything."""

    facts: dict[str, Any]


PROMPT = PromptTemplate("Who is {who}?")
ADA = json.dumps({"name": "Ada", "age": 36})
CALL = {
    "content": None,
    "tool_calls": [{"id": "p", "type": "function", "function": {"name": "Person", "arguments": ADA}}],
}


async def _each_way(llm: BehestLLM) -> list[Any]:
    return [
        llm.structured_predict(Person, PROMPT, who="Ada"),
        await llm.astructured_predict(Person, PROMPT, who="Ada"),
        list(llm.stream_structured_predict(Person, PROMPT, who="Ada"))[-1],
        [one async for one in await llm.astream_structured_predict(Person, PROMPT, who="Ada")][-1],
    ]


async def test_native_mode(llm: BehestLLM, gateway: Emulator) -> None:
    """Each way asks for the schema, gets the object, and is made outside of the model's thread."""
    gateway.script(ADA, ADA, ADA, ADA)
    assert await _each_way(llm) == [Person(name="Ada", age=36)] * 4
    for call in gateway.chats:
        form = call.json["response_format"]
        assert form["type"] == "json_schema"
        assert (form["json_schema"]["name"], form["json_schema"]["strict"]) == ("Person", True)
        assert form["json_schema"]["schema"]["required"] == ["name", "age"]
        assert form["json_schema"]["schema"]["additionalProperties"] is False
        assert call.thread_id is None
    assert gateway.threads("alice") == []


async def test_refused_schema_falls_back_to_a_function_call(llm: BehestLLM, gateway: Emulator) -> None:
    """Where the model knows no response_format, the object comes by way of a function call."""
    for ask in (0, 1, 2, 3):
        gateway.clear()
        gateway.fail_next(status=400, code="unsupported_parameter", path="chat")
        gateway.script(CALL)
        assert await _one(llm, ask) == Person(name="Ada", age=36)
        refused, called = gateway.chats
        assert "response_format" in refused.json
        assert called.json["tools"][0]["function"]["name"] == "Person"
        assert called.thread_id is None


async def _one(llm: BehestLLM, way: int) -> Any:
    if way == 0:
        return llm.structured_predict(Person, PROMPT, who="Ada")
    if way == 1:
        return await llm.astructured_predict(Person, PROMPT, who="Ada")
    if way == 2:
        return list(llm.stream_structured_predict(Person, PROMPT, who="Ada"))[-1]
    return [one async for one in await llm.astream_structured_predict(Person, PROMPT, who="Ada")][-1]


async def test_prose_falls_back_to_a_function_call(llm: BehestLLM, gateway: Emulator) -> None:
    """A model that ignores the schema is asked again by way of a function call."""
    gateway.script("Ada was a mathematician.", CALL, "Ada was a mathematician.", CALL)
    assert llm.structured_predict(Person, PROMPT, who="Ada") == Person(name="Ada", age=36)
    assert await llm.astructured_predict(Person, PROMPT, who="Ada") == Person(name="Ada", age=36)
    assert len(gateway.chats) == 4


def test_other_errors_are_raised(llm: BehestLLM, gateway: Emulator) -> None:
    """A prompt that is too long would be too long for a function call as well."""
    gateway.fail_next(status=400, code="context_length_exceeded", path="chat")
    with pytest.raises(BehestContextOverflowError):
        llm.structured_predict(Person, PROMPT, who="Ada")
    assert len(gateway.chats) == 1


async def test_function_mode_on_request(llm: BehestLLM, gateway: Emulator) -> None:
    """`pydantic_program_mode` chooses the function call from the start."""
    gateway.script(CALL, CALL, CALL, CALL)
    by_function = BehestLLM(client=llm.client, user_id="alice", pydantic_program_mode=PydanticProgramMode.FUNCTION)
    assert await _each_way(by_function) == [Person(name="Ada", age=36)] * 4
    assert all("response_format" not in call.json for call in gateway.chats)


def test_objects_grow(llm: BehestLLM, gateway: Emulator) -> None:
    """A stream shows what is there of the object so far, and ends with the whole of it."""
    gateway.script(ADA)
    seen = list(llm.stream_structured_predict(Person, PROMPT, who="Ada"))
    assert getattr(seen[0], "name", None) is None
    assert seen[-1] == Person(name="Ada", age=36)
    assert len(seen) > 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # StructuredLLM calls pydantic's old json()
async def test_structured_llm(llm: BehestLLM, gateway: Emulator) -> None:
    """`as_structured_llm` answers with the object in raw, in all ways."""
    gateway.script(*([ADA] * 8))
    structured = llm.as_structured_llm(Person)
    messages = [ChatMessage("Who is Ada?")]
    assert structured.chat(messages).raw == Person(name="Ada", age=36)
    assert (await structured.achat(messages)).raw == Person(name="Ada", age=36)
    assert list(structured.stream_chat(messages))[-1].raw == Person(name="Ada", age=36)
    assert [piece async for piece in await structured.astream_chat(messages)][-1].raw == Person(name="Ada", age=36)
    assert structured.complete("Who is Ada?").raw == Person(name="Ada", age=36)
    assert gateway.threads("alice") == []


def test_free_form_schema_is_not_strict(llm: BehestLLM, gateway: Emulator) -> None:
    """A mapping of anything can't be asked for strictly; it is asked for as it is."""
    gateway.script('{"facts": {"born": 1815}}')
    assert llm.structured_predict(Free, PROMPT, who="Ada").facts == {"born": 1815}
    assert gateway.chats[0].json["response_format"]["json_schema"]["strict"] is False


async def test_stream_is_for_whom_it_was_called(llm: BehestLLM, gateway: Emulator) -> None:
    """The user is decided when the stream is asked for, not when it is advanced; others' calls in between are their own."""
    gateway.script_for("bob", ADA, ADA)
    with scope("bob"):
        objects = llm.stream_structured_predict(Person, PROMPT, who="Ada")
        aobjects = await llm.astream_structured_predict(Person, PROMPT, who="Ada")
    next(objects)
    llm.complete("Hello.")
    list(objects)
    _ = [one async for one in aobjects]
    assert [call.user_id for call in gateway.chats] == ["bob", "alice", "bob"]


def test_truncated_object_raises(llm: BehestLLM, gateway: Emulator) -> None:
    """A stream that breaks off is no object, however whole it looks."""
    gateway.script(ADA)
    gateway.fail_next(path="chat", after_chunks=3, close=True)
    with pytest.raises(BehestStreamError):
        list(llm.stream_structured_predict(Person, PROMPT, who="Ada"))
