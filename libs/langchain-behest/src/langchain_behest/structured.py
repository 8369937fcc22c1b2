"""Structured answers: which request asks for one, and which parser reads it."""

from __future__ import annotations

from collections.abc import Callable
from json import JSONDecodeError, JSONDecoder
from operator import itemgetter
from typing import Any, Final, Literal, Protocol

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.json import parse_json_markdown
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_behest.errors import BehestRefusalError
from langchain_behest.messages_in import CUT_CALLS
from langchain_behest.tools import response_format, tool_name, wire_tools

__all__ = ["Method", "structured_output"]

Method = Literal["json_schema", "function_calling", "json_mode"]

_METHODS: Final = ("json_schema", "function_calling", "json_mode")

# Control characters in strings are let pass, as langchain-core's parsers do; so is what a model says after the JSON.
_WHOLE_JSON: Final = JSONDecoder(strict=False)


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


def _read(
    parse: Callable[..., Any], is_there: Callable[[Generation], bool], result: list[Generation], *, partial: bool
) -> Any:
    """Read an answer as a parser does, None if there is none yet; but refuse one that will not become whole.

    Raises:
        BehestRefusalError: The model refused.
        OutputParserException: The answer ended before it was whole.
    """
    message = result[0].message if result and isinstance(result[0], ChatGeneration) else None
    is_on_its_way = partial and getattr(message, "chunk_position", None) != "last"
    refusal = message.additional_kwargs.get("refusal") if message is not None else None
    if isinstance(refusal, str):
        if is_on_its_way:
            return None
        msg = f"The model refused: {refusal}"
        raise BehestRefusalError(msg, llm_output=refusal)
    if not is_on_its_way and not is_there(result[0]):
        return None
    return parse(result, partial=is_on_its_way)


def _is_json(generation: Generation) -> bool:
    """Say whether a reply answers, rather than calls tools; raise if it is cut-off JSON, which langchain-core would complete."""
    message = generation.message if isinstance(generation, ChatGeneration) else None
    if not generation.text and isinstance(message, AIMessage) and message.tool_calls:
        return False
    try:
        parse_json_markdown(generation.text, parser=_WHOLE_JSON.raw_decode)
    except JSONDecodeError:
        raise _unfinished(generation, generation.text) from None
    return True


def _is_call(generation: Generation) -> bool:
    """Say that there may be a call to read; raise if it came with arguments that are no JSON object."""
    if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
        message = generation.message
        cut = [*message.invalid_tool_calls, *message.response_metadata.get(CUT_CALLS, ())]
        if cut:
            raise _unfinished(generation, cut[0]["args"] or "")
    return True


def _unfinished(generation: Generation, said: str) -> OutputParserException:
    metadata = generation.message.response_metadata if isinstance(generation, ChatGeneration) else {}
    reason = metadata.get("finish_reason")
    hint = " Raise max_tokens, or ask for less." if reason == "length" else ""
    msg = f"The answer is not whole JSON (finish_reason={reason!r}).{hint} What came: {said}"
    return OutputParserException(msg, llm_output=said)


class _PydanticAnswer(PydanticOutputParser[Any]):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return _read(super().parse_result, _is_json, result, partial=partial)


class _JsonAnswer(JsonOutputParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return _read(super().parse_result, _is_json, result, partial=partial)


class _PydanticCall(PydanticToolsParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return _read(super().parse_result, _is_call, result, partial=partial)


class _JsonCall(JsonOutputKeyToolsParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return _read(super().parse_result, _is_call, result, partial=partial)
