"""One decision on retries, over status, code, Retry-After, and whether the call is in a thread."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest

from behest_base import Behest, BehestError, Clock
from behest_base.emulator import Emulator
from behest_base.emulator.recording import Kind
from behest_base.retries import Failure, RetryPolicy, retry_wait
from support.retry_table import PLAIN_ROWS, refuse

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}

STATUSES = (400, 401, 402, 403, 404, 408, 409, 422, 429, 451, 500, 501, 502, 503, 504, 529)
RETRIED = {408, 429, 500, 501, 502, 503, 504, 529}
RETRIED_IN_THREADS = {429, 503}


@pytest.mark.parametrize(("status", "in_thread"), list(itertools.product(STATUSES, (False, True))))
def test_statuses(status: int, in_thread: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """What may pass is tried again; in a thread only what was refused before any work."""
    wait = retry_wait(Failure(status), 0, RetryPolicy(), in_thread=in_thread, chance=0.0)
    assert (wait is not None) is (status in (RETRIED_IN_THREADS if in_thread else RETRIED))


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_spent_budget_is_not_retried(in_thread: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """A 429 with the code budget_exceeded surfaces."""
    assert retry_wait(Failure(429, "budget_exceeded", 1.0), 0, RetryPolicy(), in_thread=in_thread, chance=0) is None


@pytest.mark.parametrize(
    ("sent", "in_thread", "retried"),
    [(True, True, False), (True, False, True), (False, True, True), (False, False, True)],
)
def test_no_answer(sent: bool, in_thread: bool, retried: bool) -> None:  # noqa: FBT001 - parameters of the table
    """A lost answer of a call in a thread may have been stored; what never left the machine may be sent again."""
    wait = retry_wait(Failure(sent=sent), 0, RetryPolicy(), in_thread=in_thread, chance=0.0)
    assert (wait is not None) is retried


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(0.0, 0.0), (0.5, 0.5), (60.0, 60.0), (60.1, None), (1e9, None), (None, 0.25)]
)
def test_retry_after_within_bounds(retry_after: float | None, wait: float | None) -> None:
    """Retry-After is waited for up to the bound, and beyond it surfaces."""
    assert retry_wait(Failure(429, None, retry_after), 0, RetryPolicy(), in_thread=False, chance=0.0) == wait


def test_backoff_is_jittered_and_bounded() -> None:
    """The wait doubles, between half and all of it, up to eight seconds; and the tries are counted."""
    policy = RetryPolicy(max_retries=10)
    for attempt, full in enumerate((0.5, 1, 2, 4, 8, 8)):
        for chance in (0.0, 0.5, 0.999):
            wait = retry_wait(Failure(500), attempt, policy, in_thread=False, chance=chance)
            assert wait is not None
            assert full / 2 <= wait <= full
    assert retry_wait(Failure(500), 10, policy, in_thread=False, chance=0) is None
    assert retry_wait(Failure(500), 0, RetryPolicy(max_retries=0), in_thread=False, chance=0) is None


CALLS: dict[Kind, tuple[Callable[[Behest], object], Callable[[Behest], Awaitable[object]]]] = {
    "mint": (lambda behest: behest.mint(), lambda behest: behest.amint()),
    "chat": (lambda behest: behest.complete(HELLO), lambda behest: behest.acomplete(HELLO)),
    "threads": (lambda behest: behest.threads.list(), lambda behest: behest.threads.alist()),
    "usage": (lambda behest: behest.usage(), lambda behest: behest.ausage()),
    "models": (lambda behest: behest.models(), lambda behest: behest.amodels()),
}


@pytest.mark.parametrize("in_a_task", [False, True])
@pytest.mark.parametrize("path", CALLS)
async def test_the_whole_table_for_every_resource(
    gateway: Emulator, instant: Clock, waits: list[float], path: Kind, *, in_a_task: bool
) -> None:
    """Mint, chat, threads, usage and models, sync and async, send and wait as the table says."""
    call, acall = CALLS[path]
    async with Behest(gateway.api_key, base_url=gateway.base_url, user_id="alice", clock=instant) as behest:
        for row in PLAIN_ROWS:
            gateway.clear()
            waits.clear()
            refuse(gateway, row, path, times=1 + len(row.pauses))
            with pytest.raises(BehestError):
                _ = await acall(behest) if in_a_task else call(behest)
            assert len([request for request in gateway.requests if request.kind == path]) == 1 + len(row.pauses), row
            assert waits == pytest.approx(row.pauses, abs=row.tolerance), row
