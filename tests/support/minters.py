"""A mint that is played by hand, as the pool's protocol for one allows."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
from collections.abc import Callable

from pydantic import SecretStr

from behest_base.tokens import Grant, Wanted

Outcome = float | Exception


def made_up_token(user_id: str, number: int) -> str:
    """Return a text in a JWT's form that no key has signed."""
    parts = ({"alg": "none"}, {"uid": user_id, "jti": str(number)})
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + ".c2ln"


class HandMinter:
    """Mints tokens of a lifetime, or fails; counts, and can be held until a test lets go."""

    def __init__(self, outcome: Outcome = 900.0) -> None:
        """Mint with this lifetime in seconds, or raise this error."""
        self.outcome = outcome
        self.users: list[str] = []
        self.server_times: list[float] = []
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Event()
        self.agate: Callable[[], asyncio.Event] | None = None
        self._numbers = itertools.count()

    @property
    def mints(self) -> int:
        """How often it was asked."""
        return len(self.users)

    def mint(self, wanted: Wanted) -> Grant:
        """Mint, once the test lets go."""
        number = self._begin(wanted)
        assert self.go.wait(10)
        return self._grant(wanted, number)

    async def amint(self, wanted: Wanted) -> Grant:
        """Mint, once the test lets go."""
        number = self._begin(wanted)
        if self.agate is not None:
            await self.agate().wait()
        elif not self.go.is_set():
            await asyncio.to_thread(self.go.wait, 10)
        return self._grant(wanted, number)

    def note_server_time(self, server_time: float) -> None:
        """Note the gateway's clock."""
        self.server_times.append(server_time)

    def _begin(self, wanted: Wanted) -> int:
        self.users.append(wanted.user_id)
        self.asked.set()
        return next(self._numbers)

    def _grant(self, wanted: Wanted, number: int) -> Grant:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Grant(SecretStr(made_up_token(wanted.user_id, number)), self.outcome)
