"""Structured answers: which request asks for one, and which parser reads it."""

from __future__ import annotations

from typing import Any, Final, Literal, Protocol

from langchain_core.output_parsers import BaseOutputParser
from langchain_core.runnables import Runnable
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_behest.answers import JsonAnswer, JsonCall, PydanticAnswer, PydanticCall, with_raw
from langchain_behest.tools import response_format, tool_name, wire_tools

__all__ = ["Method", "structured_output"]

Method = Literal["json_schema", "function_calling", "json_mode"]

_METHODS: Final = ("json_schema", "function_calling", "json_mode")


class _Model(Protocol):
    """The part of a chat model that a structured answer is built on."""

    def bind(self, **kwargs: Any) -> Runnable[Any, Any]: ...

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, Any]: ...


def structured_output(
    model: _Model,
    schema: Any,
    *,
    method: Method = "json_schema",
    include_raw: bool = False,
    strict: bool | None = None,
    **kwargs: Any,
) -> Runnable[Any, Any]:
    """Return a runnable that answers in a schema.

    Args:
        model: The chat model.
        schema: A Pydantic or TypedDict class, a JSON schema, or an OpenAI function; `json_mode` does without.
        method: `json_schema` asks with `response_format`, `function_calling` with a tool, `json_mode` for any JSON.
        include_raw: Whether to return the message and the parsing error beside the parsed answer.
        strict: Whether the model must keep to the schema.
        **kwargs: Further arguments of each call.

    Raises:
        ValueError: The method is unknown, or has no schema or no use for `strict`.
    """
    _check(schema, method, strict=strict)
    trace = {"ls_structured_output_format": {"kwargs": {"method": method, "strict": strict}, "schema": schema}}
    if method == "function_calling":
        tools = wire_tools([schema], strict=strict)
        asked = model.bind_tools(tools, tool_choice=tool_name(tools[0]), parallel_tool_calls=False, **trace, **kwargs)
        return _answer(asked, _tool_parser(schema, tools[0]), include_raw=include_raw)
    wanted = {"type": "json_object"} if method == "json_mode" else response_format(schema, strict=strict)
    if schema is None:
        trace = {}
    return _answer(model.bind(response_format=wanted, **trace, **kwargs), _text_parser(schema), include_raw=include_raw)


def _check(schema: Any, method: str, *, strict: bool | None) -> None:
    if method not in _METHODS:
        msg = f"method={method!r} is none of {', '.join(_METHODS)}."
        raise ValueError(msg)
    if method == "json_mode" and strict is not None:
        msg = "strict= is not for method='json_mode', which asks for no schema; use method='json_schema'."
        raise ValueError(msg)
    if schema is None and method != "json_mode":
        msg = f"method={method!r} needs a schema; method='json_mode' does without."
        raise ValueError(msg)


def _answer(asked: Runnable[Any, Any], parser: BaseOutputParser[Any], *, include_raw: bool) -> Runnable[Any, Any]:
    return asked | (with_raw(parser) if include_raw else parser)


def _tool_parser(schema: Any, tool: dict[str, Any]) -> BaseOutputParser[Any]:
    if _is_pydantic(schema):
        return PydanticCall(tools=[schema], first_tool_only=True)
    return JsonCall(key_name=tool_name(tool) or "", first_tool_only=True)


def _text_parser(schema: Any) -> BaseOutputParser[Any]:
    return PydanticAnswer(pydantic_object=schema) if _is_pydantic(schema) else JsonAnswer()


def _is_pydantic(schema: Any) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)
