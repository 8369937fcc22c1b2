"""A clock that tests turn by hand."""

from __future__ import annotations

from behest_base import Clock


class HandClock:
    """Monotonic and wall time that stand still until they are turned; pauses turn them and are noted."""

    def __init__(self, chance: float = 0.5) -> None:
        """Begin at an ordinary moment."""
        self.now = 1_000.0
        self.wall = 1_800_000_000.0
        self.waits: list[float] = []
        self.chance = chance

    def turn(self, seconds: float, *, wall: float | None = None) -> None:
        """Let time pass; on the wall clock a different amount if given."""
        self.now += seconds
        self.wall += seconds if wall is None else wall

    def sleep(self, seconds: float) -> None:
        """Pass the time of a pause."""
        self.waits.append(seconds)
        self.turn(seconds)

    async def asleep(self, seconds: float) -> None:
        """Pass the time of a task's pause."""
        self.sleep(seconds)

    def clock(self) -> Clock:
        """Return what the package takes."""
        return Clock(
            monotonic=lambda: self.now,
            wall=lambda: self.wall,
            sleep=self.sleep,
            asleep=self.asleep,
            chance=lambda: self.chance,
        )
