"""Model calls made inside an agent's tools, and by its middleware: they are no turns of the agent's conversation."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, SummarizationMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from behest_base import UNSET, Behest, Unset, scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest
from support.langchain import calling, check_valid, run_agent, said, turns

CONFIG: RunnableConfig = {
    "configurable": {"thread_id": "checkpoints", "behest_user_id": "alice", "behest_thread_id": "t"}
}


@tool
def clock(zone: str) -> str:
    """Tell the time in a zone."""
    return f"noon in {zone}"


@pytest.mark.usefixtures("every_tier")
@pytest.mark.parametrize("ambient", [False, True], ids=["configurable", "ambient"])
@pytest.mark.parametrize("form", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_tool_that_asks_a_model(
    form: str,
    ambient: bool,  # noqa: FBT001
    anyone: ChatBehest,
    gateway: Emulator,
) -> None:
    """Model calls that tools and sub-agents make have no thread, and leave no trace in the agent's."""
    helper: Any = create_agent(anyone, [clock])

    @tool
    def ask(question: str) -> str:
        """Ask a model."""
        return anyone.invoke(question).text

    @tool
    def delegate(task: str) -> str:
        """Leave it to another agent."""
        return str(helper.invoke({"messages": [HumanMessage(task)]})["messages"][-1].text)

    agent: Any = create_agent(anyone, [ask, delegate])
    gateway.script(
        calling(("ask", {"question": "inner question"})),
        "inner answer",
        calling(("delegate", {"task": "inner task"})),
        calling(("clock", {"zone": "inner zone"})),
        "inner result",
        "a0",
        "a1",
    )
    config: Any = {} if ambient else CONFIG
    messages: list[BaseMessage] = []
    with scope("alice", thread_id="t") if ambient else scope():
        for number in range(2):
            messages = await run_agent(agent, form, {"messages": [*messages, HumanMessage(f"q{number}")]}, config)
    assert [chat.thread_id for chat in gateway.chats] == ["t", None, "t", None, None, "t", "t"]
    assert {chat.user_id for chat in gateway.chats} == {"alice"}
    assert said(gateway.thread("alice", "t")) == turns(2)
    assert "inner question" not in str(gateway.chats[-1].effective_prompt) or gateway.store_tool_calls
    for chat in gateway.chats:
        check_valid(chat.effective_prompt)


async def test_every_form_of_a_tools_call(anyone: ChatBehest, gateway: Emulator) -> None:
    """In whatever form a tool asks a model, the call is the user's, and in no thread."""

    @tool
    async def ask(question: str) -> str:
        """Ask a model in many ways."""
        list(anyone.stream(question))
        _ = [chunk async for chunk in anyone.astream(question)]
        await anyone.abatch([question])
        anyone.batch([question])
        (ChatPromptTemplate.from_messages([("human", "{question}")]) | anyone).invoke({"question": question})
        await anyone.bind_tools([clock]).ainvoke(question)
        return anyone.with_fallbacks([anyone]).invoke(question).text

    agent: Any = create_agent(anyone, [ask])
    gateway.script(calling(("ask", {"question": "inner"})), *["inner answer"] * 7, "a0")
    await agent.ainvoke({"messages": [HumanMessage("q0")]}, CONFIG)
    assert [chat.thread_id for chat in gateway.chats] == ["t", *[None] * 7, "t"]
    assert {chat.user_id for chat in gateway.chats} == {"alice"}
    assert said(gateway.thread("alice", "t")) == turns(1)


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
    assert [text for role, text in said(gateway.thread("alice", "t")) if role == "user"] == ["q0", "q1", "q2", "q3"]


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


async def go_on(gateway: Emulator, saver: InMemorySaver, form: str, given: Any) -> None:
    """Run an agent that asks before it looks at the clock, as a new process would, which has the checkpoints only."""
    async with Behest(gateway.api_key, base_url=gateway.base_url) as client:
        ask_first = HumanInTheLoopMiddleware(interrupt_on={"clock": True})
        agent: Any = create_agent(ChatBehest(client=client), [clock], checkpointer=saver, middleware=[ask_first])
        await run_agent(agent, form, given, CONFIG)


@pytest.mark.usefixtures("every_tier")
@pytest.mark.parametrize("decision", ["approve", "reject", "edit", "none"])
@pytest.mark.parametrize("form", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_turn_that_waits_for_a_person(form: str, decision: str, gateway: Emulator) -> None:
    """A turn interrupted before its tools goes on in another process, or is given up for a new message."""
    saver = InMemorySaver()
    gateway.script(calling(("clock", {"zone": "UTC"}), ("clock", {"zone": "CET"})), "a0", "a1")
    await go_on(gateway, saver, form, {"messages": [HumanMessage("q0")]})
    decisions: dict[str, dict[str, Any]] = {
        "approve": {"type": "approve"},
        "reject": {"type": "reject", "message": "Not now."},
        "edit": {"type": "edit", "edited_action": {"name": "clock", "args": {"zone": "GMT"}}},
    }
    if decision != "none":
        resume: Any = Command(resume={"decisions": [decisions[decision]] * 2})
        await go_on(gateway, saver, form, resume)
    await go_on(gateway, saver, form, {"messages": [HumanMessage("q1")]})
    expected = turns(2) if decision != "none" else [("user", "q0"), ("user", "q1"), ("assistant", "a0")]
    assert said(gateway.thread("alice", "t")) == expected
    for chat in gateway.chats:
        assert chat.status == 200
        check_valid(chat.effective_prompt)
    assert said(gateway.chats[-1].effective_prompt) == expected[:-1]
    results = [message for message in gateway.thread("alice", "t") if message["role"] == "tool"]
    assert len(results) == (2 if gateway.store_tool_calls else 0)
