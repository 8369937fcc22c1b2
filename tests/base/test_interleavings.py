"""Under any interleaving, eviction and failure a user's token never reaches another user's request."""

from __future__ import annotations

from typing import Any

import httpx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from behest_base import BehestAuth, BehestConnectionError, BehestError, Scope
from behest_base.hosts import Origin
from behest_base.jwts import read_claims
from behest_base.pool import TokenPool
from behest_base.scope import resolve
from support.clocks import HandClock
from support.minters import HandMinter

USERS = st.sampled_from(["alice", "bob", "carol", "dave"])
MAX_USERS = 2


class Requests(RuleBasedStateMachine):
    """Auth flows of several users, each advanced step by step in any order, on a cache too small for them."""

    flows = Bundle("flows")

    def __init__(self) -> None:
        """Begin with an empty cache, and a mint that works."""
        super().__init__()
        self.minter, self.hand = HandMinter(), HandClock()
        self.pool = TokenPool(self.minter, clock=self.hand.clock(), max_users=MAX_USERS)
        self.auth = BehestAuth(self.pool, Origin("https", "gw.test", 443), lambda: resolve(Scope("nobody")))

    @rule(target=flows, user=USERS, tier=st.sampled_from([None, "pro"]))
    def begin(self, user: str, tier: str | None) -> Any:
        """Begin a user's request."""
        request = httpx.Request("POST", "https://gw.test/v1/chat/completions", json={"user": user})
        request.extensions["behest_identity"] = resolve(Scope(user, tier=tier))
        return {"user": user, "flow": self.auth.sync_auth_flow(request), "sent": None, "done": False}

    @rule(flow=flows, status=st.sampled_from([200, 401, 500]))
    def advance(self, flow: dict[str, Any], status: int) -> None:
        """Send what the flow has, or answer what it sent."""
        if flow["done"]:
            return
        try:
            if flow["sent"] is None:
                sent = next(flow["flow"])
            else:
                sent = flow["flow"].send(httpx.Response(status, request=flow["sent"]))
        except (StopIteration, BehestError):
            flow["done"] = True
            return
        flow["sent"] = sent
        claims = read_claims(sent.headers["Authorization"].removeprefix("Bearer "))
        assert claims is not None
        assert claims["uid"] == flow["user"]

    @rule(seconds=st.sampled_from([0.5, 5, 100, 800, 1_000]), wall=st.sampled_from([0, 1, 2_000]))
    def wait(self, seconds: float, wall: float) -> None:
        """Let time pass, differently on both clocks."""
        self.hand.turn(seconds, wall=wall)

    @rule(up=st.booleans())
    def switch_the_mint(self, *, up: bool) -> None:
        """Let the mint fail, or work again."""
        self.minter.outcome = 900.0 if up else BehestConnectionError("down")

    @invariant()
    def bounded(self) -> None:
        """The cache never holds more users than it may."""
        assert self.pool.snapshot().users <= MAX_USERS


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
