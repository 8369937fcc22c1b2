"""The emulator as a server: its begin and end, its settings, its command, and what it records."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from behest_base.emulator import Emulator, RecordedRequest
from emulator.wire import Caller

COMMAND = [sys.executable, "-m", "behest_base.emulator"]


def test_listens_in_a_block_only() -> None:
    """It is there with the block, on loopback, and gone with it: no thread, no socket."""
    with Emulator() as running:
        address = running.base_url
        assert address.startswith("http://127.0.0.1:")
        assert httpx.get(f"{address}/.well-known/jwks.json").status_code == 200
    assert "behest-emulator" not in [thread.name for thread in threading.enumerate() if not _is_shared(thread)]
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def _is_shared(thread: threading.Thread) -> bool:
    return thread in _SHARED


_SHARED: list[threading.Thread] = []


@pytest.fixture(autouse=True)
def threads_before() -> Generator[None]:
    """Know the threads that were there before a test."""
    _SHARED[:] = threading.enumerate()
    yield
    _SHARED.clear()


def test_ends_while_requests_wait() -> None:
    """Stopping doesn't wait for what is held or streamed."""
    with ThreadPoolExecutor() as pool:
        with Emulator(chat_delay=60) as running, httpx.Client(base_url=running.base_url) as http:
            waiting = pool.submit(Caller(running, http).post, "Hello.")
            running.wait_for(lambda: running.chats)
            running.stop()
        ended = waiting.exception(timeout=5) or waiting.result()
        assert isinstance(ended, httpx.TransportError) or getattr(ended, "status_code", None) == 500


def test_an_emulator_that_never_ran_leaves_nothing_open() -> None:
    """Stopping one that was not started closes its database, and may be done twice."""
    idle = Emulator()
    idle.stop()
    idle.stop()


def test_two_at_once_know_nothing_of_each_other() -> None:
    """Each has its own address, key and memory."""
    with Emulator() as one, Emulator() as other:
        assert one.base_url != other.base_url
        assert one.api_key != other.api_key
        with httpx.Client(base_url=one.base_url) as http:
            Caller(one, http).ask("Hello.", thread="t")
        assert (len(one.chats), len(other.chats)) == (1, 0)


def test_a_taken_port() -> None:
    """A port that is taken is an error at once."""
    with Emulator() as running:
        port = int(running.base_url.rsplit(":", 1)[1])
        second = Emulator(port=port)
        with pytest.raises(OSError, match="in use"):
            second.start()
        second.stop()


def test_unknown_settings() -> None:
    """A misspelt setting is an error that names it."""
    misspelt: Any = {"store_toolcalls": True}
    with pytest.raises(TypeError, match="store_toolcalls"):
        Emulator(**misspelt)


def test_settings_come_back_with_reset() -> None:
    """A reset forgets everything but what the emulator began with."""
    with Emulator(store_tool_calls=True, requests_per_minute=5) as running:
        _set_otherwise(running)
        running.reset()
        assert (running.store_tool_calls, running.limits.requests_per_minute) == (True, 5)
        assert (running.page_size, running.upstream) == (50, None)


def _set_otherwise(running: Emulator) -> None:
    running.store_tool_calls, running.limits.requests_per_minute = False, None
    running.page_size, running.upstream = 1, "http://127.0.0.1:9"


def test_reset_forgets(gateway: Emulator, alice: Caller) -> None:
    """After a reset there are no threads, sessions, faults, scripts, recordings or rejected tokens."""
    alice.ask("My favourite colour is teal.", thread="t")
    alice.ask("My favourite colour is teal.")
    gateway.fail_next(status=500)
    gateway.script("x")
    gateway.next_mint({})
    gateway.reject_all_tokens()
    gateway.reset()
    assert gateway.requests == []
    assert gateway.thread("alice", "t") == []
    assert "teal" not in alice.ask("What is my favourite colour?")


def test_clear_forgets_recordings_only(gateway: Emulator, alice: Caller) -> None:
    """Clearing leaves memory as it is."""
    alice.ask("Hello.", thread="t")
    gateway.clear()
    assert gateway.requests == []
    assert gateway.thread("alice", "t")


