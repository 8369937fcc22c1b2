"""The token cache: fresh, due, expired; failures; one flight for all; bounds."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from behest_base import BehestAuthError, BehestConnectionError, BehestError, BehestServerError
from behest_base.jwts import read_claims
from behest_base.pool import TokenPool
from behest_base.tokens import Token
from support.clocks import HandClock
from support.minters import HandMinter

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


def test_a_fresh_token_is_served_from_the_cache() -> None:
    """A user costs one mint for as long as the token is fresh."""
    pool, minter, clock = make()
    first = pool.get(KEY)
    clock.turn(600)
    assert pool.get(KEY) is first
    assert minter.mints == 1


def test_a_fresh_token_takes_no_lock() -> None:
    """Property 1: another thread may hold the lock, and a fresh token is served all the same."""
    pool, _, _ = make()
    token = pool.get(KEY)
    with pool._lock:
        assert pool.get(KEY) is token


@pytest.mark.parametrize(("lifetime", "window", "floor"), [(900, 180, 30), (86_400, 300, 30), (60, 12, 3)])
def test_the_renewal_window(lifetime: float, window: float, floor: float) -> None:
    """Property 2: due in the last min(300 s, 20 %), with jitter, and always by min(30 s, 5 %) before the end."""
    for chance in (0.0, 0.5, 0.999):
        pool, _, clock = make(lifetime, chance=chance)
        left = clock.now + lifetime - pool.get(KEY).due_at
        assert max(floor, window / 2) <= left <= window


def test_tiers_are_minted_for_separately() -> None:
    """A user's token of one tier isn't used for another."""
    pool, minter, _ = make()
    assert pool.get(("alice", "free")) is not pool.get(("alice", "pro"))
    assert minter.mints == 2


def test_one_renews_while_the_others_go_on() -> None:
    """Property 3: in the window one caller mints; the others are served what there is, at once."""
    pool, minter, clock = make()
    old = pool.get(KEY)
    clock.turn(890)
    minter.go.clear()
    minter.asked.clear()
    with ThreadPoolExecutor(1) as leader:
        renewal = leader.submit(pool.get, KEY)
        assert minter.asked.wait(5)
        assert all(token is old for token in in_threads(lambda: pool.get(KEY)))
        minter.go.set()
        assert renewal.result(5) is not old
    assert minter.mints == 2
    assert pool.stats.renewals == 1


def test_a_failed_renewal_goes_unnoticed_until_five_seconds_before_the_end() -> None:
    """Property 4: while the token lives a mint that is down is nobody's problem, tried again after 1, 2, 4 … 30 s."""
    pool, minter, clock = make(chance=0.999)
    old = pool.get(KEY)
    minter.outcome = down()
    clock.turn(900 - 150)
    tried: list[float] = []
    while clock.now < 1_000 + 900 - 5:
        before = minter.mints
        assert pool.get(KEY) is old
        if minter.mints > before:
            tried.append(clock.now)
        clock.turn(0.25)
    pauses = [round(b - a) for a, b in itertools.pairwise(tried)]
    assert pauses[:5] == [1, 2, 4, 8, 16]
    assert max(pauses) <= 31
    with pytest.raises(BehestConnectionError):
        pool.get(KEY)


def test_a_renewal_that_works_again_ends_the_backoff() -> None:
    """Property 4: after a success the next renewal's backoff starts anew."""
    pool, minter, clock = make()
    pool.get(KEY)
    clock.turn(850)
    minter.outcome = down()
    pool.get(KEY)
    minter.outcome = 900.0
    clock.turn(2)
    renewed = pool.get(KEY)
    clock.turn(10)
    assert pool.get(KEY) is renewed


def test_expired_and_the_mint_down_fails_all_with_one_flight() -> None:
    """Property 5: one flight; its failure reaches all who wait, as errors of their own with one cause."""
    pool, minter, _ = make(down())
    minter.go.clear()
    with ThreadPoolExecutor(1) as opener:
        errors_of = opener.submit(in_threads, lambda: pool.get(KEY))
        assert minter.asked.wait(5)
        minter.go.set()
        errors = errors_of.result(20)
    assert len(errors) == CALLERS
    assert all(isinstance(error, BehestConnectionError) for error in errors)
    assert minter.mints == 1
    assert len({id(error) for error in errors}) == CALLERS
    assert len({id(error.__cause__) for error in errors}) == 1


