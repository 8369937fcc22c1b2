"""The token cache: one slot per user, one flight per slot, shared by threads, tasks and event loops.

Every decision is a step under a lock that is held for microseconds: use this token, wait for that flight, or lead a new
one. Minting happens outside of it. A flight's outcome is a future that threads and loops can both wait for; whoever finds
a renewal due leads it while the others go on with the token they have. No thread and no task is ever started.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from behest_base.clock import Clock
from behest_base.errors import BehestError, BehestServerError
from behest_base.forks import on_fork
from behest_base.tokens import Grant, Minter, Token, Wanted, make_token

__all__ = ["PoolStats", "TokenPool", "on_a_loop"]

logger = logging.getLogger("behest_base")

# After a failed renewal the next attempt comes after 1, 2, 4 … seconds.
RENEWAL_BACKOFF_SECONDS: Final = 1.0
MAX_RENEWAL_BACKOFF_SECONDS: Final = 30.0
# How long a failed mint is remembered, so that a stampede of callers doesn't each wait for its own failure.
RETRYABLE_MEMORY_SECONDS: Final = 1.0
FINAL_MEMORY_SECONDS: Final = 10.0
# A flight whose leader's event loop stopped running for good never lands; a waiter then leads its own. More than the longest
# mint takes, three tries of 10 s with two pauses of a minute that the mint may ask for, which no one shall double.
PATIENCE_SECONDS: Final = 180.0
SWEEP_SECONDS: Final = 60.0
# How many of the longest unused entries are looked at for one that may go.
EVICTION_CANDIDATES: Final = 64

Key = tuple[str, str | int | None]


@dataclass(slots=True)
class PoolStats:
    """What a token cache has done.

    Attributes:
        mints: Tokens minted for users without one.
        renewals: Tokens renewed before their end.
        failures: Mints that failed.
        rejections: Tokens dropped since the gateway refused them.
        cache_hits: Calls that found a token; approximate under threads.
        users: Users cached now.
    """

    mints: int = 0
    renewals: int = 0
    failures: int = 0
    rejections: int = 0
    cache_hits: int = 0
    users: int = 0


@dataclass(slots=True, eq=False)
class _Flight:
    """One mint on its way, and what comes of it: a token, an error, or None if its leader was cancelled."""

    key: Key
    started: float
    started_wall: float
    on_a_loop: bool
    is_renewal: bool
    outcome: concurrent.futures.Future[Token | BehestError | None] = field(
        default_factory=concurrent.futures.Future[Token | BehestError | None], repr=False
    )

    def __post_init__(self) -> None:
        # A running future can't be cancelled by one of those who wait for it.
        self.outcome.set_running_or_notify_cancel()

    def settle(self, outcome: Token | BehestError | None) -> None:
        """Give the outcome to all who wait; a Ctrl-C in the middle of it leaves it given."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


@dataclass(slots=True, eq=False)
class _Slot:
    """What is known of one user."""

    token: Token | None = None
    flight: _Flight | None = None
    renew_after: float = 0.0
    backoff: float = 0.0
    failure: BehestError | None = None
    failure_until: float = 0.0

    def droppable(self, clock: Clock) -> bool:
        """Say whether nothing in it is of use any more."""
        dead = self.token is None or not self.token.usable(clock)
        return self.flight is None and dead and clock.monotonic() >= self.failure_until


@dataclass(frozen=True, slots=True)
class _Lead:
    flight: _Flight


@dataclass(frozen=True, slots=True)
class _Wait:
    flight: _Flight


