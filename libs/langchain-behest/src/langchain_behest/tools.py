"""Tools and structured answers on the wire: `tools`, `tool_choice` and `response_format`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool

__all__ = ["Tool", "response_format", "tool_choice", "tool_name", "wire_tools"]

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool

_CHOICES: Final = ("auto", "none", "required")


def wire_tools(tools: Sequence[Tool], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Return tools as the wire takes them.

    Args:
        tools: Pydantic or TypedDict classes, functions, LangChain tools, JSON schemas, or OpenAI tools.
        strict: Whether the model must keep to the schema.
    """
    return [convert_to_openai_tool(tool, strict=strict) for tool in tools]


def tool_name(tool: Mapping[str, Any]) -> str | None:
    """Return the name of a wire tool, None for a provider's own."""
    name = (tool.get("function") or tool).get("name")
    return name if isinstance(name, str) else None


def tool_choice(
    choice: str | bool | Mapping[str, Any] | None,  # noqa: FBT001 - the values that users of other models know
    tools: Sequence[Mapping[str, Any]],
) -> str | dict[str, Any] | None:
    """Return a choice as the wire takes it, None for none given.

    Args:
        choice: `auto`, `none`, `any` or `required` or True, the name of a tool, or the wire's own object.
        tools: The wire tools.

    Raises:
        ValueError: It is the name of no tool.
    """
    if choice is None or choice is False:
        return None
    if isinstance(choice, Mapping):
        return dict(choice)
    if choice is True or choice == "any":
        return "required"
    names = [name for tool in tools if (name := tool_name(tool)) is not None]
    if choice in names:
        return {"type": "function", "function": {"name": choice}}
    if choice in _CHOICES:
        return choice
    msg = f"tool_choice={choice!r} is neither one of auto, none, any, required nor one of the tools {names}."
    raise ValueError(msg)


def response_format(schema: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """Return a schema as the wire's `response_format`; a wire format comes back as it is.

    Args:
        schema: A Pydantic or TypedDict class, a JSON schema, an OpenAI function, or a `response_format` object.
        strict: Whether the model must keep to the schema.
    """
    if isinstance(schema, dict) and schema.get("type") in ("json_schema", "json_object", "text"):
        return schema
    if isinstance(schema, dict) and "name" in schema and "schema" in schema:  # what stands inside of a response_format
        function = {"name": schema["name"], "parameters": schema["schema"], "strict": schema.get("strict", strict)}
    else:
        function = convert_to_openai_function(schema, strict=strict)
    found: dict[str, Any] = {"name": function["name"], "schema": function.get("parameters") or {"type": "object"}}
    if description := function.get("description"):
        found["description"] = description
    if function.get("strict") is not None:
        found["strict"] = function["strict"]
    return {"type": "json_schema", "json_schema": found}
