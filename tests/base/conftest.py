"""A clock without pauses, for clients that talk to the emulator."""

from __future__ import annotations

import pytest

from behest_base import Clock


@pytest.fixture
def waits() -> list[float]:
    """Collect the pauses that a client took."""
    return []


@pytest.fixture
def instant(waits: list[float]) -> Clock:
    """Give a clock whose pauses are noted and not waited for."""

    async def asleep(seconds: float) -> None:
        waits.append(seconds)

    return Clock(sleep=waits.append, asleep=asleep, chance=lambda: 0.0)
