"""How calls end badly: the right error with what had arrived, and never a truncated answer that looks whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core import exceptions as core
from langchain_core.messages import AIMessageChunk

import behest_base
from behest_base import Behest
from behest_base.emulator import Emulator, RawResponse, RawSSE
from langchain_behest import (
    BehestAuthError,
    BehestConnectionError,
    BehestContentBlockedError,
    BehestError,
    BehestNotFoundError,
    BehestPermissionError,
    BehestQuotaError,
    BehestRateLimitError,
    BehestServerError,
    BehestStreamError,
    BehestTimeoutError,
    ChatBehest,
)
from langchain_behest.errors import as_langchain_error

TALK = "one two three four five six seven eight nine ten"


@pytest.fixture
def impatient(gateway: Emulator) -> Any:
    """Give a model that doesn't retry."""
    with Behest(gateway.api_key, base_url=gateway.base_url, max_retries=0) as client:
        yield ChatBehest(client=client, user_id="alice")


Read = Callable[[ChatBehest, list[AIMessageChunk]], Any]


async def sync(model: ChatBehest, seen: list[AIMessageChunk]) -> None:
    """Read the stream."""
    seen.extend(model.stream("Talk."))


async def tasks(model: ChatBehest, seen: list[AIMessageChunk]) -> None:
    """Read the stream in a task."""
    async for chunk in model.astream("Talk."):
        seen.append(chunk)  # noqa: PERF401 - what came before the error is kept


every_way = pytest.mark.parametrize("read", [sync, tasks], ids=lambda read: read.__name__)


@every_way
@pytest.mark.parametrize(
    "how", [{"close": True}, {"end": True}, {"error_event": True}], ids=lambda how: next(iter(how))
)
async def test_a_stream_cut_short(how: dict[str, bool], read: Read, impatient: ChatBehest, gateway: Emulator) -> None:
    """A stream whose connection drops, that just ends, or that an error ends, raises, with the text so far."""
    gateway.script(TALK)
    gateway.fail_next(path="chat", after_chunks=4, **how)  # type: ignore[arg-type]
    seen: list[AIMessageChunk] = []
    with pytest.raises(BehestStreamError) as caught:
        await read(impatient, seen)
    assert caught.value.partial
    assert caught.value.partial == "".join(chunk.text for chunk in seen)
    assert TALK.startswith(caught.value.partial)
    assert isinstance(caught.value, core.ModelAPIError)
    assert isinstance(caught.value, behest_base.BehestStreamError)
    assert isinstance(caught.value.__cause__, behest_base.BehestStreamError)
    assert not any(chunk.chunk_position == "last" for chunk in seen)


@every_way
async def test_an_error_event_that_names_its_status(read: Read, impatient: ChatBehest, gateway: Emulator) -> None:
    """An error event with a status is that status's error, with the text so far."""
    event = 'data: {"error": {"message": "Too fast.", "type": "throttling_error", "param": null, "code": "429"}}\n\n'
    gateway.script(RawSSE(b'data: {"choices": [{"index": 0, "delta": {"content": "Well"}}]}\n\n' + event.encode()))
    with pytest.raises(BehestRateLimitError, match="Too fast") as caught:
        await read(impatient, [])
    assert caught.value.partial == "Well"


@every_way
async def test_html_instead_of_a_stream(read: Read, impatient: ChatBehest, gateway: Emulator) -> None:
    """A proxy's page instead of a stream is an error that says so."""
    page = RawResponse(200, {"content-type": "text/html"}, "<html><body>Welcome</body></html>")
    gateway.script(page)
    with pytest.raises(BehestStreamError, match="text/html"):
        await read(impatient, [])


async def test_html_instead_of_an_answer(impatient: ChatBehest, gateway: Emulator) -> None:
    """A proxy's page instead of an answer is a server error, in threads and tasks."""
    page = RawResponse(200, {"content-type": "text/html"}, "<html><body>Welcome</body></html>")
    gateway.script(page, page)
    with pytest.raises(BehestServerError, match="text/html"):
        impatient.invoke("Hello.")
    with pytest.raises(BehestServerError, match="text/html"):
        await impatient.ainvoke("Hello.")


async def test_a_streaming_model_never_passes_a_cut_answer_off(gateway: Emulator, impatient: ChatBehest) -> None:
    """`invoke` of a model that streams raises where its stream is cut short, and so do the events."""
    model = impatient.model_copy(update={"streaming": True})
    model.model_fields_set.add("streaming")
    for _ in range(2):
        gateway.fail_next(path="chat", after_chunks=2, end=True)
    with pytest.raises(BehestStreamError):
        model.invoke("Talk.")
    with pytest.raises(BehestStreamError):
        [_ async for _ in impatient.astream_events("Talk.", version="v2")]


