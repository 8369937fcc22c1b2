"""The errors of calls made through LangChain: behest_base's, which also belong to langchain-core's model error taxonomy.

```
BehestError                        behest_base's, the base of all of them
├── BehestConfigError              behest_base's: arguments or environment; nothing was sent
├── BehestAuthError                401 and 403
│   ├── BehestAuthenticationError  401       also core's ModelAuthenticationError
│   └── BehestPermissionError      403       also core's ModelPermissionDeniedError
├── BehestQuotaError               402, budget_exceeded; core's ModelError, not retryable
├── BehestRateLimitError           429       also core's ModelRateLimitError; `.retry_after`
├── BehestBadRequestError          400, 422  also core's ModelInvalidRequestError
│   └── BehestContextOverflowError           also core's ContextOverflowError
├── BehestNotFoundError            404       also core's ModelNotFoundError
├── BehestContentBlockedError      451       also core's ModelInvalidRequestError
├── BehestServerError              5xx       also core's ModelAPIError
├── BehestConnectionError                    also core's ModelConnectionError
│   └── BehestTimeoutError                   also core's ModelTimeoutError
└── BehestStreamError                        also core's ModelAPIError; `.partial`
```

So `with_fallbacks`, `with_retry` and middleware that know core's types work, and so does `except behest_base.BehestRateLimitError`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
    OutputParserException,
)

import behest_base
from behest_base import BehestConfigError, BehestError

__all__ = [
    "BehestAuthError",
    "BehestAuthenticationError",
    "BehestBadRequestError",
    "BehestConfigError",
    "BehestConnectionError",
    "BehestContentBlockedError",
    "BehestContextOverflowError",
    "BehestError",
    "BehestNotFoundError",
    "BehestPermissionError",
    "BehestQuotaError",
    "BehestRateLimitError",
    "BehestRefusalError",
    "BehestServerError",
    "BehestStreamError",
    "BehestTimeoutError",
    "as_langchain_error",
    "langchain_errors",
]


class BehestAuthError(behest_base.BehestAuthError, ModelError):
    """The gateway refused the token or the API key, or what they may do."""


class BehestAuthenticationError(BehestAuthError, ModelAuthenticationError):
    """The gateway refused the token or the API key (401)."""


class BehestPermissionError(BehestAuthError, ModelPermissionDeniedError):
    """The token is valid and not allowed here (403)."""


class BehestQuotaError(behest_base.BehestQuotaError, ModelError):
    """The user's tier or the token budget is used up; waiting a little does not help. See `.upgrade_url`."""


class BehestRateLimitError(behest_base.BehestRateLimitError, ModelRateLimitError):
    """Too many requests (429). See `.retry_after`."""


class BehestBadRequestError(behest_base.BehestBadRequestError, ModelInvalidRequestError):
    """The gateway found the request malformed, or doesn't know the model."""


class BehestContextOverflowError(behest_base.BehestContextOverflowError, BehestBadRequestError, ContextOverflowError):
    """The prompt is longer than the model's context window."""


class BehestNotFoundError(behest_base.BehestNotFoundError, ModelNotFoundError):
    """No such project, model, thread or endpoint (404)."""


class BehestContentBlockedError(behest_base.BehestContentBlockedError, ModelInvalidRequestError):
    """A guardrail of the project blocked the message (451)."""


class BehestServerError(behest_base.BehestServerError, ModelAPIError):
    """The gateway failed, or answered with something that isn't what it promises."""


class BehestConnectionError(behest_base.BehestConnectionError, ModelConnectionError):
    """The gateway could not be reached, or the connection broke before it answered."""


class BehestTimeoutError(behest_base.BehestTimeoutError, BehestConnectionError, ModelTimeoutError):
    """The gateway did not answer in time."""


class BehestStreamError(behest_base.BehestStreamError, ModelAPIError):
    """A streamed answer broke off or ended early. What had arrived is in `.partial`."""


class BehestRefusalError(OutputParserException):
    """The model refused to give the structured answer that was asked for; the message is its refusal."""


# Most specific first: the first one that an error is an instance of decides.
_TYPES: Final[Mapping[type[BehestError], type[BehestError]]] = {
    behest_base.BehestAuthError: BehestAuthenticationError,
    behest_base.BehestQuotaError: BehestQuotaError,
    behest_base.BehestRateLimitError: BehestRateLimitError,
    behest_base.BehestContextOverflowError: BehestContextOverflowError,
    behest_base.BehestBadRequestError: BehestBadRequestError,
    behest_base.BehestNotFoundError: BehestNotFoundError,
    behest_base.BehestContentBlockedError: BehestContentBlockedError,
    behest_base.BehestServerError: BehestServerError,
    behest_base.BehestTimeoutError: BehestTimeoutError,
    behest_base.BehestConnectionError: BehestConnectionError,
    behest_base.BehestStreamError: BehestStreamError,
}

_FORBIDDEN: Final = 403


def as_langchain_error(error: BehestError) -> BehestError:
    """Return the error of this package that says the same, with all its attributes; itself if there is none.

    Args:
        error: An error of behest_base.
    """
    kind = next((ours for theirs, ours in _TYPES.items() if isinstance(error, theirs)), None)
    if kind is None or isinstance(error, ModelError):
        return error
    if kind is BehestAuthenticationError and error.status == _FORBIDDEN:
        kind = BehestPermissionError
    again = kind.__new__(kind)
    again.args = error.args
    again.__dict__.update(error.__dict__)
    return again


@contextlib.contextmanager
def langchain_errors() -> Iterator[None]:
    """Raise behest_base's errors inside the block as this package's."""
    try:
        yield
    except BehestError as error:
        ours = as_langchain_error(error)
        if ours is error:
            raise
        raise ours from error
