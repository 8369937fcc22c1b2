"""The token cache: fresh, due, expired; failures; one flight for all; bounds."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from behest_base import BehestAuthError, BehestConnectionError, BehestError, BehestServerError
from behest_base.pool import PoolStats, TokenPool
from behest_base.tokens import Grant, Token, Wanted
from support.clocks import HandClock
from support.minters import HandMinter
from support.pools import KEY, down, in_threads, make


def test_a_fresh_token_is_served_from_the_cache() -> None:
    """A user costs one mint for as long as the token is fresh."""
    pool, minter, clock = make()
    first = pool.get(KEY)
    clock.turn(600)
    assert pool.get(KEY) is first
    assert minter.mints == 1


def test_a_fresh_token_takes_no_lock() -> None:
    """Another thread may hold the lock, and a fresh token is served all the same."""
    pool, _, _ = make()
    token = pool.get(KEY)
    with pool._lock:
        assert pool.get(KEY) is token


@pytest.mark.parametrize(
    ("lifetime", "window", "floor"), [(900, 180, 30), (86_400, 300, 30), (60, 12, 3), (10, 2, 0.5)]
)
def test_the_renewal_window(lifetime: float, window: float, floor: float) -> None:
    """Due in the last min(300 s, 20 %), with jitter, and always by min(30 s, 5 %) before the end."""
    for chance, share in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        pool, _, clock = make(lifetime, chance=chance)
        left = clock.now + lifetime - pool.get(KEY).due_at
        assert left == pytest.approx(share * window)
        assert left >= floor


def test_tiers_are_minted_for_separately() -> None:
    """A user's token of one tier isn't used for another."""
    pool, minter, _ = make()
    assert pool.get(("alice", "free")) is not pool.get(("alice", "pro"))
    assert minter.mints == 2


def test_one_renews_while_the_others_go_on() -> None:
    """In the window one caller mints; the others are served what there is, at once."""
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
    """While the token lives a mint that is down is nobody's problem, tried again after 1, 2, 4 … 30 s."""
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


def tries(pool: TokenPool, minter: HandMinter, clock: HandClock, seconds: float) -> list[float]:
    """Ask for this long, and return the pauses between the mints that were tried."""
    tried: list[float] = []
    end = clock.now + seconds
    while clock.now < end:
        before = minter.mints
        pool.get(KEY)
        if minter.mints > before:
            tried.append(clock.now)
        clock.turn(0.125)
    return [b - a for a, b in itertools.pairwise(tried)]


def test_a_renewal_that_works_again_ends_the_backoff() -> None:
    """After a success the next renewal's backoff starts anew, at one second."""
    pool, minter, clock = make(chance=0.999)
    old = pool.get(KEY)
    for _ in range(2):
        clock.turn(760)
        minter.outcome = down()
        assert tries(pool, minter, clock, 40) == [1, 2, 4, 8, 16]
        minter.outcome = 900.0
        clock.turn(30)
        assert pool.get(KEY) is not old
        old = pool.get(KEY)


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [0.75, 1.5, 3.0, 6.0]), (0.5, [0.875, 1.75, 3.5, 7.0])])
def test_the_backoff_is_jittered(chance: float, pauses: list[float]) -> None:
    """Processes that renew at once don't stay in step."""
    pool, minter, clock = make(chance=chance)
    pool.get(KEY)
    clock.turn(880)
    minter.outcome = down()
    assert tries(pool, minter, clock, 14) == pauses