@pytest.mark.parametrize(("error", "memory"), [(down(), 1.0), (BehestAuthError("revoked", status=401), 10.0)])
def test_a_failure_is_remembered_shortly(error: BehestError, memory: float) -> None:
    """Property 5: later callers fail fast for 1 s after a retryable failure, 10 s after another."""
    pool, minter, clock = make(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            pool.get(KEY)
    assert minter.mints == 1
    clock.turn(memory)
    with pytest.raises(type(error)):
        pool.get(KEY)
    assert minter.mints == 2


async def test_threads_and_tasks_share_a_flight() -> None:
    """Property 6: callers in threads and in tasks of one loop make one mint."""
    pool, minter, _ = make()
    minter.go.clear()
    threads = [asyncio.to_thread(pool.get, KEY) for _ in range(10)]
    tasks = [pool.aget(KEY) for _ in range(10)]
    waiting = asyncio.gather(*threads, *tasks)
    await asyncio.to_thread(minter.asked.wait, 5)
    minter.go.set()
    tokens = await waiting
    assert len({id(token) for token in tokens}) == 1
    assert minter.mints == 1


def test_several_event_loops_share_a_flight() -> None:
    """Property 6: loops in different threads make one mint, and one after another none more."""
    pool, minter, _ = make()
    minter.go.clear()
    with ThreadPoolExecutor(4) as threads:
        loops = [threads.submit(lambda: asyncio.run(pool.aget(KEY))) for _ in range(4)]
        assert minter.asked.wait(5)
        minter.go.set()
        assert len({id(loop.result(10)) for loop in loops}) == 1
    asyncio.run(pool.aget(KEY))
    assert minter.mints == 1


async def test_a_cancelled_leader_hands_over() -> None:
    """Property 6: when the task that mints is cancelled, one of those that wait mints."""
    pool, minter, _ = make()
    gates = iter([asyncio.Event(), asyncio.Event()])
    stuck, free = asyncio.Event(), asyncio.Event()
    free.set()
    gates = iter([stuck, free])
    minter.agate = lambda: next(gates)
    leader = asyncio.create_task(pool.aget(KEY))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(pool.aget(KEY)) for _ in range(5)]
    await asyncio.sleep(0)
    leader.cancel()
    tokens = await asyncio.gather(*waiting)
    assert len({id(token) for token in tokens}) == 1
    assert minter.mints == 2
    with pytest.raises(asyncio.CancelledError):
        await leader


async def test_a_cancelled_waiter_leaves_the_flight_alone() -> None:
    """Property 6: the flight lands although one of those that wait for it gave up."""
    pool, minter, _ = make()
    gate = asyncio.Event()
    minter.agate = lambda: gate
    leader = asyncio.create_task(pool.aget(KEY))
    await asyncio.sleep(0)
    waiter, other = asyncio.create_task(pool.aget(KEY)), asyncio.create_task(pool.aget(KEY))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await leader is await other
    assert waiter.cancelled()


async def test_a_sync_call_on_a_loops_own_thread_never_deadlocks() -> None:
    """Property 6: it doesn't wait for a flight that its own loop would have to land; it mints itself."""
    pool, minter, _ = make()
    gate = asyncio.Event()
    minter.agate = lambda: gate
    leader = asyncio.create_task(pool.aget(KEY))
    await asyncio.sleep(0)
    token = pool.get(KEY)
    gate.set()
    await leader
    assert isinstance(token, Token)
    assert minter.mints == 2


def test_nothing_is_started() -> None:
    """Property 6: no thread of the pool's own."""
    before = threading.active_count()
    pool, _, clock = make()
    pool.get(KEY)
    clock.turn(890)
    pool.get(KEY)
    assert threading.active_count() == before


def test_an_interrupted_leader_hands_over() -> None:
    """Property 6: Ctrl-C in the thread that mints reaches it alone."""

    class Interrupted(HandMinter):
        def mint(self, wanted: Any) -> Any:
            if not self.users:
                self.users.append(wanted.user_id)
                raise KeyboardInterrupt
            return super().mint(wanted)

    pool = TokenPool(Interrupted(), clock=HandClock().clock(), max_users=10)
    with pytest.raises(KeyboardInterrupt):
        pool.get(KEY)
    assert pool.get(KEY) is pool.get(KEY)


def test_the_same_token_served_again_makes_no_loop() -> None:
    """Property 7: a mint with a cache of its own is asked again only after the backoff."""
    pool, minter, clock = make()
    minter._numbers = iter([7] * 1000)  # type: ignore[assignment] # always the same token
    old = pool.get(KEY)
    clock.turn(800)
    for _ in range(100):
        assert pool.get(KEY) is old
    assert minter.mints == 2


