"""What a test turns on the emulator while it runs: settings, scripted replies, faults, quotas; and what it can look at."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Literal

from behest_base.emulator.faults import Fault, Faults, RawResponse, Reply, Script, Scripts
from behest_base.emulator.keyring import LEEWAY_SECONDS, SIGNING_KID, Keyring
from behest_base.emulator.limits import Limits
from behest_base.emulator.recording import Kind, RecordedRequest, Recorder
from behest_base.emulator.store import Store

__all__ = ["Controls"]

TTL_SECONDS: Final = 900
MIN_TTL_SECONDS: Final = 60


class Controls:
    """The emulator without its server.

    Attributes:
        store_tool_calls: Whether threads keep tool calls and their results, the tier's setting.
        mint_shape: The form of the mint's answers.
        min_ttl: The shortest lifetime that the mint accepts, in seconds.
        list_shape: The form of lists: bare, under their name, or under `data` in pages with a cursor.
        page_size: Items of a page.
        models: Names that `model` may have besides `default`.
        has_usage: Whether there is a usage endpoint.
        blocked_words: Words that the guardrail blocks.
        clock_offset: Seconds by which the gateway's clock is ahead.
        mint_delay: Seconds that the mint takes.
        chat_delay: Seconds before a chat's answer begins.
        chunk_delay: Seconds between the chunks of a stream.
        reserve_same_token: Whether the mint serves a user the same token again and again.
        model: Replaces the built-in model: a function of the effective request.
        upstream: The address of a real OpenAI-compatible server that answers instead.
        upstream_key: Its API key.
        upstream_model: The model to ask for there.
        limits: Rate limits, budgets and quotas.
    """

    def __init__(self, *, db: str, api_key: str, tenant_id: str, project_id: str) -> None:
        """Open the database and make the keys."""
        self.api_key = api_key
        self.tenant_id = tenant_id
        self.project_id = project_id
        self.keyring = Keyring(tenant_id, project_id, self.now)
        self.store = Store(db)
        self.recorder = Recorder()
        self.faults = Faults()
        self.scripts = Scripts()
        self.generation = 0
        self._set_defaults()

    def _set_defaults(self) -> None:
        self.store_tool_calls = False
        self.mint_shape: Literal["current", "legacy"] = "current"
        self.min_ttl = MIN_TTL_SECONDS
        self.list_shape: Literal["bare", "wrapped", "data"] = "bare"
        self.page_size = 50
        self.models: tuple[str, ...] = ("behest-extractive",)
        self.has_usage = True
        self.blocked_words: tuple[str, ...] = ()
        self.clock_offset = 0.0
        self.mint_delay = self.chat_delay = self.chunk_delay = 0.0
        self.reserve_same_token = False
        self.model: Callable[[dict[str, Any]], Reply] | None = None
        self.upstream: str | None = None
        self.upstream_key: str | None = None
        self.upstream_model: str | None = None
        self.limits = Limits()
        self.mint_overrides: list[RawResponse] = []
        self.held: set[Kind] = set()
        self.reserved_tokens: dict[str, str] = {}

    def now(self) -> float:
        """Return the gateway's time in Unix seconds."""
        return time.time() + getattr(self, "clock_offset", 0.0)

    # -- what it is told --------------------------------------------------------------------------------------------

    def script(self, *replies: Script) -> None:
        """Queue replies for the next chats: text, a message, a whole completion, raw bytes, or a function giving one."""
        self.scripts.add(None, replies)

    def script_for(self, user_id: str, *replies: Script) -> None:
        """Queue replies for the next chats of one user."""
        self.scripts.add(user_id, replies)

    def fail_next(
        self,
        *,
        status: int | None = None,
        path: Kind | None = None,
        times: int = 1,
        code: str | None = None,
        message: str = "A fault that was asked for.",
        retry_after: float | str | None = None,
        details: Any = None,
        upgrade_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        after_chunks: int | None = None,
        error_event: bool = False,
        close: bool | Literal["after"] = False,
        end: bool = False,
    ) -> None:
        """Let the next requests fail.

        Args:
            status: The status to answer with.
            path: The kind of request that fails; any if None.
            times: How many fail.
            code: The envelope's code.
            message: The envelope's message.
            retry_after: The header `Retry-After`.
            details: The envelope's details.
            upgrade_url: The envelope's upgrade address.
            headers: More headers.
            body: The whole body instead of the envelope, JSON or text.
            after_chunks: Fail in the middle of a stream, after so many chunks, in one of the ways below.
            error_event: Send an error event with the status as its code.
            close: Drop the connection; without `after_chunks` before the gateway did anything, or with "after" when it
                has done its work but not answered.
            end: Just end the stream, without a finish reason.
        """
        fields = {"message": message, "code": code, "details": details, "upgrade_url": upgrade_url}
        error = {name: value for name, value in fields.items() if value is not None}
        if error_event:
            error["code"] = code if code is not None else status
        waits = {"Retry-After": str(retry_after)} if retry_after is not None else {}
        self.faults.add(
            Fault(
                path=path,
                status=status,
                headers={**waits, **(headers or {})},
                body=body if body is not None else {"error": error},
                after_chunks=after_chunks,
                ending=_ending(after_chunks, close=close, error_event=error_event, end=end),
            ),
            times,
        )

    def next_mint(self, body: Any, status: int = 200) -> None:
        """Let the next mint be answered with this JSON body."""
        self.mint_overrides.append(RawResponse(status, {}, body if isinstance(body, str) else json.dumps(body)))

    @contextlib.contextmanager
    def holding(self, kind: Kind) -> Generator[None, None, None]:
        """Let requests of a kind wait until the block ends."""
        self.held.add(kind)
        try:
            yield
        finally:
            self.held.discard(kind)

    def set_quota(self, user_id: str, *, exhausted: bool = True, upgrade_url: str | None = None) -> None:
        """Use up a user's tier, so that their chats are answered 402, or fill it again."""
        self.limits.set_quota(user_id, exhausted=exhausted, upgrade_url=upgrade_url)

    def register_key(self, kid: str, public_pem: str) -> None:
        """Put a public key into the tenant's JWKS, so that tokens signed with it are accepted."""
        self.keyring.register(kid, public_pem)

    def revoke_key(self, kid: str) -> None:
        """Take a key out of the JWKS."""
        self.keyring.revoke(kid)

    def reject_token(self, token: str) -> None:
        """Answer 401 to one token from now on."""
        self.keyring.reject(token)

    def reject_all_tokens(self) -> None:
        """Answer 401 to every token seen so far."""
        self.keyring.reject_issued()

    def issue(self, user_id: str, ttl: float = TTL_SECONDS, **claims: Any) -> str:
        """Sign a token; claims given override the usual ones. A negative lifetime makes an expired one."""
        if ttl < 0:
            ttl -= LEEWAY_SECONDS
            past = int(self.now() + ttl)
            claims = {"iat": past - TTL_SECONDS, "nbf": past - TTL_SECONDS, **claims}
        return self.keyring.issue(user_id, ttl, **claims)

    # -- what it shows ----------------------------------------------------------------------------------------------

    @property
    def signing_key(self) -> str:
        """A private key whose public half is in the JWKS, as PEM, for local signing."""
        return self.keyring.signing_pem()

    @property
    def signing_kid(self) -> str:
        """Its key id."""
        return SIGNING_KID

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far."""
        return self.recorder.all()

    @property
    def mints(self) -> list[RecordedRequest]:
        """The mints."""
        return self.recorder.all("mint")

    @property
    def chats(self) -> list[RecordedRequest]:
        """The chats."""
        return self.recorder.all("chat")

    def thread(self, user_id: str, thread_id: str) -> list[dict[str, Any]]:
        """Return the messages that a user's thread holds, empty if there is none."""
        return self.store.messages(user_id, thread_id) or []

    def threads(self, user_id: str) -> list[dict[str, Any]]:
        """Return what is known of a user's threads."""
        return self.store.threads(user_id)

    def wait_for(self, predicate: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until a predicate over the recorded requests holds.

        Raises:
            TimeoutError: It didn't in time.
        """
        self.recorder.wait_for(predicate, timeout)

    def clear(self) -> None:
        """Forget the recorded requests."""
        self.recorder.clear()

    def reset(self) -> None:
        """Be as new: no memory, no faults, no scripts, no recordings, the usual settings."""
        self.generation += 1
        self.recorder.clear()
        self.faults.clear()
        self.scripts.clear()
        self.store.reset()
        self._set_defaults()
        self.keyring.reset()


def _ending(
    after_chunks: int | None, *, close: bool | Literal["after"], error_event: bool, end: bool
) -> Literal["close", "error", "end", "before", "after"] | None:
    if after_chunks is not None:
        return "error" if error_event else "end" if end else "close"
    if close:
        return "after" if close == "after" else "before"
    return None
