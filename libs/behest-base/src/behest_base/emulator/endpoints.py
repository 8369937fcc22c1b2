"""The endpoints other than chat: mint, JWKS, threads, usage, models."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from behest_base.emulator.refusals import Refusal
from behest_base.jsons import is_object

if TYPE_CHECKING:
    from behest_base.emulator.controls import Controls

__all__ = ["jwks", "mint", "models", "no_such_endpoint", "thread", "thread_messages", "threads", "usage"]

RESERVED_USERS: Final = frozenset({"dashboard-service", "admin", "system"})
MAX_USER_CHARACTERS: Final = 255
TTL_SECONDS: Final = 900
MAX_TTL_SECONDS: Final = 86_400


async def mint(request: Request) -> Response:
    """`POST /v1/auth/mint`."""
    gateway = _gateway(request)
    if gateway.mint_overrides:
        raw = gateway.mint_overrides.pop(0)
        return Response(raw.body, raw.status, media_type="application/json")
    if request.headers.get("authorization") != f"Bearer {gateway.api_key}":
        raise Refusal(401, "invalid_api_key", "The API key is not known.")
    body = request.state.record.json
    if not is_object(body):
        raise Refusal(400, "invalid_request", "The body must be a JSON object.")
    user, ttl = _user(body), _ttl(gateway, body)
    request.state.record.user_id = user
    session = body.get("session_id")
    claims = {"sid": session, "tier": body.get("tier"), "role": body.get("role") or "user"}
    token = gateway.reserved_tokens.get(user) if gateway.reserve_same_token else None
    token = token or gateway.keyring.issue(user, ttl, **claims)
    gateway.reserved_tokens[user] = token
    if gateway.mint_shape == "legacy":
        return JSONResponse({"access_token": token, "expires_in": ttl})
    session = session or f"sess_{uuid.uuid4().hex}"
    return JSONResponse({"jwt": token, "ttl": ttl, "session_id": session, "project_id": gateway.project_id})


async def jwks(request: Request) -> Response:
    """`GET /.well-known/jwks.json`."""
    return JSONResponse(_gateway(request).keyring.jwks())


async def threads(request: Request) -> Response:
    """`GET /v1/threads`."""
    return _list(request, "threads", _gateway(request).store.threads(_caller(request)))


async def thread(request: Request) -> Response:
    """`GET` and `DELETE /v1/threads/{id}`."""
    gateway, user, name = _gateway(request), _caller(request), request.path_params["id"]
    if request.method == "DELETE":
        if not gateway.store.delete(user, name):
            raise _no_thread()
        return Response(status_code=204)
    known = gateway.store.thread(user, name)
    if known is None:
        raise _no_thread()
    return JSONResponse(known)


async def thread_messages(request: Request) -> Response:
    """`GET /v1/threads/{id}/messages`."""
    messages = _gateway(request).store.messages(_caller(request), request.path_params["id"])
    if messages is None:
        raise _no_thread()
    return _list(request, "messages", messages)


async def usage(request: Request) -> Response:
    """`GET /v1/billing/usage`."""
    gateway = _gateway(request)
    _caller(request)
    if not gateway.has_usage:
        raise Refusal(404, "not_found", "No usage here.")
    today = dt.datetime.now(dt.UTC)
    begin = (
        request.query_params.get("from") or today.replace(day=1, hour=0, minute=0, second=0, microsecond=0).isoformat()
    )
    end = request.query_params.get("to") or today.isoformat()
    # A day as the end means all of it.
    by_model = gateway.store.usage(begin, end if "T" in end else f"{end}T99")
    summed = {
        name: sum(one[name] for one in by_model) for name in ("requests", "input_tokens", "output_tokens", "cost_usd")
    }
    nothing: dict[str, Any] = {"requests": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0, "by_model": []}
    return JSONResponse(
        {
            "project_id": gateway.project_id,
            "window": {"from": begin, "to": end},
            "platform": {**summed, "by_model": by_model},
            "byok": nothing,
        }
    )


async def models(request: Request) -> Response:
    """`GET /v1/models`."""
    _caller(request)
    known = [{"id": name, "object": "model", "owned_by": "behest"} for name in ("default", *_gateway(request).models)]
    return JSONResponse({"object": "list", "data": known})


async def no_such_endpoint(_request: Request, _error: Exception) -> Response:
    """Answer anything else."""
    return Refusal(404, "not_found", "There is no such endpoint.").response()


def _gateway(request: Request) -> Controls:
    gateway: Controls = request.app.state.gateway
    return gateway


def _caller(request: Request) -> str:
    user: str = _gateway(request).keyring.verify(request.headers.get("authorization"))["uid"]
    return user


def _no_thread() -> Refusal:
    return Refusal(404, "thread_not_found", "The user has no such thread.")


def _user(body: dict[str, Any]) -> str:
    user = body.get("user_id")
    if not isinstance(user, str) or not 1 <= len(user) <= MAX_USER_CHARACTERS:
        raise Refusal(400, "invalid_user_id", f"user_id must be text of 1 to {MAX_USER_CHARACTERS} characters.")
    if user in RESERVED_USERS:
        raise Refusal(400, "reserved_user_id", f"The user_id {user!r} is reserved.")
    return user


def _ttl(gateway: Controls, body: dict[str, Any]) -> int:
    ttl = body.get("ttl", TTL_SECONDS)
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not gateway.min_ttl <= ttl <= MAX_TTL_SECONDS:
        raise Refusal(400, "invalid_ttl", f"ttl must be {gateway.min_ttl} to {MAX_TTL_SECONDS} seconds.")
    return ttl


def _list(request: Request, name: str, items: Sequence[dict[str, Any]]) -> Response:
    gateway = _gateway(request)
    if gateway.list_shape == "bare":
        return JSONResponse(list(items))
    if gateway.list_shape == "wrapped":
        return JSONResponse({name: list(items)})
    start = _number(request, "cursor", 0)
    size = min(max(1, _number(request, "limit", gateway.page_size)), gateway.page_size)
    rest = start + size < len(items)
    cursor = str(start + size) if rest else None
    return JSONResponse({"data": list(items[start : start + size]), "has_more": rest, "next_cursor": cursor})


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name) or str(default)
    if not given.isdecimal():
        raise Refusal(400, "invalid_request", f"{name!r} must be a number that the gateway gave.")
    return int(given)