def test_records_every_request(gateway: Emulator, http: httpx.Client, alice: Caller) -> None:
    """Each request is recorded in order, with what it was and what became of it."""
    http.post("/v1/auth/mint", json={"user_id": "bob"}, headers={"Authorization": f"Bearer {gateway.api_key}"})
    alice.ask("Hello.", thread="t")
    alice.get("/v1/threads", limit="3")
    alice.get("/v1/models")
    alice.get("/v1/billing/usage")
    http.get("/.well-known/jwks.json")
    http.get("/nowhere")
    kinds = [record.kind for record in gateway.requests]
    assert kinds == ["mint", "chat", "threads", "models", "usage", "jwks", "other"]
    assert [record.status for record in gateway.requests] == [200, 200, 200, 200, 200, 200, 404]
    mint, chat, listing = gateway.requests[:3]
    assert (mint.method, mint.path, mint.json, mint.user_id) == ("POST", "/v1/auth/mint", {"user_id": "bob"}, "bob")
    assert (chat.thread_id, chat.user_id) == ("t", "alice")
    assert listing.query == {"limit": "3"}
    assert gateway.mints == [mint]
    assert gateway.chats == [chat]
    assert isinstance(chat, RecordedRequest)
    assert mint.at <= chat.at <= listing.at


def test_records_do_not_show_headers(gateway: Emulator, alice: Caller) -> None:
    """A record that is printed in a failing test doesn't show its token."""
    alice.ask("Hello.")
    assert alice.headers["Authorization"].removeprefix("Bearer ") not in repr(gateway.chats[0])


def test_waits_for_what_is_to_come(gateway: Emulator, alice: Caller) -> None:
    """Waiting ends as soon as what is waited for is there, or fails in time."""
    with ThreadPoolExecutor() as pool:
        pool.submit(alice.ask, "Hello.")
        gateway.wait_for(lambda: gateway.chats and gateway.chats[0].status == 200)
    with pytest.raises(TimeoutError):
        gateway.wait_for(lambda: False, timeout=0.01)


async def test_serves_a_test_that_has_an_event_loop(gateway: Emulator) -> None:
    """The emulator's own loop and thread leave the test's alone, and many calls at once are served."""
    headers = {"Authorization": f"Bearer {gateway.issue('alice')}"}
    asked = {"messages": [{"role": "user", "content": "Hello."}]}
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers, timeout=30) as client:
        calls = [
            client.post("/v1/chat/completions", json=asked, headers={"X-Thread-Id": f"t{n % 5}"}) for n in range(50)
        ]
        answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200}
    assert sum(len(gateway.thread("alice", f"t{n}")) for n in range(5)) == 100


def test_keeps_a_database(tmp_path: Path) -> None:
    """With a file, sessions and threads outlive the emulator."""
    for expected in (2, 4):
        with Emulator(db=str(tmp_path / "gateway.db")) as running, httpx.Client(base_url=running.base_url) as http:
            Caller(running, http).ask("Hello.", thread="t")
            assert len(running.thread("alice", "t")) == expected


def test_shows_its_environment(gateway: Emulator) -> None:
    """The variables lead a client here."""
    assert gateway.env == {"BEHEST_KEY": gateway.api_key, "BEHEST_BASE_URL": gateway.base_url}


def test_the_command_serves_until_interrupted(tmp_path: Path) -> None:
    """The command prints lines to copy, serves with its options, and goes on Ctrl-C without a traceback."""
    # Who runs in the background is told to ignore Ctrl-C, and tells it those that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    port = _free_port()
    arguments = ["--port", str(port), "--db", str(tmp_path / "gateway.db"), "--api-key", "behest_sk_test_mine"]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = [process.stdout.readline().strip() for _ in range(5)]
        assert shown[2:] == [
            "export BEHEST_KEY=behest_sk_test_mine",
            f"export BEHEST_BASE_URL=http://127.0.0.1:{port}",
            "export BEHEST_USER_ID=alice",
        ]
        minted = httpx.post(
            f"http://127.0.0.1:{port}/v1/auth/mint",
            json={"user_id": "alice"},
            headers={"Authorization": "Bearer behest_sk_test_mine"},
        )
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert minted.status_code == 200
    assert (process.returncode, errors) == (0, "")


def test_the_command_says_that_a_port_is_taken() -> None:
    """A taken port is told in one line that says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


def test_the_command_says_that_it_is_no_port() -> None:
    """So is a number that no port has."""
    done = subprocess.run([*COMMAND, "--port", "99999"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:99999: bind(): port must be 0-65535. Choose another with --port." in done.stderr


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_names_the_extra(missing: str) -> None:
    """Without the server's packages the import says what to install."""
    code = f"import sys; sys.modules[{missing!r}] = None; import behest_base.emulator"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert 'pip install "behest-base[emulator]"' in done.stderr


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_answers_are_not_held_back() -> None:
    """Nagle's algorithm is off on the server's connections: with it on, each answer would take 40 ms."""
    with Emulator() as running, httpx.Client(base_url=running.base_url) as http:
        http.get("/v1/models")
        assert running._server is not None
        (connection,) = running._server.server_state.connections
        peer = connection.transport.get_extra_info("socket")
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
