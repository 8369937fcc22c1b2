"""Structured answers: which request asks for one, and which parser reads it."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final, Literal, Protocol

from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_behest.errors import BehestRefusalError
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


def _answer(asked: Runnable[Any, Any], parser: Runnable[Any, Any], *, include_raw: bool) -> Runnable[Any, Any]:
    if not include_raw:
        return asked | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=asked) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def _tool_parser(schema: Any, tool: dict[str, Any]) -> BaseOutputParser[Any]:
    if _is_pydantic(schema):
        return _PydanticCall(tools=[schema], first_tool_only=True)
    return _JsonCall(key_name=tool_name(tool) or "", first_tool_only=True)


def _text_parser(schema: Any) -> BaseOutputParser[Any]:
    return _PydanticAnswer(pydantic_object=schema) if _is_pydantic(schema) else _JsonAnswer()


def _is_pydantic(schema: Any) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _is_refused(result: list[Generation], *, partial: bool) -> bool:
    """Say whether a refusal is on its way; raise it once it is whole.

    Raises:
        BehestRefusalError: The model refused.
    """
    message = result[0].message if result and isinstance(result[0], ChatGeneration) else None
    refusal = message.additional_kwargs.get("refusal") if message is not None else None
    if not isinstance(refusal, str):
        return False
    if partial and getattr(message, "chunk_position", None) != "last":
        return True
    msg = f"The model refused: {refusal}"
    raise BehestRefusalError(msg, llm_output=refusal)


class _PydanticAnswer(PydanticOutputParser[Any]):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return None if _is_refused(result, partial=partial) else super().parse_result(result, partial=partial)


class _JsonAnswer(JsonOutputParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return None if _is_refused(result, partial=partial) else super().parse_result(result, partial=partial)


class _PydanticCall(PydanticToolsParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return None if _is_refused(result, partial=partial) else super().parse_result(result, partial=partial)


class _JsonCall(JsonOutputKeyToolsParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return None if _is_refused(result, partial=partial) else super().parse_result(result, partial=partial)
