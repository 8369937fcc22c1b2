"""Minting on the wire: the contract's request, both answers, and errors that say what to do."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from behest_base import (
    Behest,
    BehestAuthError,
    BehestBadRequestError,
    BehestConfigError,
    BehestConnectionError,
    BehestError,
    BehestServerError,
    Scope,
    load_signing_key,
    scope,
)
from behest_base.emulator import Emulator
from support.keys import api_key, pem, public_pem

BODY = {"messages": [{"role": "user", "content": "Hello."}]}


def test_the_mint_request(gateway: Emulator, behest: Behest) -> None:
    """Exactly the contract's method, path, bearer and body; the API key goes there and nowhere else."""
    behest.complete(BODY, scope=Scope("alice"))
    mint = gateway.mints[0]
    assert (mint.method, mint.path) == ("POST", "/v1/auth/mint")
    assert mint.headers["authorization"] == f"Bearer {gateway.api_key}"
    assert mint.json == {"user_id": "alice"}
    assert "x-session-id" not in mint.headers
    for other in gateway.requests:
        if other.kind != "mint":
            assert gateway.api_key not in str(dict(other.headers))


def test_what_is_asked_for(gateway: Emulator) -> None:
    """The lifetime and the tier are sent as given."""
    with Behest(gateway.api_key, base_url=gateway.base_url, ttl=600, tier="pro") as behest:
        behest.complete(BODY, scope=Scope("alice"))
        behest.complete(BODY, scope=Scope("alice", tier=2))
    assert [mint.json for mint in gateway.mints] == [
        {"user_id": "alice", "ttl": 600, "tier": "pro"},
        {"user_id": "alice", "ttl": 600, "tier": 2},
    ]


@pytest.mark.parametrize("shape", ["current", "legacy"])
def test_both_answers_are_read(gateway: Emulator, behest: Behest, shape: Any) -> None:
    """The mint's answer may have either of its shapes."""
    gateway.mint_shape = shape
    behest.complete(BODY, scope=Scope("alice"))
    minted = behest.mint("bob")
    assert minted.ttl == 900
    assert abs(minted.expires_at - time.time() - 900) < 10


def test_fifty_calls_by_five_users_make_five_mints(gateway: Emulator, behest: Behest) -> None:
    """Sync threads and asyncio tasks at once share one token per user, and each call carries its own user's."""
    users = [f"user-{n}" for n in range(5)]
    calls = [(user, f"Hello from {user}.") for user in users for _ in range(5)]

    def say(call: tuple[str, str]) -> None:
        behest.complete({"messages": [{"role": "user", "content": call[1]}]}, scope=Scope(call[0]))

    async def asay(call: tuple[str, str]) -> None:
        with scope(call[0]):
            await behest.acomplete({"messages": [{"role": "user", "content": call[1]}]})

    async def all_tasks() -> None:
        await asyncio.gather(*(asay(call) for call in calls))

    with ThreadPoolExecutor(10) as threads:
        tasks = threads.submit(lambda: asyncio.run(all_tasks()))
        list(threads.map(say, calls))
        tasks.result(30)
    assert len(gateway.mints) == 5
    assert len(gateway.chats) == 50
    for chat in gateway.chats:
        assert chat.claims is not None
        assert chat.json["messages"][0]["content"] == f"Hello from {chat.claims['uid']}."
    assert behest.stats().mints == 5


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"jwt": ""},
        {"jwt": "not a token", "ttl": 900},
        {"jwt": "a.b", "ttl": 900},
        {"jwt": 5, "ttl": 900},
        {"access_token": "a.b.c"},
        *({"jwt": "a.b.c", "ttl": ttl} for ttl in (0, -1, 1, 1e12, "900", True, None)),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error(gateway: Emulator, behest: Behest, body: Any) -> None:
    """Property 7: nothing is cached, nothing is sent with it."""
    gateway.next_mint(body=body)
    with pytest.raises(BehestServerError, match="mint's answer"):
        behest.complete(BODY, scope=Scope("alice"))
    assert gateway.chats == []
    assert behest.stats().mints == 0


