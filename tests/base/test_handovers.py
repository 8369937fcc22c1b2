"""How a flight goes on when whoever leads it, or waits for it, does not."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from behest_base import BehestTimeoutError
from behest_base import pool as pool_module
from behest_base.jwts import read_claims
from behest_base.minters import MINT_TIMEOUT_SECONDS
from behest_base.pool import TokenPool
from behest_base.retries import RetryPolicy
from behest_base.tokens import Token
from support.clocks import HandClock
from support.minters import HandMinter
from support.pools import KEY, make, until_someone_waits


async def test_a_cancelled_leader_hands_over() -> None:
    """When the task that mints is cancelled, one of those that wait mints."""
    pool, minter, _ = make()
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
    """The flight lands although one of those that wait for it gave up."""
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
    """It doesn't wait for a flight that its own loop would have to land; it mints itself."""
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


def test_an_interrupted_leader_hands_over() -> None:
    """Ctrl-C in the thread that mints reaches it alone."""

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forking beside threads
def test_a_forked_child_does_not_wait_for_its_parents_flight() -> None:
    """A mint that was on its way in the parent never lands in the child, which makes its own."""
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


def _turn_once(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    _turn_once(loop)
    _turn_once(loop)
    loop.close()


def test_two_loops_whose_threads_call_synchronously_never_wait_for_each_other() -> None:
    """Each loop has a mint on its way for a user whom the other one's thread asks for, blocking."""
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


async def test_a_mint_that_times_out_is_no_leader_that_never_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flight's own time-out goes to all who wait; nobody takes it for the end of their patience."""
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
        await asyncio.to_thread(until_someone_waits, flight.outcome)
        gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(thread.exception(5), BehestTimeoutError)
    assert all(isinstance(one, BehestTimeoutError) for one in outcomes)
    assert minter.mints == 1


async def test_a_leader_that_is_dropped_hands_over() -> None:
    """A task that is collected in the middle of its mint, as with a loop that ended, is no one's leader."""
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
    """It reaches its own thread as what it is, and the token is there."""
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


def test_patience_outlasts_a_mint_that_asks_to_wait() -> None:
    """Whoever waits for a mint with its retries doesn't take it for one that never lands."""
    policy = RetryPolicy()
    pauses = policy.max_retries * policy.max_retry_after
    assert (1 + policy.max_retries) * MINT_TIMEOUT_SECONDS + pauses < pool_module.PATIENCE_SECONDS
