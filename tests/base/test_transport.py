"""Connections: how hosts are reached, and what is not shared over them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import tempfile
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager

import httpx
import pytest

from behest_base import (
    Behest,
    BehestBadRequestError,
    BehestConnectionError,
    Clock,
    Scope,
    transport,
)
from behest_base.emulator import Emulator
from support.keys import api_key, self_signed

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}
ALICE = Scope("alice")


async def test_an_unreachable_gateway_in_all_forms(gateway: Emulator) -> None:
    """Streams and tasks say the same as plain calls."""
    nowhere = "http://127.0.0.1:9"
    with Behest(gateway.api_key, base_url=nowhere, mint_url=gateway.base_url, max_retries=0) as behest:
        for call in (lambda: behest.complete(HELLO, scope=ALICE), lambda: list(behest.stream(HELLO, scope=ALICE))):
            with pytest.raises(BehestConnectionError, match=r"127\.0\.0\.1:9"):
                call()
        with pytest.raises(BehestConnectionError):
            await behest.acomplete(HELLO, scope=ALICE)
        with pytest.raises(BehestConnectionError):
            await anext(behest.astream(HELLO, scope=ALICE))
    with Behest(gateway.api_key, base_url=nowhere, max_retries=0) as behest:
        with pytest.raises(BehestConnectionError):
            await behest.acomplete(HELLO, scope=ALICE)
        await behest.aclose()


def test_connections_of_dead_loops_are_forgotten(gateway: Emulator, behest: Behest) -> None:
    """A loop that was closed without ceremony leaves nothing behind after the next loop's first request."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(behest.acomplete(HELLO, scope=ALICE))
    loop.run_until_complete(behest._http._loops._by_loop[os.getpid(), loop, transport.Route("http", None)][0].aclose())
    loop.close()

    async def call() -> int:
        await behest.acomplete(HELLO, scope=ALICE)
        return len(behest._http._loops._by_loop)

    assert asyncio.run(call()) == 1
    assert len(gateway.chats) == 2


def test_tls_is_verified() -> None:
    """One context with the machine's authorities, made once."""
    assert transport._tls() is transport._tls()
    assert transport._transport_options(transport.Route("https", None))["verify"] is transport._tls()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("given", ["http://proxy.test:3128", "proxy.test:3128"])
@pytest.mark.parametrize(("bypass", "proxy"), [("", "http://proxy.test:3128"), ("gw.example", None)])
def test_proxies_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, given: str, bypass: str, proxy: str | None
) -> None:
    """HTTPS_PROXY, ALL_PROXY and NO_PROXY hold, as users of httpx expect, for each host by itself."""
    monkeypatch.setenv(variable, given)
    monkeypatch.setenv("NO_PROXY", bypass)
    assert transport.route_to("https", "gw.example") == transport.Route("https", proxy)
    assert transport.route_to("https", "other.example") == transport.Route("https", "http://proxy.test:3128")


def test_no_proxy_reads_what_is_plain_http(gateway: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http is allowed to this machine or to one named host, so it goes there and nowhere in between."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with Behest(gateway.api_key, base_url=gateway.base_url, max_retries=0) as behest:
        behest.complete(HELLO, scope=ALICE)
        asyncio.run(behest.acomplete(HELLO, scope=ALICE))
    assert len(gateway.chats) == 2


def test_a_proxied_host_has_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mint's host may be behind a proxy and the gateway's not: each is reached as the environment says for it."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with (
        Behest(api_key(), base_url="http://127.0.0.1:9", mint_url="https://mint.test", max_retries=0) as behest,
        pytest.raises(BehestConnectionError),
    ):
        behest.complete(HELLO, scope=ALICE)
    assert behest._http._threads._sending.route("https", "mint.test").proxy == "http://127.0.0.1:9"
    assert behest._http._threads._sending.route("https", "127.0.0.1").proxy is None


def mint_in_a_thread(behest: Behest) -> object:
    """Ask the mint."""
    return behest.mint("alice")


def mint_in_a_task(behest: Behest) -> object:
    """Ask the mint, in a loop."""
    return asyncio.run(behest.amint("alice"))


def complete_in_a_thread(behest: Behest) -> object:
    """Make a plain call."""
    return behest.complete(HELLO, scope=ALICE)


def complete_in_a_task(behest: Behest) -> object:
    """Make a plain call in a loop."""
    return asyncio.run(behest.acomplete(HELLO, scope=ALICE))


