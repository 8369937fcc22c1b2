"""Which messages added to a history the gateway has already: pure decisions about wire messages."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from behest_base import ThreadView
from behest_base.turns import text_of

__all__ = ["Ledger", "ThreadNeededError"]

Message = Mapping[str, Any]
Key = tuple[str, str]

_INSTRUCTIONS: Final = ("system", "developer")


class ThreadNeededError(LookupError):
    """Only the thread itself can say whether it holds a message: no call of this client produced it."""


class Ledger:
    """What of the turn that was just recorded in a thread has been added to its history; each message counts once.

    Apps add a turn to their history after the call that wrote it to the thread, in one go or message by message. The same
    text may be the next turn's message all the same ("yes", "go on"), so a recorded message answers for one addition only.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._lock = threading.Lock()
        self._turn = 0
        self._recorded: list[Key] = []
        self._announced: list[Key] = []

    def enter(
        self,
        messages: Sequence[Message],
        marks: Sequence[bool],
        view: ThreadView,
        thread: Sequence[Message] | None = None,
    ) -> None:
        """Note added messages: what the gateway has is noted only, user messages that it hasn't are left pending.

        Args:
            messages: What is added.
            marks: For each, whether it is marked as one of the thread's.
            view: What the client knows of the thread.
            thread: The thread's own messages, if they were read.

        Raises:
            ThreadNeededError: A reply or tool result is among them that no call of this client produced in this thread, and
                that isn't in the thread either, as far as it was read. Nothing was noted.
        """
        with self._lock:
            self._catch_up(view)
            recorded = list(self._recorded)
            held = [_key(message) for message in thread or ()]
            settled = max((i for i, mark in enumerate(marks) if mark), default=-1)
            missing: list[Message] = []
            for i, message in enumerate(messages):
                key = _key(message)
                is_known = key in recorded
                if is_known:
                    recorded.remove(key)
                if i > settled and not is_known:
                    _sort(message, key in held, missing)
                elif key[0] == "assistant":  # what stands before a reply went out with its call
                    missing.clear()
            self._recorded = recorded
            self._announced += [_key(message) for message in missing]
            view.add_pending(missing)

    def _catch_up(self, view: ThreadView) -> None:
        if view.turns_recorded == self._turn:
            return
        self._turn = view.turns_recorded
        self._recorded = [_key(message) for message in view.recorded]
        waiting = [_key(message) for message in view.pending]
        for key in [key for key in self._announced if key not in waiting]:
            self._announced.remove(key)
            if key in self._recorded:
                self._recorded.remove(key)


def _sort(message: Message, is_in_thread: bool, missing: list[Message]) -> None:  # noqa: FBT001 - one of two answers
    role = message["role"]
    if role == "user":
        missing.append(message)
    elif role == "assistant" and is_in_thread:
        missing.clear()
    elif role not in _INSTRUCTIONS and not is_in_thread:
        raise ThreadNeededError(role)


def _key(message: Message) -> Key:
    """Return what tells a message from others: its role and its text."""
    return str(message["role"]), text_of(message.get("content")).strip()
