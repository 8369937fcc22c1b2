"""Which of a model's calls are turns of the thread that they are made under (D8: what belongs to the conversation)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from behest_base import ThreadView
from llamaindex_behest.identity import Use

__all__ = ["Conversation", "conversation_of"]

Message = Mapping[str, Any]


class Conversation:
    """What the memories and stores of one thread said of the turn under way.

    Attributes:
        in_use: Whether one of them was read or written since the last turn was complete.
        asked: The user message of this turn, None if none of them was told.
    """

    def __init__(self) -> None:
        """Know of no turn."""
        self.in_use = False
        self.asked: Message | None = None

    def ask(self, message: Message) -> None:
        """Note this turn's user message."""
        self.in_use = True
        self.asked = message

    def end(self) -> None:
        """Note that the turn has its final reply."""
        self.in_use = False
        self.asked = None

    def takes(self, messages: Sequence[Message], use: Use) -> bool:
        """Say whether a call with this list is a part of the turn."""
        if use is Use.PROMPT and not self.in_use:
            return False
        return self.asked is None or _last_said(messages) == _said(self.asked)


_conversations: WeakKeyDictionary[ThreadView, Conversation] = WeakKeyDictionary()
_lock = threading.Lock()


def conversation_of(view: ThreadView) -> Conversation:
    """Return the conversation of a client's thread; it lives as long as the client's view of it."""
    with _lock:
        known = _conversations.get(view)
        if known is None:
            known = _conversations[view] = Conversation()
        return known


def _last_said(messages: Sequence[Message]) -> Any:
    return next((_said(message) for message in reversed(messages) if message["role"] == "user"), None)


def _said(message: Message) -> Any:
    content = message["content"]
    return content.strip() if isinstance(content, str) else content