@contextmanager
def impostor() -> Generator[tuple[str, list[bytes]]]:
    """Listen with TLS, with a certificate that no authority has signed; yield the address, and what is received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(self_signed())
            file.flush()
            context.load_cert_chain(file.name)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as tls:
                        received.append(tls.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}", received
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("call", [mint_in_a_thread, mint_in_a_task])
def test_a_mint_over_tls_is_verified_whatever_the_gateway_is(
    gateway: Emulator, call: Callable[[Behest], object]
) -> None:
    """Beside a gateway on plain http, too, the key goes to no host without a valid certificate."""
    with (
        impostor() as (address, received),
        Behest(gateway.api_key, base_url=gateway.base_url, mint_url=address, max_retries=0) as behest,
        pytest.raises(BehestConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        call(behest)
    assert not any(received)


def test_no_cookie_of_one_user_reaches_another(gateway: Emulator, behest: Behest) -> None:
    """What a balancer before the gateway sets for one user's call, or for the mint, is not sent with the next."""
    cookie = {"Set-Cookie": "sticky=alice; Path=/"}
    for path in ("mint", "chat"):
        for call in (complete_in_a_thread, complete_in_a_task):
            gateway.fail_next(status=400, path=path, headers=cookie)
            with pytest.raises(BehestBadRequestError):
                call(behest)
            behest._pool._slots.clear()  # a mint that failed is remembered
    behest.complete(HELLO, scope=Scope("bob"))
    asyncio.run(behest.acomplete(HELLO, scope=Scope("carol")))
    assert not any("cookie" in request.headers for request in gateway.requests)


def test_a_client_that_was_dropped_leaves_nothing_open(gateway: Emulator) -> None:
    """No warning of an unclosed socket, even for one who forgot to close."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        behest = Behest(gateway.api_key, base_url=gateway.base_url)
        behest.complete(HELLO, scope=ALICE)
        asyncio.run(behest.acomplete(HELLO, scope=ALICE))
        del behest
        gc.collect()
    assert [str(one.message) for one in warned] == []


@pytest.mark.parametrize("in_a_task", [False, True])
def test_an_answer_that_cannot_be_decoded_is_asked_for_again(
    gateway: Emulator, behest: Behest, *, in_a_task: bool
) -> None:
    """What a proxy in between spoiled is like an answer that was lost."""
    gateway.fail_next(status=503, path="chat", headers={"Content-Encoding": "gzip"}, body="no gzip")
    _ = complete_in_a_task(behest) if in_a_task else behest.complete(HELLO, scope=ALICE)
    assert [chat.status for chat in gateway.chats] == [503, 200]


@pytest.mark.parametrize("in_a_task", [False, True])
def test_what_never_left_this_machine_is_sent_again_in_a_thread_too(gateway: Emulator, *, in_a_task: bool) -> None:
    """A refused connection stored nothing."""
    waits: list[float] = []

    async def asleep(seconds: float) -> None:
        waits.append(seconds)

    clock, where = Clock(sleep=waits.append, asleep=asleep), Scope("alice", thread_id="t")
    with (
        Behest(gateway.api_key, base_url="http://127.0.0.1:9", mint_url=gateway.base_url, clock=clock) as behest,
        pytest.raises(BehestConnectionError, match="can't be reached"),
    ):
        _ = asyncio.run(behest.acomplete(HELLO, scope=where)) if in_a_task else behest.complete(HELLO, scope=where)
    assert len(waits) == 2


def test_connecting_takes_ten_seconds_at_most(gateway: Emulator) -> None:
    """Whether the client or the call says how long a step may take; an `httpx.Timeout` is taken as it is."""
    seen: list[tuple[float | None, float | None]] = []

    def note(request: httpx.Request) -> None:
        steps = request.extensions["timeout"]
        seen.append((steps["connect"], steps["read"]))

    with Behest(gateway.api_key, base_url=gateway.base_url, timeout=120) as behest:
        behest.complete(HELLO, scope=ALICE)
        behest._http.sync.event_hooks = {"request": [note]}
        behest.complete(HELLO, scope=ALICE)
        for timeout in (300, 3, None, httpx.Timeout(30)):
            behest.complete(HELLO, scope=ALICE, timeout=timeout)
            list(behest.stream(HELLO, scope=ALICE, timeout=timeout))
    assert seen == [(10, 120), *2 * [(10, 300)], *2 * [(3, 3)], *2 * [(None, None)], *2 * [(30, 30)]]
