"""Agents in a thread: what they leave in it, and what their models are given."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from behest_base import UNSET, Behest, Unset, scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest

every_tier = pytest.mark.parametrize("stores", [False, True], ids=["tier-drops-tools", "tier-stores-tools"])

CONFIG: dict[str, Any] = {
    "configurable": {"thread_id": "checkpoints", "behest_user_id": "alice", "behest_thread_id": "t"}
}

_ids = itertools.count()


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


@tool
def clock(zone: str) -> str:
    """Tell the time in a zone."""
    return f"noon in {zone}"


def calling(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a reply that calls tools, each call with an id of its own."""
    made = [
        {"id": f"call_{next(_ids)}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for name, arguments in calls
    ]
    return {"content": None, "tool_calls": made}


ONE = [calling(("weather", {"city": "Turin"}))]
TWO = [calling(("weather", {"city": "Lyon"})), calling(("clock", {"zone": "CET"}))]
PARALLEL = [
    calling(("weather", {"city": "Bern"}), ("clock", {"zone": "UTC"})),
    calling(("clock", {"zone": "GMT"})),
    calling(("weather", {"city": "Rome"})),
]


def texts(messages: Sequence[dict[str, Any]] | None) -> list[tuple[str, Any]]:
    """Return roles and contents of what was said, without tool traffic."""
    return [
        (message["role"], message["content"])
        for message in messages or ()
        if message["role"] in ("user", "assistant") and message.get("content")
    ]


def check_valid(prompt: list[dict[str, Any]] | None) -> None:
    """Check that a list is one that models accept: results follow their calls, and nothing is there twice."""
    waiting: list[str] = []
    seen: list[str] = []
    for message in prompt or ():
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == []
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
        seen += waiting
    assert waiting == []
    assert len(seen) == len(set(seen))


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
        messages = await run(agent, form, given)
        assert messages[-1].text == f"a{number}"
    thread = gateway.thread("alice", "t")
    said = [each for number in range(3) for each in (("user", f"q{number}"), ("assistant", f"a{number}"))]
    assert texts(thread) == said
    assert len([message for message in thread if message["role"] == "tool"]) == (7 if stores else 0)
    for chat in gateway.chats:
        assert chat.status == 200
        check_valid(chat.effective_prompt)
        assert texts(chat.effective_prompt)[: len(said)] == said[: len(texts(chat.effective_prompt))]
    assert len([request for request in gateway.requests if request.kind == "threads"]) <= 1


async def run(agent: Any, form: str, given: dict[str, Any]) -> list[BaseMessage]:
    """Run an agent for a turn, and return its messages."""
    match form:
        case "invoke":
            state = agent.invoke(given, CONFIG)
        case "ainvoke":
            state = await agent.ainvoke(given, CONFIG)
        case "stream":
            state = [
                each
                for kind, each in agent.stream(given, CONFIG, stream_mode=["values", "messages"])
                if kind == "values"
            ][-1]
        case _:
            kinds = [each async for each in agent.astream(given, CONFIG, stream_mode=["values", "messages"])]
            state = [each for kind, each in kinds if kind == "values"][-1]
    found: list[BaseMessage] = state["messages"]
    return found


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
        await run(agent, form, {"messages": [HumanMessage(f"q{number}")]})
    assert made == []
    assert [text for role, text in texts(gateway.thread("alice", "t")) if role == "user"] == ["q0", "q1"]
    for chat in gateway.chats:
        assert chat.status == 200
        check_valid(chat.effective_prompt)


@every_tier
@pytest.mark.parametrize("ambient", [False, True], ids=["configurable", "ambient"])
async def test_a_tool_that_asks_a_model(
    ambient: bool,  # noqa: FBT001
    stores: bool,  # noqa: FBT001
    anyone: ChatBehest,
    gateway: Emulator,
) -> None:
    """Model calls that tools and sub-agents make have no thread, and leave no trace in the agent's."""
    gateway.store_tool_calls = stores
    helper: Any = create_agent(anyone, [clock])

    @tool
    def ask(question: str) -> str:
        """Ask a model."""
        return anyone.invoke(question).text

    @tool
    async def delegate(task: str) -> str:
        """Leave it to another agent."""
        result = await helper.ainvoke({"messages": [HumanMessage(task)]})
        return str(result["messages"][-1].text)

    agent: Any = create_agent(anyone, [ask, delegate])
    gateway.script(
        calling(("ask", {"question": "inner question"})),
        "inner answer",
        calling(("delegate", {"task": "inner task"})),
        calling(("clock", {"zone": "inner zone"})),
        "inner result",
        "a0",
    )
    config: Any = {} if ambient else CONFIG
    with scope("alice", thread_id="t") if ambient else scope():
        await agent.ainvoke({"messages": [HumanMessage("q0")]}, config)
    assert [chat.thread_id for chat in gateway.chats] == ["t", None, "t", None, None, "t"]
    assert {chat.user_id for chat in gateway.chats} == {"alice"}
    assert texts(gateway.thread("alice", "t")) == [("user", "q0"), ("assistant", "a0")]
    for chat in gateway.chats:
        check_valid(chat.effective_prompt)


def test_a_tool_that_names_a_thread(anyone: ChatBehest, gateway: Emulator) -> None:
    """A thread that a tool's call names itself is that call's."""

    @tool
    def note(text: str) -> str:
        """Note something down."""
        anyone.invoke(text, thread_id="notes")
        return anyone.invoke(text, {"configurable": {"behest_thread_id": "more-notes"}}).text

    agent: Any = create_agent(anyone, [note])
    gateway.script(calling(("note", {"text": "milk"})), "noted", "noted", "a0")
    agent.invoke({"messages": [HumanMessage("q0")]}, CONFIG)
    assert [chat.thread_id for chat in gateway.chats] == ["t", "notes", "more-notes", "t"]


def test_an_inherited_session_stays_out_of_tools(anyone: ChatBehest, gateway: Emulator) -> None:
    """The session's memory is the conversation's too: a tool's model call neither sees nor feeds it."""

    @tool
    def ask(question: str) -> str:
        """Ask a model."""
        return anyone.invoke(question).text

    agent: Any = create_agent(anyone, [ask])
    gateway.script(calling(("ask", {"question": "inner"})), "inner answer", "a0")
    config: Any = {"configurable": {"behest_user_id": "alice", "behest_session_id": "sitting"}}
    agent.invoke({"messages": [HumanMessage("q0")]}, config)
    sessions = [chat.headers["X-Session-Id"] for chat in gateway.chats]
    assert sessions[0] == sessions[2] == "sitting" != sessions[1]


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


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("thread_id", [UNSET, "t"], ids=["configurable", "field"])
def test_a_summary_is_no_turn(thread_id: str | Unset, keep: int, behest: Behest, gateway: Emulator) -> None:
    """SummarizationMiddleware's own calls, and the summaries it puts in front, stay out of the thread."""
    model = ChatBehest(client=behest, thread_id=thread_id)
    middleware = SummarizationMiddleware(model=model, trigger=("messages", 4), keep=("messages", keep))
    agent: Any = create_agent(model, [], middleware=[middleware], checkpointer=InMemorySaver())
    gateway.model = lambda request: f"reply to {request['messages'][-1]['content']}"[:40]
    for number in range(4):
        agent.invoke({"messages": [HumanMessage(f"q{number}")]}, CONFIG)
    summaries = [chat for chat in gateway.chats if chat.thread_id is None]
    assert summaries
    assert [text for role, text in texts(gateway.thread("alice", "t")) if role == "user"] == ["q0", "q1", "q2", "q3"]


def test_a_conversation_too_long_is_summarized(behest: Behest, gateway: Emulator) -> None:
    """A prompt that is too long for the model is the error that LangChain's middleware knows."""
    from langchain_core.exceptions import ContextOverflowError  # noqa: PLC0415

    model = ChatBehest(client=behest, user_id="alice")
    gateway.fail_next(status=400, code="context_length_exceeded", path="chat")
    with pytest.raises(ContextOverflowError):
        model.invoke("Long.")
    gateway.fail_next(status=400, code="context_length_exceeded", path="chat")
    middleware = SummarizationMiddleware(model=model, trigger=("messages", 3), keep=("messages", 1))
    agent: Any = create_agent(model, [], middleware=[middleware])
    earlier: list[BaseMessage] = [HumanMessage("q0"), AIMessage("a0"), HumanMessage("q1"), AIMessage("a1")]
    state = agent.invoke({"messages": [*earlier, HumanMessage("q2")]})
    assert state["messages"][-1].text
    assert [chat.status for chat in gateway.chats][1] == 400
    assert gateway.chats[-1].status == 200


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
    assert [text for role, text in texts(gateway.thread("alice", "t")) if role == "user"] == ["q0", "q1", "q2"]
    for chat in gateway.chats:
        assert chat.status == 200
        check_valid(chat.effective_prompt)
        said = [text for role, text in texts(chat.effective_prompt) if role == "user"]
        assert said == ["q0", "q1", "q2"][: len(said)]
