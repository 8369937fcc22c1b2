"""Minting on the wire: the contract's request, both answers, and errors that say what to do."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from behest_base import (
    Behest,
    BehestAuthError,
    BehestConfigError,
    BehestConnectionError,
    BehestError,
    BehestServerError,
    Clock,
    Scope,
    scope,
)
from behest_base.emulator import Emulator
from behest_base.tokens import Grant, read_grant
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
    """Nothing is cached, nothing is sent with it."""
    gateway.next_mint(body=body)
    with pytest.raises(BehestServerError, match="mint's answer"):
        behest.complete(BODY, scope=Scope("alice"))
    assert gateway.chats == []
    assert behest.stats().mints == 0


@pytest.mark.parametrize("claims", [{"exp": 1}, {"exp": "soon"}])
def test_a_token_that_has_expired_already_is_an_error(
    gateway: Emulator, behest: Behest, claims: dict[str, Any]
) -> None:
    """A past end is seen, whatever the answer says besides."""
    token = jwt.encode({"uid": "alice", "iat": 0, **claims}, "x" * 32, algorithm="HS256")
    gateway.next_mint(body={"jwt": token})
    with pytest.raises(BehestServerError, match="lifetime"):
        behest.complete(BODY, scope=Scope("alice"))


def test_redirects_of_the_mint_are_not_followed(gateway: Emulator, behest: Behest) -> None:
    """The key stays with the origin fixed at construction."""
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
    """With the clocks ten minutes apart calls go through, minted or signed here."""
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


@pytest.mark.parametrize("claim", ["ttl", "exp"])
def test_numbers_that_no_float_can_say(gateway: Emulator, behest: Behest, claim: str) -> None:
    """An integer of four hundred digits is no lifetime."""
    huge = "1" + "0" * 400
    payload = base64.urlsafe_b64encode(f'{{"uid":"alice","exp":{huge if claim == "exp" else 2_000_000_000}}}'.encode())
    token = f"e30.{payload.decode().rstrip('=')}.c2ln"
    gateway.next_mint(f'{{"jwt":"{token}","ttl":{huge}}}' if claim == "ttl" else f'{{"jwt":"{token}"}}')
    with pytest.raises(BehestServerError, match="lifetime"):
        behest.complete(BODY, scope=Scope("alice"))


@pytest.mark.parametrize("user", ["\ud800", "a\udfff"])
def test_a_user_that_no_request_can_carry(behest: Behest, gateway: Emulator, user: str) -> None:
    """Half a surrogate pair is refused where it comes in."""
    with pytest.raises(BehestConfigError, match="user_id="):
        behest.complete(BODY, scope=Scope(user))
    assert gateway.requests == []


@pytest.mark.parametrize("tier", ["", " ", True, 1.5, float("nan"), ["pro"], "\ud800"])
def test_a_tier_that_is_none(behest: Behest, gateway: Emulator, tier: Any) -> None:
    """A tier has a name or a number."""
    with pytest.raises(BehestConfigError, match="tier="):
        behest.complete(BODY, scope=Scope("alice", tier=tier))
    assert gateway.requests == []


def test_a_scope_that_is_a_name(behest: Behest) -> None:
    """A user's bare name for a scope is an error that says what to write."""
    with pytest.raises(BehestConfigError, match="Scope\\('alice'\\), not str"):
        behest.complete(BODY, scope="alice")  # type: ignore[arg-type] # on purpose


@pytest.mark.parametrize("trouble", ["down", "slow"])
def test_a_renewal_is_tried_once_and_not_waited_for(
    gateway: Emulator, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """The call that finds a renewal due has a token; it neither retries nor waits for a Retry-After."""
    later, waits = [0.0], list[float]()
    clock = Clock(
        monotonic=lambda: time.monotonic() + later[0],
        wall=lambda: time.time() + later[0],
        sleep=waits.append,
        chance=lambda: 0.0,
    )
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=clock) as behest:
        behest.complete(BODY, scope=Scope("alice"))
        later[0] = 850.0
        if trouble == "down":
            gateway.fail_next(status=503, retry_after=7, path="mint", times=10)
        else:
            monkeypatch.setattr("behest_base.minters.RENEWAL_TIMEOUT_SECONDS", 0.05)
            gateway.mint_delay = 0.5
        behest.complete(BODY, scope=Scope("alice"))
        assert len(gateway.mints) == 2
        assert behest.stats().renewals == 0
        later[0] = 900.0
        gateway.mint_delay = 0.0
        if trouble == "down":
            with pytest.raises(BehestServerError):
                behest.complete(BODY, scope=Scope("alice"))
    assert waits == ([7.0, 7.0] if trouble == "down" else [])
    assert len(gateway.mints) == (5 if trouble == "down" else 2)


def lived(seconds: float, left: float, uid: str = "alice") -> str:
    """Make a token that has lived this long and has this much left."""
    now = time.time()
    return jwt.encode({"uid": uid, "iat": now - seconds, "exp": now + left}, "x" * 32, algorithm="HS256")


@pytest.mark.parametrize(
    "answer",
    [
        {"jwt": lived(1_000, -100), "ttl": 900},
        {"jwt": lived(0, 900), "ttl": -1},
        {"jwt": lived(0, 900), "ttl": "soon"},
        {"jwt": lived(0, 1e9), "ttl": 900},
        '{"jwt": "a.b.c", "ttl": NaN}',
        '{"jwt": "a.b.c", "expires_in": Infinity}',
    ],
)
def test_one_bad_lifetime_of_two_is_an_error(gateway: Emulator, behest: Behest, answer: Any) -> None:
    """The answer and the token may each say how long it lives; neither may be out of the question."""
    gateway.next_mint(answer)
    with pytest.raises(BehestServerError, match="lifetime"):
        behest.complete(BODY, scope=Scope("alice"))
    assert behest.stats().users == 1
    assert behest.stats().mints == 0


@pytest.mark.parametrize("skew", [0.0, -600.0, 600.0])
def test_a_token_that_the_mint_kept_for_a_while(gateway: Emulator, skew: float) -> None:
    """Of a token that is served again only what is left counts, by the mint's own clock."""
    clock = Clock(wall=lambda: time.time() + skew)
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=clock) as behest:
        gateway.next_mint({"jwt": lived(800, 100), "ttl": 900})
        assert 97 <= behest.mint("alice").ttl <= 102
        gateway.next_mint({"jwt": lived(0, 900), "ttl": 300})
        assert behest.mint("alice").ttl == 300


async def test_redirects_of_the_mint_are_not_followed_in_a_task(gateway: Emulator, behest: Behest) -> None:
    """The same, asynchronously, and to another host."""
    with Emulator() as foreign:
        gateway.fail_next(status=307, path="mint", headers={"Location": f"{foreign.base_url}/v1/auth/mint"})
        with pytest.raises(BehestConfigError, match="redirect"):
            await behest.acomplete(BODY, scope=Scope("alice"))
        assert foreign.requests == []
    assert len(gateway.requests) == 1
    await behest.aclose()


def test_a_mint_that_does_not_say_its_time() -> None:
    """Without a date in the answer the token's own `iat` is the mint's clock, and ours only without that."""
    for claims, lifetime in (({"iat": 5_000, "exp": 5_600}, 600.0), ({"exp": 5_600}, 5_600.0 - 5_100)):
        token = jwt.encode({"uid": "alice", **claims}, "x" * 32, algorithm="HS256")
        grant = read_grant(json.dumps({"jwt": token}).encode(), wall=5_100.0, server_time=None)
        assert isinstance(grant, Grant)
        assert grant.lifetime == lifetime
