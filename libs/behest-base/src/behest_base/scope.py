"""For whom a call is made: identity as an argument, or ambient for a block of code, never global state."""

from __future__ import annotations

import contextlib
import enum
import re
import uuid
from collections.abc import Generator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Final, Self

from pydantic import SecretStr

from behest_base.errors import BehestConfigError
from behest_base.jwts import read_claims

__all__ = ["UNSET", "Identity", "Scope", "Unset", "resolve", "scope"]


MAX_ID_CHARACTERS: Final = 255
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]+")


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        """Read as the name it is imported by."""
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Not given: the next place in the order of resolution decides. `None`, in contrast, means none."""


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom, and in which session and thread, a call is made.

    Each field is resolved for itself: the call's own argument, else the ambient `scope`, else the model's or client's
    default, else the environment (`BEHEST_USER_ID`). `None` means none and ends the search; `UNSET` goes on.

    Attributes:
        user_id: The end user, 1 to 255 characters, as your application knows them.
        session_id: The gateway's memory of one sitting. None: a fresh one for each call, so that calls share nothing.
        thread_id: The persistent conversation.
        tier: The user's tier, by name or number, as the gateway's mint takes it.
    """

    user_id: str | Unset | None = UNSET
    session_id: str | Unset | None = UNSET
    thread_id: str | Unset | None = UNSET
    tier: str | int | Unset | None = UNSET
    # A user's own token (`from_token`); it belongs to user_id and travels with it.
    token: SecretStr | None = field(default=None, repr=False, kw_only=True)

    @classmethod
    def current(cls) -> Scope:
        """Return the ambient scope, all `UNSET` outside of any `scope` block."""
        return _ambient.get()

    @classmethod
    def from_token(cls, token: str | SecretStr) -> Self:
        """Return a scope in which calls carry this end user's own token, as it is, until it expires.

        Verify the token first (`BehestVerifier`): this only reads whose it is.

        Args:
            token: A Behest JWT, as a front end sends it.

        Raises:
            BehestConfigError: It is not a JWT, or names no user.
        """
        secret = token if isinstance(token, SecretStr) else SecretStr(token)
        del token  # no secret in the frame of an error
        claims = read_claims(secret.get_secret_value()) or {}
        user_id, session_id = claims.get("uid"), claims.get("sid")
        if not isinstance(user_id, str) or not user_id:
            msg = "Scope.from_token needs a Behest JWT: three base64url parts with dots, and a claim 'uid'."
            raise BehestConfigError(msg)
        return cls(user_id=user_id, session_id=session_id if isinstance(session_id, str) else UNSET, token=secret)

    def over(self, other: Scope) -> Scope:
        """Return this scope with what it leaves unset taken from `other`."""
        # A user's token is that user's only: another user_id leaves it behind.
        keeps_token = self.token is None and (self.user_id is UNSET or self.user_id == other.user_id)
        return Scope(
            user_id=other.user_id if self.user_id is UNSET else self.user_id,
            session_id=other.session_id if self.session_id is UNSET else self.session_id,
            thread_id=other.thread_id if self.thread_id is UNSET else self.thread_id,
            tier=other.tier if self.tier is UNSET else self.tier,
            token=other.token if keeps_token else self.token,
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without the token, which stays in this process."""
        return (Scope, (self.user_id, self.session_id, self.thread_id, self.tier))


@dataclass(frozen=True, slots=True)
class Identity:
    """A scope resolved: for whom exactly a request goes out.

    Attributes:
        user_id: The end user.
        session_id: The session, a fresh one where none was named.
        thread_id: The thread, or None.
        tier: The tier to mint for, or None for the project's default.
        has_own_session: Whether the session was named rather than made for this call.
    """

    user_id: str
    session_id: str
    thread_id: str | None = None
    tier: str | int | None = None
    has_own_session: bool = False
    token: SecretStr | None = field(default=None, repr=False, kw_only=True)

    def without_conversation(self, session_id: str) -> Identity:
        """Return the same user in no thread and in the session given."""
        return replace(self, session_id=session_id, thread_id=None, has_own_session=False)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without the token, which stays in this process."""
        return (Identity, (self.user_id, self.session_id, self.thread_id, self.tier, self.has_own_session))


_ambient: ContextVar[Scope] = ContextVar("behest_scope", default=Scope())  # noqa: B039 - immutable


@contextlib.contextmanager
def scope(
    user_id: str | Scope | Unset | None = UNSET,
    *,
    session_id: str | Unset | None = UNSET,
    thread_id: str | Unset | None = UNSET,
    tier: str | int | Unset | None = UNSET,
    token: str | SecretStr | None = None,
) -> Generator[Scope, None, None]:
    """Make every call inside the block for this user, session, thread or tier, unless it says otherwise itself.

    Blocks nest: what the inner one leaves unset comes from the outer one. The scope follows the context (PEP 567): tasks
    inherit it, new threads do not unless they are given the context, and two requests of a web server never share it.

    Args:
        user_id: The end user, or a whole `Scope`, of which the other arguments override fields.
        session_id: The session; None for a fresh one per call.
        thread_id: The thread; None for none.
        tier: The tier.
        token: The user's own verified token, instead of user_id (see `Scope.from_token`).

    Yields:
        The scope that is now in force.

    Raises:
        BehestConfigError: The token is no Behest JWT, or another user's than user_id.

    Example:
        ```python
        with scope("alice", thread_id="support-42"):
            model.invoke("Where were we?")
        ```
    """
    secret = SecretStr(token) if isinstance(token, str) else token
    del token  # no secret in the frame of an error
    whole = user_id if isinstance(user_id, Scope) else Scope(user_id)
    given = Scope(session_id=session_id, thread_id=thread_id, tier=tier).over(whole)
    if secret is not None:
        own = Scope.from_token(secret)
        if given.user_id not in (UNSET, own.user_id):
            msg = "scope() was given a user_id and another user's token. Leave user_id= out: the token names its user."
            raise BehestConfigError(msg)
        given = given.over(own)
    merged = given.over(_ambient.get())
    reset = _ambient.set(merged)
    try:
        yield merged
    finally:
        _ambient.reset(reset)


def resolve(scope: Scope) -> Identity:
    """Return the identity that a scope stands for, with a session of its own if it names none.

    Raises:
        BehestConfigError: It names no user, or a field that can't be sent.
    """
    user_id = scope.user_id
    if user_id is UNSET or user_id is None:
        msg = (
            "No user: every call is made for one end user. Pass user_id= (or scope=Scope(user_id=…)), make the call inside "
            "`with scope(user_id):`, or set a default with user_id= on the client or BEHEST_USER_ID."
        )
        raise BehestConfigError(msg, code="missing_user")
    _check_user(user_id)
    _check_tier(scope.tier)
    session_id = _header_value("session_id", scope.session_id)
    return Identity(
        user_id=user_id,
        session_id=session_id or uuid.uuid4().hex,
        thread_id=_header_value("thread_id", scope.thread_id),
        tier=None if scope.tier is UNSET else scope.tier,
        has_own_session=session_id is not None,
        token=scope.token,
    )


def _check_user(user_id: object) -> None:
    if not isinstance(user_id, str) or not 1 <= len(user_id) <= MAX_ID_CHARACTERS or not _is_text(user_id):
        msg = (
            f"user_id= must be text of 1 to {MAX_ID_CHARACTERS} characters: your application's own id of the end user."
        )
        raise BehestConfigError(msg, code="bad_user")


def _check_tier(tier: object) -> None:
    if tier is UNSET or tier is None or (isinstance(tier, int) and not isinstance(tier, bool)):
        return
    if not isinstance(tier, str) or not _is_text(tier):
        msg = "tier= must be the name or the number of a tier."
        raise BehestConfigError(msg)


def _is_text(value: str) -> bool:
    """Say whether there is something in it that JSON can say: half a surrogate pair is not."""
    return bool(value.strip()) and not any("\ud800" <= character <= "\udfff" for character in value)


def _header_value(name: str, value: object) -> str | None:
    if value is UNSET or value is None:
        return None
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value) or len(value) > MAX_ID_CHARACTERS:
        msg = f"{name}= must be 1 to {MAX_ID_CHARACTERS} printable ASCII characters without spaces: it is sent as a header."
        raise BehestConfigError(msg)
    return value
