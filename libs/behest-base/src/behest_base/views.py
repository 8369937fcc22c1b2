"""What a client knows of a thread besides what the gateway holds: what waits to go out, and the turn just recorded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from behest_base.forks import on_fork
from behest_base.jsons import is_array
from behest_base.turns import text_of

__all__ = ["ThreadView", "Views"]

# Twice as many as connections, so that it takes many others to forget a turn under way; a thread that is can be read again.
MAX_VIEWS: Final = 2_000

Message = Mapping[str, Any]
T = TypeVar("T")


class ThreadView:
    """One user's thread as this client sees it. There is no endpoint that writes a message: a turn is written by its call.

    Attributes:
        pending: User messages that the thread doesn't hold yet; they go out with the next call in it, once.
        recorded: The last turn that a call of this client recorded in the thread: what was sent, texts only, then the reply.
        turns_begun: How many calls of this client the gateway took in the thread.
        turns_recorded: How many of them were completed. A stream that was left early in a task may be so only later.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._lock = threading.Lock()
        self.pending: tuple[dict[str, Any], ...] = ()
        self.recorded: tuple[dict[str, Any], ...] = ()
        self.turns_begun = self.turns_recorded = 0
        self._under_way: list[Sequence[Message]] = []
        self._notes: dict[Callable[[], Any], Any] = {}

    def notes(self, kind: Callable[[], T]) -> T:
        """Return what a framework's adapter notes of this thread, made at first: one of a kind, as long as the thread lives.

        Args:
            kind: What makes one; the same of each time.
        """
        with self._lock:
            if kind not in self._notes:
                self._notes[kind] = kind()
            return cast("T", self._notes[kind])

    @property
    def waiting(self) -> tuple[dict[str, Any], ...]:
        """The pending messages that no call is under way with: two calls at once must not both bring them."""
        with self._lock:
            return _without(self.pending, [message for sent in self._under_way for message in sent])

    def set_out(self, sent: Sequence[Message]) -> None:
        """Note that a call with these messages is under way; they stay pending until the gateway has taken them."""
        with self._lock:
            self._under_way.append(sent)

    def come_back(self, sent: Sequence[Message]) -> None:
        """Note that it is not any more: it has arrived, or failed."""
        with self._lock:
            self._under_way = [each for each in self._under_way if each is not sent]

    def after_fork(self) -> None:  # pragma: no cover - a forked child, which no coverage is measured in
        """Replace the lock, and drop the notes, which have locks of their own."""
        self._lock = threading.Lock()
        self._notes = {}

    def add_pending(self, messages: Sequence[Message]) -> None:
        """Keep user messages for the next call in the thread."""
        with self._lock:
            self.pending = (*self.pending, *(dict(message) for message in messages))

    def remove_pending(self, index: int) -> dict[str, Any]:
        """Take back a message that has not gone out, and return it.

        Raises:
            IndexError: There is none at this position.
        """
        with self._lock:
            rest = list(self.pending)
            removed = rest.pop(index)
            self.pending = tuple(rest)
            return removed

    def clear(self) -> None:
        """Forget everything, as after the thread was deleted."""
        with self._lock:
            self.pending = self.recorded = ()
            self._notes = {}

    def begin(self, sent: Sequence[Message]) -> None:
        """Note that the gateway took these messages: those that were pending are the thread's now."""
        with self._lock:
            self.pending = _without(self.pending, sent)
            self.recorded = tuple(_text_only(message) for message in sent)
            self.turns_begun += 1

    def finish(self, sent: Sequence[Message], reply: Message | None) -> None:
        """Note the reply that ended the turn, as far as it came."""
        with self._lock:
            said = [dict(reply)] if reply else []
            self.recorded = (*(_text_only(message) for message in sent), *said)
            self.turns_recorded += 1


class Views:
    """The views of a client, by user and thread; the longest unused are forgotten, but none with messages pending."""

    def __init__(self, limit: int = MAX_VIEWS) -> None:
        """Keep up to `limit` views."""
        self._lock = threading.Lock()
        self._limit = limit
        self._views: OrderedDict[tuple[str, str], ThreadView] = OrderedDict()
        on_fork(self)

    def after_fork(self) -> None:  # pragma: no cover - a forked child, which no coverage is measured in
        """Replace the locks."""
        self._lock = threading.Lock()
        for view in self._views.values():
            view.after_fork()

    def of(self, user_id: str, thread_id: str) -> ThreadView:
        """Return the view of a user's thread."""
        key = (user_id, thread_id)
        with self._lock:
            view = self._views.get(key)
            if view is None:
                view = self._views[key] = ThreadView()
                self._forget(key)
            self._views.move_to_end(key)
            return view

    def _forget(self, newest: tuple[str, str]) -> None:
        if len(self._views) > self._limit:
            old = next((key for key, view in self._views.items() if not view.pending and key != newest), None)
            if old is not None:
                del self._views[old]


def _without(messages: Sequence[dict[str, Any]], gone: Sequence[Message]) -> tuple[dict[str, Any], ...]:
    """Return messages without those that are gone, each of these counting once."""
    keys = [_key(message) for message in gone]
    rest: list[dict[str, Any]] = []
    for message in messages:
        if _key(message) in keys:
            keys.remove(_key(message))
        else:
            rest.append(message)
    return tuple(rest)


def _text_only(message: Message) -> dict[str, Any]:
    """Leave images and files out: a view outlives its call, and there are many."""
    content = message.get("content")
    return {**message, "content": text_of(content)} if is_array(content) else dict(message)


def _key(message: Message) -> tuple[Any, str]:
    return message.get("role"), text_of(message.get("content")).strip()
