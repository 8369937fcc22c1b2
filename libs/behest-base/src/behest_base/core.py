"""What a client is made of: settings, connections, tokens, and for whom it calls; and its life."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, cast

import httpx
from pydantic import SecretStr

from behest_base import shared
from behest_base.auth import BehestAuth
from behest_base.clock import SYSTEM_CLOCK, Clock
from behest_base.errors import BehestConfigError
from behest_base.exchange import Exchange
from behest_base.hosts import origin_of
from behest_base.keys import SigningKey
from behest_base.minters import DeferredMinter, PresetMinter, make_minter
from behest_base.pool import PoolStats, TokenPool
from behest_base.retries import RetryPolicy
from behest_base.scope import UNSET, Identity, Scope, resolve
from behest_base.settings import BehestSettings
from behest_base.threads import Threads
from behest_base.transport import HttpClients
from behest_base.views import ThreadView, Views

__all__ = ["Core"]

TIMEOUT_SECONDS: Final = 120.0
MAX_USERS: Final = 10_000


class Core:
    """The base of `Behest`: everything but the calls."""

    def __init__(
        self,
        key: str | SecretStr | None = None,
        *,
        settings: BehestSettings | None = None,
        signing_key: Callable[[], SigningKey] | None = None,
        timeout: float | httpx.Timeout | None = TIMEOUT_SECONDS,
        max_retries: int = 2,
        max_retry_after: float = 60.0,
        cache_size: int = MAX_USERS,
        clock: Clock = SYSTEM_CLOCK,
        **fields: Any,
    ) -> None:
        """Read the settings and check them; nothing is sent.

        Args:
            key: API key, RSA private key or ready JWT; else `BEHEST_KEY`.
            settings: Ready settings, instead of `key` and `fields`; not beside them.
            signing_key: Supplies the private key and its kid for every token that is signed, so that a key can be rotated
                while the process runs (`load_signing_key` parses one). Instead of `key`.
            timeout: Seconds to wait for each step of a request (connecting takes 10 at most), or an `httpx.Timeout`.
            max_retries: Sends after the first one, for failures that may pass.
            max_retry_after: Seconds; a `Retry-After` beyond it is raised rather than waited for.
            cache_size: Users whose tokens are kept.
            clock: Time and pauses; tests replace it.
            **fields: Fields of `BehestSettings`: `base_url`, `slug`, `mint_url`, `user_id`, `tier`, `ttl`, `kid`,
                `tenant_id`, `project_id`, `insecure_host`, `key_file`, `issuer`, `audience`.

        Raises:
            BehestConfigError: Something is missing or malformed; the message names the argument and the variable.
        """
        secret = SecretStr(key) if isinstance(key, str) else key
        del key  # no secret in the frame of an error
        fields = {name: value for name, value in fields.items() if value is not None}
        self._from_environment = secret is None and settings is None and signing_key is None
        self._arguments: dict[str, Any] = {
            **fields,
            "timeout": timeout,
            "max_retries": max_retries,
            "max_retry_after": max_retry_after,
            "cache_size": cache_size,
        }
        _check_bounds(max_retries, cache_size)
        _check_sources(secret, settings, signing_key, fields)
        self._settings = settings or BehestSettings(**({"key": secret} if secret is not None else {}), **fields)
        self.base_url: str = self._settings.gateway_url
        self._http = HttpClients(
            self.base_url, timeout=timeout, policy=RetryPolicy(max_retries, max_retry_after), clock=clock
        )
        self._minter = make_minter(self._settings, self._http, signing_key, clock)
        self._pool = TokenPool(self._minter, clock=clock, max_users=cache_size)
        self._views = Views()
        self._clock = clock
        self._stores_tool_calls: bool | None = None
        self.auth = BehestAuth(self._pool, origin_of(httpx.URL(self.base_url)), self._outside_of_threads)
        self._http.authenticate(self.auth)
        self._http.close_with(self)
        self._exchange = Exchange(self._http, clock)
        self.threads = Threads(self._exchange, self.identify, self._views)

    def __repr__(self) -> str:
        """Say which gateway it is for; never a credential."""
        return f"{type(self).__name__}(base_url={getattr(self, 'base_url', None)!r})"

    @classmethod
    def shared(cls, key: str | SecretStr | None = None, **arguments: Any) -> Self:
        """Return the process's one client with these arguments: one connection pool and one token cache for all who ask.

        Takes what `Behest` takes. It is never closed by those who share it; `behest_base.close_shared()` closes all.
        """
        secret = SecretStr(key) if isinstance(key, str) else key
        del key
        return cast("Self", shared.client(cls, secret, arguments))

    def identify(self, scope: Scope | Identity | None = None, default: Scope | None = None) -> Identity:
        """Return for whom a call would be made: each field from the call, the ambient scope, `default`, this client.

        Args:
            scope: What the call itself says.
            default: What a model or another owner of the client says when nobody else does.

        Raises:
            BehestConfigError: No user is named anywhere, or a field can't be sent.
        """
        if isinstance(scope, Identity):
            return scope
        _check_scope(scope)
        asked = (scope or Scope()).over(Scope.current()).over(default or Scope())
        user_id = self._default_user() if asked.user_id is UNSET else None
        own = Scope(user_id or UNSET, tier=UNSET if self._settings.tier is None else self._settings.tier)
        return resolve(asked.over(own))

    def _default_user(self) -> str | None:
        if self._settings.user_id:
            return self._settings.user_id
        minter = self._minter.load() if isinstance(self._minter, DeferredMinter) else self._minter
        return minter.user_id if isinstance(minter, PresetMinter) else None

    def _outside_of_threads(self) -> Identity:
        """For clients handed out: what libraries send through them is no turn of the ambient conversation."""
        return self.identify(Scope(thread_id=None))

    def view(
        self, identity: Identity | None = None, *, user_id: str | None = None, thread_id: str | None = None
    ) -> ThreadView:
        """Return what this client knows of a thread: messages that wait to go out, and the turn just recorded.

        Raises:
            BehestConfigError: No user or no thread is named.
        """
        if identity is None:
            identity = self.identify(Scope(UNSET if user_id is None else user_id, thread_id=thread_id))
        if identity.thread_id is None:
            msg = "A view needs a thread: give thread_id=."
            raise BehestConfigError(msg)
        return self._views.of(identity.user_id, identity.thread_id)

    def stats(self) -> PoolStats:
        """Return counts of what the token cache has done."""
        return self._pool.snapshot()

    def close(self) -> None:
        """Close this client's connections; a later call opens new ones."""
        self._http.close()

    async def aclose(self) -> None:
        """Close this client's connections, those of the running event loop included."""
        await self._http.aclose()

    def __enter__(self) -> Self:
        """Close the client with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    async def __aenter__(self) -> Self:
        """Close the client with the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.aclose()

    def __copy__(self) -> Self:
        """Return this client: it holds connections and a cache that copies are to share."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return this client."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference to the environment: no key leaves the process, the worker reads its own.

        Raises:
            BehestConfigError: The key was an argument.
        """
        if not self._from_environment:
            msg = (
                "A client whose key was given as an argument can't be pickled, since the key would leave the process. "
                "Set BEHEST_KEY (BEHEST_KEY_FILE) here and in the workers, and make the client without key=."
            )
            raise BehestConfigError(msg)
        return (_again, (type(self), self._arguments))


def _again(cls: type[Core], arguments: dict[str, Any]) -> Core:
    return cls.shared(**arguments)


def _check_scope(scope: object) -> None:
    if scope is not None and not isinstance(scope, Scope):
        msg = f"scope= must be a Scope, such as Scope('alice'), not {type(scope).__name__}."
        raise BehestConfigError(msg)


def _check_sources(secret: object, settings: object, signing_key: object, fields: dict[str, Any]) -> None:
    if settings is not None and (secret is not None or fields):
        given = ", ".join(f"{name}=" for name in (*(["key"] if secret is not None else ()), *sorted(fields)))
        msg = f"settings= stands for all of BehestSettings, and {given} would be ignored: put it into the settings."
        raise BehestConfigError(msg)
    if signing_key is not None and secret is not None:
        msg = "signing_key= supplies the key, and key= would be ignored: give one of them."
        raise BehestConfigError(msg)


def _check_bounds(max_retries: int, cache_size: int) -> None:
    if max_retries < 0 or cache_size < 1:
        msg = "max_retries= must be 0 or more, and cache_size= 1 or more."
        raise BehestConfigError(msg)
