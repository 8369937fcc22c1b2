"""Attaches each request's user's token, and on a 401 renews it and sends the request once more."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Final, Self, cast

import httpx

from behest_base.hosts import Origin, origin_of
from behest_base.pool import Key, TokenPool
from behest_base.responses import server_time
from behest_base.scope import Identity
from behest_base.tokens import Token

__all__ = ["BehestAuth"]

UNAUTHORIZED: Final = 401
IDENTITY_EXTENSION: Final = "behest_identity"


class BehestAuth(httpx.Auth):
    """Authenticates the requests of an httpx client, or of an httpx2 client where that is installed, as the current user.

    Who that is comes from the ambient `scope`, else from the client's default user. Only requests to the gateway's own
    origin get a token. Take it from `Behest.auth`.

    Example:
        ```python
        with httpx.Client(auth=behest.auth) as http, scope("alice"):
            http.get(f"{behest.base_url}/v1/models")
        ```
    """

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Make an instance that httpx2 takes as its own too, once httpx2 has been imported."""
        # Not imported here: it costs tens of milliseconds, and few use it.
        return super().__new__(cast("type[Self]", _with_httpx2(cls)) if "httpx2" in sys.modules else cls)

    def __init__(self, pool: TokenPool, origin: Origin, identify: Callable[[], Identity]) -> None:
        """Attach the pool's tokens to requests to `origin`, for whom `identify` says."""
        self._pool = pool
        self._origin = origin
        self._identify = identify

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Attach a token; renew it and send once more after a 401."""
        identity = self._begin(request)
        if identity is None:
            yield request
            return
        request.read()  # a second send needs the body once more
        key = _key(identity)
        token = None if identity.token else self._pool.get(key)
        response = yield _attach(request, identity, token)
        if response.status_code == UNAUTHORIZED and token is not None:
            self._pool.reject(key, token, server_time(response.headers))
            renewed = self._pool.get(key)
            if renewed.authorization != token.authorization:
                yield _attach(request, identity, renewed)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking the event loop."""
        identity = self._begin(request)
        if identity is None:
            yield request
            return
        await request.aread()
        key = _key(identity)
        token = None if identity.token else await self._pool.aget(key)
        response = yield _attach(request, identity, token)
        if response.status_code == UNAUTHORIZED and token is not None:
            self._pool.reject(key, token, server_time(response.headers))
            renewed = await self._pool.aget(key)
            if renewed.authorization != token.authorization:
                yield _attach(request, identity, renewed)

    def _begin(self, request: httpx.Request) -> Identity | None:
        """Return for whom the request is, or None if it leaves the gateway's origin."""
        if origin_of(request.url) != self._origin:
            return None
        identity = request.extensions.get(IDENTITY_EXTENSION)
        return identity if isinstance(identity, Identity) else self._identify()


def _key(identity: Identity) -> Key:
    return (identity.user_id, identity.tier)


def _attach(request: httpx.Request, identity: Identity, token: Token | None) -> httpx.Request:
    if token is not None:
        request.headers["Authorization"] = token.authorization
    elif identity.token is not None:  # pragma: no branch - one of the two there is
        request.headers["Authorization"] = f"Bearer {identity.token.get_secret_value()}"
    request.headers.setdefault("X-Session-Id", identity.session_id)
    if identity.thread_id is not None:
        request.headers.setdefault("X-Thread-Id", identity.thread_id)
    return request


_with_both: dict[type[BehestAuth], type[BehestAuth]] = {}


def _with_httpx2(cls: type[BehestAuth]) -> type[BehestAuth]:
    if cls not in _with_both:
        base = sys.modules["httpx2"].Auth
        namespace = {"__module__": cls.__module__, "__doc__": cls.__doc__}
        mixed = cls if issubclass(cls, base) else type(cls.__name__, (cls, base), namespace)
        _with_both[cls] = cast("type[BehestAuth]", mixed)
    return _with_both[cls]
