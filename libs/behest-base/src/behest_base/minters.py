"""Ways to get a user's token: the mint's API, or a token given once and for all. Signing is `behest_base.signing`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import httpx
from pydantic import SecretStr

from behest_base.clock import Clock
from behest_base.errors import BehestAuthError, BehestConfigError, BehestError
from behest_base.jsons import JSON_HEADERS, write_json
from behest_base.jwts import number_claim, read_claims
from behest_base.keys import ApiKey, PresetToken, SigningKey
from behest_base.pool import on_a_loop
from behest_base.responses import error_from, server_time
from behest_base.tokens import MAX_LIFETIME_SECONDS, Grant, Minter, Wanted, read_grant

if TYPE_CHECKING:
    from behest_base.settings import BehestSettings
    from behest_base.transport import HttpClients

__all__ = ["ApiKeyMinter", "DeferredMinter", "PresetMinter", "make_minter"]

MINT_TIMEOUT_SECONDS: Final = 10.0
# A renewal is made by a call that has a token already; it shall not wait long for a mint that is down.
RENEWAL_TIMEOUT_SECONDS: Final = 5.0
# How wrong this machine's clock may be before a ready-made token counts as expired without asking the gateway.
PRESET_SKEW_SECONDS: Final = 600.0


class ApiKeyMinter:
    """Mints with the project's API key: `POST /v1/auth/mint` (`index`)."""

    def __init__(self, key: SecretStr, endpoint: str, http: HttpClients, *, ttl: int | None, clock: Clock) -> None:
        """Fix where the key goes: to `endpoint`, and nowhere else."""
        self._key = key
        self._endpoint = endpoint
        self._http = http
        self._ttl = ttl
        self._clock = clock

    def mint(self, wanted: Wanted) -> Grant:
        """Ask the mint, blocking."""
        client = self._http.sync
        return self._read(self._http.send(self._request(client, wanted)))

    async def amint(self, wanted: Wanted) -> Grant:
        """Ask the mint."""
        client = self._http.asynchronous
        return self._read(await self._http.asend(self._request(client, wanted)))

    def note_server_time(self, server_time: float) -> None:
        """Nothing to learn: the mint's lifetimes are relative."""

    def _request(self, client: httpx.Client | httpx.AsyncClient, wanted: Wanted) -> httpx.Request:
        body: dict[str, Any] = {"user_id": wanted.user_id}
        ttl = wanted.ttl if wanted.ttl is not None else self._ttl
        optional = {"ttl": ttl, "tier": wanted.tier, "session_id": wanted.session_id, "role": wanted.role}
        body.update({name: value for name, value in optional.items() if value is not None})
        timeout = RENEWAL_TIMEOUT_SECONDS if wanted.is_renewal else MINT_TIMEOUT_SECONDS
        request = client.build_request(
            "POST", self._endpoint, content=write_json(body), headers=JSON_HEADERS, timeout=timeout
        )
        request.extensions["behest_mint"] = True
        if wanted.is_renewal:
            request.extensions["behest_max_retries"] = 0  # the pool tries again later, with a backoff of its own
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return request

    def _read(self, response: httpx.Response) -> Grant:
        if not response.is_success:
            raise _explained(error_from(response, wall=self._clock.wall()))
        outcome = read_grant(response.content, wall=self._clock.wall(), server_time=server_time(response.headers))
        if isinstance(outcome, BehestError):
            raise outcome
        return outcome


def _explained(error: BehestError) -> BehestError:
    """Say that it was the mint which refused, and with which key."""
    if error.status == 401:  # noqa: PLR2004 - unauthorized
        error.message = (
            "The mint refused the API key (401). It is wrong, revoked, or another project's: check key= or BEHEST_KEY, and "
            "that base_url=, slug= or mint_url= lead to the project it was made for."
        )
    else:
        error.message = f"No token could be minted. {error.message}"
    error.args = (error.message,)
    return error


