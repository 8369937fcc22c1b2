"""Turns that are broken off, fail, or are gone on with elsewhere: the thread has what the gateway has, and the next turn works."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine, SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import BaseMemory
from llama_index.core.prompts import ChatPromptTemplate
from llama_index.core.tools import FunctionTool
from workflows.errors import WorkflowCancelledByUser

from behest_base import Behest, BehestBadRequestError, BehestServerError, BehestStreamError, scope
from behest_base.emulator import Emulator, RawResponse
from llamaindex_behest import BehestLLM, BehestMemory
from support.llamaindex import WAYS, Ask, Shelf, is_valid, said

MakeMemory = Callable[..., BaseMemory]

# The framework's writer thread hands the error on to the reader, and raises it in the thread as well.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

FACT, QUESTION = "My boat is called Petrel.", "What is my boat called?"


def _simple(llm: BehestLLM, memory: BaseMemory) -> Any:
    return SimpleChatEngine.from_defaults(llm=llm, memory=memory)


def _context(llm: BehestLLM, memory: BaseMemory) -> Any:
    return ContextChatEngine.from_defaults(Shelf("The museum is closed on Mondays."), llm=llm, memory=memory)


def _condense_plus(llm: BehestLLM, memory: BaseMemory) -> Any:
    return CondensePlusContextChatEngine.from_defaults(Shelf("It is closed on Mondays."), llm=llm, memory=memory)


every_engine = pytest.mark.parametrize("make_engine", [_simple, _context, _condense_plus])


@pytest.mark.parametrize("ask", WAYS)
@every_engine
async def test_a_second_client_goes_on(
    make_engine: Callable[..., Any], ask: Ask, make_memory: MakeMemory, llm: BehestLLM, gateway: Emulator
) -> None:
    """Two processes take turns: each sees what the other was told, and nothing is stored twice."""
    memory = make_memory()
    engine = make_engine(llm, memory)
    with Behest(gateway.api_key, base_url=gateway.base_url) as other:
        theirs = BehestLLM(client=other, user_id="alice", thread_id="trip")
        their_engine = make_engine(theirs, BehestMemory(client=other, user_id="alice", thread_id="trip"))
        their_engine.chat(FACT)
        assert "Petrel" in await ask(engine, QUESTION)
        their_engine.chat("It is moored in Bergen.")
        gateway.clear()
        assert "Bergen" in await ask(engine, "Where is it moored?")
    if make_engine is _condense_plus:
        assert "Bergen" in str(gateway.chats[0].json)  # what the question is condensed from
    thread = gateway.thread("alice", "trip")
    asked = [FACT, QUESTION, "It is moored in Bergen.", "Where is it moored?"]
    assert said(thread, "user") == [("user", text) for text in asked]
    assert [message.content for message in await memory.aget_all()] == [message["content"] for message in thread]


@pytest.mark.parametrize("ask", WAYS)
@every_engine
async def test_the_model_fails(
    make_engine: Callable[..., Any], ask: Ask, make_memory: MakeMemory, llm: BehestLLM, gateway: Emulator
) -> None:
    """The error is ours; the same engine goes on, and each prompt has each message once."""
    engine = make_engine(llm, make_memory())
    await ask(engine, FACT)
    gateway.fail_next(status=500, path="chat", times=5)
    with pytest.raises(BehestServerError):
        await ask(engine, "This fails.")
    gateway.faults.clear()
    assert "Petrel" in await ask(engine, QUESTION)
    thread = said(gateway.thread("alice", "trip"), "user")
    assert thread[0] == ("user", FACT)
    assert thread[-1] == ("user", QUESTION)
    assert len(thread) == len(set(thread))
    prompt = said(gateway.chats[-1].effective_prompt, "user")
    assert len(prompt) == len(set(prompt))


@pytest.mark.parametrize("ask", WAYS[2:])
@every_engine
async def test_a_stream_breaks_off(
    make_engine: Callable[..., Any], ask: Ask, make_memory: MakeMemory, llm: BehestLLM, gateway: Emulator
) -> None:
    """A stream that the gateway breaks off raises through the engine; the next turn is valid and complete."""
    engine = make_engine(llm, make_memory())
    gateway.fail_next(path="chat", after_chunks=2, close=True)
    with pytest.raises(BehestStreamError):
        await ask(engine, FACT)
    assert await ask(engine, QUESTION)
    users = said(gateway.thread("alice", "trip"), "user")
    assert users[-1] == ("user", QUESTION)
    assert len(users) == len(set(users))


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("make_engine", [_context, _condense_plus])
async def test_a_stream_breaks_off_before_the_question_is_put(
    make_engine: Callable[..., Any], ask: Ask, make_memory: MakeMemory, llm: BehestLLM, gateway: Emulator
) -> None:
    """The engines of llama-index-core 0.14.24 read the whole stream before they put anything; the next turn is in the thread."""
    memory = make_memory()
    memory.get()
    gateway.fail_next(path="chat", after_chunks=2, close=True)
    with pytest.raises(BehestStreamError):
        list(llm.stream(ChatPromptTemplate([ChatMessage("{query_str}")]), query_str=FACT))
    assert "Petrel" in await ask(make_engine(llm, memory), QUESTION)
    assert said(gateway.thread("alice", "trip"), "user") == [("user", FACT), ("user", QUESTION)]


@every_engine
async def test_the_reader_leaves(
    make_engine: Callable[..., Any], make_memory: MakeMemory, llm: BehestLLM, gateway: Emulator
) -> None:
    """A user who stops reading leaves a thread that the next turn goes on with."""
    engine = make_engine(llm, make_memory())
    gateway.script(FACT + " One two three four five six seven.")
    answer = await engine.astream_chat("Tell me about my boat.")
    stream = answer.async_response_gen()
    await anext(stream)
    await stream.aclose()
    del answer, stream
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.to_thread(gateway.wait_for, lambda: len(gateway.thread("alice", "trip")) == 2)
    await engine.achat(QUESTION)
    assert said(gateway.thread("alice", "trip"), "user") == [("user", "Tell me about my boat."), ("user", QUESTION)]
    prompt = said(gateway.chats[-1].effective_prompt, "user")
    assert len(prompt) == len(set(prompt))


@every_engine
def test_the_reader_of_a_blocking_stream_leaves(
    make_engine: Callable[..., Any], make_memory: MakeMemory, llm: BehestLLM, gateway: Emulator
) -> None:
    """The framework's thread reads on when its reader is gone, so that the turn becomes whole, and the next one works."""
    engine = make_engine(llm, make_memory())
    gateway.script(FACT + " One two three four five six seven.")
    answer = engine.stream_chat("Tell me about my boat.")
    stream = answer.response_gen
    next(stream)
    stream.close()
    gateway.wait_for(lambda: len(gateway.thread("alice", "trip")) == 2)
    assert "Petrel" in engine.chat(QUESTION).response
    assert said(gateway.thread("alice", "trip"), "user") == [("user", "Tell me about my boat."), ("user", QUESTION)]
    prompt = said(gateway.chats[-1].effective_prompt, "user")
    assert len(prompt) == len(set(prompt))


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def _adding(call_id: str) -> dict[str, Any]:
    function = {"name": "add", "arguments": '{"a": 1, "b": 2}'}
    return {"content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}


every_stop = pytest.mark.parametrize("after_tool", [False, True], ids=["at the question", "after the tool"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@every_stop
async def test_an_agents_model_fails(
    after_tool: bool,  # noqa: FBT001
    make_memory: MakeMemory,
    llm: BehestLLM,
    tier: Emulator,
) -> None:
    """The error is ours, at the question or after a tool's result; the same agent and memory go on."""
    agent, memory = FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=llm), make_memory()
    await agent.run(FACT, memory=memory)

    def fail(_: dict[str, Any]) -> RawResponse:
        return RawResponse(400, {}, b'{"error": {"message": "No."}}')

    tier.script(*([_adding("sum")] if after_tool else []), fail)
    with pytest.raises(BehestBadRequestError):
        await agent.run("What is 1 plus 2?", memory=memory)
    assert (tier.chats[-1].json["messages"][-1]["role"] == "tool") is after_tool
    assert "Petrel" in str(await agent.run(QUESTION, memory=memory))
    users = said(tier.thread("alice", "trip"), "user")
    assert (users[0], users[-1]) == (("user", FACT), ("user", QUESTION))
    assert len(users) == len(set(users))
    assert is_valid(tier.chats[-1].effective_prompt or [])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_second_clients_agent_goes_on(make_memory: MakeMemory, llm: BehestLLM, tier: Emulator) -> None:
    """Two processes take turns in one thread, tools included; each remembers what the other one was told."""
    tools: list[Any] = [FunctionTool.from_defaults(add)]
    with Behest(tier.api_key, base_url=tier.base_url) as other:
        theirs = FunctionAgent(tools=tools, llm=BehestLLM(client=other, user_id="alice", thread_id="trip"))
        their_memory = BehestMemory(client=other, user_id="alice", thread_id="trip")
        ours, our_memory = FunctionAgent(tools=tools, llm=llm), make_memory()
        tier.script(_adding("one"), "It is 3.")
        await theirs.run("What is 1 plus 2?", memory=their_memory)
        await ours.run(FACT, memory=our_memory)
        tier.script(_adding("two"), "It is 3 again.")
        await ours.run("And again?", memory=our_memory)
        assert "Petrel" in str(await theirs.run(QUESTION, memory=their_memory))
        assert "Petrel" in str(await ours.run("What do you call my boat?", memory=our_memory))
    asked = ["What is 1 plus 2?", FACT, "And again?", QUESTION, "What do you call my boat?"]
    assert said(tier.thread("alice", "trip"), "user") == [("user", text) for text in asked]
    for call in tier.chats:
        prompt = said(call.effective_prompt, "user")
        assert len(prompt) == len(set(prompt))
        assert is_valid(call.effective_prompt or [])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # llama-index-core's agents use what is deprecated
async def test_an_agent_abandoned_before_its_tools_result(
    make_memory: MakeMemory, llm: BehestLLM, tier: Emulator
) -> None:
    """A turn that ends between a call and its result doesn't block the thread; the open call is answered as cancelled."""
    began = asyncio.Event()

    async def wait() -> str:
        """Wait."""
        began.set()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return] # it never is done

    call = {"id": "c", "type": "function", "function": {"name": "wait", "arguments": "{}"}}
    tier.script({"role": "assistant", "content": None, "tool_calls": [call]})
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(async_fn=wait)], llm=llm)
    running = agent.run("Wait, please.", memory=make_memory())
    await began.wait()
    await running.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await running
    again = FunctionAgent(llm=llm)
    await again.run(FACT, memory=make_memory())
    assert "Petrel" in str(await again.run(QUESTION, memory=make_memory()))
    assert said(tier.thread("alice", "trip"), "user") == [
        ("user", "Wait, please."),
        ("user", FACT),
        ("user", QUESTION),
    ]


