"""Agents in a thread: what they leave in it, and what their models are given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel

from behest_base.emulator import Emulator
from langchain_behest import ChatBehest
from support.langchain import calling, check_valid, run_agent, said, turns

every_tier = pytest.mark.parametrize("stores", [False, True], ids=["tier-drops-tools", "tier-stores-tools"])

CONFIG: RunnableConfig = {
    "configurable": {"thread_id": "checkpoints", "behest_user_id": "alice", "behest_thread_id": "t"}
}


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


@tool
def clock(zone: str) -> str:
    """Tell the time in a zone."""
    return f"noon in {zone}"


ONE = [calling(("weather", {"city": "Turin"}))]
TWO = [calling(("weather", {"city": "Lyon"})), calling(("clock", {"zone": "CET"}))]
PARALLEL = [
    calling(("weather", {"city": "Bern"}), ("clock", {"zone": "UTC"})),
    calling(("clock", {"zone": "GMT"})),
    calling(("weather", {"city": "Rome"})),
]


@every_tier
@pytest.mark.parametrize("keeps", [False, True], ids=["own-list", "checkpointer"])
@pytest.mark.parametrize("form", ["invoke", "ainvoke", "stream", "astream"])
async def test_three_turns_with_tools(
    form: str,
    keeps: bool,  # noqa: FBT001
    stores: bool,  # noqa: FBT001
    anyone: ChatBehest,
    gateway: Emulator,
) -> None:
    """Tool loops of one, two and three steps: user messages and final answers once, tool traffic only where the tier keeps it."""
    gateway.store_tool_calls = stores
    agent: Any = create_agent(
        anyone, [weather, clock], system_prompt="Be brief.", checkpointer=InMemorySaver() if keeps else None
    )
    messages: list[BaseMessage] = []
    for number, loop in enumerate([ONE, TWO, PARALLEL]):
        gateway.script(*loop, f"a{number}")
        question = HumanMessage(f"q{number}")
        given = {"messages": [question] if keeps else [*messages, question]}
        messages = await run_agent(agent, form, given, CONFIG)
        assert messages[-1].text == f"a{number}"
    thread = gateway.thread("alice", "t")
    assert said(thread) == turns(3)
    assert len([message for message in thread if message["role"] == "tool"]) == (7 if stores else 0)
    for chat in gateway.chats:
        assert chat.status == 200
        check_valid(chat.effective_prompt)
        assert said(chat.effective_prompt) == turns(3)[: len(said(chat.effective_prompt))]
    assert len([request for request in gateway.requests if request.kind == "threads"]) <= 1


@every_tier
@pytest.mark.parametrize("form", ["invoke", "stream", "astream"])
async def test_a_call_cut_short_is_not_made(
    form: str,
    stores: bool,  # noqa: FBT001
    anyone: ChatBehest,
    gateway: Emulator,
) -> None:
    """Arguments that end in the middle reach no tool, streamed or not, and the next turn is valid."""
    gateway.store_tool_calls = stores
    made: list[str] = []

    @tool
    def order(item: str) -> str:
        """Order something."""
        made.append(item)
        return "ordered"

    cut = {"id": "c1", "type": "function", "function": {"name": "order", "arguments": '{"item": "a boo'}}
    gateway.script({"content": None, "tool_calls": [cut]}, "a1", "a1")
    agent: Any = create_agent(anyone, [order], checkpointer=InMemorySaver())
    for number in range(2):
        await run_agent(agent, form, {"messages": [HumanMessage(f"q{number}")]}, CONFIG)
    assert made == []
    assert [text for role, text in said(gateway.thread("alice", "t")) if role == "user"] == ["q0", "q1"]
    for chat in gateway.chats:
        assert chat.status == 200
        check_valid(chat.effective_prompt)


@pytest.mark.parametrize("kind", [ProviderStrategy, ToolStrategy], ids=["provider", "tool"])
def test_an_agent_answers_in_a_schema(kind: Any, model: ChatBehest, gateway: Emulator) -> None:
    """`response_format` of create_agent works with both strategies."""

    class Forecast(BaseModel):
        """A forecast."""

        city: str
        degrees: int

    answer = {"city": "Turin", "degrees": 21}
    reply = json.dumps(answer) if kind is ProviderStrategy else calling(("Forecast", answer))
    gateway.script(calling(("weather", {"city": "Turin"})), reply)
    agent: Any = create_agent(model, [weather], response_format=kind(Forecast))
    state = agent.invoke({"messages": [HumanMessage("How is Turin?")]})
    assert state["structured_response"] == Forecast(city="Turin", degrees=21)


@every_tier
def test_structured_answers_in_a_thread(stores: bool, anyone: ChatBehest, gateway: Emulator) -> None:  # noqa: FBT001
    """An agent that ends its turns in a call of its answer's schema goes on in the thread; every prompt is valid."""
    gateway.store_tool_calls = stores

    class Verdict(BaseModel):
        """A verdict."""

        fits: bool

    agent: Any = create_agent(anyone, [weather], response_format=ToolStrategy(Verdict), checkpointer=InMemorySaver())
    for number in range(3):
        gateway.script(calling(("weather", {"city": "Turin"})), calling(("Verdict", {"fits": True})))
        state = agent.invoke({"messages": [HumanMessage(f"q{number}")]}, CONFIG)
        assert state["structured_response"] == Verdict(fits=True)
    assert [text for role, text in said(gateway.thread("alice", "t")) if role == "user"] == ["q0", "q1", "q2"]
    for chat in gateway.chats:
        assert chat.status == 200
        check_valid(chat.effective_prompt)
        asked = [text for role, text in said(chat.effective_prompt) if role == "user"]
        assert asked == ["q0", "q1", "q2"][: len(asked)]


@every_tier
@pytest.mark.parametrize("form", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_handoff_beside_another_call(
    form: str,
    stores: bool,  # noqa: FBT001
    anyone: ChatBehest,
    gateway: Emulator,
) -> None:
    """Of parallel calls one hands over to another agent, which leaves the other open: the prompts are valid all the same."""
    gateway.store_tool_calls = stores

    @tool
    def hand_over(runtime: ToolRuntime) -> Command[Any]:
        """Hand over to the second agent."""
        asked = next(message for message in reversed(runtime.state["messages"]) if isinstance(message, AIMessage))
        moved = ToolMessage("moved", tool_call_id=runtime.tool_call_id)
        return Command(goto="second", graph=Command.PARENT, update={"messages": [asked, moved]})

    builder = StateGraph(MessagesState)
    builder.add_node("first", create_agent(anyone, [hand_over, weather], name="first"), destinations=("second",))
    builder.add_node("second", create_agent(anyone, [], system_prompt="Be brief.", name="second"))
    builder.add_edge(START, "first")
    team: Any = builder.compile(checkpointer=InMemorySaver())
    for number in range(2):
        gateway.script(calling(("hand_over", {}), ("weather", {"city": "Turin"})), f"a{number}")
        await run_agent(team, form, {"messages": [HumanMessage(f"q{number}")]}, CONFIG)
    assert said(gateway.thread("alice", "t")) == turns(2)
    for chat in gateway.chats:
        assert chat.status == 200
        check_valid(chat.effective_prompt)
    assert said(gateway.chats[-1].effective_prompt) == turns(2)[:-1]