def test_a_mint_that_serves_an_expired_token_is_an_error() -> None:
    """Property 7: past its end the same token again is refused."""
    pool, minter, clock = make()
    minter._numbers = iter([7] * 1000)  # type: ignore[assignment] # always the same token
    pool.get(KEY)
    clock.turn(900)
    with pytest.raises(BehestServerError, match="expired"):
        pool.get(KEY)


@pytest.mark.parametrize(("monotonic", "wall"), [(900, 0), (0, 900)])
def test_expired_when_either_clock_says_so(monotonic: float, wall: float) -> None:
    """Property 8: a laptop that slept has a wall clock that went on; a wall clock set back doesn't prolong a life."""
    pool, minter, clock = make()
    pool.get(KEY)
    clock.turn(monotonic, wall=wall)
    pool.get(KEY)
    assert minter.mints == 2


def test_fifty_late_rejections_of_one_token_make_one_mint() -> None:
    """Property 9: only the token that was refused is dropped, not the one that came after it."""
    pool, minter, _ = make()
    old = pool.get(KEY)

    def rejected() -> Token:
        pool.reject(KEY, old, 1.0)
        return pool.get(KEY)

    tokens = in_threads(rejected)
    assert len({id(token) for token in tokens}) == 1
    assert minter.mints == 2
    assert pool.stats.rejections == 1
    assert minter.server_times[0] == 1.0


def test_the_longest_unused_goes_first() -> None:
    """Property 10: a bounded number of users, least recently used first."""
    pool, minter, _ = make(max_users=2)
    for user in ("a", "b", "a", "c", "a"):
        pool.get((user, None))
    assert minter.users == ["a", "b", "c"]
    pool.get(("b", None))
    assert minter.users[-1] == "b"
    assert pool.snapshot().users == 2


def test_a_million_users_passing_by_do_not_grow_it() -> None:
    """Property 10: the bound holds however many come."""
    pool, _, _ = make(max_users=100)
    for number in range(20_000):
        pool.get((str(number), None))
    assert pool.snapshot().users == 100


def test_expired_entries_are_dropped() -> None:
    """Property 10: what has expired goes with the next mint after a minute."""
    pool, _, clock = make()
    for number in range(100):
        pool.get((str(number), None))
    clock.turn(1_000)
    pool.get(KEY)
    assert pool.snapshot().users == 1


def test_an_entry_in_flight_is_not_evicted() -> None:
    """Property 10: others that pass by don't make a user's mint happen twice."""
    pool, minter, _ = make(max_users=1)
    minter.go.clear()
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(pool.get, KEY)
        assert minter.asked.wait(5)
        others = [threads.submit(pool.get, (str(n), None)) for n in range(2)]
        again = threads.submit(pool.get, KEY)
        minter.go.set()
        assert first.result(5) is again.result(5) or minter.users.count("alice") == 1
        for other in others:
            other.result(5)
    assert minter.users.count("alice") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forking beside threads
def test_a_forked_child_does_not_wait_for_its_parents_flight() -> None:
    """Property 17: a mint that was on its way in the parent never lands in the child, which makes its own."""
    pool, minter, _ = make()
    minter.go.clear()
    with ThreadPoolExecutor(1) as threads:
        flight = threads.submit(pool.get, KEY)
        assert minter.asked.wait(5)
        child = os.fork()
        if child == 0:
            minter.go.set()
            claims = read_claims(pool.get(KEY).authorization.removeprefix("Bearer "))
            os._exit(0 if claims and claims["uid"] == "alice" else 1)
        minter.go.set()
        flight.result(5)
    assert os.waitpid(child, 0)[1] == 0


def test_events_are_logged_without_users(caplog: pytest.LogCaptureFixture) -> None:
    """Property 21: renewal failures once per cool-down, rejections; user ids only at DEBUG, tokens never."""
    caplog.set_level("DEBUG", logger="behest_base")
    pool, minter, clock = make()
    token = pool.get(KEY)
    clock.turn(850)
    minter.outcome = down()
    for _ in range(10):
        pool.get(KEY)
    pool.reject(KEY, token, None)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    above_debug = " ".join(record.getMessage() for record in caplog.records if record.levelname != "DEBUG")
    assert "alice" not in above_debug
    assert "rejected" in above_debug
    assert token.authorization.removeprefix("Bearer ") not in caplog.text
