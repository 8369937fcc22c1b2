"""The usage resource: requests, tokens and cost of the project (`index`, `docs`: Billing)."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from behest_base.errors import BehestConfigError, BehestNotFoundError, BehestServerError
from behest_base.exchange import Call, Operation, read_json
from behest_base.jsons import is_object
from behest_base.scope import Identity

__all__ = ["ModelUsage", "Usage", "UsageBucket", "UsageWindow", "read_usage"]

USAGE: Final = "/v1/billing/usage"

Moment = dt.date | dt.datetime | str | None


class _Open(BaseModel):
    """A model that keeps what the gateway adds."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=(), populate_by_name=True)


class ModelUsage(_Open):
    """What one model was used for.

    Attributes:
        model: The model's name.
        requests: Calls.
        input_tokens: Tokens in.
        output_tokens: Tokens out.
        cost_usd: Cost in US dollars.
    """

    model: str | None = None
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


class UsageBucket(_Open):
    """What was used over one kind of provider key.

    Attributes:
        requests: Calls.
        input_tokens: Tokens in.
        output_tokens: Tokens out.
        cost_usd: Cost in US dollars.
        by_model: The same for each model.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    by_model: list[ModelUsage] = Field(default_factory=list[ModelUsage])


class UsageWindow(_Open):
    """The time that a report is about, as the gateway says it.

    Attributes:
        from_: Its begin.
        to: Its end.
    """

    from_: str | None = Field(default=None, alias="from")
    to: str | None = None


class Usage(_Open):
    """A usage report.

    Attributes:
        project_id: The project.
        window: The time it is about.
        platform: What ran on the platform's own provider keys.
        byok: What ran on provider keys of the project's own.
    """

    project_id: str | None = None
    window: UsageWindow = Field(default_factory=UsageWindow)
    platform: UsageBucket = Field(default_factory=UsageBucket)
    byok: UsageBucket = Field(default_factory=UsageBucket)


def read_usage(identity: Identity, from_: Moment, to: Moment) -> Operation[Usage]:
    """Read the usage between two moments.

    Args:
        identity: With whose token.
        from_: The begin: a date, a datetime with a time zone, or ISO 8601 text; the gateway's default if None.
        to: The end, in the same forms.

    Raises:
        BehestConfigError: A moment is none of these, or the end is before the begin.
        BehestNotFoundError: This environment has no usage endpoint.
        BehestServerError: The answer is no usage report.
    """
    bounds = {"from": _moment("from_", from_), "to": _moment("to", to)}
    params = {name: moment.isoformat() for name, moment in bounds.items() if moment is not None}
    _check_order(bounds["from"], bounds["to"])
    try:
        answer = read_json((yield Call("GET", USAGE, identity, params=params)))
    except BehestNotFoundError as error:
        error.message = f"This gateway has no usage endpoint ({USAGE}); not every environment does. {error.message}"
        error.args = (error.message,)
        raise
    if not is_object(answer) or Usage.model_fields.keys().isdisjoint(answer):
        msg = "The gateway's answer is no usage report: it has none of project_id, window, platform and byok."
        raise BehestServerError(msg, raw=answer)
    try:
        return Usage.model_validate(answer)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, problem["loc"])) for problem in error.errors()}))
        msg = f"The gateway's usage report can't be read: {fields}."
        raise BehestServerError(msg, raw=answer) from None


def _moment(name: str, value: object) -> dt.date | None:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            is_day = len(value) == len("2026-01-31")
            value = dt.date.fromisoformat(value) if is_day else dt.datetime.fromisoformat(value)
    if value is not None and not isinstance(value, dt.date):
        msg = f"{name}= must be a date, a datetime, or ISO 8601 text such as 2026-01-31."
        raise BehestConfigError(msg)
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        msg = f"{name}= is a datetime without a time zone, which the gateway would guess: give tzinfo=datetime.UTC or another."
        raise BehestConfigError(msg)
    return value


def _check_order(begin: dt.date | None, end: dt.date | None) -> None:
    if begin is None or end is None:
        return
    exact = isinstance(begin, dt.datetime) and isinstance(end, dt.datetime)
    if end < begin if exact else _day(end) < _day(begin):
        msg = f"to= ({end.isoformat()}) is before from_= ({begin.isoformat()})."
        raise BehestConfigError(msg)


def _day(moment: dt.date) -> dt.date:
    return moment.date() if isinstance(moment, dt.datetime) else moment
