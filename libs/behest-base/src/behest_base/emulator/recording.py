"""What the emulator saw: every request, for tests to assert on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from starlette.datastructures import Headers

__all__ = ["Kind", "RecordedRequest", "Recorder", "kind_of"]

Kind = Literal["mint", "jwks", "chat", "threads", "usage", "models", "other"]

# So that an emulator left running for days doesn't fill the memory.
KEPT_REQUESTS: Final = 10_000

_KINDS: Final[Mapping[str, Kind]] = {
    "/v1/auth/mint": "mint",
    "/auth/v1/auth/mint": "mint",
    "/.well-known/jwks.json": "jwks",
    "/v1/chat/completions": "chat",
    "/v1/billing/usage": "usage",
    "/v1/models": "models",
}


def kind_of(path: str) -> Kind:
    """Return what a request to a path is about."""
    return "threads" if path.startswith("/v1/threads") else _KINDS.get(path, "other")


@dataclass(eq=False)
class RecordedRequest:
    """One request, and what became of it.

    Attributes:
        method: The HTTP method.
        path: The path.
        query: The query's fields.
        headers: The headers, looked up without regard to case.
        json: The body, None if it had none that is JSON.
        kind: What it was about.
        claims: The token's claims, of a data-plane call whose token was accepted.
        user_id: The token's user.
        session_id: The session it belonged to.
        thread_id: The thread it named.
        effective_prompt: Of a chat, what the model was given after the gateway's memory was added.
        reply: Of a chat, the assistant's message.
        status: The answer's status.
        disconnected: Whether the client went away before the answer's end.
        at: When it came, in seconds of the monotonic clock.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: Headers = field(repr=False)
    json: Any
    kind: Kind
    claims: dict[str, Any] | None = None
    user_id: str | None = None
    session_id: str | None = None
    thread_id: str | None = None
    effective_prompt: list[dict[str, Any]] | None = None
    reply: dict[str, Any] | None = None
    status: int | None = None
    disconnected: bool = False
    at: float = field(default_factory=time.monotonic)


class Recorder:
    """Keeps the last requests, and lets a test wait for what it expects of them."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._changed = threading.Condition()
        self._requests: deque[RecordedRequest] = deque(maxlen=KEPT_REQUESTS)

    def add(self, request: RecordedRequest) -> None:
        """Keep a request."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def notify(self) -> None:
        """Say that something about a request is known now."""
        with self._changed:
            self._changed.notify_all()

    def all(self, kind: Kind | None = None) -> list[RecordedRequest]:
        """Return the requests, of one kind if named."""
        with self._changed:
            return [request for request in self._requests if kind is None or request.kind == kind]

    def clear(self) -> None:
        """Forget the requests."""
        with self._changed:
            self._requests.clear()

    def wait_for(self, predicate: Callable[[], object], timeout: float) -> None:
        """Wait until the predicate holds.

        Raises:
            TimeoutError: It didn't in time.
        """
        with self._changed:
            # Woken by every change; looked at now and then besides, since a predicate may be about something else.
            end = time.monotonic() + timeout
            while not predicate():
                left = end - time.monotonic()
                if left <= 0:
                    msg = f"What was waited for did not come about within {timeout} s."
                    raise TimeoutError(msg)
                self._changed.wait(min(left, 0.05))
