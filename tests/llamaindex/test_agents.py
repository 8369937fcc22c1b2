"""Agents over four turns in a thread: what they leave there, and what the model was given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.memory import BaseMemory
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.tools import FunctionTool, QueryEngineTool

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM
from support.llamaindex import Shelf, is_valid, said

# llama-index-core's own agents use what pydantic and its workflows have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MakeMemory = Callable[..., BaseMemory]
Message = dict[str, Any]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def _call(call_id: str, name: str, **arguments: Any) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


streamed_and_plain = pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "plain"])


@streamed_and_plain
async def test_function_agent(streaming: bool, make_memory: MakeMemory, llm: BehestLLM, tier: Emulator) -> None:  # noqa: FBT001
    """User messages and final answers are in the thread once, tool traffic if the tier stores it; prompts are valid."""
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=llm, streaming=streaming, system_prompt="Add.")
    memory = make_memory()
    expected = []
    for turn in range(4):
        tier.script(_call(f"call-{turn}", "add", a=turn, b=2), f"It is {turn + 2}.")
        answer = await agent.run(f"What is {turn} plus 2?", memory=memory)
        assert str(answer) == f"It is {turn + 2}."
        expected += [("user", f"What is {turn} plus 2?"), ("assistant", f"It is {turn + 2}.")]
    thread = tier.thread("alice", "trip")
    assert [pair for pair in said(thread) if pair[1]] == expected
    assert ("tool" in [message["role"] for message in thread]) is tier.store_tool_calls
    assert len(tier.chats) == 8
    for call in tier.chats:
        assert call.thread_id == "trip"
        assert is_valid(call.effective_prompt or [])
        users = said(call.effective_prompt, "user")
        assert len(users) == len(set(users))


async def test_parallel_calls_in_a_turn(make_memory: MakeMemory, llm: BehestLLM, tier: Emulator) -> None:
    """Two calls in one reply are run and answered, each once."""
    two = _call("one", "add", a=1, b=2)
    two["tool_calls"] += _call("two", "add", a=3, b=4)["tool_calls"]
    tier.script(two, "They are 3 and 7.", "Yes.")
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=llm)
    memory = make_memory()
    await agent.run("What are 1 plus 2 and 3 plus 4?", memory=memory)
    results = said(tier.chats[1].effective_prompt, "tool")
    assert results == [("tool", "3"), ("tool", "7")]
    await agent.run("Sure?", memory=memory)
    assert is_valid(tier.chats[2].effective_prompt or [])
    assert said(tier.thread("alice", "trip"), "user") == [
        ("user", "What are 1 plus 2 and 3 plus 4?"),
        ("user", "Sure?"),
    ]


@streamed_and_plain
async def test_react_agent(streaming: bool, make_memory: MakeMemory, llm: BehestLLM, tier: Emulator) -> None:  # noqa: FBT001
    """The user's messages and the final answers are in the thread once each, turn after turn."""
    agent = ReActAgent(tools=[FunctionTool.from_defaults(add)], llm=llm, streaming=streaming)
    memory = make_memory()
    for turn in range(4):
        tier.script(
            f'Thought: I need a tool for turn {turn}.\nAction: add\nAction Input: {{"a": {turn}, "b": 2}}',
            f"Thought: I can answer without using any more tools.\nAnswer: It is {turn + 2}.",
        )
        assert str(await agent.run(f"What is {turn} plus 2?", memory=memory)) == f"It is {turn + 2}."
    thread = tier.thread("alice", "trip")
    typed = [pair for pair in said(thread, "user") if not pair[1].startswith("Observation:")]
    assert typed == [("user", f"What is {turn} plus 2?") for turn in range(4)]
    answers = [text for _, text in said(thread, "assistant") if "Answer:" in text]
    assert [text.rsplit("Answer: ", maxsplit=1)[-1] for text in answers] == [f"It is {turn + 2}." for turn in range(4)]
    assert {call.thread_id for call in tier.chats} == {"trip"}
    for call in tier.chats:
        prompt = said(call.effective_prompt, "user", "assistant")
        assert len([pair for pair in prompt if pair in typed]) == len({pair for pair in prompt if pair in typed})


