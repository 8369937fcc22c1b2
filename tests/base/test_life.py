"""Loops, threads, forks, pickles, closing: the life of a client."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import SecretStr

from behest_base import Behest, BehestAuthError, BehestConfigError, BehestSettings, Scope, close_shared, shared
from behest_base.clock import SYSTEM_CLOCK
from behest_base.emulator import Emulator
from behest_base.pool import TokenPool
from support.keys import api_key, pem, public_pem
from support.minters import HandMinter

BODY = {"messages": [{"role": "user", "content": "Hello."}]}
ALICE = Scope("alice")


async def call(behest: Behest) -> None:
    """Make a plain and a streamed call in this loop."""
    await behest.acomplete(BODY, scope=ALICE)
    async for _ in behest.astream(BODY, scope=ALICE):
        pass


def test_several_loops_one_after_another(gateway: Emulator, behest: Behest) -> None:
    """A second asyncio.run is as good as the first, and the first leaves nothing open."""
    for _ in range(3):
        asyncio.run(call(behest))
    behest.complete(BODY, scope=ALICE)
    assert len(gateway.chats) == 7
    assert len(gateway.mints) == 1
    assert behest._http._loops._by_loop == {}


def test_several_loops_at_once(gateway: Emulator, behest: Behest) -> None:
    """Loops in threads of their own."""
    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(asyncio.run, call(behest)) for _ in range(4)]:
            future.result(20)
    assert len(gateway.mints) == 1


async def test_sync_calls_in_a_running_loop(gateway: Emulator, behest: Behest) -> None:
    """As in a notebook."""
    behest.complete(BODY, scope=ALICE)
    await behest.acomplete(BODY, scope=ALICE)
    assert len(list(behest.stream(BODY, scope=ALICE))) > 1
    assert len(gateway.mints) == 1
    await behest.aclose()


def test_a_loop_closed_without_ceremony(gateway: Emulator, behest: Behest) -> None:
    """A loop that was just closed doesn't disturb the next one."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(call(behest))
    loop.run_until_complete(behest.aclose())
    loop.close()
    asyncio.run(call(behest))
    assert len(gateway.chats) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forking beside threads
def test_after_a_fork(gateway: Emulator, behest: Behest) -> None:
    """Parent and child go on over connections of their own."""
    behest.complete(BODY, scope=ALICE)
    child = os.fork()
    if child == 0:
        behest.complete(BODY, scope=ALICE)
        os._exit(0)
    behest.complete(BODY, scope=ALICE)
    assert os.waitpid(child, 0)[1] == 0
    assert len(gateway.chats) == 3
    assert len(gateway.mints) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forking beside threads
def test_a_fork_while_other_threads_hold_the_locks(environment: Emulator) -> None:
    """Locks that nobody will ever open in the child are replaced there."""
    behest = Behest.shared()
    view = behest.view(user_id="alice", thread_id="t")
    with behest._pool._lock, behest._views._lock, view._lock, shared._clients.lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for ever is ended
            Behest.shared().complete(BODY, scope=Scope("alice", thread_id="t"))
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(environment.chats) == 1


def test_closing(gateway: Emulator) -> None:
    """What was opened is closed, without a warning, and a later call opens anew."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Behest(gateway.api_key, base_url=gateway.base_url) as behest:
            behest.complete(BODY, scope=ALICE)
        assert behest._http._threads._by_process == {}
        behest.complete(BODY, scope=ALICE)
        behest.close()
        del behest
        gc.collect()


async def test_closing_in_a_task(gateway: Emulator) -> None:
    """The connections of this loop are closed."""
    async with Behest(gateway.api_key, base_url=gateway.base_url) as behest:
        await call(behest)
        behest.complete(BODY, scope=ALICE)
    assert behest._http._loops._by_loop == {}
    assert behest._http._threads._by_process == {}


@pytest.mark.usefixtures("environment")
def test_shared_clients() -> None:
    """The same arguments and environment give the same client, others another."""
    first = Behest.shared()
    assert Behest.shared() is first
    assert Behest.shared(base_url=None, max_retries=2) is first  # what is the default anyway
    assert pickle.loads(pickle.dumps(first)) is first  # noqa: S301 - our own
    assert Behest.shared(tier="pro") is not first
    assert Behest.shared(timeout=None) is not first
    assert Behest.shared(api_key()) is not first
    key = api_key()
    assert Behest.shared(key) is Behest.shared(SecretStr(key))
    close_shared()
    assert Behest.shared() is not first


def test_settings_that_differ_in_their_key_share_no_client(gateway: Emulator) -> None:
    """Nobody's calls go out with the key of another's settings."""
    mine, theirs = (
        BehestSettings(key=SecretStr(key), base_url=gateway.base_url) for key in (gateway.api_key, api_key())
    )
    assert Behest.shared(settings=mine) is Behest.shared(settings=mine)
    assert Behest.shared(settings=theirs) is not Behest.shared(settings=mine)
    with pytest.raises(BehestAuthError):
        Behest.shared(settings=theirs).threads.list(user_id="alice")
    assert [request.status for request in gateway.requests] == [401]


def test_shared_clients_are_closed_with_the_process(environment: Emulator) -> None:
    """A program that makes models and no client ends without a warning of an open connection."""
    code = "from behest_base import Behest, Scope; Behest.shared().threads.list(user_id='alice')"
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment.env})
    assert done.stderr == ""
    assert [request.kind for request in environment.requests] == ["mint", "threads"]


@pytest.mark.usefixtures("environment")
def test_shared_clients_are_bounded() -> None:
    """A program that makes up a configuration per request doesn't grow without end."""
    first = Behest.shared()
    for n in range(100):
        Behest.shared(tier=f"t{n}")
    assert Behest.shared() is not first


