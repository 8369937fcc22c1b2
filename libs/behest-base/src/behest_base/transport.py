"""The one HTTP path: httpx clients that survive forks and second event loops, with the retries below the auth."""

from __future__ import annotations

import asyncio
import functools
import http.cookiejar
import itertools
import os
import ssl
import urllib.request
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import httpx

from behest_base.clock import Clock
from behest_base.errors import BehestConnectionError, BehestError, BehestServerError, BehestTimeoutError
from behest_base.hosts import Origin, origin_of
from behest_base.responses import read_envelope, retry_after_seconds
from behest_base.retries import RETRYABLE_STATUSES, Failure, RetryPolicy, retry_wait

__all__ = ["HttpClients", "timeouts_of", "typed_errors"]

IDENTITY_HEADERS: Final = ("authorization", "x-session-id", "x-thread-id")
CONNECT_TIMEOUT_SECONDS: Final = 10.0
# Many users' streams stand open at once in one process; httpx's own limit of 100 would queue them.
LIMITS: Final = httpx.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=30)
# Nothing of the request left this machine.
_UNSENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class HttpClients:
    """One sync and one async httpx client on the gateway's origin; connections are opened when first needed."""

    def __init__(
        self, base_url: str, *, timeout: float | httpx.Timeout | None, policy: RetryPolicy, clock: Clock
    ) -> None:
        """Prepare the clients; nothing is opened yet."""
        sending = _Sending(origin_of(httpx.URL(base_url)), policy, clock)
        self._threads = SyncTransport(lambda route: httpx.HTTPTransport(**_transport_options(route)), sending)
        self._loops = LoopTransport(lambda route: httpx.AsyncHTTPTransport(**_transport_options(route)), sending)
        self._options: dict[str, Any] = {
            "base_url": base_url,
            "timeout": timeouts_of(timeout),
            # Keeps no cookie: a client serves many users, and one's must not go out with another's request.
            "cookies": http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=())),
        }
        self.sync = httpx.Client(transport=self._threads, **self._options)
        self.asynchronous = httpx.AsyncClient(transport=self._loops, **self._options)

    def close_with(self, owner: object) -> None:
        """Close the connections of threads when the owner is dropped without having been closed."""
        weakref.finalize(owner, self._threads.close)

    def authenticate(self, auth: httpx.Auth) -> None:
        """Let the clients' requests carry the users' tokens."""
        self.sync.auth = self.asynchronous.auth = auth
        self._options["auth"] = auth

    def lend(self) -> httpx.Client:
        """Return a client on the same connections, which its borrower may close without closing those."""
        return httpx.Client(transport=_Lent(self._threads), **self._options)

    def alend(self) -> httpx.AsyncClient:
        """Return such a client for tasks."""
        return httpx.AsyncClient(transport=_AsyncLent(self._loops), **self._options)

    def send(self, request: httpx.Request) -> httpx.Response:
        """Send without the users' auth (the mint), and raise our errors for what gets no answer."""
        with typed_errors(request):
            return self.sync.send(request, auth=None)

    async def asend(self, request: httpx.Request) -> httpx.Response:
        """Do the same in a task."""
        with typed_errors(request):
            return await self.asynchronous.send(request, auth=None)

    def close(self) -> None:
        """Close the connections that threads use; a later call opens new ones."""
        self._threads.close()

    async def aclose(self) -> None:
        """Close the connections of threads and of the running event loop."""
        self._threads.close()
        await self._loops.aclose()


@contextmanager
def typed_errors(request: httpx.Request) -> Generator[None, None, None]:
    """Raise our errors for what gets no answer, or one whose body breaks off or can't be decoded."""
    try:
        yield
    except httpx.RequestError as error:
        raise _connection_error(error, request) from error


