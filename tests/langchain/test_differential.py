"""ChatBehest beside ChatOpenAI on the same recordings: equal where both have a field, richer where the other drops one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_behest import ChatBehest
from support.minters import made_up_token
from support.replay import Recording, Replay, recordings, replaying
from support.replay import recording as recorded

# Fields of the message, and entries of its response_metadata, that both fill from the same bytes.
FIELDS = ("content", "tool_calls", "usage_metadata")
ENTRIES = ("finish_reason", "logprobs", "model_name", "system_fingerprint", "service_tier")


@pytest.fixture(scope="module")
def server() -> Iterator[Replay]:
    """Run the server of recordings for this module."""
    with replaying() as running:
        yield running


@pytest.fixture
def ours(server: Replay) -> ChatBehest:
    """Give a ChatBehest that talks to it."""
    return ChatBehest(api_key=SecretStr(made_up_token("alice", 1)), base_url=server.base_url)


@pytest.fixture
def theirs(server: Replay) -> ChatOpenAI:
    """Give a ChatOpenAI that talks to it."""
    return ChatOpenAI(
        model="gpt-4o", api_key=SecretStr("none"), base_url=f"{server.base_url}/v1", stream_usage=True, max_retries=0
    )


def shown(message: AIMessage) -> dict[str, Any]:
    """Return what both messages are to agree in."""
    invalid = [{name: call[name] for name in ("name", "args", "id")} for call in message.invalid_tool_calls]
    return {
        **{name: getattr(message, name) for name in FIELDS},
        "invalid_tool_calls": invalid,
        **{name: without_nulls(message.response_metadata.get(name)) for name in ENTRIES},
        **{name: value for name, value in message.additional_kwargs.items() if value is not None},
    }


def without_nulls(value: Any) -> Any:
    """Return a value without the nulls that the SDK's models write where the wire has nothing."""
    return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value


def counted(message: AIMessage) -> dict[str, Any]:
    """Return the usage without empty details, which the events leave out."""
    return {name: count for name, count in (message.usage_metadata or {}).items() if count != {}}


def check(ours: AIMessage, theirs: AIMessage, recording: Recording) -> None:
    """Check that ours has all that theirs has, and that what is said to differ does."""
    mine, other = shown(ours), {name: value for name, value in shown(theirs).items() if value not in (None, "", [])}
    different = {name for name, value in other.items() if mine.get(name) != value}
    assert different <= set(recording.differs), {name: (mine.get(name), other[name]) for name in different}
    assert {name for name in recording.differs if mine.get(name) == shown(theirs).get(name)} == set()


@pytest.mark.parametrize("recording", recordings("response"), ids=str)
def test_plain(recording: Recording, server: Replay, ours: ChatBehest, theirs: ChatOpenAI) -> None:
    """A plain answer is read as ChatOpenAI reads it, or more of it is."""
    server.recording = recording
    check(ours.invoke("Hello."), theirs.invoke("Hello."), recording)


@pytest.mark.parametrize("recording", recordings("response"), ids=str)
async def test_every_choice(recording: Recording, server: Replay, ours: ChatBehest, theirs: ChatOpenAI) -> None:
    """All choices of an answer are read, in threads and tasks, as ChatOpenAI reads them."""
    server.recording = recording
    other = [generation.text for generation in theirs.generate([[HumanMessage("Hello.")]]).generations[0]]
    plain = ours.generate([[HumanMessage("Hello.")]])
    tasks = await ours.agenerate([[HumanMessage("Hello.")]])
    for result in (plain, tasks):
        assert [generation.text for generation in result.generations[0]] == other
    assert shown(await ours.ainvoke("Hello.")) == shown(ours.invoke("Hello."))


# What ChatOpenAI drops of these recordings, and ours keeps.
RICHER = {
    "reasoning_content": ["plain-reasoning-content", "stream-litellm-reasoning-content"],
    "reasoning": ["plain-reasoning-openrouter", "stream-reasoning-openrouter"],
    "thinking_blocks": ["plain-thinking-blocks", "stream-litellm-thinking-blocks"],
    "provider_specific_fields": ["stream-litellm-provider-fields"],
    "annotations": ["plain-annotations"],
}


