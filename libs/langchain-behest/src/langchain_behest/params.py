"""The body of a chat request from a model's fields and a call's arguments, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from behest_base import BehestConfigError
from langchain_behest.tools import response_format, tool_choice, wire_tools

__all__ = ["CALL_OPTIONS", "PARAMETERS", "SYNONYMS", "request_parameters"]

PARAMETERS: Final = (
    "model",
    "temperature",
    "max_tokens",
    "top_p",
    "stop",
    "seed",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "service_tier",
)
"""The fields of a model that go into the request under their own names."""

CALL_OPTIONS: Final = ("timeout", "max_retries", "store_tool_calls", "resend_history", "stream_usage")
"""Arguments of a call that decide how it is made; the others go into the request."""

SYNONYMS: Final[Mapping[str, str]] = {
    "model_name": "model",
    "max_completion_tokens": "max_tokens",
    "stop_sequences": "stop",
    "request_timeout": "timeout",
}
"""Names that arguments have in other chat models."""

# In a call this one goes out under the name it is given: the API has both.
_CALL_SYNONYMS: Final = {name: ours for name, ours in SYNONYMS.items() if name != "max_completion_tokens"}

# Where these were for other chat models, this one has no place for them: the headers are the identity's.
_REFUSED: Final = ("extra_headers", "extra_query", "default_headers", "headers")

_NOT_SENT: Final = frozenset({"stream", "ls_structured_output_format", "structured_output_format", *CALL_OPTIONS})


def request_parameters(
    defaults: Mapping[str, Any],
    call: Mapping[str, Any],
    *,
    stop: Sequence[str] | None,
    disabled: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the request without its messages.

    Args:
        defaults: What the model's fields say, with `model_kwargs` and `extra_body` among them.
        call: What the call's arguments say; they win. None takes a default back.
        stop: The call's stop sequences.
        disabled: Parameters never to send; with a list of values, only these are not sent.

    Raises:
        BehestConfigError: An argument has no place in a request.
    """
    call = {_CALL_SYNONYMS.get(name, name): value for name, value in call.items()}
    _refuse(call)
    if stop is not None:
        call["stop"] = list(stop)
    known = {**defaults, **(defaults.get("model_kwargs") or {})}
    if call.keys() & {"max_tokens", "max_completion_tokens"}:  # two names of one limit: the call's stands alone
        known = {name: value for name, value in known.items() if name not in ("max_tokens", "max_completion_tokens")}
    merged = {**known, **call}
    for name in ("model_kwargs", "extra_body"):
        merged.pop(name, None)
    extra = {**(defaults.get("extra_body") or {}), **(call.get("extra_body") or {})}
    if merged.get("response_format") is not None:
        merged["response_format"] = response_format(merged["response_format"], strict=merged.pop("strict", None))
    merged.update(_tools(merged))
    found = {
        name: value
        for name, value in merged.items()
        if value is not None and name not in _NOT_SENT and not _is_disabled(name, value, disabled)
    }
    return {**found, **extra}


def _tools(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Return tools and choice that were given without `bind_tools`, as the wire takes them."""
    tools, choice = merged.get("tools"), merged.get("tool_choice")
    if tools and not all(isinstance(tool, dict) for tool in tools):
        tools = wire_tools(tools)
    wire = {"tools": tools, "tool_choice": tool_choice(choice, tools or ())}
    return {name: value for name, value in wire.items() if merged.get(name) is not None}


def _refuse(call: Mapping[str, Any]) -> None:
    found = [name for name in _REFUSED if call.get(name)]
    if found:
        msg = (
            f"{', '.join(found)}: headers carry the identity, and are made from user_id=, session_id=, thread_id= and tier=. "
            "Fields of the request go into extra_body= or model_kwargs=."
        )
        raise BehestConfigError(msg)


def _is_disabled(name: str, value: Any, disabled: Mapping[str, Any] | None) -> bool:
    if not disabled or name not in disabled:
        return False
    values = disabled[name]
    return values is None or value in values
