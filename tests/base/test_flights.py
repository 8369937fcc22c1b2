"""Properties 5 and 6: one flight for threads, tasks and event loops, however it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from behest_base import BehestAuth, BehestAuthError, BehestConnectionError, BehestTimeoutError, Scope
from behest_base import pool as pool_module
from behest_base.hosts import Origin
from behest_base.jwts import read_claims
from behest_base.pool import TokenPool
from behest_base.scope import resolve
from behest_base.tokens import Grant, Token, Wanted
from support.clocks import HandClock
from support.minters import HandMinter
from support.pools import CALLERS, KEY, down, in_threads, make


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


async def test_a_leader_that_never_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose loop stopped for good; those who wait lose patience and mint themselves."""
    monkeypatch.setattr(pool_module, "PATIENCE_SECONDS", 0.05)
    minter = HandMinter()
    tokens = TokenPool(minter, clock=HandClock().clock(), max_users=10)
    stopped = asyncio.new_event_loop()
    gate = asyncio.Event()
    minter.agate = lambda: gate
    task = stopped.create_task(tokens.aget(KEY))
    await asyncio.to_thread(_turn_once, stopped)
    minter.agate = None
    first = await tokens.aget(KEY)
    assert await tokens.aget(KEY) is first
    assert minter.mints == 2
    task.cancel()
    await asyncio.to_thread(_finish, stopped)


def test_a_leader_that_never_lands_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a thread that waits."""
    monkeypatch.setattr(pool_module, "PATIENCE_SECONDS", 0.05)
    minter = HandMinter()
    tokens = TokenPool(minter, clock=HandClock().clock(), max_users=10)
    stopped = asyncio.new_event_loop()
    gate = asyncio.Event()
    minter.agate = lambda: gate
    task = stopped.create_task(tokens.aget(KEY))
    _turn_once(stopped)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(tokens.get, KEY).result(5)
    task.cancel()
    _finish(stopped)


def _until_someone_waits(outcome: Future[Any]) -> None:
    while not outcome._condition._waiters:  # type: ignore[attr-defined] # whom the condition will wake
        pass


def _turn_once(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    _turn_once(loop)
    _turn_once(loop)
    loop.close()


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
    """Property 6: neither while a token is minted nor while a request is on its way."""
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


def test_two_loops_whose_threads_call_synchronously_never_wait_for_each_other() -> None:
    """Property 6: each loop has a mint on its way for a user whom the other one's thread asks for, blocking."""
    pool, minter, _ = make()
    both_lead = threading.Barrier(2)

    async def call(own: str, other: str) -> Token:
        gate = asyncio.Event()
        minter.agate = lambda: gate
        flight = asyncio.create_task(pool.aget((own, None)))
        await asyncio.sleep(0)
        both_lead.wait(5)
        token = pool.get((other, None))
        gate.set()
        await flight
        return token

    with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(asyncio.run, call(*users)) for users in (("a", "b"), ("b", "a"))]
        assert ahead.submit(lambda: [one.result(10) for one in calls]).result(10)


async def test_all_tasks_get_the_failure_of_one_flight() -> None:
    """Property 5: tasks that wait get an error of their own too, with the cause that all share."""
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


async def test_a_mint_that_times_out_is_no_leader_that_never_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Property 5: the flight's own time-out goes to all who wait; nobody takes it for the end of their patience."""
    monkeypatch.setattr(pool_module, "RETRYABLE_MEMORY_SECONDS", 0.0)
    pool, minter, _ = make(BehestTimeoutError("slow"))
    gate = asyncio.Event()
    minter.agate = lambda: gate
    tasks = [asyncio.create_task(pool.aget(KEY)) for _ in range(3)]
    await asyncio.sleep(0)
    with ThreadPoolExecutor(1) as threads:
        thread = threads.submit(pool.get, KEY)
        flight = pool._slots[KEY].flight
        assert flight is not None
        await asyncio.to_thread(_until_someone_waits, flight.outcome)
        gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(thread.exception(5), BehestTimeoutError)
    assert all(isinstance(one, BehestTimeoutError) for one in outcomes)
    assert minter.mints == 1


async def test_a_leader_that_is_dropped_hands_over() -> None:
    """Property 6: a task that is collected in the middle of its mint, as with a loop that ended, is no one's leader."""
    pool, minter, _ = make()
    minter.agate = asyncio.Event
    leader = pool.aget(KEY)
    leader.send(None)
    waiting = asyncio.create_task(pool.aget(KEY))
    await asyncio.sleep(0)
    minter.agate = None
    del leader
    gc.collect()
    assert await waiting
    assert minter.mints == 2


def test_a_ctrl_c_while_the_outcome_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Property 6: it reaches its own thread as what it is, and the token is there."""
    give = Future.set_result

    def interrupted(self: Future[Any], result: object) -> None:
        give(self, result)
        raise KeyboardInterrupt

    pool, minter, _ = make()
    with monkeypatch.context() as patch:
        patch.setattr(Future, "set_result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.get(KEY)
    assert pool.get(KEY)
    assert minter.mints == 1


def test_a_rush_of_users_leaves_no_more_than_the_bound() -> None:
    """Property 10: what had to stay while it was in flight goes once it has landed."""
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
    """Property 5: once a flight has landed, a failure that came before it is nobody's any more."""
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
    """Property 10: when expired entries are dropped, a user in flight stays, and a failure stays known."""
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
