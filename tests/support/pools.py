"""Pools on a mint and a clock that are played by hand."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from behest_base import BehestConnectionError, BehestError
from behest_base.pool import TokenPool
from support.clocks import HandClock
from support.minters import HandMinter

__all__ = ["CALLERS", "KEY", "down", "in_threads", "make", "until_someone_waits"]


KEY = ("alice", None)


CALLERS = 50


def make(
    outcome: float | Exception = 900.0, *, max_users: int = 10_000, chance: float = 0.5
) -> tuple[TokenPool, HandMinter, HandClock]:
    """Make a pool on a mint and a clock played by hand."""
    minter, clock = HandMinter(outcome), HandClock(chance)
    return TokenPool(minter, clock=clock.clock(), max_users=max_users), minter, clock


def down() -> BehestConnectionError:
    """Make the error of a mint that is down."""
    cause = OSError("refused")
    error = BehestConnectionError("no mint")
    error.__cause__ = cause
    return error


def in_threads(call: Callable[[], Any], n: int = CALLERS) -> list[Any]:
    """Call n times at once, and return what came or the error that did."""

    def one() -> Any:
        try:
            return call()
        except BehestError as error:
            return error

    with ThreadPoolExecutor(n) as threads:
        return [future.result(20) for future in [threads.submit(one) for _ in range(n)]]


def until_someone_waits(outcome: Future[Any]) -> None:
    """Return when a thread waits for a flight's outcome."""
    while not outcome._condition._waiters:  # type: ignore[attr-defined] # whom the condition will wake
        pass
