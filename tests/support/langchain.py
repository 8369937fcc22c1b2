"""Ways to ask a LangChain runnable, and what was said in wire messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

__all__ = ["WAYS", "Ask", "said", "texts", "turns"]

Ask = Callable[..., Awaitable[Any]]


async def invoke(runnable: Any, given: Any, config: RunnableConfig | None = None) -> Any:
    """Ask it plainly."""
    return runnable.invoke(given, config)


async def ainvoke(runnable: Any, given: Any, config: RunnableConfig | None = None) -> Any:
    """Ask it in a task."""
    return await runnable.ainvoke(given, config)


async def stream(runnable: Any, given: Any, config: RunnableConfig | None = None) -> Any:
    """Add its stream up."""
    whole = None
    for piece in runnable.stream(given, config):
        whole = piece if whole is None else whole + piece
    return whole


async def astream(runnable: Any, given: Any, config: RunnableConfig | None = None) -> Any:
    """Add its stream up in a task."""
    whole = None
    async for piece in runnable.astream(given, config):
        whole = piece if whole is None else whole + piece
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
