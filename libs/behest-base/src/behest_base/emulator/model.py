"""The built-in model: extractive, so that memory and retrieval can be seen to work without weights.

It answers with the sentence of its prompt that best matches the question, calls a tool whose description matches, and fills
JSON schemas. The same prompt always gets the same answer.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Any, Final

from behest_base.emulator.schemas import fill
from behest_base.emulator.words import best_match, is_question, labelled_question, overlap, sentences
from behest_base.jsons import is_array, is_object

__all__ = ["answer", "text_of"]

Message = dict[str, Any]

UNKNOWN: Final = "I don't know: nothing in what I was given answers that."
NOTED: Final = "Noted: "
# The end of a prompt that wants a follow-up rephrased as a question of its own.
_TO_REPHRASE: Final = re.compile(r"question:\s*$", re.IGNORECASE)


def answer(request: dict[str, Any]) -> Message:
    """Return the assistant's message for a request whose messages are the effective prompt."""
    messages: list[Message] = request["messages"]
    call = _tool_call(request, messages)
    if call is not None:
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    question = _last_said(messages)
    structured = _structured(request, question)
    if structured is not None:
        return {"role": "assistant", "content": structured}
    return {"role": "assistant", "content": _reply(messages, question)}


def text_of(content: Any) -> str:
    """Return the text of a message's content."""
    if isinstance(content, str):
        return content
    parts = content if is_array(content) else []
    return "\n".join(part.get("text") or "" for part in parts if is_object(part)).strip()


def _reply(messages: list[Message], question: str) -> str:
    results = _results_of_this_turn(messages)
    if results:
        return " ".join(results)
    labelled = labelled_question(question)
    asked = [labelled] if labelled else [sentence for sentence in sentences(question) if is_question(sentence)]
    if labelled and _TO_REPHRASE.search(question):
        return labelled
    if not asked:
        return f"{NOTED}{question.strip()}" if question.strip() else UNKNOWN
    return best_match(asked[-1], _material(messages, asked)) or UNKNOWN


def _material(messages: list[Message], asked: list[str]) -> list[str]:
    """Return the sentences to answer from: all that was said, but questions, and what the model itself said of them."""
    said = [sentence for message in messages for sentence in _statements(message)]
    return [sentence for sentence in dict.fromkeys(said) if not any(question in sentence for question in asked)]


def _statements(message: Message) -> list[str]:
    text = text_of(message.get("content"))
    if message["role"] == "assistant":
        text = "" if text == UNKNOWN else text.removeprefix(NOTED)
    return [sentence for sentence in sentences(text) if not sentence.rstrip("\"' )").endswith("?")]


def _last_said(messages: list[Message]) -> str:
    said = [text_of(message.get("content")) for message in messages if message["role"] == "user"]
    return said[-1] if said else text_of(messages[-1].get("content"))


def _results_of_this_turn(messages: list[Message]) -> list[str]:
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            break
        if message["role"] == "tool":
            results.insert(0, text_of(message.get("content")))
    return results


def _called_in_this_turn(messages: list[Message]) -> set[str]:
    called: set[str] = set()
    for message in reversed(messages):
        if message["role"] == "user":
            break
        called |= {call["function"]["name"] for call in message.get("tool_calls") or ()}
    return called


def _structured(request: dict[str, Any], question: str) -> str | None:
    wanted: dict[str, Any] = request.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(fill(wanted.get("json_schema", {}).get("schema") or {}, question))
    if wanted.get("type") == "json_object":
        return json.dumps({"answer": _reply(request["messages"], question)})
    return None


def _tool_call(request: dict[str, Any], messages: list[Message]) -> dict[str, Any] | None:
    tools = [tool["function"] for tool in request.get("tools") or () if tool.get("type") == "function"]
    choice = request.get("tool_choice") or "auto"
    if not tools or choice == "none":
        return None
    question = _last_said(messages)
    if is_object(choice):
        name = choice.get("function", {}).get("name")
        return _call(next((tool for tool in tools if tool["name"] == name), tools[0]), question)
    if choice == "auto" and _results_of_this_turn(messages):
        return None
    called = _called_in_this_turn(messages)
    left = [tool for tool in tools if tool["name"] not in called] or tools
    best = max(left, key=lambda tool: _fit(tool, question))
    return _call(best, question) if choice != "auto" or _fit(best, question) else None


def _fit(tool: dict[str, Any], question: str) -> int:
    parameters: dict[str, Any] = tool.get("parameters") or {}
    properties: dict[str, Any] = parameters.get("properties") or {}
    described = f"{tool['name']} {tool.get('description') or ''} {' '.join(properties)}"
    return overlap(question, described)


def _call(tool: dict[str, Any], question: str) -> dict[str, Any]:
    arguments = fill(tool.get("parameters") or {"type": "object", "properties": {}}, question)
    return {
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": tool["name"], "arguments": json.dumps(arguments)},
    }