@streamed_and_plain
async def test_workflow_with_handoff(streaming: bool, make_memory: MakeMemory, llm: BehestLLM, tier: Emulator) -> None:  # noqa: FBT001
    """A handoff from one agent to another is within the turn, turn after turn."""
    memory = make_memory()
    expected = []
    for turn in range(4):
        adder = FunctionAgent(
            name="adder", description="Adds.", tools=[FunctionTool.from_defaults(add)], llm=llm, streaming=streaming
        )
        greeter = FunctionAgent(
            name="greeter", description="Greets.", llm=llm, can_handoff_to=["adder"], streaming=streaming
        )
        workflow = AgentWorkflow(agents=[greeter, adder], root_agent="greeter")
        asked = f"What is {turn} plus 2?"
        if turn % 2:
            tier.script("I won't tell.")
        else:
            tier.script(
                _call(f"hand-{turn}", "handoff", to_agent="adder", reason="It is a sum."),
                _call(f"sum-{turn}", "add", a=turn, b=2),
                f"It is {turn + 2}.",
            )
        answer = "I won't tell." if turn % 2 else f"It is {turn + 2}."
        assert str(await workflow.run(asked, memory=memory)) == answer
        expected += [("user", asked), ("assistant", answer)]
    thread = tier.thread("alice", "trip")
    assert [pair for pair in said(thread) if pair[1]] == expected
    assert ("tool" in [message["role"] for message in thread]) is tier.store_tool_calls
    assert {call.thread_id for call in tier.chats} == {"trip"}
    assert all(is_valid(call.effective_prompt or []) for call in tier.chats)


@streamed_and_plain
async def test_tools_own_calls_stay_out(
    streaming: bool,  # noqa: FBT001
    make_memory: MakeMemory,
    llm: BehestLLM,
    tier: Emulator,
) -> None:
    """A query engine and another agent as tools, on the same model: their calls are in no thread, the turn is whole."""
    query_engine = RetrieverQueryEngine.from_args(Shelf("The museum is closed on Mondays."), llm=llm)
    helper = FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=llm, streaming=streaming)

    async def ask_helper(question: str) -> str:
        """Ask the helper."""
        return str(await helper.run(question))

    tools: list[Any] = [
        QueryEngineTool.from_defaults(query_engine, name="museum"),
        FunctionTool.from_defaults(ask_helper),
    ]
    agent = FunctionAgent(tools=tools, llm=llm, streaming=streaming)
    memory = make_memory()
    question = "When is the museum closed?"
    tier.script(
        _call("m", "museum", input=question),
        "On Mondays, it says.",
        _call("h", "ask_helper", question=question),
        _call("s", "add", a=1, b=2),
        "The helper says Monday.",
        "On Mondays.",
    )
    assert str(await agent.run(question, memory=memory)) == "On Mondays."
    assert [call.thread_id for call in tier.chats] == ["trip", None, "trip", None, None, "trip"]
    assert [pair for pair in said(tier.thread("alice", "trip")) if pair[1]] == [
        ("user", question),
        ("assistant", "On Mondays."),
    ]
    assert all(is_valid(call.effective_prompt or []) for call in tier.chats)


async def test_tool_that_answers_directly(make_memory: MakeMemory, llm: BehestLLM, tier: Emulator) -> None:
    """A tool's result given as the answer ends the turn, and the next one is valid."""
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(add, return_direct=True)], llm=llm)
    memory = make_memory()
    tier.script(_call("sum", "add", a=1, b=2), "Gladly.")
    assert str(await agent.run("What is 1 plus 2?", memory=memory)) == "3"
    assert str(await agent.run("Thanks!", memory=memory)) == "Gladly."
    assert is_valid(tier.chats[-1].effective_prompt or [])
    assert said(tier.thread("alice", "trip"), "user") == [("user", "What is 1 plus 2?"), ("user", "Thanks!")]


async def test_two_users_on_one_agent(make_memory: MakeMemory, behest: Behest, gateway: Emulator) -> None:
    """One agent and one memory, two users at once: each has their own thread, and never the other's words."""
    llm, memory = BehestLLM(client=behest), make_memory("shared-name", None)
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=llm)

    async def talk(user: str) -> None:
        with scope(user, thread_id="shared-name"):
            for turn in range(4):
                await agent.run(f"I am {user}, fact {turn}.", memory=memory)

    await asyncio.gather(talk("alice"), talk("bob"))
    for user, other in (("alice", "bob"), ("bob", "alice")):
        users = said(gateway.thread(user, "shared-name"), "user")
        assert users == [("user", f"I am {user}, fact {turn}.") for turn in range(4)]
        prompts = json.dumps([call.effective_prompt for call in gateway.chats if call.user_id == user])
        assert other not in prompts
