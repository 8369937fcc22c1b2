"""Reads the gateway's answers: one classification of everything that isn't a success (`docs`: Errors)."""

from __future__ import annotations

import datetime as dt
import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import pydantic_core

from behest_base.errors import (
    BehestAuthError,
    BehestBadRequestError,
    BehestConfigError,
    BehestContentBlockedError,
    BehestContextOverflowError,
    BehestError,
    BehestNotFoundError,
    BehestQuotaError,
    BehestRateLimitError,
    BehestServerError,
    BehestTimeoutError,
)
from behest_base.jsons import is_object
from behest_base.redaction import redact, redact_json

__all__ = [
    "Answer",
    "Envelope",
    "error_from",
    "error_from_event",
    "parse_json",
    "read_envelope",
    "retry_after_seconds",
    "server_time",
]

BUDGET_EXCEEDED: Final = "budget_exceeded"
# A message is for a person: more than this of a gateway's text helps nobody.
MESSAGE_CHARACTERS: Final = 500

_CONTEXT_OVERFLOW: Final = re.compile(
    r"context.length.exceeded|context_window_exceeded|ContextWindowExceeded|maximum context length|prompt is too long",
    re.IGNORECASE,
)

_ERROR_STATUS: Final = re.compile(r"[45][0-9]{2}")

_HINTS: Final[Mapping[int, str]] = {
    401: "Check that the key (key= or BEHEST_KEY) belongs to this project and has not been revoked or, if it is a JWT, expired.",
    402: "The user's tier is used up; it is not retried. See `.upgrade_url` and `.details`.",
    403: "The token is valid but not allowed here: check that the project and tenant are the key's own and not stopped.",
    404: "Check the address (base_url= or BEHEST_BASE_URL, slug= or BEHEST_SLUG) and the thread id.",
    451: "A guardrail of the project blocked the message; it is not retried.",
}


class Answer(Protocol):
    """What is read of an `httpx.Response`, so that these functions need no client."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, looked up without regard to case."""
        ...

    @property
    def content(self) -> bytes:
        """The whole body."""
        ...


@dataclass(frozen=True, slots=True)
class Envelope:
    """An error body, whichever of the gateway's envelopes it came in."""

    message: str | None = None
    code: str | None = None
    details: Any = None
    upgrade_url: str | None = None
    raw: Any = None


