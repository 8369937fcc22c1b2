"""One flight for threads, tasks and event loops, whatever comes of it, and none that is evicted."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from behest_base import BehestAuth, BehestAuthError, BehestConnectionError, Scope
from behest_base.hosts import Origin
from behest_base.pool import TokenPool
from behest_base.scope import resolve
from behest_base.tokens import Grant, Wanted
from support.clocks import HandClock
from support.minters import HandMinter
from support.pools import CALLERS, KEY, down, in_threads, make, until_someone_waits


def test_expired_and_the_mint_down_fails_all_with_one_flight() -> None:
    """One flight; its failure reaches all who wait, as errors of their own with one cause."""
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


async def test_threads_and_tasks_share_a_flight() -> None:
    """Callers in threads and in tasks of one loop make one mint."""
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
    """Loops in different threads make one mint, and one after another none more."""
    pool, minter, _ = make()
    minter.go.clear()
    with ThreadPoolExecutor(4) as threads:
        loops = [threads.submit(lambda: asyncio.run(pool.aget(KEY))) for _ in range(4)]
        assert minter.asked.wait(5)
        minter.go.set()
        assert len({id(loop.result(10)) for loop in loops}) == 1
    asyncio.run(pool.aget(KEY))
    assert minter.mints == 1


def test_nothing_is_started() -> None:
    """No thread of the pool's own."""
    before = threading.active_count()
    pool, _, clock = make()
    pool.get(KEY)
    clock.turn(890)
    pool.get(KEY)
    assert threading.active_count() == before


def test_an_entry_in_flight_is_not_evicted() -> None:
    """Others that pass by don't make a user's mint happen twice."""
    pool, minter, _ = make(max_users=1)
    minter.go.clear()
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(pool.get, KEY)
        assert minter.asked.wait(5)
        others = [threads.submit(pool.get, (str(n), None)) for n in range(2)]
        again = threads.submit(pool.get, KEY)
        flight = pool._slots[KEY].flight
        assert flight is not None
        until_someone_waits(flight.outcome)
        minter.go.set()
        assert first.result(5) is again.result(5)
        for other in others:
            other.result(5)
    assert minter.users.count("alice") == 1


def test_a_full_cache_of_flights_is_not_evicted() -> None:
    """When all that could go is in flight, nothing goes."""
    minter = HandMinter()
    tokens = TokenPool(minter, clock=HandClock().clock(), max_users=1)
    minter.go.clear()
    with ThreadPoolExecutor(2) as threads:
        flights = [threads.submit(tokens.get, (user, None)) for user in ("a", "b")]
        while minter.mints < 2:
            pass
        minter.go.set()
        for flight in flights:
            flight.result(5)
    assert sorted(minter.users) == ["a", "b"]


class Watching(HandMinter):
    """Notes whether the pool's lock was held while it minted."""

    pool: TokenPool
    held: bool = False

    def _grant(self, wanted: Wanted, number: int) -> Grant:
        self.held = self.held or self.pool._lock.locked()
        return super()._grant(wanted, number)


async def test_no_lock_is_held_over_the_mint_or_a_send() -> None:
    """Neither while a token is minted nor while a request is on its way."""
    minter, clock = Watching(), HandClock()
    minter.pool = TokenPool(minter, clock=clock.clock(), max_users=10)
    minter.pool.get(KEY)
    clock.turn(890)
    await minter.pool.aget(KEY)
    auth = BehestAuth(minter.pool, Origin("https", "gw.test", 443), lambda: resolve(Scope("bob")))
    flow = auth.sync_auth_flow(httpx.Request("GET", "https://gw.test/"))
    request = next(flow)
    assert not minter.pool._lock.locked()
    flow.send(httpx.Response(401, request=request))
    assert not minter.pool._lock.locked()
    assert minter.mints == 4
    assert not minter.held


async def test_all_tasks_get_the_failure_of_one_flight() -> None:
    """Tasks that wait get an error of their own too, with the cause that all share."""
    pool, minter, _ = make(down())
    gate = asyncio.Event()
    minter.agate = lambda: gate
    waiting = [asyncio.create_task(pool.aget(KEY)) for _ in range(CALLERS)]
    await asyncio.sleep(0)
    gate.set()
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert minter.mints == 1
    assert all(isinstance(error, BehestConnectionError) for error in errors)
    assert len({id(error) for error in errors}) == CALLERS
    assert len({id(error.__cause__) for error in errors if isinstance(error, BaseException)}) == 1


def test_a_rush_of_users_leaves_no_more_than_the_bound() -> None:
    """What had to stay while it was in flight goes once it has landed."""
    pool, minter, _ = make(max_users=2)
    minter.go.clear()
    with ThreadPoolExecutor(20) as threads:
        rush = [threads.submit(pool.get, (str(n), None)) for n in range(20)]
        while minter.mints < len(rush):
            pass
        minter.go.set()
        for one in rush:
            one.result(5)
    pool.get(KEY)
    assert pool.snapshot().users == 2


async def test_a_failure_is_forgotten_with_the_next_token() -> None:
    """Once a flight has landed, a failure that came before it is nobody's any more."""
    pool, minter, _ = make()
    gate = asyncio.Event()
    minter.agate = lambda: gate
    leader = asyncio.create_task(pool.aget(KEY))
    await asyncio.sleep(0)
    minter.outcome = BehestAuthError("revoked", status=401)
    with pytest.raises(BehestAuthError):
        pool.get(KEY)  # on the loop's own thread, in a flight of its own
    minter.outcome = 900.0
    gate.set()
    pool.reject(KEY, await leader, None)
    assert pool.get(KEY)
    assert minter.mints == 3


async def test_what_is_on_its_way_or_failed_just_now_is_not_swept_out() -> None:
    """When expired entries are dropped, a user in flight stays, and a failure stays known."""
    pool, minter, clock = make(BehestAuthError("revoked", status=401))
    clock.turn(100)
    with pytest.raises(BehestAuthError):
        pool.get(("bob", None))
    minter.outcome = 900.0
    gate = asyncio.Event()
    minter.agate = lambda: gate
    leader = asyncio.create_task(pool.aget(KEY))
    await asyncio.sleep(0)
    pool.get(("carol", None))  # its landing sweeps
    waiting = asyncio.create_task(pool.aget(KEY))
    await asyncio.sleep(0)
    gate.set()
    assert await leader is await waiting
    with pytest.raises(BehestAuthError):
        pool.get(("bob", None))
    assert minter.users == ["bob", "alice", "carol"]
