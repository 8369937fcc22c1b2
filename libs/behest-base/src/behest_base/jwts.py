"""Reads a JWT without verifying it: whose it is and how long it lives. Verification is `behest_base.verifier`'s."""

from __future__ import annotations

import base64
import math
import re
from typing import Any, Final

import pydantic_core

from behest_base.jsons import is_object

__all__ = ["finite_number", "is_jwt", "lifetime_of", "number_claim", "read_claims"]

# A header limit of common proxies; a longer token could not be sent.
MAX_TOKEN_CHARACTERS: Final = 16_384
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def is_jwt(text: str) -> bool:
    """Say whether the text has a JWT's form: three base64url parts with dots."""
    return len(text) <= MAX_TOKEN_CHARACTERS and _JWT.fullmatch(text) is not None


def read_claims(token: str) -> dict[str, Any] | None:
    """Return a JWT's claims, unverified, or None where they can't be read."""
    if not is_jwt(token):
        return None
    payload = token.split(".")[1]
    try:
        claims = pydantic_core.from_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    return claims if is_object(claims) else None


def number_claim(claims: dict[str, Any], name: str) -> float | None:
    """Return a claim that is a finite number, or None."""
    return finite_number(claims.get(name))


def finite_number(value: object) -> float | None:
    """Return a piece of JSON that is a finite number, or None; an integer may have more digits than a float can say."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def lifetime_of(claims: dict[str, Any], *, wall: float) -> float | None:
    """Return the seconds a token lives from its issue (`exp - iat`, free of clock skew), or from `wall` without `iat`."""
    expires = number_claim(claims, "exp")
    if expires is None:
        return None
    issued = number_claim(claims, "iat")
    return expires - (wall if issued is None else issued)
