"""Faults and scripted replies: what a test wants the gateway to do next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from behest_base.emulator.recording import Kind

__all__ = ["Fault", "Faults", "RawResponse", "RawSSE", "Script", "Scripts"]


@dataclass(frozen=True)
class RawSSE:
    """An event stream to send byte by byte as it is; the connection is closed cleanly after it.

    Attributes:
        body: The bytes, or the pieces in which they are sent.
    """

    body: bytes | Sequence[bytes]

    @property
    def pieces(self) -> list[bytes]:
        """The pieces in which to send it."""
        return [self.body] if isinstance(self.body, bytes) else list(self.body)


@dataclass(frozen=True)
class RawResponse:
    """A whole answer to send as it is."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | str = b""


Reply = str | dict[str, Any] | RawSSE | RawResponse
"""Text, an assistant message, a whole completion, or raw bytes."""

Script = Reply | Callable[[dict[str, Any]], Reply]
"""A reply, or a function of the effective request that gives one."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with a request.

    Attributes:
        path: The kind of request that it waits for; any but the JWKS if None.
        status: The status to answer with; None for faults of the connection.
        headers: Headers of the answer.
        body: The answer's body; JSON if it is not text.
        after_chunks: Let it come in the middle of a stream, after so many chunks.
        ending: What happens to the connection then: it is dropped (`close`), an error event is sent (`error`), or the
            stream just ends (`end`). Before any chunk: dropped `before` or `after` the gateway did its work.
    """

    path: Kind | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    after_chunks: int | None = None
    ending: Literal["close", "error", "end", "before", "after"] | None = None


class Faults:
    """The faults that wait for their request, in order."""

    def __init__(self) -> None:
        """Keep none."""
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault, times: int) -> None:
        """Let a fault happen so many times."""
        with self._lock:
            self._waiting += [fault] * times

    def take(self, kind: Kind) -> Fault | None:
        """Return the next fault for a request of this kind, if one waits."""
        with self._lock:
            for fault in self._waiting:
                if fault.path == kind or (fault.path is None and kind != "jwks"):
                    self._waiting.remove(fault)
                    return fault
            return None

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._waiting.clear()


class Scripts:
    """Replies for the next chats, for anyone or for one user."""

    def __init__(self) -> None:
        """Keep none."""
        self._lock = threading.Lock()
        self._queues: dict[str | None, deque[Script]] = {}

    def add(self, user_id: str | None, replies: Sequence[Script]) -> None:
        """Queue replies for a user, or for anyone."""
        with self._lock:
            self._queues.setdefault(user_id, deque()).extend(replies)

    def take(self, user_id: str) -> Script | None:
        """Return the next reply for a user: their own, else anyone's."""
        with self._lock:
            for name in (user_id, None):
                queue = self._queues.get(name)
                if queue:
                    return queue.popleft()
            return None

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._queues.clear()
