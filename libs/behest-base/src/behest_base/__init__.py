"""The Behest gateway in Python: a token per end user, chat, threads, usage, and errors that say what to do.

`Behest` is the client, `scope` says for whom a block of code calls, `behest_base.emulator` is the gateway on a laptop.
"""

from behest_base.auth import BehestAuth as BehestAuth
from behest_base.client import Behest as Behest
from behest_base.clock import Clock as Clock
from behest_base.errors import BehestAuthError as BehestAuthError
from behest_base.errors import BehestBadRequestError as BehestBadRequestError
from behest_base.errors import BehestConfigError as BehestConfigError
from behest_base.errors import BehestConnectionError as BehestConnectionError
from behest_base.errors import BehestContentBlockedError as BehestContentBlockedError
from behest_base.errors import BehestContextOverflowError as BehestContextOverflowError
from behest_base.errors import BehestError as BehestError
from behest_base.errors import BehestNotFoundError as BehestNotFoundError
from behest_base.errors import BehestQuotaError as BehestQuotaError
from behest_base.errors import BehestRateLimitError as BehestRateLimitError
from behest_base.errors import BehestServerError as BehestServerError
from behest_base.errors import BehestStreamError as BehestStreamError
from behest_base.errors import BehestTimeoutError as BehestTimeoutError
from behest_base.keys import SigningKey as SigningKey
from behest_base.keys import load_signing_key as load_signing_key
from behest_base.pool import PoolStats as PoolStats
from behest_base.scope import UNSET as UNSET
from behest_base.scope import Identity as Identity
from behest_base.scope import Scope as Scope
from behest_base.scope import Unset as Unset
from behest_base.scope import scope as scope
from behest_base.settings import BehestSettings as BehestSettings
from behest_base.shared import close_shared as close_shared
from behest_base.streams import AsyncChatStream as AsyncChatStream
from behest_base.streams import ChatStream as ChatStream
from behest_base.threads import Thread as Thread
from behest_base.threads import ThreadMessage as ThreadMessage
from behest_base.tokens import MintedToken as MintedToken
from behest_base.usage import Usage as Usage
from behest_base.verifier import BehestVerifier as BehestVerifier
from behest_base.views import ThreadView as ThreadView

__version__ = "0.1.0"
