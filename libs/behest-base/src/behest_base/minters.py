"""Three ways to get a user's token: the mint's API, a private key here, or a token given once and for all."""

from __future__ import annotations

import asyncio
import email.utils
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import httpx
import jwt
from pydantic import SecretStr

from behest_base.clock import Clock
from behest_base.errors import BehestAuthError, BehestConfigError, BehestConnectionError, BehestError
from behest_base.jsons import JSON_HEADERS, write_json
from behest_base.jwts import number_claim, read_claims
from behest_base.keys import ApiKey, PresetToken, SigningKey
from behest_base.pool import on_a_loop
from behest_base.responses import error_from
from behest_base.tokens import MAX_LIFETIME_SECONDS, Grant, Minter, Wanted, read_grant

if TYPE_CHECKING:
    from behest_base.settings import BehestSettings
    from behest_base.transport import HttpClients

__all__ = ["ApiKeyMinter", "DeferredMinter", "LocalSigner", "PresetMinter", "make_minter", "server_time"]

MINT_TIMEOUT_SECONDS: Final = 10.0
# A renewal is made by a call that has a token already; it shall not wait long for a mint that is down.
RENEWAL_TIMEOUT_SECONDS: Final = 5.0
DEFAULT_TTL_SECONDS: Final = 900
# The gateway's clock may be a little behind ours; its check of `iat` and `nbf` has no leeway that we know of.
BACKDATE_SECONDS: Final = 30
# Within this, the gateway's clock and ours agree; HTTP dates have whole seconds and take time to arrive.
CLOCK_SKEW_SECONDS: Final = 5.0
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
        outcome = read_grant(response.content, wall=self._clock.wall(), server_time=server_time(response))
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
        return _signer(settings, signing_key, clock)
    if settings.key_takes_time and on_a_loop():
        return DeferredMinter(lambda: _minter_of(settings, http, clock))
    return _minter_of(settings, http, clock)


def _minter_of(settings: BehestSettings, http: HttpClients, clock: Clock) -> Minter:
    credential = settings.credential()
    if isinstance(credential, ApiKey):
        return ApiKeyMinter(credential.secret, settings.mint_endpoint, http, ttl=settings.ttl, clock=clock)
    if isinstance(credential, PresetToken):
        return PresetMinter(credential.secret, clock)
    return _signer(settings, credential, clock)


def _signer(settings: BehestSettings, key: SigningKey | Callable[[], SigningKey], clock: Clock) -> LocalSigner:
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
    """Reads the key with the first mint: for a client that is made on a running event loop, which that would block."""

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


class LocalSigner:
    """Signs tokens here with the tenant's private key (`sdk`: header, claims and their order)."""

    def __init__(
        self,
        key: SigningKey | Callable[[], SigningKey],
        *,
        tenant_id: str,
        project_id: str,
        issuer: str,
        audience: str,
        ttl: int | None,
        clock: Clock,
    ) -> None:
        """Keep the key, or its supplier, which is asked at every mint so that a key can be rotated by its kid."""
        self._key = key
        self._tenant_id = tenant_id
        self._project_id = project_id
        self._issuer = issuer
        self._audience = audience
        self._ttl = ttl if ttl is not None else DEFAULT_TTL_SECONDS
        self._clock = clock
        self._offset = 0.0

    def mint(self, wanted: Wanted) -> Grant:
        """Sign a token: about half a millisecond for 2,048 bits, no I/O."""
        return self._sign(wanted, self._current_key())

    async def amint(self, wanted: Wanted) -> Grant:
        """Sign a token; a supplier of keys is asked in a worker thread, since it may read a file or ask a vault."""
        supplied = not isinstance(self._key, SigningKey)
        return self._sign(wanted, await asyncio.to_thread(self._current_key) if supplied else self._current_key())

    def _current_key(self) -> SigningKey:
        if isinstance(self._key, SigningKey):
            return self._key
        try:
            key = cast("object", self._key())
        except BehestError:
            raise
        except Exception as error:
            msg = f"No token can be signed: signing_key= failed ({type(error).__name__})."
            raise BehestConnectionError(msg) from error
        if not isinstance(key, SigningKey):
            msg = f"signing_key= must return what load_signing_key returns, not {type(key).__name__}."
            raise BehestConfigError(msg)
        return key

    def _sign(self, wanted: Wanted, key: SigningKey) -> Grant:
        ttl = wanted.ttl if wanted.ttl is not None else self._ttl
        signed = jwt.encode(
            self._claims(wanted, ttl), key.private_key, algorithm="RS256", headers={"typ": "JWT", "kid": key.kid}
        )
        return Grant(SecretStr(signed), ttl, wanted.session_id)

    def note_server_time(self, server_time: float) -> None:
        """Sign by the gateway's clock from now on, where this machine's is off."""
        offset = server_time - self._clock.wall()
        self._offset = offset if abs(offset) > CLOCK_SKEW_SECONDS else 0.0

    def _claims(self, wanted: Wanted, ttl: int) -> dict[str, Any]:
        now = int(self._clock.wall() + self._offset)
        claims: dict[str, Any] = {
            "tid": self._tenant_id,
            "pid": self._project_id,
            "uid": wanted.user_id,
            "role": wanted.role or "user",
            "scp": [],
            "iss": self._issuer,
            "aud": self._audience,
            "iat": now - BACKDATE_SECONDS,
            "nbf": now - BACKDATE_SECONDS,
            "exp": now + ttl,
            "jti": uuid.uuid4().hex,
        }
        if wanted.session_id is not None:
            claims["sid"] = wanted.session_id
        if wanted.tier is not None:
            claims["tier"] = wanted.tier
        return claims


class PresetMinter:
    """Serves one ready-made token, to its own user only, until it expires."""

    def __init__(self, secret: SecretStr, clock: Clock) -> None:
        """Read whose token it is and how long it lives."""
        claims = read_claims(secret.get_secret_value()) or {}
        user_id = claims.get("uid")
        self.user_id = user_id if isinstance(user_id, str) else None
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
            return Grant(self._secret, MAX_LIFETIME_SECONDS)
        left = self._expires_at + PRESET_SKEW_SECONDS - self._clock.wall()
        if left <= 0:
            msg = "The token in key= (BEHEST_KEY) has expired. Get a new one, or give an API key, with which tokens are renewed."
            raise BehestAuthError(msg, code="token_expired")
        return Grant(self._secret, left)

    async def amint(self, wanted: Wanted) -> Grant:
        """Return the token."""
        return self.mint(wanted)

    def note_server_time(self, server_time: float) -> None:
        """Nothing to learn: the gateway itself decides until well past the end."""


def server_time(response: httpx.Response) -> float | None:
    """Return the `Date` of an answer in Unix seconds, if it has one."""
    value = response.headers.get("date")
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, OverflowError):
        return None
