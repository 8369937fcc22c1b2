"""When a failed send is tried again: one pure decision for mint, chat, threads, usage and handed-out clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from behest_base.responses import BUDGET_EXCEEDED

__all__ = ["Failure", "RetryPolicy", "retry_wait"]

BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 8.0
RETRYABLE_STATUSES: Final = frozenset({408, 429, *range(500, 600)})
# Answers given before any work was done: a call in a thread, which the gateway writes to, may be sent again after these.
REFUSED_UNSEEN: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long.

    Attributes:
        max_retries: Sends after the first, at most.
        max_retry_after: Seconds; a `Retry-After` beyond it isn't waited for.
    """

    max_retries: int = 2
    max_retry_after: float = 60.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A send that failed.

    Attributes:
        status: The HTTP status, or None where no answer came.
        code: The gateway's error code.
        retry_after: Seconds that the gateway asks to wait.
        sent: Whether the request may have reached the gateway.
    """

    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    sent: bool = True


def retry_wait(failure: Failure, attempt: int, policy: RetryPolicy, *, in_thread: bool, chance: float) -> float | None:
    """Return the seconds to wait before sending again, or None to let the failure surface.

    Args:
        failure: What happened.
        attempt: How many retries were made already.
        policy: The bounds.
        in_thread: Whether the gateway stores what the request says; it may have done so before the answer was lost, and a
            second send would store it twice.
        chance: `[0, 1)`, the jitter of the backoff: the wait is between half and all of it.
    """
    if attempt >= policy.max_retries or not _may_be_sent_again(failure, in_thread=in_thread):
        return None
    if failure.retry_after is not None:
        return failure.retry_after if failure.retry_after <= policy.max_retry_after else None
    return min(BACKOFF_SECONDS * 2.0**attempt, MAX_BACKOFF_SECONDS) * (0.5 + 0.5 * chance)


def _may_be_sent_again(failure: Failure, *, in_thread: bool) -> bool:
    if failure.status is None:
        return not (failure.sent and in_thread)
    if failure.code == BUDGET_EXCEEDED:
        return False
    return failure.status in (REFUSED_UNSEEN if in_thread else RETRYABLE_STATUSES)