@pytest.mark.parametrize("ask", WAYS)
@every_engine
async def test_two_users_on_one_engine(
    make_engine: Callable[..., Any], ask: Ask, make_memory: MakeMemory, behest: Behest, gateway: Emulator
) -> None:
    """One engine and one memory serve two users at once, each in their own thread of the same name."""
    engine = make_engine(BehestLLM(client=behest), make_memory("t", None))
    blocking = ask in WAYS[::2]

    async def say(text: str) -> None:
        await ask(engine, text)

    async def talk(user: str) -> None:
        with scope(user, thread_id="t"):
            for turn in range(4):
                saying = say(f"I am {user}, fact {turn}.")
                await (asyncio.to_thread(asyncio.run, saying) if blocking else saying)

    await asyncio.gather(talk("alice"), talk("bob"))
    for user, other in (("alice", "bob"), ("bob", "alice")):
        assert said(gateway.thread(user, "t"), "user") == [("user", f"I am {user}, fact {turn}.") for turn in range(4)]
        prompts = str([call.effective_prompt for call in gateway.chats if call.user_id == user])
        assert other not in prompts


async def test_a_stream_left_early_in_a_task_is_no_later_turn(
    make_memory: MakeMemory, llm: BehestLLM, gateway: Emulator
) -> None:
    """The framework closes such a stream when its task next waits; a turn begun by then is in the thread all the same."""
    memory = make_memory()
    gateway.script("one two three four", "a1")
    await memory.aput(ChatMessage("q0"))
    async with contextlib.aclosing(await llm.astream_chat(await memory.aget())) as pieces:
        async for _ in pieces:
            break
    await memory.aput(ChatMessage("q1"))
    await memory.aput((await llm.achat(await memory.aget())).message)
    await asyncio.to_thread(gateway.wait_for, lambda: len(gateway.thread("alice", "trip")) == 4)
    assert sorted(said(gateway.thread("alice", "trip"), "user")) == [("user", "q0"), ("user", "q1")]
    assert ("assistant", "a1") in said(gateway.thread("alice", "trip"))
