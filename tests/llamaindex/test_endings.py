"""How calls end badly: the right error with what had arrived, and never a truncated answer that looks whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool

from behest_base import (
    Behest,
    BehestAuthError,
    BehestBadRequestError,
    BehestConnectionError,
    BehestContentBlockedError,
    BehestContextOverflowError,
    BehestError,
    BehestNotFoundError,
    BehestQuotaError,
    BehestRateLimitError,
    BehestServerError,
    BehestStreamError,
    BehestTimeoutError,
    Clock,
)
from behest_base.emulator import Emulator, RawResponse, RawSSE
from llamaindex_behest import BehestLLM

TALK = "one two three four five six seven eight nine ten"
HELLO = [ChatMessage("Talk.")]

Read = Callable[[BehestLLM, list[str]], Awaitable[None]]


@pytest.fixture
def impatient(gateway: Emulator) -> Generator[BehestLLM]:
    """Give a model that doesn't retry."""
    with Behest(gateway.api_key, base_url=gateway.base_url) as client:
        yield BehestLLM(client=client, user_id="alice", max_retries=0)


async def chat(llm: BehestLLM, seen: list[str]) -> None:
    """Read a chat's stream."""
    seen.extend(piece.delta or "" for piece in llm.stream_chat(HELLO))


async def achat(llm: BehestLLM, seen: list[str]) -> None:
    """Read it in a task."""
    async for piece in await llm.astream_chat(HELLO):
        seen.append(piece.delta or "")  # noqa: PERF401 - what came before the error is kept


async def complete(llm: BehestLLM, seen: list[str]) -> None:
    """Read a completion's stream."""
    seen.extend(piece.delta or "" for piece in llm.stream_complete("Talk."))


async def acomplete(llm: BehestLLM, seen: list[str]) -> None:
    """Read it in a task."""
    async for piece in await llm.astream_complete("Talk."):
        seen.append(piece.delta or "")  # noqa: PERF401 - what came before the error is kept


async def with_tools(llm: BehestLLM, seen: list[str]) -> None:
    """Read the stream of a chat with tools, as agents do."""
    tools = [FunctionTool.from_defaults(len, name="length", description="Count.")]
    async for piece in await llm.astream_chat_with_tools(tools, user_msg="Talk."):
        seen.append(piece.delta or "")  # noqa: PERF401 - what came before the error is kept


every_way = pytest.mark.parametrize("read", [chat, achat, complete, acomplete, with_tools], ids=lambda it: it.__name__)


@every_way
@pytest.mark.parametrize("how", ["close", "end", "error_event"])
async def test_a_stream_cut_short(how: str, read: Read, impatient: BehestLLM, gateway: Emulator) -> None:
    """A stream whose connection drops, that just ends, or that an error ends, raises, with the text so far."""
    gateway.script(TALK)
    ways: dict[str, Any] = {how: True}
    gateway.fail_next(path="chat", after_chunks=4, **ways)
    seen: list[str] = []
    with pytest.raises(BehestStreamError) as caught:
        await read(impatient, seen)
    assert caught.value.partial
    assert caught.value.partial == "".join(seen)
    assert TALK.startswith(caught.value.partial)


@every_way
async def test_an_error_event_that_names_its_status(read: Read, impatient: BehestLLM, gateway: Emulator) -> None:
    """An error event with a status is that status's error, with the text so far."""
    event = 'data: {"error": {"message": "Too fast.", "type": "throttling_error", "param": null, "code": "429"}}\n\n'
    gateway.script(RawSSE(b'data: {"choices": [{"index": 0, "delta": {"content": "Well"}}]}\n\n' + event.encode()))
    with pytest.raises(BehestRateLimitError, match="Too fast") as caught:
        await read(impatient, [])
    assert caught.value.partial == "Well"


@every_way
async def test_html_instead_of_a_stream(read: Read, impatient: BehestLLM, gateway: Emulator) -> None:
    """A proxy's page instead of a stream is an error that says so."""
    gateway.script(RawResponse(200, {"content-type": "text/html"}, "<html><body>Welcome</body></html>"))
    with pytest.raises(BehestStreamError, match="text/html"):
        await read(impatient, [])


