"""Tools on the OpenAI wire, and the calls in a response. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index.core.tools.types import BaseTool

__all__ = ["keep_first_call", "tool_arguments", "tool_selections", "with_user_message"]


def tool_arguments(tools: Sequence[BaseTool], *, parallel: bool, required: bool, choice: Any = None) -> dict[str, Any]:
    """Return the part of a request that offers tools.

    Args:
        tools: The tools; none gives an empty part.
        parallel: Whether the model may call several at once.
        required: Whether it must call one.
        choice: `auto`, `none`, `any` or `required`, a tool's name, or OpenAI's own form; goes before `required`.
    """
    if not tools:
        return {}
    return {
        "tools": [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools],
        "tool_choice": _choice(choice, required=required),
        "parallel_tool_calls": parallel,
    }


def _choice(choice: Any, *, required: bool) -> Any:
    if choice is None:
        return "required" if required else "auto"
    if choice == "any":
        return "required"
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        return {"type": "function", "function": {"name": choice}}
    return choice


def with_user_message(history: Sequence[ChatMessage] | None, user_msg: str | ChatMessage | None) -> list[ChatMessage]:
    """Return a new list: the history, then the user's message if there is one."""
    messages = list(history or ())
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
    return messages if user_msg is None else [*messages, user_msg]


def tool_selections(response: ChatResponse, *, error_on_no_tool_call: bool) -> list[ToolSelection]:
    """Return the tool calls of a response.

    Args:
        response: A whole response, or one of a stream's.
        error_on_no_tool_call: Whether none is an error.

    Raises:
        ValueError: There is none, and that is an error.
    """
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if not calls and error_on_no_tool_call:
        msg = f"Expected at least one tool call, but got {len(calls)} tool calls."
        raise ValueError(msg)
    return [_selection(call) for call in calls]


def _selection(call: ToolCallBlock) -> ToolSelection:
    return ToolSelection(
        tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=_arguments(call.tool_kwargs)
    )


def _arguments(given: dict[str, Any] | str) -> dict[str, Any]:
    """Return the arguments as far as they can be read: a stream's are not whole before its end."""
    if not isinstance(given, str):
        return given
    try:
        arguments = json.loads(given)
    except ValueError:
        try:
            arguments = parse_partial_json(given)
        except ValueError:
            return {}
    return arguments if isinstance(arguments, dict) else {}


def keep_first_call(response: ChatResponse) -> ChatResponse:
    """Take the calls after the first out of a response whose caller runs one at a time."""
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) > 1:
        extra = {id(call) for call in calls[1:]}
        response.message.blocks = [block for block in response.message.blocks if id(block) not in extra]
        response.message.additional_kwargs["tool_calls"] = response.message.additional_kwargs["tool_calls"][:1]
    return response
