"""Tokens to hand out, for example to a browser."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt
import pytest

from behest_base import Behest, BehestConfigError, Clock, Scope
from behest_base.emulator import Emulator

BODY = {"messages": [{"role": "user", "content": "Hello."}]}


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


@pytest.mark.parametrize("ttl", [-5, 0, 59, 86_401, 10**9])
async def test_a_lifetime_that_no_mint_would_give(gateway: Emulator, behest: Behest, ttl: int) -> None:
    """It is refused before anything is sent, and before a token that lives for years is signed here."""
    signing: dict[str, Any] = {
        "kid": gateway.signing_kid,
        "tenant_id": gateway.tenant_id,
        "project_id": gateway.project_id,
    }
    signer = await asyncio.to_thread(Behest, gateway.signing_key, base_url=gateway.base_url, **signing)
    for client in (behest, signer):
        with pytest.raises(BehestConfigError, match="60 to 86400"):
            client.mint("alice", ttl=ttl)
        with pytest.raises(BehestConfigError, match="60 to 86400"):
            await client.amint("alice", ttl=ttl)
    assert gateway.requests == []


@pytest.mark.parametrize(("lives", "ttl"), [(300, 300), (-300, 0)])
def test_a_ready_token_handed_out(gateway: Emulator, lives: int, ttl: int) -> None:
    """It lives until its own end, whatever the grace in which it is still tried for our own calls."""
    clock = Clock(wall=lambda: 1_000_000.0)
    token = gateway.issue("alice", 60, iat=1_000_000, nbf=1_000_000, exp=1_000_000 + lives, sid="sit-1")
    minted = Behest(token, base_url=gateway.base_url, clock=clock).mint()
    assert (minted.ttl, minted.expires_at, minted.session_id) == (ttl, 1_000_000 + lives, "sit-1")
