"""The vendor's own client against the emulator: the emulator speaks the wire that it expects."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import behest
import httpx
import pytest
from behest.v1_5 import BehestAuthError, BehestError, BehestQuotaError, BehestRateLimitError

from behest_base.emulator import Emulator

THREAD = "trip"


@pytest.fixture(scope="module")
def live() -> Generator[Emulator]:
    """Run an emulator whose API key has the one prefix that the vendor's client knows."""
    with Emulator(api_key="behest_sk_live_0123456789") as running:
        yield running


@pytest.fixture
def gateway(live: Emulator) -> Emulator:
    """Give a test that emulator as new."""
    live.reset()
    return live


@pytest.fixture
def vendor(gateway: Emulator) -> Generator[Any]:
    """Give the vendor's client; threads are named by a header of its HTTP client."""
    with httpx.Client(headers={"X-Thread-Id": THREAD}, timeout=10) as http:
        yield behest.Behest(
            key=gateway.api_key, base_url=gateway.base_url, default_user_id="alice", ttl=900, http_client=http
        )


def said(text: str) -> list[dict[str, str]]:
    """Make a list of one user message."""
    return [{"role": "user", "content": text}]


def test_mints(gateway: Emulator, vendor: Any) -> None:
    """A token is minted for the user and session that were named."""
    minted = vendor.auth.mint(user_id="bob", session_id="s1", tier=2, ttl=600)
    assert (minted.session_id, minted.ttl) == ("s1", 600)
    assert behest.decode_token(minted.token)["uid"] == "bob"
    assert gateway.mints[0].json == {"user_id": "bob", "role": "user", "ttl": 600, "session_id": "s1", "tier": 2}


def test_mints_of_the_older_form(gateway: Emulator, vendor: Any) -> None:
    """The older answer of the mint is understood, too."""
    gateway.mint_shape = "legacy"
    assert vendor.auth.mint(user_id="bob").token == gateway.reserved_tokens["bob"]


def test_chats(gateway: Emulator, vendor: Any) -> None:
    """A chat is answered, and stored in its thread."""
    completion = vendor.chat.completions.create(messages=said("Petrels nest on cliffs. Where do petrels nest?"))
    assert completion["choices"][0]["message"]["content"] == "Petrels nest on cliffs."
    assert [message["role"] for message in gateway.thread("alice", THREAD)] == ["user", "assistant"]


def test_streams(gateway: Emulator, vendor: Any) -> None:
    """A stream's chunks make up the reply, and end where the client expects it."""
    gateway.script("Petrels nest on cliffs.")
    chunks = list(vendor.chat.completions.create(messages=said("Where?"), stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Petrels nest on cliffs."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_remembers_a_session(vendor: Any) -> None:
    """The token's session is the one that is remembered."""
    with httpx.Client(timeout=10) as http:
        vendor.config.http_client = http  # without a thread
        vendor.chat.completions.create(messages=said("My favourite colour is teal."), session_id="s1")
        asked = said("What is my favourite colour?")
        same = vendor.chat.completions.create(messages=asked, session_id="s1")
        other = vendor.chat.completions.create(messages=asked, session_id="s2")
    assert "teal" in same["choices"][0]["message"]["content"]
    assert "teal" not in other["choices"][0]["message"]["content"]


def test_reads_and_deletes_threads(vendor: Any) -> None:
    """Threads are listed, read and deleted."""
    vendor.chat.completions.create(messages=said("Petrels nest on cliffs."))
    assert [thread["id"] for thread in vendor.threads.list()] == [THREAD]
    assert vendor.threads.get(THREAD)["title"] == "Petrels nest on cliffs."
    assert [message["role"] for message in vendor.threads.messages(THREAD)] == ["user", "assistant"]
    vendor.threads.delete(THREAD)
    assert vendor.threads.list() == []
    with pytest.raises(BehestError) as caught:
        vendor.threads.get(THREAD)
    assert (caught.value.status, caught.value.code) == (404, "thread_not_found")


def test_signs_locally(gateway: Emulator) -> None:
    """A token that the client signed itself is accepted."""
    with httpx.Client(timeout=10) as http:
        signing = behest.Behest(
            key="behest_pk_" + gateway.signing_key,
            kid=gateway.signing_kid,
            tenant_id=gateway.tenant_id,
            project_id=gateway.project_id,
            issuer="https://api.behest.app",
            base_url=gateway.base_url,
            http_client=http,
        )
        signing.chat.completions.create(messages=said("Hello."), user_id="carol", session_id="s1")
    assert gateway.mints == []
    assert (gateway.chats[0].user_id, gateway.chats[0].session_id) == ("carol", "s1")


@pytest.mark.parametrize(
    ("status", "error"), [(401, BehestAuthError), (402, BehestQuotaError), (429, BehestRateLimitError)]
)
def test_reads_the_envelope_of_errors(gateway: Emulator, vendor: Any, status: int, error: type[BehestError]) -> None:
    """Errors are classified, and carry the envelope's code and message and the trace id."""
    gateway.fail_next(status=status, code="because", message="Not now.", path="chat")
    with pytest.raises(error, match="Not now") as caught:
        vendor.chat.completions.create(messages=said("Hello."))
    assert caught.value.code == "because"
    assert caught.value.trace_id


def test_has_no_usage_where_the_vendors_client_looks(vendor: Any) -> None:
    """Its client asks `/v1/usage`, which the index doesn't know: it says that there is none."""
    with pytest.raises(BehestError) as caught:
        vendor.usage.get()
    assert caught.value.code == "not_supported"