def _connection_error(error: httpx.RequestError, request: httpx.Request) -> BehestError:
    """Name the host and what to check."""
    host = request.url.host if request.url.port is None else f"{request.url.host}:{request.url.port}"
    if isinstance(error, httpx.TimeoutException):
        what = "could not be connected to" if isinstance(error, httpx.ConnectTimeout) else "did not answer"
        return BehestTimeoutError(
            f"The gateway at {host} {what} in time ({type(error).__name__}). Raise timeout= if it needs longer."
        )
    if isinstance(error, _UNSENT):
        return BehestConnectionError(
            f"The gateway at {host} can't be reached: {error}. Check base_url= (BEHEST_BASE_URL) or slug= (BEHEST_SLUG), "
            "and the network."
        )
    if isinstance(error, httpx.DecodingError):
        return BehestServerError(
            f"The answer of the gateway at {host} can't be decompressed. A proxy in between may have damaged it: check "
            "base_url= (BEHEST_BASE_URL)."
        )
    return BehestConnectionError(
        f"The connection to the gateway at {host} broke before it answered ({type(error).__name__}). If it does so again, check "
        "that a gateway is there: base_url= (BEHEST_BASE_URL) or slug= (BEHEST_SLUG)."
    )


class _Sending:
    """What both transports do around a send; they add only the send itself and the pause."""

    def __init__(self, origin: Origin, policy: RetryPolicy, clock: Clock) -> None:
        self.origin = origin
        self.policy = policy
        self.clock = clock
        # Reading the environment for each request would cost more than the request's own work.
        self.route = functools.lru_cache(maxsize=64)(route_to)

    def guard(self, request: httpx.Request) -> None:
        """Take the identity off a request that leaves the gateway's origin: a foreign URL, or a redirect to one."""
        if origin_of(request.url) != self.origin and not request.extensions.get("behest_mint"):
            for name in IDENTITY_HEADERS:
                request.headers.pop(name, None)

    def wait_after(
        self, request: httpx.Request, outcome: httpx.Response | httpx.RequestError, attempt: int
    ) -> float | None:
        """Return how long to wait before sending again, or None if this outcome is the last."""
        if isinstance(outcome, httpx.RequestError):
            failure = Failure(sent=not isinstance(outcome, _UNSENT))
        elif outcome.status_code in RETRYABLE_STATUSES:
            retry_after = retry_after_seconds(outcome.headers, wall=self.clock.wall())
            failure = Failure(outcome.status_code, read_envelope(outcome.content).code, retry_after)
        else:
            return None
        most = request.extensions.get("behest_max_retries", self.policy.max_retries)
        policy = RetryPolicy(most, self.policy.max_retry_after)
        in_thread = "x-thread-id" in request.headers
        return retry_wait(failure, attempt, policy, in_thread=in_thread, chance=self.clock.chance())


