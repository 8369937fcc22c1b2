"""The chat endpoint: memory, model, and what is kept of the call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from behest_base.emulator import model, upstream
from behest_base.emulator.completions import DONE, assembled, chunks_of, completion_of, event, token_count
from behest_base.emulator.faults import Fault, RawResponse, RawSSE, Reply
from behest_base.emulator.prompt import effective_prompt, validate, what_to_store
from behest_base.emulator.refusals import Refusal
from behest_base.jsons import is_array, is_object

if TYPE_CHECKING:
    from behest_base.emulator.controls import Controls
    from behest_base.emulator.recording import RecordedRequest

__all__ = ["chat"]

DEFAULT_SESSION: Final = "default"
DEFAULT_MODEL: Final = "default"
EXTRACTIVE: Final = "behest-extractive"
_DONE_LINE: Final = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)

Message = dict[str, Any]


async def chat(request: Request) -> Response:
    """`POST /v1/chat/completions`."""
    gateway: Controls = request.app.state.gateway
    turn = _Turn(gateway, request)
    asked = turn.admit()
    if gateway.upstream is not None:
        return await _from_upstream(gateway, turn, asked)
    reply = _reply(gateway, turn.user, asked)
    if isinstance(reply, RawResponse):
        return Response(reply.body, reply.status, dict(reply.headers))
    if isinstance(reply, RawSSE):
        return _EventStream(gateway, turn, _each(reply.pieces))
    completion = completion_of(asked, {"content": reply} if isinstance(reply, str) else reply)
    if completion.get("usage"):  # a stream need not tell, but it costs the same
        turn.count(completion["usage"])
    if asked.get("stream"):
        return _EventStream(gateway, turn, _each(_events(asked, completion)))
    turn.keep(completion["choices"][0]["message"] if completion["choices"] else None)
    turn.count(None)
    return JSONResponse(completion)


class _Turn:
    """One call: who makes it, what the model is given, and what is kept."""

    def __init__(self, gateway: Controls, request: Request) -> None:
        self._gateway = gateway
        self.record: RecordedRequest = request.state.record
        self.fault: Fault | None = request.state.fault
        claims = gateway.keyring.verify(request.headers.get("authorization"))
        self.user: str = claims["uid"]
        self._tier = claims.get("tier")
        self.session: str = request.headers.get("x-session-id") or claims.get("sid") or DEFAULT_SESSION
        self.thread = request.headers.get("x-thread-id")
        self.record.session_id = self.session
        self._model = DEFAULT_MODEL
        self._kept = self._counted = False

    def admit(self) -> dict[str, Any]:
        """Check the request, and return it with the effective prompt as its messages."""
        gateway, body = self._gateway, self.record.json
        if not is_object(body):
            raise Refusal(400, "invalid_request_error", "The body must be a JSON object.")
        gateway.limits.check(self.user, self._tier, gateway.store.tokens_used())
        messages = body.get("messages")
        if not is_array(messages) or not all(is_object(one) and "role" in one for one in messages):
            validate(messages)
            messages = []
        self._check_words(messages)
        effective = effective_prompt(messages, self._held(), gateway.store.memory(self.user, self.session))
        self.record.effective_prompt = effective
        validate(effective)
        name: str = body.get("model") or DEFAULT_MODEL
        if gateway.upstream is None and name not in (DEFAULT_MODEL, *gateway.models):
            raise Refusal(400, "model_not_found", f"The project has no model {name!r}.")
        own = EXTRACTIVE if gateway.upstream is None else gateway.upstream_model or DEFAULT_MODEL
        self._model = own if name == DEFAULT_MODEL else name
        return {**body, "messages": effective, "model": self._model}

    def keep(self, reply: Message | None) -> None:
        """Store the turn in its thread, else in its session's memory; once."""
        if self._kept:
            return
        self._kept = True
        self.record.reply = reply
        messages: list[Message] = self.record.json["messages"]
        if self.thread is not None:
            kept = what_to_store(messages, reply, store_tool_calls=self._gateway.store_tool_calls)
            self._gateway.store.append(self.user, self.thread, kept)
        else:
            said = list(what_to_store(messages, reply, store_tool_calls=False))
            self._gateway.store.remember(self.user, self.session, said)
        self._gateway.recorder.notify()

    def count(self, usage: dict[str, Any] | None) -> None:
        """Note what the call used; once. An answer that doesn't say is estimated."""
        if self._counted:
            return
        self._counted = True
        used = usage or {
            "prompt_tokens": token_count(self.record.effective_prompt or []),
            "completion_tokens": token_count([self.record.reply] if self.record.reply else []),
        }
        self._gateway.store.count(
            self.user, self._model, used.get("prompt_tokens") or 0, used.get("completion_tokens") or 0
        )

    def _held(self) -> list[Message]:
        return self._gateway.thread(self.user, self.thread) if self.thread is not None else []

    def _check_words(self, messages: list[Message]) -> None:
        said = json.dumps(messages).lower()
        for word in self._gateway.blocked_words:
            if word.lower() in said:
                raise Refusal(
                    451, "content_blocked", "A guardrail blocked the message.", details={"guardrail": "words"}
                )


