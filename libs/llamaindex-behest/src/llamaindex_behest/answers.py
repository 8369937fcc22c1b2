"""How a BehestLLM makes its calls: without the framework's callbacks, which stand one layer above, once per call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

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
        return _responses(Call.of(self, messages, kwargs))

    async def _apieces(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]
    ) -> AsyncGenerator[ChatResponse, None]:
        return _aresponses(Call.of(self, messages, kwargs))


# For whom was decided when the call was made; what goes out is decided when it does, lest two calls bring what waits.


def _responses(call: Call) -> Generator[ChatResponse, None, None]:
    so_far, model = Accumulator(), call.model
    body = call.body(call.outgoing())
    with model.client.stream(body, scope=call.identity, **model.call_limits()) as chunks:
        for chunk in chunks:
            yield so_far.add(chunk)


async def _aresponses(call: Call) -> AsyncGenerator[ChatResponse, None]:
    so_far, model = Accumulator(), call.model
    body = call.body(await call.aoutgoing())
    async with model.client.astream(body, scope=call.identity, **model.call_limits()) as chunks:
        async for chunk in chunks:
            yield so_far.add(chunk)
