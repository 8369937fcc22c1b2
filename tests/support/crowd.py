"""A crowd of users at once on shared parts, each in a thread of the same name, with a gateway that fails now and then."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any

from behest_base.emulator import Emulator

__all__ = ["THREAD", "USERS", "check_apart", "let_fail", "meet"]

USERS = [f"user-{number:02}" for number in range(50)]
THREAD = "t"
_TURNS = 4
_NAME = re.compile(r"user-\d\d")

Say = Callable[[str, str, random.Random], Awaitable[None]]


def let_fail(gateway: Emulator, dice: random.Random) -> None:
    """Let a part of the chats fail before the gateway did anything, and some streams break off in the middle."""
    gateway.model = lambda request: f"I heard {request['messages'][-1]['content']}, and say a little more."
    faults: list[dict[str, Any]] = [{"status": 503}] * 30 + [{"status": 429, "retry_after": 0}] * 30
    faults += [{"after_chunks": 3, "close": True}] * 10
    dice.shuffle(faults)
    for fault in faults:
        gateway.fail_next(path="chat", **fault)


async def meet(say: Say, gateway: Emulator, seed: int) -> None:
    """Let all users talk at once: `say(user, text, dice)`, in order for each of them; the last words don't fail."""

    async def talk(user: str, words: range) -> None:
        dice = random.Random(f"{seed} {user} {words}")  # noqa: S311 - a test's
        for number in words:
            await say(user, f"{user} says {number}", dice)

    await asyncio.gather(*(talk(user, range(_TURNS)) for user in USERS))
    gateway.faults.clear()
    await asyncio.gather(*(talk(user, range(_TURNS, _TURNS + 1)) for user in USERS))


def check_apart(gateway: Emulator) -> None:
    """Check that each thread has each of its user's messages once and nothing of others, and each call its user's token."""
    assert len(gateway.mints) == len({mint.json["user_id"] for mint in gateway.mints}) == len(USERS)
    for chat in gateway.chats:
        assert chat.thread_id == THREAD
        said = [*chat.json["messages"], *(chat.effective_prompt or ())]
        assert {name for message in said for name in _NAME.findall(message["content"] or "")} == {chat.user_id}
    wanted = {user: [f"{user} says {number}" for number in range(_TURNS + 1)] for user in USERS}
    # What a reader left early is stored when the gateway notices.
    gateway.wait_for(lambda: all(len(_said(gateway, user)) >= len(words) for user, words in wanted.items()))
    assert {user: sorted(_said(gateway, user)) for user in USERS} == wanted


def _said(gateway: Emulator, user: str) -> list[str]:
    return [message["content"] for message in gateway.thread(user, THREAD) if message["role"] == "user"]