@pytest.mark.parametrize(("name", "field"), [(name, field) for field, names in RICHER.items() for name in names])
def test_richer(name: str, field: str, server: Replay, ours: ChatBehest, theirs: ChatOpenAI) -> None:
    """Fields of a message that ChatOpenAI drops are kept under their own names."""
    server.recording = recorded(name)
    if server.recording.sse is None:
        mine, other = ours.invoke("Hello."), theirs.invoke("Hello.")
    else:
        mine, other = reduce(add, ours.stream("Hello.")), reduce(add, theirs.stream("Hello."))
    assert mine.additional_kwargs[field]
    assert field not in other.additional_kwargs


@pytest.mark.parametrize("recording", recordings("response"), ids=str)
def test_nothing_is_dropped(recording: Recording, server: Replay, ours: ChatBehest) -> None:
    """Every field of an answer, its choice and its message that says something is in the message that is read."""
    server.recording = recording
    reply, wire = ours.invoke("Hello."), recording.response or {}
    known = {
        "content",
        "role",
        "tool_calls",
        "choices",
        "object",
        "model",
        "usage",
        "message",
        "index",
        "finish_reason",
    }
    for place, fields in (
        (reply.additional_kwargs, wire["choices"][0]["message"]),
        (reply.response_metadata, wire["choices"][0]),
        (reply.response_metadata, wire),
    ):
        said = {name: value for name, value in fields.items() if name not in known and value not in (None, [], {})}
        assert {name: place.get(name) for name in said} == said


@pytest.mark.parametrize("recording", recordings("sse"), ids=str)
def test_nothing_of_a_stream_is_dropped(recording: Recording, server: Replay, ours: ChatBehest) -> None:
    """Nor is any field of the chunks of its first choice."""
    server.recording = recording
    reply = reduce(add, ours.stream("Hello."))
    lines = [line.removeprefix("data:").strip() for line in (recording.sse or "").splitlines() if "data:" in line]
    chunks = [json.loads(line) for line in lines if line not in ("", "[DONE]")]
    choices = [choice for chunk in chunks for choice in chunk.get("choices") or () if not choice.get("index")]
    deltas = [choice.get("delta") or {} for choice in choices]
    said = {name for delta in deltas for name, value in delta.items() if value not in (None, [], {}, "")}
    assert said - {"content", "role", "tool_calls"} <= reply.additional_kwargs.keys()
    said = {name for chunk in chunks for name, value in chunk.items() if value not in (None, [], {}, "")}
    assert said - {"choices", "object", "model", "usage"} <= reply.response_metadata.keys()


@pytest.mark.parametrize("recording", recordings("sse"), ids=str)
def test_streamed(recording: Recording, server: Replay, ours: ChatBehest, theirs: ChatOpenAI) -> None:
    """The chunks of a stream add up to what ChatOpenAI's add up to, or to more."""
    server.recording = recording
    check(reduce(add, ours.stream("Hello.")), reduce(add, theirs.stream("Hello.")), recording)


@pytest.mark.parametrize("recording", recordings("sse"), ids=str)
async def test_tasks_read_the_same(recording: Recording, server: Replay, ours: ChatBehest) -> None:
    """A stream read in a task gives the chunks that a thread gets."""
    server.recording = recording
    chunks = [chunk async for chunk in ours.astream("Hello.")]
    assert shown(reduce(add, chunks)) == shown(reduce(add, ours.stream("Hello.")))


@pytest.mark.filterwarnings("ignore:.*in beta")
@pytest.mark.parametrize("recording", recordings("sse"), ids=str)
def test_events_read_the_same(recording: Recording, server: Replay, ours: ChatBehest) -> None:
    """The events of version 3 end in a message with the same text, calls and usage."""
    server.recording = recording
    message = ours.stream_events("Hello.", version="v3").output
    plain = reduce(add, ours.stream("Hello."))
    assert (message.text, message.tool_calls) == (plain.text, plain.tool_calls)
    assert counted(message) == counted(plain)


def test_the_corpus_is_large() -> None:
    """There are at least 40 recordings."""
    assert len(recordings("response")) + len(recordings("sse")) >= 40
