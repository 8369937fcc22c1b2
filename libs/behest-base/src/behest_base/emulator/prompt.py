"""What the model is given, and what is kept of a call: the gateway's memory around one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from behest_base.emulator.refusals import Refusal
from behest_base.jsons import is_array, is_object

__all__ = ["effective_prompt", "tool_calls", "validate", "what_to_store"]

Message = dict[str, Any]

INSTRUCTIONS: Final = ("system", "developer")
ROLES: Final = (*INSTRUCTIONS, "user", "assistant", "tool", "function")
# What a thread's message has beyond what a model is given.
_STORED_ONLY: Final = ("id", "created_at")


def effective_prompt(
    request: Sequence[Message], thread: Sequence[Message], session: Sequence[Message]
) -> list[Message]:
    """Put the memory together: the request's system messages, the thread's, the session's, the request's others."""
    system = [message for message in request if message["role"] in INSTRUCTIONS]
    others = [message for message in request if message["role"] not in INSTRUCTIONS]
    held = [{name: value for name, value in message.items() if name not in _STORED_ONLY} for message in thread]
    return [*system, *held, *session, *others]


def what_to_store(request: Sequence[Message], reply: Message | None, *, store_tool_calls: bool) -> list[Message]:
    """Return what a thread keeps of a call.

    Where tool calls are stored, all of it but the system messages. Where they are not, a request that ends in a user
    message stores its user messages, one that ends in tool results stores only the final reply.
    """
    said = [message for message in request if message["role"] not in INSTRUCTIONS]
    answer = [reply] if reply is not None else []
    if store_tool_calls:
        return [*said, *answer]
    ends_in_user = bool(said) and said[-1]["role"] == "user"
    kept = [message for message in said if message["role"] == "user"] if ends_in_user else []
    return [*kept, *(message for message in answer if not tool_calls(message))]


def tool_calls(message: Message) -> list[dict[str, Any]]:
    """Return the calls of an assistant message."""
    calls = message.get("tool_calls") if message.get("role") == "assistant" else None
    return list(calls or ())


def validate(messages: Any) -> None:
    """Check a list as OpenAI's endpoint does.

    Raises:
        Refusal: It is not a valid list of messages; names the first that is wrong.
    """
    if not is_array(messages) or not messages:
        raise Refusal(400, "invalid_request_error", "'messages' must be a list with at least one message.")
    waiting: list[str] = []
    for index, message in enumerate(messages):
        _check_message(index, message)
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise Refusal(
                    400,
                    "invalid_request_error",
                    f"messages[{index}]: a 'tool' message must answer a tool call of the assistant message before it.",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _check_answered(index, waiting)
        waiting = [call.get("id", "") for call in tool_calls(message)]
    _check_answered(len(messages), waiting)


def _check_message(index: int, message: Any) -> None:
    if not is_object(message) or message.get("role") not in ROLES:
        raise Refusal(400, "invalid_request_error", f"messages[{index}]: an object with a known 'role' is needed.")
    content = message.get("content")
    if content is None and message["role"] == "assistant" and any(message.get(n) for n in ("tool_calls", "refusal")):
        return
    if not isinstance(content, str | list):
        raise Refusal(400, "invalid_request_error", f"messages[{index}]: 'content' must be text or a list of parts.")


def _check_answered(index: int, waiting: Sequence[str]) -> None:
    if waiting:
        raise Refusal(
            400,
            "invalid_request_error",
            f"messages[{index - 1}]: an assistant message with 'tool_calls' must be followed by tool messages that answer "
            f"each of them; not answered: {', '.join(waiting)}.",
        )
