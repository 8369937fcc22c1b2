"""Fills a JSON schema from a text: arguments of tools, and structured answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from behest_base.emulator.words import numbers, quoted, stems
from behest_base.jsons import is_array

__all__ = ["fill"]

Schema = dict[str, Any]
MAX_DEPTH: Final = 8
# Properties that take what the user asked, whole.
_QUESTION_NAMES: Final = frozenset(
    {"query", "question", "input", "text", "prompt", "message", "request", "task", "content"}
)


def fill(schema: Schema, text: str) -> Any:
    """Return a value that the schema allows, taken from the text as far as it can be.

    Strings come from quotation marks, from "<name> is …", from a capitalised word, or are the text itself; numbers are the
    text's in order; enumerations the member that the text names, else the first.
    """
    return _Filler(schema, text).value(schema, "", 0)


class _Filler:
    def __init__(self, root: Schema, text: str) -> None:
        self._definitions = {**root.get("definitions", {}), **root.get("$defs", {})}
        self._text = text
        self._numbers: Iterator[float] = iter(numbers(text))
        self._quoted: Iterator[str] = iter(quoted(text))

    def value(self, schema: Schema, name: str, depth: int) -> Any:  # noqa: PLR0911 - a table
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._member(schema["enum"])
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return [
                    self.value(schema.get("items") or {}, name, depth + 1) for _ in range(self._length(schema, depth))
                ]
            case "integer":
                return int(self._number(schema))
            case "number":
                return self._number(schema)
            case "boolean":
                return not re.search(r"\b(no|not|never|without|false)\b", self._text, re.IGNORECASE)
            case "null":
                return None
            case _:
                return self._string(name)

    def _resolved(self, schema: Schema) -> Schema:
        if "$ref" in schema:
            return self._resolved(self._definitions.get(schema["$ref"].rsplit("/", 1)[-1], {}))
        for key in ("anyOf", "oneOf"):
            options = [option for option in schema.get(key) or () if option.get("type") != "null"]
            if options:
                return self._resolved(options[0])
        whole: Schema = {}
        for part in schema.get("allOf") or ():
            whole |= self._resolved(part)
        return whole | schema if whole else schema

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties: dict[str, Schema] = schema.get("properties") or {}
        wanted = schema.get("required") or list(properties)
        if depth >= MAX_DEPTH:
            return {}
        return {name: self.value(properties[name], name, depth + 1) for name in properties if name in wanted}

    def _length(self, schema: Schema, depth: int) -> int:
        return 0 if depth >= MAX_DEPTH else max(1, int(schema.get("minItems") or 1))

    def _member(self, members: list[Any]) -> Any:
        said = set(stems(self._text))
        return next((one for one in members if set(stems(str(one))) & said), members[0])

    def _number(self, schema: Schema) -> float:
        low: float | None = schema.get("minimum", schema.get("exclusiveMinimum"))
        number = next(self._numbers, float(low if low is not None else 0))
        high: float = schema.get("maximum", number)
        return min(max(number, low if low is not None else number), high)

    def _string(self, name: str) -> str:
        if name.lower() in _QUESTION_NAMES:
            return self._text.strip()
        found = next(self._quoted, None) or _named(name, self._text)
        if found is None:
            capitals = re.findall(r"(?<=\s)[A-Z][\w-]+(?: [A-Z][\w-]+)*", self._text)
            found = capitals[0] if capitals else self._text.strip()
        return found


def _named(name: str, text: str) -> str | None:
    """Return what a text says that a property is: "name: Ada", "called Petrel", "the colour is teal"."""
    spoken = re.escape(name.replace("_", " "))
    said = re.search(rf"\b{spoken}\b\s*(?:is|are|=|:|called|named)\s+([^.,;?!\n]+)", text, re.IGNORECASE)
    return said.group(1).strip() if said and name else None


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if is_array(kind):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)
