"""Tokens: issuing them, and verifying those of data-plane calls."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable
from typing import Any, Final, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)
from jwt.algorithms import RSAAlgorithm

from behest_base.emulator.refusals import Refusal

__all__ = ["AUDIENCE", "ISSUER", "Keyring"]

ISSUER: Final = "https://api.behest.app"
AUDIENCE: Final = "behest"
OWN_KID: Final = "emulator"
SIGNING_KID: Final = "local"
LEEWAY_SECONDS: Final = 2


class Keyring:
    """The gateway's own key, and the public keys that a tenant has registered."""

    def __init__(self, tenant_id: str, project_id: str, now: Callable[[], float]) -> None:
        """Know the gateway's own key, and a tenant's key made for local signing."""
        self._tenant_id = tenant_id
        self._project_id = project_id
        self._now = now
        self._public: dict[str, RSAPublicKey] = {}
        self.reset()

    def reset(self) -> None:
        """Accept all tokens again, of the keys that were there at first."""
        self._public = {OWN_KID: _key(OWN_KID).public_key(), SIGNING_KID: _key(SIGNING_KID).public_key()}
        self._rejected: set[str] = set()
        self._issued: set[str] = set()

    def register(self, kid: str, public_pem: str) -> None:
        """Accept tokens signed with the private half of a key."""
        self._public[kid] = cast("RSAPublicKey", load_pem_public_key(public_pem.encode()))

    def revoke(self, kid: str) -> None:
        """Refuse tokens of a key from now on."""
        self._public.pop(kid, None)

    def reject(self, token: str) -> None:
        """Refuse one token from now on."""
        self._rejected.add(token)

    def reject_issued(self) -> None:
        """Refuse every token that was issued or accepted so far."""
        self._rejected.update(self._issued)

    def signing_pem(self) -> str:
        """Return the private key of the tenant's, for local signing under the kid `local`."""
        private = _key(SIGNING_KID)
        return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def jwks(self) -> dict[str, Any]:
        """Return the public keys as a JWKS."""
        keys = [
            {**json.loads(RSAAlgorithm.to_jwk(key)), "kid": kid, "alg": "RS256", "use": "sig"}
            for kid, key in self._public.items()
        ]
        return {"keys": keys}

    def issue(self, user_id: str, ttl: float, **claims: Any) -> str:
        """Sign a token of the gateway's own; claims given override the usual ones, and None leaves one out."""
        now = int(self._now())
        whole: dict[str, Any] = {
            "tid": self._tenant_id,
            "pid": self._project_id,
            "uid": user_id,
            "role": "user",
            "scp": [],
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + int(ttl),
            "jti": uuid.uuid4().hex,
            **claims,
        }
        known = {name: value for name, value in whole.items() if value is not None}
        token = jwt.encode(known, _key(OWN_KID), algorithm="RS256", headers={"typ": "JWT", "kid": OWN_KID})
        self._issued.add(token)
        return token

    def verify(self, authorization: str | None) -> dict[str, Any]:
        """Return the claims of a call's token.

        Raises:
            Refusal: There is none, or it isn't valid here.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal(401, "missing_token", "No bearer token.")
        if token in self._rejected:
            raise Refusal(401, "token_expired", "The token is not accepted any more.")
        claims = self._decode(token)
        if claims.get("pid") != self._project_id or claims.get("tid") != self._tenant_id:
            raise Refusal(403, "wrong_project", "The token belongs to another project or tenant.")
        if not isinstance(claims.get("uid"), str) or not claims["uid"]:
            raise Refusal(401, "invalid_token", "The token names no user.")
        self._issued.add(token)
        return claims

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            key = self._public.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise Refusal(401, "invalid_token", "The token's key is not known.")
            options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "uid"]}
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER, options=options
            )
        except jwt.PyJWTError as error:
            raise Refusal(401, "invalid_token", f"The token is not valid: {type(error).__name__}.") from None
        if not all(isinstance(claims.get(name, 0), int | float) for name in ("exp", "nbf")):
            raise Refusal(401, "invalid_token", "The token's times are not numbers.")
        now = self._now()
        if now > claims["exp"] + LEEWAY_SECONDS:
            raise Refusal(401, "token_expired", "The token has expired.")
        if now < claims.get("nbf", 0) - LEEWAY_SECONDS:
            raise Refusal(401, "invalid_token", "The token is not valid yet.")
        return claims


@functools.cache
def _key(name: str) -> RSAPrivateKey:
    """Make a key, once per process: it takes a tenth of a second."""
    del name
    return generate_private_key(public_exponent=65537, key_size=2048)
