"""Tokens, and what a mint's answer has to be before it becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pydantic import SecretStr

from behest_base.clock import Clock
from behest_base.errors import BehestError, BehestServerError
from behest_base.jsons import is_object
from behest_base.jwts import finite_number, is_jwt, lifetime_of, number_claim, read_claims
from behest_base.responses import parse_json

__all__ = ["Grant", "MintedToken", "Minter", "Token", "Wanted", "make_token", "minted_token", "read_grant"]

# Renew in the last fifth of a token's life, five minutes at most, so that a mint that is down for a while goes unnoticed.
RENEWAL_WINDOW_SECONDS: Final = 300.0
RENEWAL_WINDOW_SHARE: Final = 0.2
# However the jitter falls, this share of the window is left: 10 % of a life, 150 s of a long one.
RENEWAL_WINDOW_FLOOR: Final = 0.5
# A request takes time to arrive: a token isn't used in its last seconds.
EXPIRY_MARGIN_SECONDS: Final = 5.0
# The mint's contract is 60 to 86,400 s. Less than this is of no use, and more is a bug such as milliseconds for seconds.
MIN_LIFETIME_SECONDS: Final = 2 * EXPIRY_MARGIN_SECONDS
MAX_LIFETIME_SECONDS: Final = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a mint is asked for.

    Attributes:
        user_id: The end user.
        tier: The user's tier, sent as given.
        ttl: Seconds, or None for the minter's default.
        session_id: A session to write into the token as `sid`.
        role: The role; the mint's default is `user`.
        is_renewal: Whether the user's token still lives, so that a failure can wait for the next try.
    """

    user_id: str
    tier: str | int | None = None
    ttl: int | None = None
    session_id: str | None = None
    role: str | None = None
    is_renewal: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a mint gave.

    Attributes:
        secret: The JWT.
        lifetime: Seconds from the moment the mint was asked.
        session_id: The session that the mint answered with.
        grace: Seconds past its end in which it is tried all the same, since our clock may be ahead.
    """

    secret: SecretStr
    lifetime: float
    session_id: str | None = None
    grace: float = 0.0


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A token to hand out, for example to a browser.

    Attributes:
        token: The JWT; shown by `token.get_secret_value()` only.
        session_id: The session written into it.
        ttl: Lifetime in seconds.
        expires_at: End of its life in Unix seconds.
    """

    token: SecretStr
    session_id: str
    ttl: int
    expires_at: int

    def for_browser(self) -> dict[str, str | int]:
        """Return the body that an app's token endpoint answers its front end with (`docs`)."""
        return {
            "token": self.token.get_secret_value(),
            "sessionId": self.session_id,
            "ttl": self.ttl,
            "expiresAt": self.expires_at,
        }


def minted_token(wanted: Wanted, grant: Grant, *, wall: float) -> MintedToken:
    """Return what a mint for handing out came to.

    Args:
        wanted: What was asked for.
        grant: What was given.
        wall: When it was asked, in Unix seconds.
    """
    claims = read_claims(grant.secret.get_secret_value()) or {}
    expires = number_claim(claims, "exp")
    return MintedToken(
        token=grant.secret,
        session_id=grant.session_id or wanted.session_id or "",
        ttl=max(0, int(grant.lifetime)),
        expires_at=int(expires if expires is not None else wall + grant.lifetime),
    )


class Minter(Protocol):
    """A way to get a user's token."""

    def mint(self, wanted: Wanted) -> Grant:
        """Get a token, blocking the calling thread."""
        ...

    async def amint(self, wanted: Wanted) -> Grant:
        """Get a token without blocking the event loop."""
        ...

    def note_server_time(self, server_time: float) -> None:
        """Learn the gateway's clock (Unix seconds) from an answer that refused a token."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """A user's token in the cache. Two are the same token only if they are the same object.

    Attributes:
        authorization: The header's value.
        due_at: When to renew it, on the monotonic clock.
        usable_until: When to stop using it, on the monotonic clock.
        wall_until: The same on the wall clock, which goes on while the machine sleeps.
    """

    authorization: str = field(repr=False)
    due_at: float
    usable_until: float
    wall_until: float

    def usable(self, clock: Clock) -> bool:
        """Say whether neither clock finds it expired."""
        return clock.monotonic() < self.usable_until and clock.wall() < self.wall_until


def make_token(grant: Grant, *, started: float, started_wall: float, chance: float) -> Token:
    """Turn a grant into a token, its life counted from when the mint was asked.

    Args:
        grant: What the mint gave.
        started: The monotonic clock when it was asked.
        started_wall: The wall clock then.
        chance: `[0, 1)`: spreads the renewal over the second half of the window, so that users minted together
            aren't renewed together.
    """
    lifetime = grant.lifetime + grant.grace
    window = min(RENEWAL_WINDOW_SECONDS, RENEWAL_WINDOW_SHARE * lifetime)
    window *= RENEWAL_WINDOW_FLOOR + (1 - RENEWAL_WINDOW_FLOOR) * chance
    usable = lifetime - EXPIRY_MARGIN_SECONDS
    return Token(
        authorization=f"Bearer {grant.secret.get_secret_value()}",
        due_at=started + lifetime - window,
        usable_until=started + usable,
        wall_until=started_wall + usable,
    )


def read_grant(body: bytes, *, wall: float, server_time: float | None) -> Grant | BehestError:
    """Read a mint's answer in either of its shapes; return the error for one that can't be used.

    Args:
        body: The answer's body.
        wall: Our clock, in Unix seconds.
        server_time: The mint's clock (`Date`), where the answer had one: a token that it kept for a while and serves again
            has less of its life left than it began with.

    An error is returned and not raised, since this frame holds the token and a traceback may show its locals.
    """
    try:
        parsed = parse_json(body)
    except ValueError:
        return _refused("is not JSON")
    if not is_object(parsed):
        return _refused("is not a JSON object")
    answer = parsed
    token = answer.get("jwt") or answer.get("access_token")
    if not isinstance(token, str) or not is_jwt(token):
        return _refused("has no token, or one that is not a JWT")
    lifetime = _lifetime(answer, token, wall, server_time)
    if lifetime is None:
        return _refused(
            f"has no usable lifetime: 'ttl' or 'expires_in' must be seconds between {MIN_LIFETIME_SECONDS:.0f} and "
            f"{MAX_LIFETIME_SECONDS:.0f}, or the token must have an 'exp'"
        )
    session_id = answer.get("session_id")
    return Grant(SecretStr(token), lifetime, session_id if isinstance(session_id, str) else None)


def _lifetime(answer: Mapping[str, Any], token: str, wall: float, server_time: float | None) -> float | None:
    """Return the shorter of what the answer says and what the token says, or None if either can't be right."""
    claims = read_claims(token)
    stated = answer.get("ttl", answer.get("expires_in"))
    expires = number_claim(claims, "exp") if claims else None
    if claims is None or expires is None or server_time is None:
        own = lifetime_of(claims, wall=wall) if claims else None
    else:
        own = expires - server_time
    lifetimes = [finite_number(value) for value in (stated, own) if value is not None]
    fit = [value for value in lifetimes if value is not None and MIN_LIFETIME_SECONDS <= value <= MAX_LIFETIME_SECONDS]
    return min(fit) if fit and len(fit) == len(lifetimes) else None


def _refused(why: str) -> BehestServerError:
    return BehestServerError(
        f"The mint's answer {why}. Check that the address is a Behest gateway's (base_url= or BEHEST_BASE_URL, mint_url= or "
        "BEHEST_MINT_URL).",
        code="invalid_mint_answer",
    )
