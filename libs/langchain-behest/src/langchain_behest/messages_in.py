"""OpenAI completions as LangChain results: every field of the answer is kept somewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall, ToolCall
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_behest.messages_out import CALL_EXTRAS, PLACE
from langchain_behest.usage import usage_metadata

__all__ = [
    "CUT_CALLS",
    "PROVIDER",
    "answer_metadata",
    "chat_result",
    "combined_output",
    "extras",
    "parsed_calls",
    "with_cut_calls_apart",
]

PROVIDER: Final = "behest"
"""`model_provider` of every reply; its content blocks are read by `langchain_behest.content_in`."""

CUT_CALLS: Final = "invalid_tool_calls"
"""The key of `response_metadata` that names a stream's calls whose arguments are no JSON object.

LangChain reads arguments of chunks as far as they go, so in their sum a call that was cut looks like one that is whole.
"""

_READ_FROM_CALL: Final = frozenset({"id", "type", "index", "function"})
_READ_FROM_MESSAGE: Final = frozenset({"role", "content", "tool_calls", "name", "id"})
_READ_FROM_CHOICE: Final = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
# `created` says when, which no other field of a message does; it is kept with the unknown ones.
_READ_FROM_ANSWER: Final = frozenset({"choices", "object", "usage", "model", PLACE})


def chat_result(answer: Mapping[str, Any], model: str) -> ChatResult:
    """Return a completion as a result with one generation per choice.

    Args:
        answer: The completion, with the place that behest_base notes in it; it marks the message as one that its thread holds.
        model: The model asked for, should the answer not name one.
    """
    shared = {"model_name": model, **answer_metadata(answer), PLACE: answer[PLACE]}
    usage = answer.get("usage")
    generations = [_generation(choice, shared, answer) for choice in answer["choices"]]
    return ChatResult(generations=generations, llm_output={"token_usage": usage, "model_name": shared["model_name"]})


def with_cut_calls_apart(result: ChatResult) -> ChatResult:
    """Return a result put together from chunks with the calls that were cut among the invalid ones, not to be executed."""
    if not any(CUT_CALLS in generation.message.response_metadata for generation in result.generations):
        return result
    generations = [
        generation.model_copy(update={"message": _with_cut_calls_apart(generation.message)})
        for generation in result.generations
    ]
    return result.model_copy(update={"generations": generations})


def _with_cut_calls_apart(message: BaseMessage) -> BaseMessage:
    metadata = dict(message.response_metadata)
    cut = {call["id"]: call for call in metadata.pop(CUT_CALLS, ())}
    if not isinstance(message, AIMessage):
        return message
    content = message.content
    if isinstance(content, list):
        content = [_cut_block(block, cut) if isinstance(block, dict) else block for block in content]
    update = {
        "content": content,
        "tool_calls": [call for call in message.tool_calls if call["id"] not in cut],
        "invalid_tool_calls": list(cut.values()),
        "response_metadata": metadata,
    }
    return message.model_copy(update=update)


def _cut_block(block: dict[str, Any], cut: Mapping[str | None, InvalidToolCall]) -> dict[str, Any]:
    return {**cut[block["id"]]} if block.get("type") == "tool_call" and block.get("id") in cut else block


def combined_output(outputs: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return what the answers to several prompts say together: the sum of their tokens, and the model."""
    found = [output for output in outputs if output]
    usages = [output["token_usage"] for output in found if output.get("token_usage")]
    sums = {
        name: sum(usage.get(name) or 0 for usage in usages)
        for name in dict.fromkeys(name for usage in usages for name in usage)
        if all(isinstance(usage.get(name) or 0, int | float) for usage in usages)
    }
    return {"token_usage": sums, **({"model_name": found[0]["model_name"]} if found else {})}


def answer_metadata(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an answer, or a chunk of one, says about itself; unknown fields under their own names."""
    found = {name: value for name, value in answer.items() if name not in _READ_FROM_ANSWER and value is not None}
    if answer.get("model"):
        found["model_name"] = answer["model"]
    usage = answer.get("usage")
    if usage and usage.get("cost") is not None:
        found["cost"] = usage["cost"]
    return found


def parsed_calls(raw_calls: Any) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Return tool calls with their arguments parsed, and those whose arguments are no JSON object."""
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for raw in raw_calls or ():
        try:
            call = parse_tool_call(_with_arguments(raw), return_id=True)
        except Exception as error:  # noqa: BLE001 - whatever the model wrote, the caller is told
            invalid.append(make_invalid_tool_call(raw, str(error)))
        else:
            if call is not None and isinstance(call["args"], dict):
                valid.append(ToolCall(name=call["name"], args=call["args"], id=call["id"], type="tool_call"))
            else:
                invalid.append(make_invalid_tool_call(raw, "The arguments are not a JSON object."))
    return valid, invalid


def _with_arguments(raw: dict[str, Any]) -> dict[str, Any]:
    """Read missing arguments, which some models send for a function that takes none, as an empty object."""
    function = raw.get("function")
    if isinstance(function, dict) and not function.get("arguments"):
        return {**raw, "function": {**function, "arguments": "{}"}}
    return raw


def _generation(choice: Mapping[str, Any], shared: Mapping[str, Any], answer: Mapping[str, Any]) -> ChatGeneration:
    metadata = {"model_provider": PROVIDER, **shared, "finish_reason": choice.get("finish_reason")}
    if "logprobs" in choice:
        metadata["logprobs"] = choice["logprobs"]
    metadata |= {name: value for name, value in choice.items() if name not in _READ_FROM_CHOICE and value is not None}
    message = _message(choice.get("message") or {}, metadata, answer)
    info: dict[str, Any] = {name: metadata[name] for name in ("finish_reason", "logprobs") if name in metadata}
    return ChatGeneration(message=message, generation_info=info)


def _message(wire: Mapping[str, Any], metadata: dict[str, Any], answer: Mapping[str, Any]) -> AIMessage:
    calls, invalid = parsed_calls(wire.get("tool_calls"))
    usage = answer.get("usage")
    return AIMessage(
        content=wire.get("content") or "",
        name=wire.get("name"),
        tool_calls=calls,
        invalid_tool_calls=invalid,
        additional_kwargs=extras(wire),
        response_metadata=metadata,
        usage_metadata=usage_metadata(usage, answer.get("service_tier")) if usage else None,
    )


def extras(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a message that LangChain has no place for: reasoning, refusal, audio, annotations, others."""
    found = {
        name: value for name, value in wire.items() if name not in _READ_FROM_MESSAGE and value not in (None, [], {})
    }
    of_calls = {call["id"]: more for call in wire.get("tool_calls") or () if call.get("id") and (more := _more(call))}
    return {**found, CALL_EXTRAS: of_calls} if of_calls else found


def _more(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a tool call has beside its id, name and arguments, such as the signature of the thought it came from."""
    own = {name: value for name, value in call.items() if name not in _READ_FROM_CALL and value is not None}
    function = call.get("function") or {}
    more = {name: value for name, value in function.items() if name not in ("name", "arguments") and value is not None}
    return {**own, "function": more} if more else own
