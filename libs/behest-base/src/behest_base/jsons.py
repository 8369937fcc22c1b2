"""JSON as it goes out, and what a piece of parsed JSON is, in words that type checkers understand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from behest_base.errors import BehestBadRequestError

__all__ = ["JSON_HEADERS", "is_array", "is_object", "write_json"]

JSON_HEADERS: Final = {"Content-Type": "application/json"}


def write_json(body: Mapping[str, Any]) -> bytes:
    """Write a request's body; not left to httpx, whose older versions send NaN and half surrogate pairs.

    Raises:
        BehestBadRequestError: JSON can't say it: NaN, half a surrogate pair, an object of one's own.
    """
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        msg = f"The request can't be written as JSON: {type(error).__name__}. Check it for NaN or broken Unicode."
        raise BehestBadRequestError(msg) from error


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Say whether a value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Say whether a value is a JSON array."""
    return isinstance(value, list)
