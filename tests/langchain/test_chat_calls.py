"""Plain and streamed calls, in threads of execution and in tasks, as they go over the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import reduce
from operator import add
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from behest_base import Behest
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest

FACT = "The depot is in Turin."
QUESTION = "Where is the depot?"


def test_a_call_is_answered_for_its_user(model: ChatBehest, gateway: Emulator) -> None:
    """The request has alice's token, her messages, the default model and a session of its own."""
    reply = model.invoke([SystemMessage(FACT), HumanMessage(QUESTION)])
    [call] = gateway.chats
    assert "Turin" in reply.text
    assert call.user_id == "alice"
    assert call.json == {
        "model": "default",
        "messages": [{"role": "system", "content": FACT}, {"role": "user", "content": QUESTION}],
    }
    assert call.headers["X-Session-Id"]
    assert "X-Thread-Id" not in call.headers


def test_usage_and_place_are_in_the_reply(model: ChatBehest, gateway: Emulator) -> None:
    """A plain reply says its tokens, its model, why it ended, and where it was made."""
    reply = model.invoke(QUESTION)
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["total_tokens"] > 0
    assert reply.response_metadata["model_provider"] == "behest"
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.response_metadata["behest"]["user_id"] == "alice"
    assert reply.response_metadata["behest"]["session_id"] == gateway.chats[0].headers["X-Session-Id"]
    assert {"trace_id", "request_id"} <= reply.response_metadata["behest"].keys()


def test_a_stream_adds_up_to_the_plain_reply(model: ChatBehest) -> None:
    """The chunks have the plain reply's text, usage and metadata, each once."""
    plain = model.invoke([SystemMessage(FACT), HumanMessage(QUESTION)])
    chunks = list(model.stream([SystemMessage(FACT), HumanMessage(QUESTION)]))
    whole = reduce(add, chunks)
    assert len([chunk for chunk in chunks if chunk.text]) > 1
    assert whole.text == plain.text
    assert whole.usage_metadata == plain.usage_metadata
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.response_metadata["model_name"] == plain.response_metadata["model_name"]
    assert whole.response_metadata["behest"].keys() == plain.response_metadata["behest"].keys()
    assert chunks[-1].chunk_position == "last"


async def test_tasks_get_the_same(model: ChatBehest) -> None:
    """The asynchronous twins answer alike."""
    messages = [SystemMessage(FACT), HumanMessage(QUESTION)]
    plain = await model.ainvoke(messages)
    streamed = reduce(add, [chunk async for chunk in model.astream(messages)])
    assert plain.text == streamed.text
    assert "Turin" in plain.text
    assert plain.usage_metadata == streamed.usage_metadata


def test_batch_calls_for_each_item(model: ChatBehest, gateway: Emulator) -> None:
    """A batch makes one call per item, with one mint for the user."""
    replies = model.batch(["One.", "Two.", "Three."])
    assert len(replies) == len(gateway.chats) == 3
    assert len({call.headers["X-Session-Id"] for call in gateway.chats}) == 3
    assert len(gateway.mints) == 1


async def test_abatch_calls_for_each_item(model: ChatBehest, gateway: Emulator) -> None:
    """So does a batch of tasks."""
    await model.abatch(["One.", "Two.", "Three."])
    assert len(gateway.chats) == 3
    assert len(gateway.mints) == 1


def test_generate_gives_each_prompt_a_session(model: ChatBehest, gateway: Emulator) -> None:
    """Several prompts of one `generate` share no memory."""
    result = model.generate([[HumanMessage("One.")], [HumanMessage("Two.")]])
    assert len(result.generations) == 2
    assert len({call.headers["X-Session-Id"] for call in gateway.chats}) == 2


