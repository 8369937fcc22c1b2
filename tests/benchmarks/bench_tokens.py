"""The life of tokens, measured: 50 callers at once on a mint that takes 100 ms, the hot path, memory, and mints per call.

python tests/benchmarks/bench_tokens.py
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import statistics
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from behest.v1_5 import Behest as VendorClient
from pydantic import SecretStr

from behest_base import Behest, BehestError, Clock, Scope
from behest_base.clock import SYSTEM_CLOCK
from behest_base.emulator import Emulator
from behest_base.pool import TokenPool
from behest_base.tokens import Grant, Wanted

CALLERS = 50
MINT_SECONDS = 0.1
LIFETIME_SECONDS = 900
KEY = ("alice", None)


@dataclass
class Outcome:
    """What 50 callers saw."""

    mints: int
    errors: int
    seconds: list[float] = field(repr=False)

    def row(self) -> str:
        """Write it in a line: mints, errors, times."""
        middle, worst = statistics.median(self.seconds), max(self.seconds)
        return f"n{self.mints} e{self.errors}  p50 {middle * 1e3:7.2f} ms  max {worst * 1e3:7.1f} ms"


class Shifted:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        """Begin now."""
        self.seconds = 0.0

    def clock(self) -> Clock:
        """Return what the client takes."""
        return Clock(monotonic=lambda: time.monotonic() + self.seconds, wall=lambda: time.time() + self.seconds)


def threads(pool: TokenPool, callers: int) -> list[tuple[float, bool]]:
    """Call from threads."""

    def one(_: int) -> tuple[float, bool]:
        begun = time.perf_counter()
        try:
            pool.get(KEY)
        except BehestError:
            return time.perf_counter() - begun, True
        return time.perf_counter() - begun, False

    with ThreadPoolExecutor(callers) as executor:
        list(executor.map(lambda _: time.sleep(0.01), range(callers)))  # the threads exist before the clock starts
        return list(executor.map(one, range(callers)))


def tasks(pool: TokenPool, callers: int) -> list[tuple[float, bool]]:
    """Call from tasks of one event loop."""

    async def one() -> tuple[float, bool]:
        begun = time.perf_counter()
        try:
            await pool.aget(KEY)
        except BehestError:
            return time.perf_counter() - begun, True
        return time.perf_counter() - begun, False

    async def all_of_them() -> list[tuple[float, bool]]:
        return await asyncio.gather(*(one() for _ in range(callers)))

    return asyncio.run(all_of_them())


def mixed(pool: TokenPool, callers: int) -> list[tuple[float, bool]]:
    """Call from threads and from tasks of two loops."""
    half, quarter = callers // 2, callers // 4
    with ThreadPoolExecutor(3) as executor:
        parts = [
            executor.submit(threads, pool, half),
            executor.submit(tasks, pool, quarter),
            executor.submit(tasks, pool, callers - half - quarter),
        ]
        return [one for part in parts for one in part.result()]


def column(
    gateway: Emulator, how: Callable[[TokenPool, int], list[tuple[float, bool]]], *, age: float, down: bool
) -> Outcome:
    """Let 50 callers ask at once for a token of this age."""
    shifted = Shifted()
    gateway.reset()
    gateway.mint_delay = 0.0
    with Behest(gateway.api_key, base_url=gateway.base_url, max_retries=0, clock=shifted.clock()) as behest:
        behest._pool.get(KEY)
        asyncio.run(behest.amint("bob"))  # a process's first request in a task loads its modules
        gateway.clear()
        gateway.mint_delay = MINT_SECONDS
        shifted.seconds = age
        if down:
            gateway.fail_next(path="mint", status=503, times=1_000)
        seen = how(behest._pool, CALLERS)
    return Outcome(len(gateway.mints), sum(failed for _, failed in seen), [seconds for seconds, _ in seen])


def show_columns(gateway: Emulator) -> None:
    """Print the four columns for three kinds of callers."""
    columns = {
        "expired": (LIFETIME_SECONDS, False),
        "due for renewal": (LIFETIME_SECONDS - 20, False),
        "due, mint down": (LIFETIME_SECONDS - 20, True),
        "expired, mint down": (LIFETIME_SECONDS, True),
    }
    for name, how in (("threads", threads), ("tasks", tasks), ("mixed", mixed)):
        for title, (age, down) in columns.items():
            print(f"{name:8} {title:20} {column(gateway, how, age=age, down=down).row()}")


class Instant:
    """A mint without a wire, whose tokens are as long as real ones."""

    def mint(self, wanted: Wanted) -> Grant:
        """Return a token."""
        return Grant(SecretStr(f"{wanted.user_id:x<900}"), LIFETIME_SECONDS)

    async def amint(self, wanted: Wanted) -> Grant:
        """Return a token."""
        return self.mint(wanted)

    def note_server_time(self, server_time: float) -> None:
        """Learn nothing."""


def microseconds(call: Callable[[], Any], times: int = 20_000) -> float:
    """Return the median time of a call."""
    samples: list[float] = []
    for _ in range(times):
        begun = time.perf_counter_ns()
        call()
        samples.append(time.perf_counter_ns() - begun)
    empty = statistics.median(_empty(times))
    return (statistics.median(samples) - empty) / 1e3


def _empty(times: int) -> list[int]:
    samples: list[int] = []
    for _ in range(times):
        begun = time.perf_counter_ns()
        samples.append(time.perf_counter_ns() - begun)
    return samples


def show_hot_path() -> None:
    """Print what a fresh token costs."""
    pool = TokenPool(Instant(), clock=SYSTEM_CLOCK, max_users=10_000)
    for n in range(10_000):
        pool.get((f"user-{n}", None))
    key = ("user-5", None)
    print(f"hot path, sync:  {microseconds(lambda: pool.get(key)):.2f} µs")

    async def awaited() -> float:
        samples: list[float] = []
        for _ in range(20_000):
            begun = time.perf_counter_ns()
            await pool.aget(key)
            samples.append(time.perf_counter_ns() - begun)
        return (statistics.median(samples) - statistics.median(_empty(20_000))) / 1e3

    print(f"hot path, async: {asyncio.run(awaited()):.2f} µs")


def show_signing(gateway: Emulator) -> None:
    """Print what signing a token here takes."""
    fields: dict[str, Any] = {
        "kid": gateway.signing_kid,
        "tenant_id": gateway.tenant_id,
        "project_id": gateway.project_id,
    }
    with Behest(gateway.signing_key, base_url=gateway.base_url, **fields) as behest:
        print(f"signing: {microseconds(lambda: behest.mint('alice'), times=500) / 1e3:.2f} ms a token")


def show_memory() -> None:
    """Print what 10,000 users take."""
    tracemalloc.start()
    pool = TokenPool(Instant(), clock=SYSTEM_CLOCK, max_users=10_000)
    for n in range(12_000):
        pool.get((f"user-{n}", None))
    print(
        f"10,000 users: {tracemalloc.get_traced_memory()[0] / 1e6:.1f} MB, {pool.snapshot().users} cached after 12,000"
    )
    tracemalloc.stop()


def show_mints(gateway: Emulator) -> None:
    """Print the mints that 1,000 calls by 10 users make, beside the vendor's SDK."""
    body = {"messages": [{"role": "user", "content": "Hello."}]}
    users = [f"user-{n % 10}" for n in range(1_000)]
    gateway.reset()
    with Behest(gateway.api_key, base_url=gateway.base_url) as behest:
        for user in users:
            behest.complete(body, scope=Scope(user))
    ours = len(gateway.mints)
    gateway.reset()
    vendor = VendorClient(key=gateway.api_key, base_url=gateway.base_url)
    for user in users:
        vendor.chat.completions.create(messages=body["messages"], user_id=user)
    assert len(gateway.chats) == len(users)
    print(f"mints per 1,000 calls by 10 users: {ours}, the vendor's SDK {len(gateway.mints)}")


def main() -> None:
    """Print all figures."""
    logging.disable(logging.CRITICAL)
    # The vendor's SDK takes keys of this form only.
    with Emulator(api_key=f"behest_sk_live_{secrets.token_hex(16)}") as gateway:
        show_columns(gateway)
        show_hot_path()
        show_signing(gateway)
        show_memory()
        show_mints(gateway)


if __name__ == "__main__":
    main()