class TokenPool:
    """Tokens by (user, tier): cached, renewed early, minted once however many callers ask."""

    def __init__(self, minter: Minter, *, clock: Clock, max_users: int) -> None:
        """Keep up to `max_users` users; the longest unused go first."""
        self._minter = minter
        self._clock = clock
        self._max_users = max_users
        self._slots: OrderedDict[Key, _Slot] = OrderedDict()
        self._lock = threading.Lock()
        self._next_sweep = clock.monotonic() + SWEEP_SECONDS
        self.stats = PoolStats()
        on_fork(self)

    def snapshot(self) -> PoolStats:
        """Return the counts as they are now."""
        return replace(self.stats, users=len(self._slots))

    def get(self, key: Key) -> Token:
        """Return a usable token, minting or waiting for one if there is none.

        Raises:
            BehestError: There is none to be had; what the mint said.
        """
        token = self._fresh(key)
        stuck: _Flight | None = None
        while token is None:
            step = self._step(key, stuck, blocking=True)
            if isinstance(step, _Wait):
                try:
                    outcome = step.flight.outcome.result(PATIENCE_SECONDS)
                except TimeoutError:
                    stuck = step.flight
                else:
                    token = self._landed(outcome)
            else:
                token = step if isinstance(step, Token) else self._lead(step.flight)
        return token

    async def aget(self, key: Key) -> Token:
        """Do the same without blocking the event loop."""
        token = self._fresh(key)
        stuck: _Flight | None = None
        while token is None:
            step = self._step(key, stuck, blocking=False)
            if isinstance(step, _Wait):
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        outcome = await asyncio.wrap_future(step.flight.outcome)
                except TimeoutError:
                    stuck = step.flight
                else:
                    token = self._landed(outcome)
            else:
                token = step if isinstance(step, Token) else await self._alead(step.flight)
        return token

    def reject(self, key: Key, token: Token, server_time: float | None) -> None:
        """Drop this very token after a 401; one that has been renewed since stays.

        Args:
            key: Whose it was.
            token: The token that the gateway refused.
            server_time: The gateway's clock in Unix seconds, where the answer had a date.
        """
        if server_time is not None:
            self._minter.note_server_time(server_time)
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or slot.token is not token:
                return
            slot.token = None
            self.stats.rejections += 1
        logger.info("token rejected by the gateway; minting another")
        logger.debug("the rejected token was the user %r's", key[0])

    def _fresh(self, key: Key) -> Token | None:
        """Return a token that isn't due yet: no lock, no I/O."""
        slot = self._slots.get(key)
        token = slot.token if slot is not None else None
        clock = self._clock
        if token is None or clock.monotonic() >= token.due_at or clock.wall() >= token.wall_until:
            return None
        try:
            self._slots.move_to_end(key)
        except KeyError:  # another thread evicted it just now; the token is good all the same
            return token
        self.stats.cache_hits += 1
        return token

    def _step(self, key: Key, stuck: _Flight | None, *, blocking: bool) -> Token | _Lead | _Wait:
        """Decide what this caller does next."""
        # A blocking wait on an event loop's own thread stops that loop, and with it every flight led there; since two such
        # loops could wait for each other, it waits for no flight that any loop leads, and leads its own instead.
        no_wait_for_loops = blocking and on_a_loop()
        with self._lock:
            slot = self._slots.get(key) or self._add(key)
            now = self._clock.monotonic()
            is_renewal = slot.token is not None and slot.token.usable(self._clock)
            if slot.token is not None and is_renewal:
                if now < slot.token.due_at or slot.flight is not None or now < slot.renew_after:
                    self.stats.cache_hits += 1
                    return slot.token
            elif slot.flight not in (None, stuck) and not (no_wait_for_loops and slot.flight.on_a_loop):
                return _Wait(slot.flight)
            elif slot.failure is not None and now < slot.failure_until:
                raise slot.failure.fresh()
            slot.flight = _Flight(key, now, self._clock.wall(), on_a_loop=not blocking, is_renewal=is_renewal)
            return _Lead(slot.flight)

    def _lead(self, flight: _Flight) -> Token:
        try:
            return self._land(flight, self._minter.mint(_wanted(flight)))
        except BaseException as error:  # noqa: BLE001 - a Ctrl-C too: it hands over, and is raised again
            return self._crash(flight, error)

    async def _alead(self, flight: _Flight) -> Token:
        try:
            return self._land(flight, await self._minter.amint(_wanted(flight)))
        except BaseException as error:  # noqa: BLE001 - a cancellation too: it hands over, and is raised again
            return self._crash(flight, error)

    def _land(self, flight: _Flight, grant: Grant) -> Token:
        """Put a minted token into its slot and give it to all who wait."""
        token = make_token(grant, started=flight.started, started_wall=flight.started_wall, chance=self._clock.chance())
        with self._lock:
            slot = self._slots.get(flight.key) or self._add(flight.key)
            old = slot.token
            if old is not None and old.authorization == token.authorization:
                token = self._served_again(slot, old)
            else:
                slot.token, slot.backoff = token, 0.0
                self.stats.renewals += flight.is_renewal
                self.stats.mints += not flight.is_renewal
            slot.failure = None
            self._end(slot, flight)
            self._sweep()
        logger.debug("token minted for the user %r: %.0f s", flight.key[0], grant.lifetime)
        flight.settle(token)
        return token

    def _served_again(self, slot: _Slot, old: Token) -> Token:
        """Keep the old token and its end, so that a mint with a cache of its own isn't asked again and again."""
        if not old.usable(self._clock):
            msg = "The mint answered with the token that has just expired."
            raise BehestServerError(msg, code="invalid_mint_answer")
        self._back_off(slot)
        return old

    def _crash(self, flight: _Flight, error: BaseException) -> Token:
        """End a flight that failed: with the token that still lives, or with the failure for everyone."""
        with self._lock:
            slot = self._slots.get(flight.key) or self._add(flight.key)
            self._end(slot, flight)
            token = slot.token if slot.token is not None and slot.token.usable(self._clock) else None
            if isinstance(error, BehestError):
                self.stats.failures += 1
                self._back_off(slot) if token else self._remember(slot, error)
        if not isinstance(error, BehestError):
            flight.settle(None)  # cancelled or interrupted: another caller takes over
            raise error
        flight.settle(token or error)
        if token is None:
            raise error
        logger.warning(
            "token renewal failed (%s, status %s); the token still lives", type(error).__name__, error.status
        )
        return token

    def _landed(self, outcome: Token | BehestError | None) -> Token | None:
        if isinstance(outcome, BehestError):
            raise outcome.fresh()
        return outcome

    def _remember(self, slot: _Slot, error: BehestError) -> None:
        memory = RETRYABLE_MEMORY_SECONDS if error.is_retryable else FINAL_MEMORY_SECONDS
        slot.failure, slot.failure_until = error.fresh(), self._clock.monotonic() + memory

    def _back_off(self, slot: _Slot) -> None:
        slot.backoff = min(max(2 * slot.backoff, RENEWAL_BACKOFF_SECONDS), MAX_RENEWAL_BACKOFF_SECONDS)
        slot.renew_after = self._clock.monotonic() + slot.backoff * (0.75 + 0.25 * self._clock.chance())

    @staticmethod
    def _end(slot: _Slot, flight: _Flight) -> None:
        if slot.flight is flight:
            slot.flight = None

    def _add(self, key: Key) -> _Slot:
        slot = self._slots[key] = _Slot()
        excess = len(self._slots) - self._max_users
        if excess > 0:
            # An entry in flight stays, so that nobody mints for it a second time; what is too many then goes later.
            # Copied in one C call: a thread that is served a fresh token moves entries meanwhile, without the lock.
            oldest = list(itertools.islice(self._slots, excess + EVICTION_CANDIDATES))
            idle = (old for old in oldest if self._slots[old].flight is None and old != key)
            for old in itertools.islice(idle, excess):
                del self._slots[old]
        return slot

    def _sweep(self) -> None:
        """Drop what has expired, once a minute and only after a mint, never in a call that a fresh token serves."""
        now = self._clock.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS
        # Keys are copied in one C call, as above; pairs would be made first, and a collection could come between.
        for key in list(self._slots):
            if self._slots[key].droppable(self._clock):
                del self._slots[key]

    def after_fork(self) -> None:  # pragma: no cover - a forked child, which no coverage is measured in
        """Begin anew in the child: the parent's flights never land there."""
        self._lock = threading.Lock()
        for slot in self._slots.values():
            slot.flight = None


def _wanted(flight: _Flight) -> Wanted:
    return Wanted(user_id=flight.key[0], tier=flight.key[1], is_renewal=flight.is_renewal)


def on_a_loop() -> bool:
    """Say whether this thread runs an event loop right now."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
