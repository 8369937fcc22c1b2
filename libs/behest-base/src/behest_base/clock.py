"""The clocks and pauses everything else takes as an argument, so that tests need neither wait nor patch."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["SYSTEM_CLOCK", "Clock"]


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, pauses and chance.

    Attributes:
        monotonic: Seconds on a clock that never steps back; lifetimes are measured on it.
        wall: Seconds since the Unix epoch. It goes on while a laptop sleeps, which the monotonic clock does not.
        sleep: Pauses the calling thread for some seconds.
        asleep: The same for the calling task.
        chance: A number in `[0, 1)`, for jitter.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    chance: Callable[[], float] = random.random


SYSTEM_CLOCK = Clock()