@pytest.mark.filterwarnings("ignore:.*in beta")
async def test_the_events_of_version_3_raise_too(gateway: Emulator, impatient: ChatBehest) -> None:
    """The typed stream of version 3 raises where its text is asked for."""
    for _ in range(2):
        gateway.fail_next(path="chat", after_chunks=2, end=True)
    with pytest.raises(BehestStreamError):
        _ = impatient.stream_events("Talk.", version="v3").output
    with pytest.raises(BehestStreamError):
        await (await impatient.astream_events("Talk.", version="v3")).output


STATUSES: list[tuple[dict[str, Any], type[BehestError], type[core.ModelError], bool]] = [
    ({"status": 400}, behest_base.BehestBadRequestError, core.ModelInvalidRequestError, False),
    ({"status": 401}, BehestAuthError, core.ModelAuthenticationError, False),
    ({"status": 402}, BehestQuotaError, core.ModelError, False),
    ({"status": 403}, BehestPermissionError, core.ModelPermissionDeniedError, False),
    ({"status": 404}, BehestNotFoundError, core.ModelNotFoundError, False),
    ({"status": 429, "retry_after": 7}, BehestRateLimitError, core.ModelRateLimitError, True),
    ({"status": 429, "code": "budget_exceeded"}, BehestQuotaError, core.ModelError, False),
    ({"status": 451}, BehestContentBlockedError, core.ModelInvalidRequestError, False),
    ({"status": 500}, BehestServerError, core.ModelAPIError, True),
    ({"status": 400, "code": "context_length_exceeded"}, BehestError, core.ContextOverflowError, False),
    ({"close": True}, BehestConnectionError, core.ModelConnectionError, True),
]


@pytest.mark.parametrize(("fault", "ours", "theirs", "retryable"), STATUSES, ids=str)
async def test_each_failure_is_its_error(
    *,
    fault: dict[str, Any],
    ours: type[BehestError],
    theirs: type[core.ModelError],
    retryable: bool,
    impatient: ChatBehest,
    gateway: Emulator,
) -> None:
    """Each status is one error of ours and one of langchain-core's, plain and streamed, with what the gateway said."""
    # A refused token is renewed once, so 401 has to come twice to be raised.
    gateway.fail_next(path="chat", times=4, **fault)
    with pytest.raises(ours) as caught:
        impatient.invoke("Hello.")
    with pytest.raises(theirs):
        [_ async for _ in impatient.astream("Hello.")]
    assert caught.value.is_retryable is retryable
    assert caught.value.status == fault.get("status")
    assert caught.value.code == fault.get("code")
    if isinstance(caught.value, BehestRateLimitError):
        assert caught.value.retry_after == 7
    assert caught.value.trace_id if "status" in fault else True


def test_a_timeout_is_its_error(gateway: Emulator, impatient: ChatBehest) -> None:
    """A gateway that takes too long is a timeout, to Python and LangChain alike."""
    with gateway.holding("chat"), pytest.raises(BehestTimeoutError) as caught:
        impatient.invoke("Hello.", timeout=0.05)
    gateway.wait_for(lambda: gateway.chats[0].reply)  # the gateway goes on with it, and not into the next test
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, core.ModelTimeoutError)


def test_a_quota_says_where_to_buy_more(gateway: Emulator, impatient: ChatBehest) -> None:
    """A used-up tier names the address for the end user."""
    gateway.set_quota("alice", upgrade_url="https://example.com/upgrade")
    with pytest.raises(BehestQuotaError) as caught:
        impatient.invoke("Hello.")
    assert caught.value.upgrade_url == "https://example.com/upgrade"


def test_every_error_of_the_base_has_one_here() -> None:
    """No error of a call reaches LangChain code without a type that it knows, and a known one stays itself."""
    for name in behest_base.errors.__all__:
        error = getattr(behest_base, name)("What happened.", status=418)
        error.partial = "so far"
        ours = as_langchain_error(error)
        assert isinstance(ours, type(error))
        assert (ours.args, ours.status, ours.partial) == (error.args, 418, "so far")
        assert isinstance(ours, core.ModelError) or name in ("BehestError", "BehestConfigError")
        assert as_langchain_error(ours) is ours