async def test_agenerate_sums_the_usage(model: ChatBehest) -> None:
    """The result of several prompts has the sum of their tokens."""
    result = await model.agenerate([[HumanMessage("One.")], [HumanMessage("Two.")]])
    each = [generations[0].message.usage_metadata for generations in result.generations]  # type: ignore[union-attr]
    assert result.llm_output is not None
    assert result.llm_output["token_usage"]["total_tokens"] == sum(usage["total_tokens"] for usage in each)


class Answer(TypedDict):
    """An answer."""

    text: str


PROMPT = ChatPromptTemplate.from_messages([("human", "{text}")])

# What streams of a model; each as a function of the model that gives an iterator, sync or not.
STREAMS: dict[str, Callable[[ChatBehest], Any]] = {
    "stream": lambda model: model.stream("Talk."),
    "astream": lambda model: model.astream("Talk."),
    "bound": lambda model: model.bind(temperature=0).stream("Talk."),
    "chain": lambda model: (PROMPT | model).stream({"text": "Talk."}),
    # In a synchronous chain with a step after the model langchain-core reads its stream to the end for the traces.
    "achain": lambda model: (PROMPT | model | StrOutputParser()).astream({"text": "Talk."}),
    "structured": lambda model: model.with_structured_output(Answer).astream("Talk."),
    "structured-raw": lambda model: model.with_structured_output(Answer, include_raw=True).astream("Talk."),
    "agent": lambda model: create_agent(model, []).astream(
        {"messages": [HumanMessage("Talk.")]}, stream_mode="messages"
    ),
    "events": lambda model: chunks_of(model.astream_events("Talk.", version="v2")),
}


async def chunks_of(events: Any) -> AsyncIterator[Any]:
    """Give the events that have a chunk."""
    async with aclosing(events):
        async for event in events:
            if event["event"] == "on_chat_model_stream":
                yield event


@pytest.mark.parametrize("leave", ["break", "close", "cancel", "timeout"])
@pytest.mark.parametrize("name", STREAMS)
async def test_leaving_a_stream_closes_the_connection(
    name: str, leave: str, model: ChatBehest, gateway: Emulator
) -> None:
    """Whoever stops reading, however, ends the request at the gateway at once."""
    gateway.chunk_delay = 0.05
    gateway.script(json.dumps({"text": "word " * 200}))
    stream = STREAMS[name](model)
    if not hasattr(stream, "__aiter__"):
        next(stream)
        if leave == "close":
            stream.close()
        del stream
    elif leave == "break":
        async for _ in stream:
            break
        del stream
    elif leave == "close":
        await anext(stream)
        await stream.aclose()
    else:
        await cut(stream, leave)
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[0].disconnected)


async def cut(stream: Any, how: str) -> None:
    """Read a stream in a task that is cancelled, or runs out of time."""
    started = asyncio.Event()

    async def read() -> None:
        async for _ in stream:
            started.set()

    if how == "timeout":
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.5)
        assert started.is_set()
        return
    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.filterwarnings("ignore:.*in beta")
async def test_closing_the_events_closes_the_connection(model: ChatBehest, gateway: Emulator) -> None:
    """Events of both versions that are given up end the request."""
    gateway.chunk_delay = 0.05
    gateway.script("word " * 200, "word " * 200)
    stream = await model.astream_events("Talk.", version="v3")
    async for _ in stream.text:
        break
    await stream.aclose()
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[0].disconnected)
    events = model.astream_events("Talk.", version="v2")
    async for event in events:
        if event["event"] == "on_chat_model_stream":
            break
    await events.aclose()  # type: ignore[attr-defined] # it is a generator
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[1].disconnected)


async def test_cancelling_a_plain_call_closes_the_connection(model: ChatBehest, gateway: Emulator) -> None:
    """A cancelled `ainvoke` leaves no connection behind, and the client goes on."""
    with gateway.holding("chat"):
        task = asyncio.create_task(model.ainvoke("Hello."))
        await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[0].reply or gateway.chats[0].disconnected)
    assert (await model.ainvoke("Hello.")).text