class _EventStream(Response):
    """Sends pieces of an event stream, and notices when the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, gateway: Controls, turn: _Turn, pieces: AsyncGenerator[bytes]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._gateway = gateway
        self._turn = turn
        self._pieces = pieces
        self._sent: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with contextlib.aclosing(self._pieces):
                whole = await self._send_pieces(gone, scope, send)
            if whole:
                self._keep()
                await send({"type": "http.response.body", "body": b""})
        except Refusal as refusal:  # the upstream server broke off in the middle; nothing is kept
            await send({"type": "http.response.body", "body": event({"error": refusal.body})})
        finally:
            gone.cancel()

    async def _send_pieces(self, gone: asyncio.Future[None], scope: Scope, send: Send) -> bool:
        """Send the pieces; say whether the stream is to end as a whole one does."""
        fault = self._turn.fault
        async for piece in self._pieces:
            if fault is not None and fault.after_chunks == len(self._sent):
                return await self._fail(fault, scope, send)
            if gone.done():
                self._turn.record.disconnected = True
                self._keep()
                return False
            self._sent.append(piece)
            if _DONE_LINE.search(piece):  # whoever has read to the end finds the turn stored
                self._keep()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.wait({gone}, timeout=self._gateway.chunk_delay)
        return True

    async def _fail(self, fault: Fault, scope: Scope, send: Send) -> bool:
        if fault.ending == "error":  # the model failed; nothing is kept
            await send({"type": "http.response.body", "body": event(fault.body)})
            return False
        self._keep()
        if fault.ending == "close":
            scope["behest.drop"]()
            return False
        return True

    def _keep(self) -> None:
        chunks = _chunks(b"".join(self._sent))
        self._turn.keep(assembled(chunks))
        self._turn.count(next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), None))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _reply(gateway: Controls, user: str, asked: dict[str, Any]) -> Reply:
    script = gateway.scripts.take(user) or gateway.model or model.answer
    return script(asked) if callable(script) else script


def _events(asked: dict[str, Any], completion: dict[str, Any]) -> Iterable[bytes]:
    options: dict[str, Any] = asked.get("stream_options") or {}
    include_usage = bool(options.get("include_usage"))
    yield from (event(chunk) for chunk in chunks_of(completion, include_usage=include_usage))
    yield DONE


async def _each(pieces: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def _all(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _chunks(body: bytes) -> list[dict[str, Any]]:
    """Read the chunks of an event stream, as far as they can be read."""
    chunks: list[dict[str, Any]] = []
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            try:
                chunk = json.loads(line[5:])
            except ValueError:
                continue
            if is_object(chunk):
                chunks.append(chunk)
    return chunks


async def _from_upstream(gateway: Controls, turn: _Turn, asked: dict[str, Any]) -> Response:
    if asked.get("stream"):
        pieces = upstream.stream(gateway, asked)
        # The first line is waited for here, where a refusal can still become the answer's status.
        return _EventStream(gateway, turn, _all(await anext(pieces, b""), pieces))
    answer = await upstream.complete(gateway, asked)
    turn.keep(answer["choices"][0]["message"])
    turn.count(answer.get("usage"))
    return JSONResponse(answer)
