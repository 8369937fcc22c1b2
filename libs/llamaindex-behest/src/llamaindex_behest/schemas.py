"""A pydantic model as the `response_format` of a request. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from llama_index.core.bridge.pydantic import BaseModel

__all__ = ["response_format"]

# What OpenAI takes as the name of a schema.
_NAME_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9_-]")
_NAME_LENGTH: Final = 64


def response_format(output_cls: type[BaseModel]) -> dict[str, Any]:
    """Return the `response_format` that asks for this model.

    It is strict where the schema can be: all objects closed. A free-form mapping can't be, and is asked for without.
    """
    schema = output_cls.model_json_schema()
    strict = not _has_free_form(schema)
    name = _NAME_CHARACTERS.sub("_", output_cls.__name__)[:_NAME_LENGTH]
    body = {"name": name, "schema": _closed(schema) if strict else schema, "strict": strict}
    if output_cls.__doc__ and (description := schema.get("description")):
        body["description"] = description
    return {"type": "json_schema", "json_schema": body}


def _has_free_form(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(_has_free_form(item) for item in schema)
    if not isinstance(schema, dict):
        return False
    if schema.get("type") == "object" and not schema.get("properties"):
        return True
    if schema.get("additionalProperties"):
        return True
    # A field without a type (Any) can't be strict either; what isn't an object by name is looked through.
    fields = schema.get("properties")
    if isinstance(fields, Mapping) and any(
        field.keys() <= {"title", "default", "description"} for field in fields.values()
    ):
        return True
    return any(_has_free_form(value) for value in schema.values())


def _closed(schema: Any) -> Any:
    """Return the schema with all objects closed and all their fields required, and without defaults: as strict mode has it."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    closed = {name: _closed(value) for name, value in schema.items() if name not in ("default", "properties")}
    if "properties" in schema:
        closed["properties"] = {name: _closed(field) for name, field in schema["properties"].items()}
    if schema.get("type") == "object":
        closed |= {"required": list(schema["properties"]), "additionalProperties": False}
    return closed