async def test_events_of_version_2(model: ChatBehest, gateway: Emulator) -> None:
    """The events of a call begin, stream and end, for the model's user."""
    kinds = [event["event"] async for event in model.astream_events(QUESTION, version="v2")]
    assert kinds[0] == "on_chat_model_start"
    assert kinds[-1] == "on_chat_model_end"
    assert "on_chat_model_stream" in kinds
    assert gateway.chats[0].json["stream"] is True


@pytest.mark.filterwarnings("ignore:.*in beta")
async def test_events_of_version_3(model: ChatBehest) -> None:
    """The typed stream of version 3 has the text and the usage, and its message knows where it was made."""
    stream = await model.astream_events([("system", FACT), ("human", QUESTION)], version="v3")
    text = await stream.text
    output = await stream.output
    assert "Turin" in text
    assert output.usage_metadata is not None
    assert output.response_metadata["behest"]["user_id"] == "alice"
    sync = model.stream_events([("system", FACT), ("human", QUESTION)], version="v3")
    assert str(sync.text) == text


def test_a_chain_streams(model: ChatBehest) -> None:
    """In a chain it streams through."""
    chain = ChatPromptTemplate.from_messages([("system", "{fact}"), ("human", "{question}")]) | model
    chunks = list(chain.stream({"fact": FACT, "question": QUESTION}))
    assert len(chunks) > 1
    assert "Turin" in "".join(chunk.text for chunk in chunks)


def test_the_environment_is_enough(environment: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, key, address and user come from the environment."""
    monkeypatch.setenv("BEHEST_USER_ID", "carol")
    ChatBehest().invoke("Hello.")
    assert environment.chats[0].user_id == "carol"


def test_models_share_a_client(environment: Emulator) -> None:
    """Models made alike use one client, and so one token per user."""
    for _ in range(3):
        ChatBehest(user_id="alice").invoke("Hello.")
    assert len(environment.mints) == 1
    assert ChatBehest().behest is ChatBehest().behest


@pytest.mark.parametrize("streaming", [True, False])
def test_streaming_decides_how_invoke_asks(streaming: bool, behest: Behest, gateway: Emulator) -> None:  # noqa: FBT001
    """With streaming on, `invoke` streams and answers alike."""
    reply = ChatBehest(client=behest, user_id="alice", streaming=streaming).invoke(
        [("system", FACT), ("human", QUESTION)]
    )
    assert "Turin" in reply.text
    assert isinstance(reply, AIMessage)
    assert bool(gateway.chats[0].json.get("stream")) is streaming


def test_stream_usage_can_be_left_out(behest: Behest, gateway: Emulator) -> None:
    """Who wants no usage in streams can say so."""
    whole = reduce(add, ChatBehest(client=behest, user_id="alice", stream_usage=False).stream("Hello."))
    assert whole.usage_metadata is None
    assert gateway.chats[0].json["stream_options"] == {"include_usage": False}


def test_callbacks_see_tokens(model: ChatBehest) -> None:
    """A callback handler gets each token, the start and the end."""
    from langchain_core.callbacks import BaseCallbackHandler  # noqa: PLC0415

    seen: list[Any] = []

    class Handler(BaseCallbackHandler):
        def on_llm_new_token(self, token: Any, **_: Any) -> None:
            seen.append(token)

        def on_llm_end(self, response: Any, **_: Any) -> None:
            seen.append(response.generations[0][0].text)

    text = "".join(chunk.text for chunk in model.stream("Hello there.", {"callbacks": [Handler()]}))
    assert "".join(seen[:-1]) == text
    assert seen[-1] == text


def test_two_event_loops_use_one_model(model: ChatBehest) -> None:
    """A model that was used in one event loop serves the next one."""
    calls: list[Callable[[], Any]] = [lambda: model.ainvoke("One."), lambda: model.ainvoke("Two.")]
    assert all(asyncio.run(call()).text for call in calls)
