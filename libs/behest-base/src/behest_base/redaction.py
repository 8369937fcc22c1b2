"""Takes whatever looks like a credential out of a text before a person or a log sees it."""

from __future__ import annotations

import re
from typing import Any

from behest_base.jsons import is_array, is_object

__all__ = ["redact", "redact_json"]

# An API key of either generation, a private key with the vendor's prefix, a JWT, a PEM block.
_CREDENTIAL = re.compile(
    r"behest_[sp]k_[A-Za-z0-9_+/=-]+"
    r"|bh_live_[A-Za-z0-9_-]+"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)


def redact(text: str) -> str:
    """Return `text` with every API key, private key and JWT in it replaced by `[redacted]`."""
    return _CREDENTIAL.sub("[redacted]", text)


def redact_json(value: Any) -> Any:
    """Return a parsed JSON value with every string in it, keys included, passed through `redact`."""
    if isinstance(value, str):
        return redact(value)
    if is_object(value):
        return {redact(str(key)): redact_json(item) for key, item in value.items()}
    if is_array(value):
        return [redact_json(item) for item in value]
    return value
