"""The Behest gateway in Python: a token per end user, chat, threads, usage, and errors that say what to do.

`Behest` is the client, `scope` says for whom a block of code calls, `behest_base.emulator` is the gateway on a laptop.

Where a docstring names a source of what the gateway does: `index` is the vendor's index for language models, `docs` its other
public pages, `sdk` what its own client `behest-ai` 1.5.0b1 does, and `ours` a decision where nothing public settles it.
"""

from typing import TYPE_CHECKING, Any

from behest_base.auth import BehestAuth
from behest_base.client import Behest
from behest_base.clock import Clock
from behest_base.errors import (
    BehestAuthError,
    BehestBadRequestError,
    BehestConfigError,
    BehestConnectionError,
    BehestContentBlockedError,
    BehestContextOverflowError,
    BehestError,
    BehestNotFoundError,
    BehestQuotaError,
    BehestRateLimitError,
    BehestServerError,
    BehestStreamError,
    BehestTimeoutError,
)
from behest_base.keys import SigningKey, load_signing_key
from behest_base.pool import PoolStats
from behest_base.scope import UNSET, Identity, Scope, Unset, scope
from behest_base.settings import BehestSettings
from behest_base.shared import close_shared
from behest_base.streams import AsyncChatStream, ChatStream
from behest_base.threads import Thread, ThreadMessage
from behest_base.tokens import MintedToken
from behest_base.tool_calls import ToolCallPieces
from behest_base.usage import Usage
from behest_base.views import ThreadView

if TYPE_CHECKING:
    from behest_base.verifier import BehestVerifier

__all__ = [
    "UNSET",
    "AsyncChatStream",
    "Behest",
    "BehestAuth",
    "BehestAuthError",
    "BehestBadRequestError",
    "BehestConfigError",
    "BehestConnectionError",
    "BehestContentBlockedError",
    "BehestContextOverflowError",
    "BehestError",
    "BehestNotFoundError",
    "BehestQuotaError",
    "BehestRateLimitError",
    "BehestServerError",
    "BehestSettings",
    "BehestStreamError",
    "BehestTimeoutError",
    "BehestVerifier",
    "ChatStream",
    "Clock",
    "Identity",
    "MintedToken",
    "PoolStats",
    "Scope",
    "SigningKey",
    "Thread",
    "ThreadMessage",
    "ThreadView",
    "ToolCallPieces",
    "Unset",
    "Usage",
    "close_shared",
    "load_signing_key",
    "scope",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `BehestVerifier` when it is asked for: cryptography, which it needs, takes longer than all else here."""
    if name == "BehestVerifier":
        from behest_base.verifier import BehestVerifier  # noqa: PLC0415 - what this function is for

        return BehestVerifier
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