@pytest.mark.parametrize("claims", [{"exp": 1}, {"exp": "soon"}])
def test_a_token_that_has_expired_already_is_an_error(
    gateway: Emulator, behest: Behest, claims: dict[str, Any]
) -> None:
    """Property 7: a past end is seen, whatever the answer says besides."""
    token = jwt.encode({"uid": "alice", "iat": 0, **claims}, "x" * 32, algorithm="HS256")
    gateway.next_mint(body={"jwt": token})
    with pytest.raises(BehestServerError, match="lifetime"):
        behest.complete(BODY, scope=Scope("alice"))


def test_redirects_of_the_mint_are_not_followed(gateway: Emulator, behest: Behest) -> None:
    """Properties 7 and 14: the key stays with the origin fixed at construction."""
    gateway.fail_next(status=307, path="mint", headers={"Location": f"{gateway.base_url}/auth/v1/auth/mint"})
    with pytest.raises(BehestConfigError, match="redirect"):
        behest.complete(BODY, scope=Scope("alice"))
    assert [request.path for request in gateway.requests] == ["/v1/auth/mint"]


def test_a_wrong_key(gateway: Emulator) -> None:
    """The error names the mint, the argument and the variable, and not the key."""
    key = api_key()
    with Behest(key, base_url=gateway.base_url) as behest, pytest.raises(BehestAuthError) as caught:
        behest.complete(BODY, scope=Scope("alice"))
    assert caught.value.status == 401
    assert "BEHEST_KEY" in str(caught.value)
    assert key not in str(caught.value)


def test_an_unreachable_host() -> None:
    """The error names the host and where it is set."""
    says = r"127\.0\.0\.1:9 can't be reached.*BEHEST_BASE_URL"
    with (
        Behest(api_key(), base_url="http://127.0.0.1:9", max_retries=0) as behest,
        pytest.raises(BehestConnectionError, match=says),
    ):
        behest.complete(BODY, scope=Scope("alice"))


@pytest.mark.parametrize("user", ["", " ", "x" * 256, None])
def test_no_user(behest: Behest, gateway: Emulator, user: Any) -> None:
    """A call without a user is an error before anything is sent."""
    with pytest.raises(BehestConfigError, match="user"):
        behest.complete(BODY, scope=Scope(user))
    with pytest.raises(BehestConfigError, match="user"):
        behest.stream(BODY, scope=Scope(user))
    assert gateway.requests == []


def test_a_reserved_user(behest: Behest) -> None:
    """The mint refuses a reserved name; its reason comes through."""
    with pytest.raises(BehestError, match="No token could be minted"):
        behest.complete(BODY, scope=Scope("admin"))


async def test_a_user_that_json_cannot_say(gateway: Emulator, behest: Behest) -> None:
    """Half a surrogate pair in a user id is refused before anything is sent."""
    with pytest.raises(BehestBadRequestError, match="JSON"):
        behest.complete(BODY, scope=Scope("\ud800"))
    with pytest.raises(BehestBadRequestError, match="JSON"):
        await behest.amint("\ud800")
    assert gateway.requests == []


def test_a_token_for_a_browser(gateway: Emulator, behest: Behest) -> None:
    """The body of an app's token endpoint, minted anew each time and not used by this client."""
    first, second = behest.mint("alice", session_id="sit-1"), behest.mint("alice")
    body = first.for_browser()
    assert set(body) == {"token", "sessionId", "ttl", "expiresAt"}
    assert body["sessionId"] == "sit-1"
    assert second.session_id not in {"", "sit-1"}
    assert str(body["token"]) not in repr(first)
    behest.complete(BODY, scope=Scope("alice"))
    assert len(gateway.mints) == 3
    claims = jwt.decode(str(body["token"]), options={"verify_signature": False})
    assert (claims["uid"], claims["sid"]) == ("alice", "sit-1")


