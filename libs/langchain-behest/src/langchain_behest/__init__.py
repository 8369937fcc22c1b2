"""The Behest inference gateway in LangChain: `ChatBehest`, and chat histories that live in the gateway's threads."""

from behest_base import UNSET as UNSET
from behest_base import Behest as Behest
from behest_base import Scope as Scope
from behest_base import scope as scope
from langchain_behest.chat_models import ChatBehest as ChatBehest
from langchain_behest.errors import BehestAuthenticationError as BehestAuthenticationError
from langchain_behest.errors import BehestAuthError as BehestAuthError
from langchain_behest.errors import BehestBadRequestError as BehestBadRequestError
from langchain_behest.errors import BehestConfigError as BehestConfigError
from langchain_behest.errors import BehestConnectionError as BehestConnectionError
from langchain_behest.errors import BehestContentBlockedError as BehestContentBlockedError
from langchain_behest.errors import BehestContextOverflowError as BehestContextOverflowError
from langchain_behest.errors import BehestError as BehestError
from langchain_behest.errors import BehestNotFoundError as BehestNotFoundError
from langchain_behest.errors import BehestPermissionError as BehestPermissionError
from langchain_behest.errors import BehestQuotaError as BehestQuotaError
from langchain_behest.errors import BehestRateLimitError as BehestRateLimitError
from langchain_behest.errors import BehestRefusalError as BehestRefusalError
from langchain_behest.errors import BehestServerError as BehestServerError
from langchain_behest.errors import BehestStreamError as BehestStreamError
from langchain_behest.errors import BehestTimeoutError as BehestTimeoutError
from langchain_behest.history import BehestChatHistory as BehestChatHistory
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
