"""How a BehestLLM makes its calls: without the framework's callbacks, which stand one layer above, once per call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from behest_base import AsyncChatStream, ChatStream
from llamaindex_behest.calls import Call
from llamaindex_behest.messages_in import chat_response
from llamaindex_behest.model import BehestModel
from llamaindex_behest.streaming import Accumulator

__all__ = ["Answers"]


class Answers(BehestModel):
    """The four ways to get an answer: at once or in pieces, blocking or not."""

    def _answer(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponse:
        call = Call.of(self, messages, kwargs)
        body = call.body(call.outgoing())
        return chat_response(self.client.complete(body, scope=call.identity, **self.call_limits()))

    async def _aanswer(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponse:
        call = Call.of(self, messages, kwargs)
        body = call.body(await call.aoutgoing())
        return chat_response(await self.client.acomplete(body, scope=call.identity, **self.call_limits()))

    def _pieces(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> Generator[ChatResponse, None, None]:
        call = Call.of(self, messages, kwargs)
        body = call.body(call.outgoing())
        return _responses(self.client.stream(body, scope=call.identity, **self.call_limits()))

    async def _apieces(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]
    ) -> AsyncGenerator[ChatResponse, None]:
        call = Call.of(self, messages, kwargs)
        body = call.body(await call.aoutgoing())
        return _aresponses(self.client.astream(body, scope=call.identity, **self.call_limits()))


def _responses(chunks: ChatStream) -> Generator[ChatResponse, None, None]:
    so_far = Accumulator()
    with chunks:
        for chunk in chunks:
            yield so_far.add(chunk)


async def _aresponses(chunks: AsyncChatStream) -> AsyncGenerator[ChatResponse, None]:
    so_far = Accumulator()
    async with chunks:
        async for chunk in chunks:
            yield so_far.add(chunk)
