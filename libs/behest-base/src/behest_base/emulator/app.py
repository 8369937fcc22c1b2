"""The emulator's HTTP surface: its endpoints, and around them the recording, the delays and the faults."""

from __future__ import annotations

import asyncio
import email.utils
import json
import uuid
from typing import TYPE_CHECKING, Any, Final

import jwt
from starlette.applications import Starlette
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from behest_base.emulator.chats import chat
from behest_base.emulator.endpoints import jwks, mint, models, no_such_endpoint, thread, thread_messages, threads, usage
from behest_base.emulator.recording import RecordedRequest, kind_of
from behest_base.emulator.refusals import Refusal

if TYPE_CHECKING:
    from behest_base.emulator.controls import Controls
    from behest_base.emulator.faults import Fault

__all__ = ["make_app"]

HELD_POLL_SECONDS: Final = 0.005


def make_app(gateway: Controls) -> ASGIApp:
    """Return the application that serves a gateway."""
    app = Starlette(
        routes=[
            Route("/v1/auth/mint", mint, methods=["POST"]),
            Route("/auth/v1/auth/mint", mint, methods=["POST"]),
            Route("/.well-known/jwks.json", jwks),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/threads", threads),
            Route("/v1/threads/{id:path}/messages", thread_messages),
            Route("/v1/threads/{id:path}", thread, methods=["GET", "DELETE"]),
            Route("/v1/billing/usage", usage),
            Route("/v1/models", models),
        ],
        exception_handlers={Refusal: _refused, 404: no_such_endpoint, 405: no_such_endpoint},
    )
    app.state.gateway = gateway
    return _Recording(gateway, app)


class _Recording:
    """Records each request, and lets happen to it what a test wants."""

    def __init__(self, gateway: Controls, app: ASGIApp) -> None:
        self._gateway = gateway
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        record = _record(scope, body)
        self._gateway.recorder.add(record)
        generation = self._gateway.generation
        await self._pause(record)
        if generation != self._gateway.generation:
            # It was still on its way when all was reset: what waits now is for others.
            send.__self__.transport.close()  # type: ignore[attr-defined]
            return
        fault = self._gateway.faults.take(record.kind)
        scope["state"] = {"record": record, "fault": fault}
        # The connection under uvicorn's send: dropping it is no part of ASGI.
        scope["behest.drop"] = send.__self__.transport.close  # type: ignore[attr-defined]
        answer = self._answering(record, send)
        if fault is None or fault.after_chunks is not None:
            await self._app(scope, _again(body, receive), answer)
        elif fault.ending == "before":
            scope["behest.drop"]()
        elif fault.ending == "after":
            await self._app(scope, _again(body, receive), _swallow)
            scope["behest.drop"]()
        else:
            await _faulty(fault)(scope, receive, answer)

    def _answering(self, record: RecordedRequest, send: Send) -> Send:
        ids = {"x-trace-id": f"tr_{uuid.uuid4().hex}", "x-request-id": f"req_{uuid.uuid4().hex}"}
        date = email.utils.formatdate(self._gateway.now(), usegmt=True)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                self._gateway.recorder.notify()
                extra = {**ids, "date": date}
                headers = [*message["headers"], *((name.encode(), value.encode()) for name, value in extra.items())]
                message = {**message, "headers": headers}
            await send(message)

        return answer

    async def _pause(self, record: RecordedRequest) -> None:
        delay = {"mint": self._gateway.mint_delay, "chat": self._gateway.chat_delay}.get(record.kind, 0.0)
        if delay:
            await asyncio.sleep(delay)
        while record.kind in self._gateway.held:  # noqa: ASYNC110 - it is let go by another thread
            await asyncio.sleep(HELD_POLL_SECONDS)


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return error.response()


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body once more, and then what comes after it: the client's going away."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _swallow(message: Message) -> None:
    """Send nothing."""


def _faulty(fault: Fault) -> Response:
    status, headers = fault.status or 500, dict(fault.headers)
    if isinstance(fault.body, str):
        is_page = fault.body.lstrip().startswith("<")
        return Response(fault.body, status, headers, media_type="text/html" if is_page else "text/plain")
    return JSONResponse(fault.body, status, headers)


def _record(scope: Scope, body: bytes) -> RecordedRequest:
    headers = Headers(scope=scope)
    claims = _claims(headers.get("authorization", ""))
    path = scope["path"]
    return RecordedRequest(
        method=scope["method"],
        path=path,
        query=dict(QueryParams(scope["query_string"])),
        headers=headers,
        json=_parsed(body),
        kind=kind_of(path),
        claims=claims,
        user_id=(claims or {}).get("uid"),
        session_id=headers.get("x-session-id"),
        thread_id=headers.get("x-thread-id"),
    )


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def _claims(authorization: str) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = jwt.decode(authorization[len("Bearer ") :], options={"verify_signature": False})
    except jwt.PyJWTError:
        return None
    return claims