async def test_html_instead_of_an_answer(impatient: BehestLLM, gateway: Emulator) -> None:
    """So is one instead of an answer."""
    page = RawResponse(200, {"content-type": "text/html"}, "<html><body>Welcome</body></html>")
    gateway.script(page, page)
    with pytest.raises(BehestServerError, match="text/html"):
        impatient.chat(HELLO)
    with pytest.raises(BehestServerError, match="text/html"):
        await impatient.achat(HELLO)


STATUSES: list[tuple[dict[str, Any], type[BehestError]]] = [
    ({"status": 400}, BehestBadRequestError),
    ({"status": 400, "code": "context_length_exceeded"}, BehestContextOverflowError),
    ({"status": 401}, BehestAuthError),
    ({"status": 402}, BehestQuotaError),
    ({"status": 403}, BehestAuthError),
    ({"status": 404}, BehestNotFoundError),
    ({"status": 429, "retry_after": 7}, BehestRateLimitError),
    ({"status": 429, "code": "budget_exceeded"}, BehestQuotaError),
    ({"status": 451}, BehestContentBlockedError),
    ({"status": 500}, BehestServerError),
    ({"close": True}, BehestConnectionError),
]


@every_way
@pytest.mark.parametrize(("fault", "kind"), STATUSES, ids=str)
async def test_each_failure_is_its_error(
    fault: dict[str, Any], kind: type[BehestError], read: Read, impatient: BehestLLM, gateway: Emulator
) -> None:
    """Each status is one error, unwrapped, with what the gateway said."""
    # A refused token is renewed once, so 401 has to come twice to be raised.
    gateway.fail_next(path="chat", times=2, **fault)
    with pytest.raises(kind) as caught:
        await read(impatient, [])
    assert (caught.value.status, caught.value.code) == (fault.get("status"), fault.get("code"))
    if isinstance(caught.value, BehestRateLimitError):
        assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [429, 500])
def test_one_layer_of_retries(status: int, gateway: Emulator) -> None:
    """`max_retries=2` makes three requests at most; OpenAILike makes twelve for three."""
    waits: list[float] = []
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=Clock(sleep=waits.append)) as client:
        gateway.fail_next(status=status, path="chat", times=20)
        with pytest.raises(BehestError):
            BehestLLM(client=client, user_id="alice", max_retries=2).chat(HELLO)
    assert len(gateway.chats) == 3
    assert len(waits) == 2


def test_a_timeout_is_its_error(gateway: Emulator, impatient: BehestLLM) -> None:
    """A gateway that takes too long is a timeout, to Python as well."""
    impatient.timeout = 0.05
    with gateway.holding("chat"), pytest.raises(BehestTimeoutError) as caught:
        impatient.chat(HELLO)
    gateway.wait_for(lambda: gateway.chats[0].reply)  # the gateway goes on with it, and not into the next test
    assert isinstance(caught.value, TimeoutError)


async def test_leaving_early_closes_the_connection(gateway: Emulator, llm: BehestLLM) -> None:
    """A stream that is left, in a thread or in a task, ends at the gateway at once."""
    gateway.chunk_delay = 0.02
    gateway.script(TALK, TALK)
    pieces = llm.stream_chat(HELLO)
    next(pieces)
    pieces.close()
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[0].disconnected)
    apieces = await llm.astream_chat(HELLO)
    await anext(apieces)
    await apieces.aclose()
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[1].disconnected)


async def test_a_cancelled_task_closes_the_connection(gateway: Emulator, llm: BehestLLM) -> None:
    """So does a task that is cancelled while it reads."""
    gateway.chunk_delay = 0.02
    gateway.script(TALK)
    began = asyncio.Event()

    async def read() -> None:
        async for _ in await llm.astream_chat(HELLO):
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats[0].disconnected)
