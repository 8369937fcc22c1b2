"""LlamaIndex parts that need no model of their own, and the ways to ask an engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

MEMORIES = ("ChatMemoryBuffer", "Memory", "BehestMemory")

Ask = Callable[..., Awaitable[str]]


class Shelf(BaseRetriever):
    """A retriever that finds the same text for every question."""

    def __init__(self, text: str) -> None:
        """Hold one text."""
        super().__init__()
        self._text = text

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:  # noqa: ARG002 - it finds the same for all
        return [NodeWithScore(node=TextNode(text=self._text), score=1.0)]


async def chat(engine: BaseChatEngine, message: str, **kwargs: Any) -> str:
    """Ask an engine, blocking."""
    return engine.chat(message, **kwargs).response


async def achat(engine: BaseChatEngine, message: str, **kwargs: Any) -> str:
    """Ask an engine as a task."""
    return (await engine.achat(message, **kwargs)).response


async def stream_chat(engine: BaseChatEngine, message: str, **kwargs: Any) -> str:
    """Ask an engine for a stream, which a thread of the framework's writes into the memory."""
    return "".join(engine.stream_chat(message, **kwargs).response_gen)


async def astream_chat(engine: BaseChatEngine, message: str, **kwargs: Any) -> str:
    """Ask an engine for a stream, which a task of the framework's writes into the memory."""
    answer = await engine.astream_chat(message, **kwargs)
    return "".join([piece async for piece in answer.async_response_gen()])


WAYS: Sequence[Ask] = (chat, achat, stream_chat, astream_chat)


def said(messages: Sequence[Mapping[str, Any]] | None, *roles: str) -> list[tuple[str, str]]:
    """Return who said what, of these roles or of users and assistants."""
    chosen = roles or ("user", "assistant")
    return [
        (message["role"], (message["content"] or "").strip()) for message in messages or () if message["role"] in chosen
    ]


def is_valid(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether each tool call is followed by its result and each result answers a call, as models demand it."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return False
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return False
        waiting += [call["id"] for call in message.get("tool_calls") or ()]
    return not waiting