def parse_json(body: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        ValueError: It is not JSON.
    """
    return pydantic_core.from_json(body)


def read_envelope(body: bytes) -> Envelope:
    """Read an error body: the gateway's three JSON envelopes, plain text, or a proxy's HTML."""
    try:
        parsed = redact_json(parse_json(body))
    except ValueError:
        return _text_envelope(body.decode("utf-8", "replace").strip())
    if is_object(parsed):
        return _json_envelope(parsed)
    return Envelope(message=str(parsed) if parsed is not None else None, raw=parsed)


def _text_envelope(text: str) -> Envelope:
    text = redact(text[: 4 * MESSAGE_CHARACTERS])
    if text[:200].lower().lstrip().startswith(("<!doctype", "<html", "<?xml", "<head", "<body")):
        return Envelope(
            message="the answer was an HTML page, which a proxy in between sends and the gateway does not", raw=text
        )
    return Envelope(message=text or None, raw=text or None)


def _json_envelope(body: dict[str, Any]) -> Envelope:
    inner = body.get("error")
    fields = {**body, **inner} if is_object(inner) else body
    message = inner if isinstance(inner, str) else fields.get("message")
    code = fields.get("code")
    details = fields.get("details")
    upgrade_url = fields.get("upgrade_url")
    if upgrade_url is None and is_object(details):
        upgrade_url = details.get("upgrade_url")
    return Envelope(
        message=message if isinstance(message, str) else None,
        code=str(code) if isinstance(code, str | int) else None,
        details=details,
        upgrade_url=upgrade_url if isinstance(upgrade_url, str) else None,
        raw=body,
    )


def error_from(answer: Answer, *, wall: float) -> BehestError:
    """Return the error that an unsuccessful answer stands for.

    Args:
        answer: The response, its body read.
        wall: The current time in Unix seconds, to read a `Retry-After` that is a date.
    """
    envelope = read_envelope(answer.content)
    error = _build(answer.status_code, envelope, answer.headers)
    if isinstance(error, BehestRateLimitError):
        error.retry_after = retry_after_seconds(answer.headers, wall=wall)
    return error


def error_from_event(event: Mapping[str, Any], headers: Mapping[str, str]) -> BehestError | None:
    """Return the typed error that an error event inside a stream stands for, or None if it names no status.

    The stream began with status 200, so the status can only stand in the event, as LiteLLM writes it: in `code`.
    """
    envelope = _json_envelope(cast("dict[str, Any]", redact_json(dict(event))))
    inner = event.get("error")
    status = inner.get("status") if is_object(inner) else None
    for candidate in (status, envelope.code):
        text = str(candidate)
        if _ERROR_STATUS.fullmatch(text):
            return _build(int(text), envelope, headers)
    if envelope.code and (envelope.code == BUDGET_EXCEEDED or _CONTEXT_OVERFLOW.search(envelope.code)):
        return _build(429 if envelope.code == BUDGET_EXCEEDED else 400, envelope, headers)
    return None


def _build(status: int, envelope: Envelope, headers: Mapping[str, str]) -> BehestError:
    kind = _kind(status, envelope)
    return kind(
        _message(status, envelope, headers),
        status=status,
        code=envelope.code,
        trace_id=headers.get("x-trace-id"),
        request_id=headers.get("x-request-id"),
        details=envelope.details,
        upgrade_url=envelope.upgrade_url,
        raw=envelope.raw,
    )


def _kind(status: int, envelope: Envelope) -> type[BehestError]:  # noqa: PLR0911 - a table with conditions
    match status:
        case 401 | 403:
            return BehestAuthError
        case 402:
            return BehestQuotaError
        case 404:
            return BehestNotFoundError
        case 408:
            return BehestTimeoutError
        case 429:
            return BehestQuotaError if envelope.code == BUDGET_EXCEEDED else BehestRateLimitError
        case 451:
            return BehestContentBlockedError
        case 400 | 413 | 422 if _CONTEXT_OVERFLOW.search(f"{envelope.code} {envelope.message}"):
            return BehestContextOverflowError
        case _ if 300 <= status < 400:  # noqa: PLR2004 - redirects
            return BehestConfigError
        case _ if status >= 500:  # noqa: PLR2004 - server errors
            return BehestServerError
        case _:
            return BehestBadRequestError


def _message(status: int, envelope: Envelope, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        return (
            f"The gateway's address answered with a redirect (HTTP {status}), which is not followed, since it would "
            "carry the credentials elsewhere. Give the address that it leads to (base_url= or BEHEST_BASE_URL)."
        )
    said = (envelope.message or "no reason given")[:MESSAGE_CHARACTERS]
    code = f", {envelope.code}" if envelope.code else ""
    trace = f" [trace {headers['x-trace-id']}]" if headers.get("x-trace-id") else ""
    hint = f" {_HINTS[status]}" if status in _HINTS else ""
    return f"Behest answered {status}{code}: {said.rstrip('.')}.{hint}{trace}"


def retry_after_seconds(headers: Mapping[str, str], *, wall: float) -> float | None:
    """Return the seconds that `retry-after-ms` or `Retry-After` (seconds or an HTTP date) asks to wait, if it is sane."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    moment = _http_date(value)
    return None if moment is None else max(0.0, moment - wall)


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the `Date` of an answer in Unix seconds, if it has one."""
    value = headers.get("date")
    return None if value is None else _http_date(value)


def _http_date(value: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(value)
        # HTTP dates are in GMT, said or not; without a zone Python would take them for local time.
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
