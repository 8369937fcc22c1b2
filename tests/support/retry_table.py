"""What each client has to do with each refusal: one table, for the client and for those that it hands out."""

from __future__ import annotations

import email.utils
import itertools
import time
from typing import Any, Final, NamedTuple

import pytest

from behest_base.emulator import Emulator
from behest_base.emulator.recording import Kind

__all__ = ["PLAIN_ROWS", "ROWS", "Row", "refuse"]

# Forms of Retry-After, and the pauses that two retries make of each; None where it is not waited for, but surfaces.
IN_HALF_A_MINUTE: Final = "in 30 s"  # becomes a date when it is sent
BACKOFF: Final = (0.25, 0.5)  # the lower end, where the test's clock has no chance in it
FORMS: Final[dict[str, tuple[dict[str, str], tuple[float, ...] | None]]] = {
    "none": ({}, BACKOFF),
    "seconds": ({"Retry-After": "7"}, (7, 7)),
    "decimals": ({"Retry-After": "0.5"}, (0.5, 0.5)),
    "milliseconds": ({"Retry-After-Ms": "250", "Retry-After": "9"}, (0.25, 0.25)),
    "date": ({"Retry-After": IN_HALF_A_MINUTE}, (30, 30)),
    "zero": ({"Retry-After": "0"}, (0, 0)),
    "negative": ({"Retry-After": "-5"}, BACKOFF),
    "garbage": ({"Retry-After": "soon"}, BACKOFF),
    "bound": ({"Retry-After": "60"}, (60, 60)),
    "beyond": ({"Retry-After": "60.5"}, None),
    "huge": ({"Retry-After": "1e9"}, None),
}
# Status, code, whether it is tried again at all, and in a thread.
REFUSALS: Final = [
    (400, "invalid_request_error", False, False),
    (402, "quota_exceeded", False, False),
    (403, "forbidden", False, False),
    (404, "not_found", False, False),
    (408, "timeout", True, False),
    (409, "conflict", False, False),
    (422, "unprocessable", False, False),
    (429, "rate_limited", True, True),
    (429, "budget_exceeded", False, False),
    (451, "content_blocked", False, False),
    (500, "internal", True, False),
    (502, "bad_gateway", True, False),
    (503, "unavailable", True, True),
    (504, "gateway_timeout", True, False),
    (529, "overloaded", True, False),
]


class Row(NamedTuple):
    """A refusal, and the pauses before each further send; none where the first one surfaces."""

    status: int
    code: str
    headers: dict[str, str]
    in_thread: bool
    pauses: tuple[float, ...]

    @property
    def tolerance(self) -> float:
        """How near the pauses are known: dates are in whole seconds, and time passes."""
        return 2.0 if self.headers.get("Retry-After") == IN_HALF_A_MINUTE else 1e-9


def _rows() -> list[Any]:
    made = []
    for (status, code, retried, in_threads), (form, (headers, pauses)), in_thread in itertools.product(
        REFUSALS, FORMS.items(), (False, True)
    ):
        expected = pauses if pauses and (in_threads if in_thread else retried) else ()
        name = f"{status}-{code}-{form}-{'thread' if in_thread else 'plain'}"
        made.append(pytest.param(Row(status, code, headers, in_thread, expected), id=name))
    return made


ROWS: Final = _rows()
PLAIN_ROWS: Final[list[Row]] = [row for param in ROWS for row in param.values if not row.in_thread]


def refuse(gateway: Emulator, row: Row, path: Kind = "chat", times: int = 10) -> None:
    """Let the gateway refuse the next calls of a kind as the row says."""
    headers = dict(row.headers)
    if headers.get("Retry-After") == IN_HALF_A_MINUTE:
        headers["Retry-After"] = email.utils.formatdate(time.time() + 30, usegmt=True)
    gateway.fail_next(status=row.status, code=row.code, headers=headers, path=path, times=times)