def test_copies_are_the_client(behest: Behest) -> None:
    """Copies share connections and cache."""
    assert copy.copy(behest) is behest
    assert copy.deepcopy({"a": behest})["a"] is behest


def test_a_pickle_refers_to_the_environment(environment: Emulator) -> None:
    """A spawned process reads its own key; the pickle holds none."""
    behest = Behest(tier="pro", max_retries=1)
    pickled = pickle.dumps(behest)
    assert environment.api_key.encode() not in pickled
    code = (
        "import pickle, sys; from behest_base import Scope; "
        "b = pickle.loads(sys.stdin.buffer.read()); "
        "b.complete({'messages': [{'role': 'user', 'content': 'Hello.'}]}, scope=Scope('alice')); b.close()"
    )
    subprocess.run([sys.executable, "-c", code], input=pickled, check=True, env={**os.environ, **environment.env})
    assert environment.mints[0].json == {"user_id": "alice", "tier": "pro"}


@pytest.mark.parametrize("how", ["key", "settings", "signing_key"])
def test_a_key_given_as_an_argument_does_not_pickle(gateway: Emulator, how: str) -> None:
    """The error says how to do it."""
    ways: dict[str, dict[str, Any]] = {
        "key": {"key": gateway.api_key, "base_url": gateway.base_url},
        "settings": {"settings": BehestSettings(key=gateway.api_key, base_url=gateway.base_url)},
        "signing_key": {"signing_key": lambda: None, "base_url": gateway.base_url, "tenant_id": "t", "project_id": "p"},
    }
    with pytest.raises(BehestConfigError, match="BEHEST_KEY"):
        pickle.dumps(Behest(**ways[how]))


def test_scopes_pickle_without_their_token(gateway: Emulator) -> None:
    """A user's own token stays in the process."""
    token = gateway.issue("alice")
    for one in (Scope.from_token(token), Behest(token, base_url=gateway.base_url).identify(Scope.from_token(token))):
        pickled = pickle.dumps(one)
        assert token.encode() not in pickled
        assert pickle.loads(pickled).user_id == "alice"  # noqa: S301 - it was made a line above


UNBLOCKED = """
import asyncio, os
from blockbuster import BlockBuster
from behest_base import Behest, BehestAuthError, BehestVerifier, scope

BODY = {"messages": [{"role": "user", "content": "Hello."}]}

async def main():
    async with Behest() as first:  # httpcore imports its backends with its first request
        await first.amodels(user_id="first")
    BlockBuster().activate()
    async with Behest() as behest:
        with scope("alice", thread_id="t"):
            for _ in range(2):
                await behest.acomplete(BODY)
                async for _ in behest.astream(BODY):
                    pass
            await behest.threads.amessages("t")
            await behest.threads.alist()
            minted = await behest.amint()
            await BehestVerifier(base_url=behest.base_url).averify(minted.token)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["api key", "private key"])
def test_the_event_loop_is_never_blocked(gateway: Emulator, kind: str) -> None:
    """Construction, minting, signing, chat, streams, threads, retries and verifying don't block the loop.

    In a process of its own, since the emulator's loop has a database to wait for.
    """
    gateway.register_key("k1", public_pem())
    gateway.fail_next(status=401, path="chat")
    gateway.fail_next(status=429, retry_after=0, path="chat")
    ids = {"BEHEST_KID": "k1", "BEHEST_TENANT_ID": gateway.tenant_id, "BEHEST_PROJECT_ID": gateway.project_id}
    signing = {"BEHEST_KEY": pem(), **ids} if kind == "private key" else {}
    done = subprocess.run(
        [sys.executable, "-c", UNBLOCKED],
        env={**os.environ, **gateway.env, **signing},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [chat.status for chat in gateway.chats] == [401, 429, 200, 200, 200, 200]


def test_no_thread_is_left() -> None:
    """A client starts no thread of its own."""
    before = threading.active_count()
    with Emulator() as own, Behest(own.api_key, base_url=own.base_url) as behest:
        behest.complete(BODY, scope=ALICE)
        asyncio.run(call(behest))
        assert threading.active_count() == before + 1  # the emulator's
    assert threading.active_count() == before


def test_ten_thousand_users_are_small() -> None:
    """The cache of 10,000 users stays under 20 MB."""

    class Real(HandMinter):
        def _grant(self, wanted: Any, number: int) -> Any:
            grant = super()._grant(wanted, number)
            return type(grant)(SecretStr(grant.secret.get_secret_value().ljust(900, "x")), grant.lifetime)

    pool = TokenPool(Real(), clock=SYSTEM_CLOCK, max_users=10_000)
    tracemalloc.start()
    try:
        for n in range(10_000):
            pool.get((f"user-{n}", None))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used <= 20_000_000
