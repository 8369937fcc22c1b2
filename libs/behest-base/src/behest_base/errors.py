"""What can go wrong, and the one place that says so.

```
BehestError
├── BehestConfigError          the arguments or the environment can't work; nothing was sent
├── BehestAuthError            401, 403
├── BehestQuotaError           402, and 429 with the code budget_exceeded
├── BehestRateLimitError       429; `.retry_after`
├── BehestBadRequestError      400, 422
│   └── BehestContextOverflowError   the prompt is longer than the model's context window
├── BehestNotFoundError        404
├── BehestContentBlockedError  451
├── BehestServerError          5xx, and an answer that isn't what the gateway promises
├── BehestConnectionError      no answer
│   └── BehestTimeoutError     no answer in time, 408
└── BehestStreamError          a stream that broke or ended early; `.partial`
```

How a response becomes one of them stands in `behest_base.responses`.
"""

from __future__ import annotations

import copy
from typing import Any, Self

__all__ = [
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
    "BehestStreamError",
    "BehestTimeoutError",
]


class BehestError(Exception):
    """Base of all errors that this package raises.

    Attributes:
        message: What happened and what to do about it; never a credential.
        status: The HTTP status, if there was an answer.
        code: The gateway's error code, such as `token_expired`.
        trace_id: The gateway's trace id (`X-Trace-Id`), to quote in a support request.
        request_id: The gateway's request id (`X-Request-Id`).
        details: The gateway's `details` object.
        upgrade_url: Where the end user can buy more, for a quota error.
        raw: The parsed body of the answer, credentials taken out.
        partial: The text that had arrived before a stream failed, empty otherwise.
        is_retryable: Whether the same call may succeed later.
    """

    is_retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        trace_id: str | None = None,
        request_id: str | None = None,
        details: Any = None,
        upgrade_url: str | None = None,
        raw: Any = None,
    ) -> None:
        """Keep what is known of the failure."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.trace_id = trace_id
        self.request_id = request_id
        self.details = details
        self.upgrade_url = upgrade_url
        self.raw = raw
        self.partial = ""

    def fresh(self) -> Self:
        """Return an equal error without a traceback but with the same cause, so that each waiting caller raises its own."""
        again = copy.copy(self)
        again.__cause__ = self.__cause__
        return again


class BehestConfigError(BehestError, ValueError):
    """The arguments or the environment can't work: no key, a malformed key, no user, a host that isn't allowed."""


class BehestAuthError(BehestError):
    """The gateway refused the token or the API key (401), or what they may do (403)."""


class BehestQuotaError(BehestError):
    """The user's tier or the token budget is used up (402, or 429 with `budget_exceeded`). Never retried."""


class BehestRateLimitError(BehestError):
    """Too many requests (429).

    Attributes:
        retry_after: Seconds to wait, as far as the gateway said.
    """

    is_retryable = True
    retry_after: float | None = None


class BehestBadRequestError(BehestError):
    """The gateway found the request malformed, or doesn't know the model (400, 422)."""


class BehestContextOverflowError(BehestBadRequestError):
    """The prompt is longer than the model's context window."""


class BehestNotFoundError(BehestError):
    """No such project, thread or endpoint (404)."""


class BehestContentBlockedError(BehestError):
    """A guardrail of the project (personal data, content) blocked the message (451)."""


class BehestServerError(BehestError):
    """The gateway failed (5xx), or answered with something that isn't what it promises."""

    is_retryable = True


class BehestConnectionError(BehestError):
    """The gateway could not be reached, or the connection broke before it answered."""

    is_retryable = True


class BehestTimeoutError(BehestConnectionError, TimeoutError):
    """The gateway did not answer in time, or said that something behind it did not (408)."""


class BehestStreamError(BehestError):
    """A streamed answer broke off or ended without a finish reason. What had arrived is in `.partial`."""

    is_retryable = True
