"""Streamed completions as iterators: nothing is sent before the first step, and closing early closes the connection."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_sse import EventSource

from behest_base.chat import StreamReader, messages_of, with_closed_calls
from behest_base.errors import BehestBadRequestError
from behest_base.exchange import Call, Exchange
from behest_base.views import ThreadView

__all__ = ["AsyncChatStream", "ChatStream"]


class ChatStream(Iterator[dict[str, Any]]):
    """The chunks of a streamed completion, as the gateway sends them.

    The first has, besides, the key `behest`: the user, the session, the thread, and the gateway's trace and request ids. A stream
    that breaks or ends early raises, with what had arrived in `.partial` of the error.

    Example:
        ```python
        with behest.stream({"messages": messages}) as chunks:
            for chunk in chunks:
                ...
        ```
    """

    def __init__(self, exchange: Exchange, call: Call, view: ThreadView | None) -> None:
        """Prepare the call; nothing is sent."""
        self._chunks = _chunks(exchange, call, _Turn(call, view))

    def __next__(self) -> dict[str, Any]:
        """Return the next chunk."""
        return next(self._chunks)

    def __enter__(self) -> Self:
        """Close the stream with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def close(self) -> None:
        """Close the connection at once; the gateway stops generating."""
        self._chunks.close()


class AsyncChatStream(AsyncIterator[dict[str, Any]]):
    """The same for tasks. Leaving a loop over it early does not close it: use `async with`, or `aclose()`."""

    def __init__(self, exchange: Exchange, call: Call, view: ThreadView | None) -> None:
        """Prepare the call; nothing is sent."""
        self._chunks = _achunks(exchange, call, _Turn(call, view))

    async def __anext__(self) -> dict[str, Any]:
        """Return the next chunk."""
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        """Close the stream with the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection at once; the gateway stops generating."""
        await self._chunks.aclose()


class _Turn:
    """Notes in the thread's view what the gateway took and what it answered."""

    def __init__(self, call: Call, view: ThreadView | None) -> None:
        self._set_out = self._sent = messages_of(call)
        self._view = view

    def __enter__(self) -> Self:
        if self._view is not None:
            self._view.set_out(self._set_out)
        return self

    def __exit__(self, *_: object) -> None:
        if self._view is not None:
            self._view.come_back(self._set_out)

    def begin(self, call: Call) -> None:
        """Note that the gateway took the call, in which the results of abandoned tool calls may stand now."""
        self._sent = messages_of(call)
        if self._view is not None:
            self._view.begin(self._sent)
            self._view.come_back(self._set_out)

    def finish(self, reader: StreamReader) -> None:
        if self._view is not None:
            self._view.finish(self._sent, reader.reply())


def _chunks(exchange: Exchange, call: Call, turn: _Turn) -> Generator[dict[str, Any], None, None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(turn)
        try:
            response = stack.enter_context(exchange.open(call))
        except BehestBadRequestError as error:
            call = exchange.run(with_closed_calls(call, error))
            response = stack.enter_context(exchange.open(call))
        reader = StreamReader(response.headers, call.identity)
        turn.begin(call)
        try:
            for event in EventSource(response).iter_sse():
                # After [DONE] it reads on to the end of the body, without which the connection could not be used again.
                if (chunk := reader.read(event.data)) is not None:
                    yield chunk
        except httpx.RequestError as error:
            if not reader.done:
                raise reader.broken(error) from error
        finally:
            turn.finish(reader)
        reader.finish()


async def _achunks(exchange: Exchange, call: Call, turn: _Turn) -> AsyncGenerator[dict[str, Any], None]:
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(turn)
        try:
            response = await stack.enter_async_context(exchange.aopen(call))
        except BehestBadRequestError as error:
            call = await exchange.arun(with_closed_calls(call, error))
            response = await stack.enter_async_context(exchange.aopen(call))
        reader = StreamReader(response.headers, call.identity)
        turn.begin(call)
        events = await stack.enter_async_context(contextlib.aclosing(EventSource(response).aiter_sse()))
        try:
            async for event in events:
                if (chunk := reader.read(event.data)) is not None:
                    yield chunk
        except httpx.RequestError as error:
            if not reader.done:
                raise reader.broken(error) from error
        finally:
            turn.finish(reader)
        reader.finish()
