"""Ways to ask a LangChain runnable or agent, and what was said in wire messages."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

__all__ = ["WAYS", "Ask", "calling", "check_valid", "run_agent", "said", "texts", "turns"]

Ask = Callable[..., Awaitable[Any]]

_ids = itertools.count()


async def invoke(runnable: Any, given: Any, config: RunnableConfig | None = None) -> Any:
    """Ask it plainly."""
    return runnable.invoke(given, config)


async def ainvoke(runnable: Any, given: Any, config: RunnableConfig | None = None) -> Any:
    """Ask it in a task."""
    return await runnable.ainvoke(given, config)


async def stream(runnable: Any, given: Any, config: RunnableConfig | None = None) -> Any:
    """Add its stream up; of a graph's updates, take the last."""
    whole = None
    for piece in runnable.stream(given, config):
        whole = piece if whole is None or type(piece) is dict else whole + piece
    return whole


async def astream(runnable: Any, given: Any, config: RunnableConfig | None = None) -> Any:
    """Add its stream up in a task."""
    whole = None
    async for piece in runnable.astream(given, config):
        whole = piece if whole is None or type(piece) is dict else whole + piece
    return whole


WAYS: Sequence[Ask] = (invoke, ainvoke, stream, astream)


def texts(messages: Sequence[Mapping[str, Any]] | None) -> list[tuple[str, Any]]:
    """Return roles and contents of wire messages."""
    return [(message["role"], message.get("content")) for message in messages or ()]


def said(messages: Sequence[Mapping[str, Any]] | None) -> list[tuple[str, Any]]:
    """Return roles and contents of what users and assistants said, without tool traffic."""
    return [(role, content) for role, content in texts(messages) if role in ("user", "assistant") and content]


def turns(count: int) -> list[tuple[str, str]]:
    """Return so many turns as a thread should have them: q0, a0, q1, a1, …."""
    return [each for number in range(count) for each in (("user", f"q{number}"), ("assistant", f"a{number}"))]


def calling(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a reply that calls tools, each call with an id of its own."""
    made = [
        {"id": f"call_{next(_ids)}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for name, arguments in calls
    ]
    return {"content": None, "tool_calls": made}


def check_valid(prompt: Sequence[Mapping[str, Any]] | None) -> None:
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


async def run_agent(agent: Any, form: str, given: Any, config: RunnableConfig) -> list[BaseMessage]:
    """Run an agent for a turn, and return its messages."""
    match form:
        case "invoke":
            state = agent.invoke(given, config)
        case "ainvoke":
            state = await agent.ainvoke(given, config)
        case "stream":
            state = [
                each
                for kind, each in agent.stream(given, config, stream_mode=["values", "messages"])
                if kind == "values"
            ][-1]
        case _:
            kinds = [each async for each in agent.astream(given, config, stream_mode=["values", "messages"])]
            state = [each for kind, each in kinds if kind == "values"][-1]
    found: list[BaseMessage] = state["messages"]
    return found