async def test_minting_in_a_task(gateway: Emulator, behest: Behest) -> None:
    """The same without blocking."""
    minted = await behest.amint("alice", ttl=120)
    assert minted.ttl == 120
    assert gateway.mints[0].json["ttl"] == 120


def test_local_signing(gateway: Emulator) -> None:
    """A private key signs the claims in the contract's order, back-dated by 30 s, and the gateway takes the token."""
    gateway.register_key("k1", public_pem())
    identity: dict[str, Any] = {"kid": "k1", "tenant_id": gateway.tenant_id, "project_id": gateway.project_id}
    with Behest(pem(), base_url=gateway.base_url, tier="pro", **identity) as behest:
        behest.complete(BODY, scope=Scope("alice"))
        token = behest.mint("alice", session_id="s").token.get_secret_value()
    assert gateway.mints == []
    order = ["tid", "pid", "uid", "role", "scp", "iss", "aud", "iat", "nbf", "exp", "jti", "sid", "tier"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert list(claims) == order
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert claims["iat"] == claims["nbf"]
    assert claims["exp"] - claims["iat"] == 930
    assert gateway.chats[0].user_id == "alice"


def test_key_rotation(gateway: Emulator) -> None:
    """A callable supplies key and kid, so that the next token is signed with a new key, without a restart."""
    keys = [load_signing_key(pem(number=n), kid=f"k{n}") for n in range(2)]
    for n in range(2):
        gateway.register_key(f"k{n}", public_pem(number=n))
    current = [keys[0]]
    fields: dict[str, Any] = {"tenant_id": gateway.tenant_id, "project_id": gateway.project_id}
    with Behest(signing_key=lambda: current[0], base_url=gateway.base_url, **fields) as behest:
        behest.complete(BODY, scope=Scope("alice"))
        current[0] = keys[1]
        gateway.revoke_key("k0")
        behest.complete(BODY, scope=Scope("alice"))
    used = [jwt.get_unverified_header(chat.headers["authorization"][7:])["kid"] for chat in gateway.chats]
    assert used == ["k0", "k0", "k1"]
    assert gateway.chats[1].status == 401


def test_a_ready_token(gateway: Emulator) -> None:
    """A JWT as the key is used as it is, for its own user only."""
    token = gateway.issue("alice")
    with Behest(token, base_url=gateway.base_url) as behest:
        behest.complete(BODY)
        assert gateway.chats[0].headers["authorization"] == f"Bearer {token}"
        assert gateway.chats[0].user_id == "alice"
        with pytest.raises(BehestConfigError, match="can't be used for 'bob'"):
            behest.complete(BODY, scope=Scope("bob"))
    assert gateway.mints == []


def test_an_expired_ready_token(gateway: Emulator) -> None:
    """It can't be renewed; the error says what to give instead."""
    token = gateway.issue("alice", ttl=-3600)
    with Behest(token, base_url=gateway.base_url) as behest, pytest.raises(BehestAuthError, match="expired"):
        behest.complete(BODY)


@pytest.mark.parametrize("offset", [-600, 600])
def test_skew_of_our_clock_costs_no_failed_call(gateway: Emulator, offset: int) -> None:
    """Property 8: with the clocks ten minutes apart calls go through, minted or signed here."""
    gateway.clock_offset = offset
    with Behest(gateway.api_key, base_url=gateway.base_url) as behest:
        for _ in range(3):
            behest.complete(BODY, scope=Scope("alice"))
    assert len(gateway.mints) == 1
    gateway.register_key("k1", public_pem())
    fields: dict[str, Any] = {"kid": "k1", "tenant_id": gateway.tenant_id, "project_id": gateway.project_id}
    with Behest(pem(), base_url=gateway.base_url, **fields) as behest:
        for _ in range(3):
            behest.complete(BODY, scope=Scope("bob"))
