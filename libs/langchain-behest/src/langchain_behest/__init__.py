"""The Behest inference gateway in LangChain: `ChatBehest`, and chat histories that live in the gateway's threads."""

from behest_base import UNSET, Behest, Scope, scope
from langchain_behest.chat_models import ChatBehest
from langchain_behest.errors import (
    BehestAuthenticationError,
    BehestAuthError,
    BehestBadRequestError,
    BehestConfigError,
    BehestConnectionError,
    BehestContentBlockedError,
    BehestContextOverflowError,
    BehestError,
    BehestNotFoundError,
    BehestPermissionError,
    BehestQuotaError,
    BehestRateLimitError,
    BehestRefusalError,
    BehestServerError,
    BehestStreamError,
    BehestTimeoutError,
)
from langchain_behest.history import BehestChatHistory
from langchain_behest.version import __version__ as __version__

__all__ = [
    "UNSET",
    "Behest",
    "BehestAuthError",
    "BehestAuthenticationError",
    "BehestBadRequestError",
    "BehestChatHistory",
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
    "ChatBehest",
    "Scope",
    "scope",
]
