"""Operations as generators that yield calls and are given answers: written once, driven by threads and by tasks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from behest_base.auth import IDENTITY_EXTENSION
from behest_base.clock import Clock
from behest_base.errors import BehestServerError
from behest_base.jsons import JSON_HEADERS, write_json
from behest_base.responses import error_from, parse_json
from behest_base.scope import UNSET, Identity, Unset
from behest_base.transport import timeouts_of, typed_errors

if TYPE_CHECKING:
    from behest_base.transport import HttpClients

__all__ = ["Call", "Exchange", "Operation", "read_json"]

SUCCESS: Final = range(200, 300)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the gateway, for one user.

    Attributes:
        method: The HTTP method.
        path: The path below the gateway's address.
        identity: For whom.
        json: The body.
        params: The query.
        timeout: Seconds, or an `httpx.Timeout`; the client's if unset.
        max_retries: Sends after the first; the client's if unset.
    """

    method: str
    path: str
    identity: Identity
    json: Mapping[str, Any] | None = None
    params: Mapping[str, str] | None = None
    timeout: float | httpx.Timeout | Unset | None = UNSET
    max_retries: int | Unset = UNSET


Operation = Generator[Call, httpx.Response, T]
"""Yields calls, is sent their successful answers or thrown their errors, and returns its result."""


class Exchange:
    """Makes calls over the authenticated clients."""

    def __init__(self, http: HttpClients, clock: Clock) -> None:
        """Keep the clients; nothing is opened."""
        self._http = http
        self._clock = clock

    def run(self, operation: Operation[T]) -> T:
        """Carry out an operation in this thread."""
        try:
            call = next(operation)
            while True:
                try:
                    response = self._send(call)
                except BaseException as error:  # noqa: BLE001 - the operation mends it or, cancelled too, ends here and now
                    call = operation.throw(error)
                else:
                    call = operation.send(response)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return] # the generator's own type

    async def arun(self, operation: Operation[T]) -> T:
        """Carry out an operation in this task."""
        try:
            call = next(operation)
            while True:
                try:
                    response = await self._asend(call)
                except BaseException as error:  # noqa: BLE001 - the operation mends it or, cancelled too, ends here and now
                    call = operation.throw(error)
                else:
                    call = operation.send(response)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return] # the generator's own type

    @contextmanager
    def open(self, call: Call) -> Generator[httpx.Response, None, None]:
        """Send, and hand over the answer while its body is still on its way."""
        client = self._http.sync
        request = _request(client, call)
        with typed_errors(request):
            response = client.send(request, stream=True)
        try:
            if response.status_code not in SUCCESS:
                with typed_errors(request):
                    response.read()
                raise error_from(response, wall=self._clock.wall())
            yield response
        finally:
            response.close()

    @asynccontextmanager
    async def aopen(self, call: Call) -> AsyncGenerator[httpx.Response, None]:
        """Do the same in a task."""
        client = self._http.asynchronous
        request = _request(client, call)
        with typed_errors(request):
            response = await client.send(request, stream=True)
        try:
            if response.status_code not in SUCCESS:
                with typed_errors(request):
                    await response.aread()
                raise error_from(response, wall=self._clock.wall())
            yield response
        finally:
            await response.aclose()

    def _send(self, call: Call) -> httpx.Response:
        client = self._http.sync
        request = _request(client, call)
        with typed_errors(request):
            response = client.send(request)
        return self._checked(response)

    async def _asend(self, call: Call) -> httpx.Response:
        client = self._http.asynchronous
        request = _request(client, call)
        with typed_errors(request):
            response = await client.send(request)
        return self._checked(response)

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.status_code not in SUCCESS:
            raise error_from(response, wall=self._clock.wall())
        return response


def read_json(response: httpx.Response) -> Any:
    """Return a successful answer's JSON.

    Raises:
        BehestServerError: It is something else, such as a proxy's HTML page.
    """
    try:
        return parse_json(response.content)
    except ValueError:
        kind = response.headers.get("content-type", "no content type")
        msg = (
            f"The gateway answered {response.status_code} with something that is not JSON ({kind}). A proxy in between may have "
            "answered: check base_url= (BEHEST_BASE_URL)."
        )
        raise BehestServerError(
            msg,
            status=response.status_code,
            trace_id=response.headers.get("x-trace-id"),
            request_id=response.headers.get("x-request-id"),
        ) from None


def _request(client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
    options: dict[str, Any] = {} if call.timeout is UNSET else {"timeout": timeouts_of(call.timeout)}
    if call.json is not None:
        options |= {"content": write_json(call.json), "headers": JSON_HEADERS}
    request = client.build_request(call.method, call.path, params=call.params, **options)
    request.extensions[IDENTITY_EXTENSION] = call.identity
    if call.max_retries is not UNSET:
        request.extensions["behest_max_retries"] = call.max_retries
    return request
