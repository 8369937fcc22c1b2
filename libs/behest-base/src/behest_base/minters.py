"""Three ways to get a user's token: the mint's API, a private key here, or a token given once and for all."""

from __future__ import annotations

import email.utils
import functools
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import httpx
import jwt
from pydantic import SecretStr

from behest_base.clock import Clock
from behest_base.errors import BehestAuthError, BehestConfigError, BehestError
from behest_base.jsons import JSON_HEADERS, write_json
from behest_base.jwts import number_claim, read_claims
from behest_base.keys import ApiKey, PresetToken, SigningKey
from behest_base.responses import error_from
from behest_base.tokens import MAX_LIFETIME_SECONDS, Grant, Minter, Wanted, read_grant

if TYPE_CHECKING:
    from behest_base.settings import BehestSettings
    from behest_base.transport import HttpClients

__all__ = ["ApiKeyMinter", "LocalSigner", "PresetMinter", "make_minter", "server_time"]

MINT_TIMEOUT_SECONDS: Final = 10.0
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
        request = client.build_request(
            "POST", self._endpoint, content=write_json(body), headers=JSON_HEADERS, timeout=MINT_TIMEOUT_SECONDS
        )
        request.extensions["behest_mint"] = True
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
    if signing_key is None:
        credential = settings.credential()
        if isinstance(credential, ApiKey):
            return ApiKeyMinter(credential.secret, settings.mint_endpoint, http, ttl=settings.ttl, clock=clock)
        if isinstance(credential, PresetToken):
            return PresetMinter(credential.secret, clock)
        signing_key = functools.partial(_same, credential)
    else:
        settings.require_signing_fields()
    return LocalSigner(
        signing_key,
        tenant_id=settings.tenant_id or "",
        project_id=settings.project_id or "",
        issuer=settings.issuer,
        audience=settings.audience,
        ttl=settings.ttl,
        clock=clock,
    )


def _same(key: SigningKey) -> SigningKey:
    return key


class LocalSigner:
    """Signs tokens here with the tenant's private key (`sdk`: header, claims and their order)."""

    def __init__(
        self,
        signing_key: Callable[[], SigningKey],
        *,
        tenant_id: str,
        project_id: str,
        issuer: str,
        audience: str,
        ttl: int | None,
        clock: Clock,
    ) -> None:
        """Keep the supplier of the key, which is asked at every mint so that a key can be rotated by its kid."""
        self._signing_key = signing_key
        self._tenant_id = tenant_id
        self._project_id = project_id
        self._issuer = issuer
        self._audience = audience
        self._ttl = ttl if ttl is not None else DEFAULT_TTL_SECONDS
        self._clock = clock
        self._offset = 0.0

    def mint(self, wanted: Wanted) -> Grant:
        """Sign a token: about a millisecond for 2,048 bits, no I/O."""
        ttl = wanted.ttl if wanted.ttl is not None else self._ttl
        key = self._signing_key()
        signed = jwt.encode(
            self._claims(wanted, ttl), key.private_key, algorithm="RS256", headers={"typ": "JWT", "kid": key.kid}
        )
        return Grant(SecretStr(signed), ttl, wanted.session_id)

    async def amint(self, wanted: Wanted) -> Grant:
        """Sign a token."""
        return self.mint(wanted)

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
