"""Rate limits, budgets and quotas, off unless set (`docs`: Limits)."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from behest_base.emulator.refusals import Refusal

__all__ = ["Limits"]

MINUTE_SECONDS: Final = 60.0


@dataclass
class Limits:
    """How much is allowed.

    Attributes:
        requests_per_minute: Of the project.
        user_requests_per_minute: Of one user.
        token_budget: Tokens of all calls together.
    """

    requests_per_minute: int | None = None
    user_requests_per_minute: int | None = None
    token_budget: int | None = None
    _times: dict[str | None, deque[float]] = field(default_factory=dict[str | None, deque[float]])
    _exhausted: dict[str, str | None] = field(default_factory=dict[str, str | None])

    def set_quota(self, user_id: str, *, exhausted: bool, upgrade_url: str | None) -> None:
        """Use up a user's tier, or fill it again."""
        if exhausted:
            self._exhausted[user_id] = upgrade_url
        else:
            self._exhausted.pop(user_id, None)

    def check(self, user_id: str, tier: object, tokens_used: int) -> None:
        """Count a call.

        Raises:
            Refusal: It is one too many.
        """
        if user_id in self._exhausted:
            details = {"tier": tier or "free", "limit": 0, "used": tokens_used}
            raise Refusal(
                402,
                "quota_exceeded",
                "The user's tier is used up.",
                details=details,
                upgrade_url=self._exhausted[user_id],
            )
        self._check_rate(None, self.requests_per_minute)
        self._check_rate(user_id, self.user_requests_per_minute)
        if self.token_budget is not None and tokens_used >= self.token_budget:
            raise Refusal(429, "budget_exceeded", "The token budget is spent.", details={"used": tokens_used})

    def _check_rate(self, who: str | None, limit: int | None) -> None:
        if limit is None:
            return
        now = time.monotonic()
        times = self._times.setdefault(who, deque())
        while times and times[0] <= now - MINUTE_SECONDS:
            times.popleft()
        if len(times) >= limit:
            wait = max(1, round(times[0] + MINUTE_SECONDS - now))
            raise Refusal(429, "rate_limited", "Too many requests.", headers={"Retry-After": str(wait)})
        times.append(now)
