"""What a client says when the address leads to something else than a gateway, or something in between spoils its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from behest_base import (
    Behest,
    BehestBadRequestError,
    BehestConnectionError,
    BehestError,
    BehestServerError,
    BehestStreamError,
    BehestTimeoutError,
    Scope,
    scope,
)
from behest_base.emulator import Emulator, RawResponse, RawSSE

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}
ALICE = Scope("alice")
PAGE = "<!doctype html><html><body>Sign in</body></html>"
HTML = {"content-type": "text/html"}

Form = Callable[[Behest], object]


def _in_a_task(call: Callable[[Behest], Coroutine[Any, Any, object]]) -> Form:
    return lambda behest: asyncio.run(call(behest))


async def _astreamed(behest: Behest) -> list[dict[str, Any]]:
    return [chunk async for chunk in behest.astream(HELLO, scope=ALICE)]


PLAIN: dict[str, Form] = {
    "complete": lambda behest: behest.complete(HELLO, scope=ALICE),
    "acomplete": _in_a_task(lambda behest: behest.acomplete(HELLO, scope=ALICE)),
}
STREAMED: dict[str, Form] = {
    "stream": lambda behest: list(behest.stream(HELLO, scope=ALICE)),
    "astream": _in_a_task(_astreamed),
}
every_form = pytest.mark.parametrize("form", [*PLAIN, *STREAMED])


def _error(behest: Behest, form: str) -> BehestError:
    with pytest.raises(BehestError) as caught:
        {**PLAIN, **STREAMED}[form](behest)
    return caught.value


@every_form
def test_a_page_instead_of_a_token(gateway: Emulator, behest: Behest, form: str) -> None:
    """A web site at the address: the error names both settings that may be wrong, and the key went nowhere else."""
    gateway.next_mint(PAGE)
    error = _error(behest, form)
    assert isinstance(error, BehestServerError)
    for setting in ("base_url=", "BEHEST_BASE_URL", "mint_url=", "BEHEST_MINT_URL"):
        assert setting in str(error)
    assert [request.path for request in gateway.requests] == ["/v1/auth/mint"]


@every_form
def test_a_page_instead_of_a_reply(gateway: Emulator, behest: Behest, form: str) -> None:
    """A proxy's page with status 200 is no reply, and the error says where to look."""
    gateway.script(RawResponse(200, HTML, PAGE))
    error = _error(behest, form)
    assert isinstance(error, BehestServerError if form in PLAIN else BehestStreamError)
    assert "text/html" in str(error)
    assert "check base_url= (BEHEST_BASE_URL)" in str(error)
    assert "Sign in" not in str(error)


@every_form
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_cannot_be_decompressed(gateway: Emulator, behest: Behest, form: str, status: int) -> None:
    """It is the gateway's fault or a proxy's, and typed as that."""
    kind = "application/json" if form in PLAIN or status == 400 else "text/event-stream"
    gateway.script(RawResponse(status, {"content-type": kind, "content-encoding": "gzip"}, b"no gzip"))
    error = _error(behest, form)
    assert isinstance(error, BehestStreamError if form in STREAMED and status == 200 else BehestServerError)
    assert len(gateway.chats) == 1


@every_form
def test_a_token_that_cannot_be_decompressed(gateway: Emulator, behest: Behest, form: str) -> None:
    """The mint's answer is read no less carefully."""
    gateway.fail_next(path="mint", status=200, headers={"content-encoding": "gzip"}, body="no gzip")
    error = _error(behest, form)
    assert isinstance(error, BehestServerError)
    assert "can't be decompressed" in str(error)
    assert gateway.api_key not in str(error)


@every_form
def test_an_error_that_breaks_off(gateway: Emulator, behest: Behest, form: str) -> None:
    """When the body of a refusal doesn't arrive whole, nothing is known but that the connection broke."""
    gateway.script(RawResponse(400, {"content-length": "100"}, b'{"error":'))
    error = _error(behest, form)
    assert isinstance(error, BehestConnectionError)
    assert not isinstance(error, BehestBadRequestError)
    assert "broke" in str(error)
    assert "base_url= (BEHEST_BASE_URL)" in str(error)


@pytest.mark.parametrize("form", [*PLAIN])
@pytest.mark.parametrize("choices", [5, {}, ["x"], [{"message": "x"}]])
def test_a_reply_in_no_form_known(gateway: Emulator, behest: Behest, form: str, choices: Any) -> None:
    """It is the gateway's fault, and typed as that, in a thread and out of one."""
    body = {"choices": choices}
    for thread_id in (None, "t"):
        gateway.fail_next(status=200, path="chat", body=body)
        with scope(thread_id=thread_id):
            error = _error(behest, form)
        assert isinstance(error, BehestServerError)
        assert error.raw == body


@pytest.mark.parametrize("form", [*STREAMED])
@pytest.mark.parametrize("choices", [5, ["x"], [{"delta": "x"}], [{"delta": {"tool_calls": ["x"]}}]])
def test_a_chunk_in_no_form_known(gateway: Emulator, behest: Behest, form: str, choices: Any) -> None:
    """It ends the stream as one that broke, with the text so far."""
    chunks = [{"choices": [{"index": 0, "delta": {"content": "So far"}}]}, {"choices": choices}]
    gateway.script(RawSSE([b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]))
    error = _error(behest, form)
    assert isinstance(error, BehestStreamError)
    assert error.partial == "So far"


def test_a_timeout_behind_the_gateway(gateway: Emulator, behest: Behest) -> None:
    """A 408 is a time-out and no malformed request: in a thread it is not sent again, nor is the thread read for mending."""
    gateway.fail_next(status=408, path="chat")
    with pytest.raises(BehestTimeoutError) as caught:
        behest.complete(HELLO, scope=Scope("alice", thread_id="t"))
    assert (caught.value.status, caught.value.is_retryable) == (408, True)
    assert [request.kind for request in gateway.requests] == ["mint", "chat"]
