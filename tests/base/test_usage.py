"""The usage resource on the wire."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from behest_base import Behest, BehestConfigError, BehestNotFoundError, BehestServerError, Scope
from behest_base.emulator import Emulator

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}


def test_usage(gateway: Emulator, behest: Behest) -> None:
    """Both buckets are read, bounds given as dates, datetimes or text."""
    behest.complete(HELLO, scope=Scope("alice"))
    today = dt.datetime.now(dt.UTC)
    for begin, end in (
        (None, None),
        (today.date(), today.date()),
        (today - dt.timedelta(hours=1), today + dt.timedelta(hours=1)),
        (today.date().isoformat(), (today + dt.timedelta(hours=1)).isoformat()),
    ):
        report = behest.usage(begin, end, user_id="alice")
        assert report.platform.requests == 1
        assert report.platform.by_model[0].input_tokens > 0
        assert report.byok.requests == 0
        assert report.project_id == gateway.project_id
    assert report.window.from_ == today.date().isoformat()


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [
        ("yesterday", None, "from_="),
        (None, 20260131, "to="),
        (dt.datetime(2026, 1, 1), None, "time zone"),  # noqa: DTZ001 - on purpose
        (dt.date(2026, 2, 1), dt.date(2026, 1, 1), "before"),
        (dt.datetime(2026, 2, 1, tzinfo=dt.UTC), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "before"),
        ("2026-02-01", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "before"),
    ],
)
def test_usage_between_what(behest: Behest, gateway: Emulator, begin: Any, end: Any, says: str) -> None:
    """Bounds that can't be meant are refused before anything is sent."""
    with pytest.raises(BehestConfigError, match=says):
        behest.usage(begin, end, user_id="alice")
    assert gateway.requests == []


async def test_no_usage_here(gateway: Emulator, behest: Behest) -> None:
    """An environment without the endpoint says so."""
    gateway.has_usage = False
    with pytest.raises(BehestNotFoundError, match="no usage endpoint"):
        await behest.ausage(user_id="alice")
    gateway.has_usage = True
    gateway.fail_next(status=200, path="usage", body={"platform": {"requests": "many"}})
    with pytest.raises(BehestServerError, match="requests"):
        behest.usage(user_id="alice")


@pytest.mark.parametrize("body", [{}, {"status": "ok"}, [], "ok"])
async def test_an_answer_that_is_no_report(gateway: Emulator, behest: Behest, body: Any) -> None:
    """It is not read as zero usage."""
    gateway.fail_next(status=200, path="usage", body=json.dumps(body), times=2)
    with pytest.raises(BehestServerError, match="no usage report") as caught:
        behest.usage(user_id="alice")
    assert caught.value.raw == body
    with pytest.raises(BehestServerError, match="no usage report"):
        await behest.ausage(user_id="alice")


@pytest.mark.parametrize("field", ["project_id", "window", "platform", "byok"])
def test_a_report_of_less(gateway: Emulator, behest: Behest, field: str) -> None:
    """One known field makes a report; what it leaves out is zero, and what it adds is kept."""
    body = {field: "p1" if field == "project_id" else {}, "plan": "pro"}
    gateway.fail_next(status=200, path="usage", body=body)
    report = behest.usage(user_id="alice")
    assert report.platform.requests == report.byok.requests == 0
    assert report.model_extra == {"plan": "pro"}