@pytest.mark.parametrize(("error", "memory"), [(down(), 1.0), (BehestAuthError("revoked", status=401), 10.0)])
def test_a_failure_is_remembered_shortly(error: BehestError, memory: float) -> None:
    """Later callers fail fast for 1 s after a retryable failure, 10 s after another."""
    pool, minter, clock = make(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            pool.get(KEY)
    clock.turn(memory - 0.1)
    with pytest.raises(type(error)):
        pool.get(KEY)
    assert minter.mints == 1
    clock.turn(0.1)
    with pytest.raises(type(error)):
        pool.get(KEY)
    assert minter.mints == 2


def test_the_same_token_served_again_makes_no_loop() -> None:
    """A mint with a cache of its own is asked again only after the backoff."""
    pool, minter, clock = make()
    minter._numbers = iter([7] * 1000)  # type: ignore[assignment] # always the same token
    old = pool.get(KEY)
    clock.turn(800)
    for _ in range(100):
        assert pool.get(KEY) is old
    assert minter.mints == 2


def test_a_mint_that_serves_an_expired_token_is_an_error() -> None:
    """Past its end the same token again is refused."""
    pool, minter, clock = make()
    minter._numbers = iter([7] * 1000)  # type: ignore[assignment] # always the same token
    pool.get(KEY)
    clock.turn(900)
    with pytest.raises(BehestServerError, match="expired"):
        pool.get(KEY)


@pytest.mark.parametrize(("monotonic", "wall"), [(900, 0), (0, 900)])
def test_expired_when_either_clock_says_so(monotonic: float, wall: float) -> None:
    """A laptop that slept has a wall clock that went on; a wall clock set back doesn't prolong a life."""
    pool, minter, clock = make()
    pool.get(KEY)
    clock.turn(monotonic, wall=wall)
    minter.outcome = down()
    with pytest.raises(BehestConnectionError):
        pool.get(KEY)
    assert minter.mints == 2


def test_a_life_begins_when_the_mint_is_asked() -> None:
    """What the answer took is gone of it, on both clocks."""
    pool, minter, clock = make(600.0, chance=1.0)
    began, wall = clock.now, clock.wall

    class Slow(HandMinter):
        def _grant(self, wanted: Wanted, number: int) -> Grant:
            clock.turn(100, wall=200)
            return super()._grant(wanted, number)

    pool._minter = Slow(minter.outcome)
    token = pool.get(KEY)
    assert (token.due_at, token.usable_until, token.wall_until) == (began + 480, began + 595, wall + 595)


def test_fifty_late_rejections_of_one_token_make_one_mint() -> None:
    """Only the token that was refused is dropped, not the one that came after it."""
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
    """A bounded number of users, least recently used first."""
    pool, minter, _ = make(max_users=2)
    for user in ("a", "b", "a", "c", "a"):
        pool.get((user, None))
    assert minter.users == ["a", "b", "c"]
    pool.get(("b", None))
    assert minter.users[-1] == "b"
    assert pool.snapshot().users == 2


def test_a_million_users_passing_by_do_not_grow_it() -> None:
    """The bound holds however many come."""
    pool, _, _ = make(max_users=100)
    for number in range(20_000):
        pool.get((str(number), None))
    assert pool.snapshot().users == 100


def test_expired_entries_are_dropped() -> None:
    """What has expired goes with the next mint after a minute."""
    pool, _, clock = make()
    for number in range(100):
        pool.get((str(number), None))
    clock.turn(1_000)
    pool.get(KEY)
    assert pool.snapshot().users == 1


def test_events_are_logged_without_users(caplog: pytest.LogCaptureFixture) -> None:
    """Renewal failures once per cool-down, rejections; user ids only at DEBUG, tokens never."""
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
    assert "token minted for the user 'alice': 900 s" in caplog.text
    assert "rejected" in above_debug
    assert token.authorization.removeprefix("Bearer ") not in caplog.text


def test_what_is_counted() -> None:
    """Mints for those without a token, renewals before the end, failures, rejections, hits and users."""
    pool, minter, clock = make()
    token = pool.get(KEY)
    clock.turn(890)
    renewed = pool.get(KEY)
    clock.turn(900)
    pool.reject(KEY, token, None)  # too late: it isn't the user's any more
    pool.get(KEY)
    pool.reject(KEY, pool.get(KEY), None)
    minter.outcome = down()
    with pytest.raises(BehestConnectionError):
        pool.get(KEY)
    assert renewed is not token
    assert pool.snapshot() == PoolStats(mints=2, renewals=1, failures=1, rejections=1, cache_hits=1, users=1)