def make_minter(
    settings: BehestSettings, http: HttpClients, signing_key: Callable[[], SigningKey] | None, clock: Clock
) -> Minter:
    """Return the minter that the key calls for.

    Raises:
        BehestConfigError: There is no key, or it is malformed.
    """
    if signing_key is not None:
        settings.require_signing_fields()

    def make() -> Minter:
        return _minter_of(settings, http, clock) if signing_key is None else _signer(settings, signing_key, clock)

    takes_time = signing_key is not None or settings.key_takes_time
    return DeferredMinter(make) if takes_time and on_a_loop() else make()


def _minter_of(settings: BehestSettings, http: HttpClients, clock: Clock) -> Minter:
    credential = settings.credential()
    if isinstance(credential, ApiKey):
        return ApiKeyMinter(credential.secret, settings.mint_endpoint, http, ttl=settings.ttl, clock=clock)
    if isinstance(credential, PresetToken):
        return PresetMinter(credential.secret, clock)
    return _signer(settings, credential, clock)


def _signer(settings: BehestSettings, key: SigningKey | Callable[[], SigningKey], clock: Clock) -> Minter:
    from behest_base.signing import LocalSigner  # noqa: PLC0415 - cryptography, which an API key doesn't need

    return LocalSigner(
        key,
        tenant_id=settings.tenant_id or "",
        project_id=settings.project_id or "",
        issuer=settings.issuer,
        audience=settings.audience,
        ttl=settings.ttl,
        clock=clock,
    )


class DeferredMinter:
    """Reads the key, and imports what signs with it, at the first mint: for a client that is made on a running event loop."""

    def __init__(self, make: Callable[[], Minter]) -> None:
        """Read nothing yet."""
        self._make = make
        self._minter: Minter | None = None

    def load(self) -> Minter:
        """Return the minter that the key calls for, reading the key if that has not been done.

        Raises:
            BehestConfigError: There is no key, or it is malformed.
        """
        self._minter = self._minter or self._make()
        return self._minter

    def mint(self, wanted: Wanted) -> Grant:
        """Get a token, blocking."""
        return self.load().mint(wanted)

    async def amint(self, wanted: Wanted) -> Grant:
        """Get a token; the key is read in a worker thread."""
        minter = self._minter
        if minter is None:
            minter = await asyncio.to_thread(self.load)
        return await minter.amint(wanted)

    def note_server_time(self, server_time: float) -> None:
        """Pass on what was learned."""
        self.load().note_server_time(server_time)


class PresetMinter:
    """Serves one ready-made token, to its own user only, until it expires."""

    def __init__(self, secret: SecretStr, clock: Clock) -> None:
        """Read whose token it is and how long it lives."""
        claims = read_claims(secret.get_secret_value()) or {}
        user_id, session_id = claims.get("uid"), claims.get("sid")
        self.user_id = user_id if isinstance(user_id, str) else None
        self._session_id = session_id if isinstance(session_id, str) else None
        self._secret = secret
        self._expires_at = number_claim(claims, "exp")
        self._clock = clock

    def mint(self, wanted: Wanted) -> Grant:
        """Return the token.

        Raises:
            BehestConfigError: It is another user's.
            BehestAuthError: It has expired.
        """
        if self.user_id is not None and wanted.user_id != self.user_id:
            msg = (
                f"The token in key= (BEHEST_KEY) is the user {self.user_id!r}'s and can't be used for {wanted.user_id!r}. "
                "Give an API key or a private key to make calls for several users."
            )
            raise BehestConfigError(msg)
        if self._expires_at is None:
            return Grant(self._secret, MAX_LIFETIME_SECONDS, self._session_id)
        left = self._expires_at - self._clock.wall()
        if left + PRESET_SKEW_SECONDS <= 0:
            msg = "The token in key= (BEHEST_KEY) has expired. Get a new one, or give an API key, with which tokens are renewed."
            raise BehestAuthError(msg, code="token_expired")
        return Grant(self._secret, left, self._session_id, grace=PRESET_SKEW_SECONDS)

    async def amint(self, wanted: Wanted) -> Grant:
        """Return the token."""
        return self.mint(wanted)

    def note_server_time(self, server_time: float) -> None:
        """Nothing to learn: the gateway itself decides until well past the end."""