class SyncTransport(httpx.BaseTransport):
    """Sends with retries; in a forked child over connections of its own."""

    def __init__(self, make: Callable[[Route], httpx.BaseTransport], sending: _Sending) -> None:
        """Open nothing yet."""
        self._make = make
        self._sending = sending
        self._by_process: dict[tuple[int, Route], httpx.BaseTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and send again as `retry_wait` says."""
        self._sending.guard(request)
        for attempt in itertools.count():
            outcome = self._try(request)
            wait = self._sending.wait_after(request, outcome, attempt)
            if wait is None:
                return _surfaced(outcome)
            self._sending.clock.sleep(wait)
        raise AssertionError  # pragma: no cover - the count has no end

    def close(self) -> None:
        """Close the connections."""
        gone = [self._by_process.pop(key, None) for key in list(self._by_process) if key[0] == os.getpid()]
        for transport in filter(None, gone):
            transport.close()

    def _try(self, request: httpx.Request) -> httpx.Response | httpx.RequestError:
        key = (os.getpid(), self._sending.route(request.url.scheme, request.url.host))
        # Of two threads that get here at once, both take what the first one made; the other has opened nothing.
        transport = self._by_process.get(key) or self._by_process.setdefault(key, self._make(key[1]))
        try:
            response = transport.handle_request(request)
            if response.status_code in RETRYABLE_STATUSES:
                response.request = request
                response.read()
                response.close()
        except httpx.RequestError as error:
            return _bare(error, request)
        return response


class LoopTransport(httpx.AsyncBaseTransport):
    """Sends with retries, over connections that belong to the running event loop and end with it."""

    def __init__(self, make: Callable[[Route], httpx.AsyncBaseTransport], sending: _Sending) -> None:
        """Open nothing yet."""
        self._make = make
        self._sending = sending
        self._by_loop: dict[_LoopKey, tuple[httpx.AsyncBaseTransport, AsyncGenerator[None, None]]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and send again as `retry_wait` says."""
        self._sending.guard(request)
        for attempt in itertools.count():
            outcome = await self._try(request)
            wait = self._sending.wait_after(request, outcome, attempt)
            if wait is None:
                return _surfaced(outcome)
            await self._sending.clock.asleep(wait)
        raise AssertionError  # pragma: no cover - the count has no end

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        here = (os.getpid(), asyncio.get_running_loop())
        for keeper in [keeper for key, (_, keeper) in self._by_loop.items() if key[:2] == here]:
            await keeper.aclose()

    async def _try(self, request: httpx.Request) -> httpx.Response | httpx.RequestError:
        transport = await self._of_this_loop(self._sending.route(request.url.scheme, request.url.host))
        try:
            response = await transport.handle_async_request(request)
            if response.status_code in RETRYABLE_STATUSES:
                response.request = request
                await response.aread()
                await response.aclose()
        except httpx.RequestError as error:
            return _bare(error, request)
        return response

    async def _of_this_loop(self, route: Route) -> httpx.AsyncBaseTransport:
        key = (os.getpid(), asyncio.get_running_loop(), route)
        entry = self._by_loop.get(key)
        if entry is None:
            for old in list(self._by_loop):
                if old[0] != key[0] or old[1].is_closed():
                    self._by_loop.pop(old, None)
            transport = self._make(route)
            keeper = self._keep(key, transport)
            entry = self._by_loop[key] = (transport, keeper)
            await anext(keeper)
        return entry[0]

    async def _keep(self, key: _LoopKey, transport: httpx.AsyncBaseTransport) -> AsyncGenerator[None, None]:
        """Close the connections with their loop.

        asyncio.run ends by closing the async generators that were begun in its loop: the one moment in which a library can
        close its connections without asking its user to.
        """
        try:
            yield
        finally:
            self._by_loop.pop(key, None)
            await transport.aclose()


_LoopKey = tuple[int, asyncio.AbstractEventLoop, "Route"]


class _Lent(httpx.BaseTransport):
    """A transport whose closing closes nothing, since others use it too."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self.handle_request = inner.handle_request  # type: ignore[method-assign]


class _AsyncLent(httpx.AsyncBaseTransport):
    """The same for tasks."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.handle_async_request = inner.handle_async_request  # type: ignore[method-assign]


def _surfaced(outcome: httpx.Response | httpx.RequestError) -> httpx.Response:
    if isinstance(outcome, httpx.RequestError):
        raise outcome
    return outcome


def _bare(error: httpx.RequestError, request: httpx.Request) -> httpx.RequestError:
    """Return the same error without the frames below, whose locals hold the headers as bytes."""
    bare = type(error)(str(error) or type(error).__name__)
    bare.request = request
    return bare


def timeouts_of(timeout: float | httpx.Timeout | None) -> httpx.Timeout:
    """Return how long each step of a request may take: seconds for all, but for connecting 10 at most; None for no bound."""
    if isinstance(timeout, httpx.Timeout):
        return timeout
    return httpx.Timeout(timeout, connect=None if timeout is None else min(timeout, CONNECT_TIMEOUT_SECONDS))


class Route(NamedTuple):
    """How a host is reached; requests that share one share connections.

    Attributes:
        scheme: `http` or `https`.
        proxy: The address of the proxy that the environment names for the host, or None.
    """

    scheme: str
    proxy: str | None


def route_to(scheme: str, host: str) -> Route:
    """Return how the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) says to reach a host.

    Plain http goes through no proxy: it is allowed to this machine, or to one named host, and a proxy would read the key.
    """
    if scheme != "https" or urllib.request.proxy_bypass(host):
        return Route(scheme, None)
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    return Route(scheme, proxy if not proxy or "://" in proxy else f"http://{proxy}")


def _transport_options(route: Route) -> dict[str, Any]:
    return {"limits": LIMITS, "proxy": route.proxy, "verify": _tls() if route.scheme == "https" else False}


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one TLS context: loading the authorities takes tens of milliseconds."""
    return httpx.create_ssl_context()
