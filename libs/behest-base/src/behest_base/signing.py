"""Signs users' tokens here, with the tenant's private key."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Final, cast

import jwt
from pydantic import SecretStr

from behest_base.clock import Clock
from behest_base.errors import BehestConfigError, BehestConnectionError, BehestError
from behest_base.keys import SigningKey
from behest_base.tokens import Grant, Wanted

__all__ = ["LocalSigner"]

DEFAULT_TTL_SECONDS: Final = 900
# The gateway's clock may be a little behind ours; its check of `iat` and `nbf` has no leeway that we know of.
BACKDATE_SECONDS: Final = 30
# Within this, the gateway's clock and ours agree; HTTP dates have whole seconds and take time to arrive.
CLOCK_SKEW_SECONDS: Final = 5.0


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
