"""The OpenAI chat wire, untyped: a body goes out, a dict or a stream of dicts comes back, and a cut answer never ends well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import httpx
import pydantic_core

from behest_base.errors import (
    BehestBadRequestError,
    BehestConfigError,
    BehestError,
    BehestServerError,
    BehestStreamError,
)
from behest_base.exchange import Call, Operation, read_json
from behest_base.jsons import is_array, is_object
from behest_base.redaction import redact
from behest_base.responses import MESSAGE_CHARACTERS, error_from_event
from behest_base.scope import UNSET, Identity, Unset
from behest_base.threads import thread_messages
from behest_base.tool_calls import ToolCallPieces
from behest_base.turns import after_instructions, cancelled_results
from behest_base.views import ThreadView

__all__ = [
    "StreamReader",
    "completion",
    "completion_call",
    "plain_body",
    "reply_of",
    "stream_body",
    "with_closed_calls",
]

COMPLETIONS: Final = "/v1/chat/completions"
EVENT_STREAM: Final = "text/event-stream"
DONE: Final = "[DONE]"

Timeout = float | httpx.Timeout | None | Unset


def completion_call(
    body: Mapping[str, Any], identity: Identity, timeout: Timeout = UNSET, max_retries: int | Unset = UNSET
) -> Call:
    """Return the call that a chat body makes."""
    return Call("POST", COMPLETIONS, identity, json=body, timeout=timeout, max_retries=max_retries)


def completion(call: Call, view: ThreadView | None) -> Operation[dict[str, Any]]:
    """Make a plain call; in a thread whose last turn was abandoned in the middle of a tool call, mend that first.

    Args:
        call: The call.
        view: What is known of its thread, or None if it is in none.

    Returns:
        The completion, with where it was made under the key `behest`.
    """
    if view is None:
        return (yield from _completion(call))[0]
    set_out = messages_of(call)
    view.set_out(set_out)
    try:
        completed, sent = yield from _completion(call)
        view.begin(sent)
    finally:
        view.come_back(set_out)
    view.finish(sent, reply_of(completed))
    return completed


def _completion(call: Call) -> Operation[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Make the call; return the completion, and the messages that went out in the end."""
    try:
        response = yield call
    except BehestBadRequestError as error:
        call = yield from with_closed_calls(call, error)
        response = yield call
    answer = read_json(response)
    if not is_object(answer) or not _are_choices(answer.get("choices")):
        raise _not_a_completion(response, answer)
    completed = answer
    completed["behest"] = place_of(call.identity, response.headers)
    return completed, messages_of(call)


def with_closed_calls(call: Call, error: BehestBadRequestError) -> Operation[Call]:
    """Return the call with the thread's open tool calls answered as cancelled; raise the error if that isn't what is wrong."""
    if call.identity.thread_id is None or type(error) is not BehestBadRequestError:
        raise error
    try:
        thread = yield from thread_messages(call.identity)
    except BehestError:
        raise error from None
    brought = [message.get("tool_call_id") for message in messages_of(call)]
    waiting = cancelled_results([message.wire() for message in thread])
    results = [result for result in waiting if result["tool_call_id"] not in brought]
    if not results:
        raise error
    messages = after_instructions(messages_of(call), results)
    return replace(call, json={**(call.json or {}), "messages": messages})


