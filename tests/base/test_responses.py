"""One mapping from the gateway's answers to errors."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import httpx
import pytest

import behest_base
from behest_base import errors
from behest_base.responses import error_from, error_from_event, retry_after_seconds, server_time
from support.keys import api_key
from support.minters import made_up_token

NOW = 1_800_000_000.0


def answer(status: int, body: Any = None, **headers: str) -> httpx.Response:
    """Make a response with a JSON or text body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, str):
        return httpx.Response(status, text=body, headers=named)
    return httpx.Response(status, json=body, headers=named)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"code": "bad", "message": "m"}}, errors.BehestBadRequestError),
        (422, {"error": "m", "code": "bad"}, errors.BehestBadRequestError),
        (400, {"error": {"code": "context_length_exceeded", "message": "m"}}, errors.BehestContextOverflowError),
        (400, {"message": "This model's maximum context length is 8192 tokens"}, errors.BehestContextOverflowError),
        (401, {"message": "m", "code": "token_expired"}, errors.BehestAuthError),
        (403, "plain text", errors.BehestAuthError),
        (402, {"error": {"code": "quota", "message": "m", "details": {"used": 5}}}, errors.BehestQuotaError),
        (404, {"error": "no such thread"}, errors.BehestNotFoundError),
        (429, {"error": {"code": "rate_limited", "message": "m"}}, errors.BehestRateLimitError),
        (429, {"error": {"code": "budget_exceeded", "message": "m"}}, errors.BehestQuotaError),
        (451, {"error": {"code": "pii", "message": "m"}}, errors.BehestContentBlockedError),
        (500, None, errors.BehestServerError),
        (502, "<!DOCTYPE html><html>Bad gateway</html>", errors.BehestServerError),
        (302, "", errors.BehestConfigError),
        (408, {"error": {"message": "litellm.Timeout", "code": "408"}}, errors.BehestTimeoutError),
        (418, "teapot", errors.BehestBadRequestError),
    ],
)
def test_statuses(status: int, body: Any, kind: type[errors.BehestError]) -> None:
    """Each status has its error, in each envelope that was seen."""
    error = error_from(answer(status, body, x_trace_id="tr-1", x_request_id="rq-1"), wall=NOW)
    assert type(error) is kind
    assert (error.status, error.trace_id, error.request_id) == (status, "tr-1", "rq-1")


def test_what_a_quota_error_carries() -> None:
    """Code, details and the address to upgrade at are kept, from either place in the envelope."""
    for body in (
        {"error": {"code": "quota", "message": "m", "details": {"used": 5}, "upgrade_url": "https://u"}},
        {"error": {"code": "quota", "message": "m", "details": {"used": 5, "upgrade_url": "https://u"}}},
        {"error": "m", "code": "quota", "upgrade_url": "https://u", "details": {"used": 5}},
    ):
        error = error_from(answer(402, body), wall=NOW)
        assert error.code == "quota"
        assert error.upgrade_url == "https://u"
        assert error.details["used"] == 5
        assert error.raw == body


def test_messages_are_short_and_hold_no_credential() -> None:
    """A gateway that echoes a key or token, or answers with a page, doesn't get it into the error."""
    for secret in (api_key(), made_up_token("alice", 1)):
        error = error_from(answer(400, {"error": {"message": f"bad {secret} " + "x" * 9_000}}), wall=NOW)
        assert secret not in repr(error.raw) + str(error)
        assert len(str(error)) < 1_000
    assert "<html" not in str(error_from(answer(502, "<html>" + "x" * 9_000), wall=NOW))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2),
        ({"retry-after": email.utils.formatdate(NOW + 30, usegmt=True)}, 30),
        ({"retry-after": email.utils.formatdate(NOW - 30, usegmt=True)}, 0),
        ({"retry-after": "+10000 years"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, decimals, milliseconds and dates are read; garbage is none."""
    assert retry_after_seconds(httpx.Headers(headers), wall=NOW) == seconds
    error = error_from(httpx.Response(429, headers=headers, json={}), wall=NOW)
    assert isinstance(error, errors.BehestRateLimitError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("zone", ["", " GMT", " -0000", " +0000"])
def test_dates_are_in_gmt_said_or_not(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """Whatever this machine's time zone is."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        date = f"Thu, 01 Jan 1970 00:00:30{zone}"
        assert retry_after_seconds({"retry-after": date}, wall=0) == 30
        assert server_time({"date": date}) == 30
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "m", "code": 429}}, errors.BehestRateLimitError),
        ({"error": {"message": "m", "code": "500"}}, errors.BehestServerError),
        ({"error": {"message": "m", "status": 402}}, errors.BehestQuotaError),
        ({"error": {"message": "m", "code": "budget_exceeded"}}, errors.BehestQuotaError),
        ({"error": {"message": "m", "code": "context_length_exceeded"}}, errors.BehestContextOverflowError),
        ({"error": "m"}, None),
        ({"error": {"message": "m", "code": "²³⁴"}}, None),
        ({"error": {"message": "m", "code": "4" * 5_000}}, None),
        ({"error": {"message": "m", "code": 600}}, None),
        ({"error": {"message": "m", "code": "weird"}}, None),
    ],
)
def test_errors_inside_a_stream(event: dict[str, Any], kind: type[errors.BehestError] | None) -> None:
    """An error event has its status in its code, if anywhere."""
    error = error_from_event(event, {})
    assert (type(error) if error else None) is kind


def test_fresh_errors_are_equal_but_for_the_traceback() -> None:
    """Each of those who wait raises an error of its own, with the cause that all share."""
    cause = OSError("x")
    with pytest.raises(errors.BehestRateLimitError) as caught:
        raise errors.BehestRateLimitError("m", status=429) from cause
    caught.value.retry_after = 3
    again = caught.value.fresh()
    assert again is not caught.value
    assert again.__traceback__ is None
    assert again.__cause__ is cause
    assert (again.status, again.retry_after, str(again)) == (429, 3, "m")


def test_the_tree_is_what_is_exported() -> None:
    """Every error class is public, and the tree's docstring draws each."""
    for name in errors.__all__:
        assert getattr(behest_base, name) is getattr(errors, name)
        assert name in (errors.__doc__ or "")