def plain_body(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body of a call that is answered whole.

    Raises:
        BehestConfigError: It asks for a stream.
    """
    if body.get("stream"):
        msg = "A call with 'stream' in its body is answered in pieces: leave it out, or make the call with stream() or astream()."
        raise BehestConfigError(msg)
    return body


def stream_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a streamed call, which asks for the usage unless the caller said otherwise."""
    return {"stream_options": {"include_usage": True}, **body, "stream": True}


def place_of(identity: Identity, headers: Mapping[str, str]) -> dict[str, str]:
    """Return where a call was made: user, session, thread, and the gateway's ids to quote in a support request."""
    found = {
        "user_id": identity.user_id,
        "session_id": identity.session_id,
        "thread_id": identity.thread_id,
        "trace_id": headers.get("x-trace-id"),
        "request_id": headers.get("x-request-id"),
    }
    return {name: value for name, value in found.items() if value}


def reply_of(completed: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the assistant message of a completion's first choice."""
    choices: list[dict[str, Any]] = completed.get("choices") or []
    message = choices[0].get("message") if choices else None
    return {"role": "assistant", **message} if message else None


class StreamReader:
    """Reads the events of one streamed completion, without I/O.

    Attributes:
        done: Whether `[DONE]` was read.
    """

    def __init__(self, headers: Mapping[str, str], identity: Identity) -> None:
        """Begin a stream that was answered with these headers.

        Raises:
            BehestStreamError: It isn't an event stream.
        """
        kind = headers.get("content-type", "")
        if EVENT_STREAM not in kind:
            msg = (
                f"The gateway answered a streamed call with {kind or 'no content type'} instead of {EVENT_STREAM}. A proxy in "
                "between may have answered: check base_url= (BEHEST_BASE_URL)."
            )
            raise BehestStreamError(msg, trace_id=headers.get("x-trace-id"), request_id=headers.get("x-request-id"))
        self.done = False
        self._headers = headers
        self._place: dict[str, str] | None = place_of(identity, headers)
        self._texts: list[str] = []
        self._pieces = ToolCallPieces()
        self._finished: dict[int, bool] = {}

    @property
    def partial(self) -> str:
        """The text of the first choice so far."""
        return "".join(self._texts)

    def read(self, data: str) -> dict[str, Any] | None:
        """Return the chunk that an event holds, or None for one that holds none.

        Raises:
            BehestError: It is an error, or can't be read; the typed error if the event names a status.
        """
        if self.done or not data:
            return None
        if data == DONE:
            self.done = True
            return None
        try:
            chunk = pydantic_core.from_json(data)
        except ValueError:
            raise self._failed("holds an event that is not JSON") from None
        if not is_object(chunk):
            raise self._failed("holds an event that is not an object")
        if "error" in chunk:
            raise self._error(chunk)
        try:
            for choice in chunk.get("choices") or ():
                self._note(choice)
        except (AttributeError, TypeError):
            raise self._failed("holds a chunk in none of the forms known") from None
        if self._place is not None:
            chunk["behest"], self._place = self._place, None
        return chunk

    def finish(self) -> None:
        """Check that the stream ended as a whole answer does.

        Raises:
            BehestStreamError: It had no choice, or no finish reason came for what it had.
        """
        # LiteLLM names the reason of the first choice only; what follows then, to the end that [DONE] says, is whole.
        is_whole = all(self._finished.values()) or (self.done and self._finished.get(0))
        if not self._finished or not is_whole:
            raise self._failed("ended before the answer was complete: no finish reason came")

    def broken(self, error: httpx.RequestError) -> BehestStreamError:
        """Return the error for a connection that broke."""
        return self._failed(f"broke off ({type(error).__name__})")

    def reply(self) -> dict[str, Any] | None:
        """Return the assistant message so far, None if nothing came."""
        if not self._texts and not self._pieces.calls:
            return None
        message: dict[str, Any] = {"role": "assistant", "content": self.partial or None}
        if self._pieces.calls:
            message["tool_calls"] = self._pieces.calls
        return message

    def _note(self, choice: dict[str, Any]) -> None:
        index: int = choice.get("index") or 0
        delta: dict[str, Any] | None = choice.get("delta")
        if choice.get("finish_reason"):
            self._finished[index] = True
        elif delta:
            self._finished.setdefault(index, False)
        if not delta or index:
            return
        if text := delta.get("content"):
            self._texts.append(text if isinstance(text, str) else "")
        for call in delta.get("tool_calls") or ():
            self._pieces.add(call)

    def _error(self, event: dict[str, Any]) -> BehestError:
        typed = error_from_event(event, self._headers)
        if typed is not None:
            typed.partial = self.partial
            return typed
        inner = event["error"]
        said = inner.get("message") if is_object(inner) else inner
        return self._failed(f"was ended by the gateway with an error: {redact(str(said))[:MESSAGE_CHARACTERS]}")

    def _failed(self, how: str) -> BehestStreamError:
        error = BehestStreamError(
            f"The streamed answer {how}. What had arrived is in .partial ({len(self.partial)} characters).",
            status=200,
            trace_id=self._headers.get("x-trace-id"),
            request_id=self._headers.get("x-request-id"),
        )
        error.partial = self.partial
        return error


def messages_of(call: Call) -> list[dict[str, Any]]:
    return list((call.json or {}).get("messages") or ())


def _are_choices(choices: Any) -> bool:
    return is_array(choices) and all(is_object(one) and is_object(one.get("message") or {}) for one in choices)


def _not_a_completion(response: httpx.Response, answer: Any) -> BehestServerError:
    return BehestServerError(
        "The gateway's answer to a chat call has no 'choices', or none with a message.",
        status=response.status_code,
        trace_id=response.headers.get("x-trace-id"),
        request_id=response.headers.get("x-request-id"),
        raw=answer,
    )
