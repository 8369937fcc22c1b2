"""Structured answers read from replies, whole or as they come: what was refused or cut short is never taken for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, BaseMessageChunk
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation
from langchain_core.runnables import AddableDict, Runnable, RunnableGenerator
from langchain_core.utils.json import parse_json_markdown

from langchain_behest.errors import BehestRefusalError
from langchain_behest.messages_in import CUT_CALLS

__all__ = ["JsonAnswer", "JsonCall", "PydanticAnswer", "PydanticCall", "with_raw"]

# Control characters in strings are let pass, as langchain-core's parsers do; so is what a model says after the JSON.
_WHOLE_JSON: Final = JSONDecoder(strict=False)


def with_raw(parser: BaseOutputParser[Any]) -> Runnable[Any, Any]:
    """Return a runnable that gives the reply, what was parsed, and the error of parsing, which it doesn't raise.

    Of a stream it gives the pieces of the reply and the growing answer as they come, and the error, or None, at the end.
    """

    def read(messages: Iterator[Any]) -> Iterator[AddableDict]:
        reader = _RawReader(parser)
        for message in messages:
            yield from reader.read(message)
        yield reader.end()

    async def aread(messages: AsyncIterator[Any]) -> AsyncIterator[AddableDict]:
        reader = _RawReader(parser)
        async for message in messages:
            for piece in reader.read(message):
                yield piece
        yield reader.end()

    return RunnableGenerator(read, aread)


class _RawReader:
    def __init__(self, parser: BaseOutputParser[Any]) -> None:
        self._parser = parser
        self._generation: ChatGeneration | None = None
        self._parsed: Any = None
        self._error: Exception | None = None

    def read(self, message: BaseMessage) -> Iterator[AddableDict]:
        yield AddableDict(raw=message)
        if isinstance(message, BaseMessageChunk):
            piece = ChatGenerationChunk(message=message)
            self._generation = self._generation + piece if isinstance(self._generation, ChatGenerationChunk) else piece
        else:
            self._generation = ChatGeneration(message=message)
        parsed = self._parse(partial=isinstance(message, BaseMessageChunk))
        if parsed is not None and parsed != self._parsed:
            self._parsed = parsed
            yield AddableDict(parsed=parsed)

    def end(self) -> AddableDict:
        answered = {} if self._parsed is not None else {"parsed": None}
        return AddableDict(**answered, parsing_error=self._error)

    def _parse(self, *, partial: bool) -> Any:
        if self._error is not None or self._generation is None:
            return None
        try:
            return self._parser.parse_result([self._generation], partial=partial)
        except Exception as error:  # noqa: BLE001 - it is handed over, whatever it is
            self._error = error
            return None


class PydanticAnswer(PydanticOutputParser[Any]):
    """Reads a reply's text into a Pydantic object."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Parse the reply; see `_read`."""
        return _read(super().parse_result, _is_json, result, partial=partial)


class JsonAnswer(JsonOutputParser):
    """Reads a reply's text into a dict."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Parse the reply; see `_read`."""
        return _read(super().parse_result, _is_json, result, partial=partial)


class PydanticCall(PydanticToolsParser):
    """Reads a call's arguments into a Pydantic object."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Parse the reply; see `_read`."""
        return _read(super().parse_result, _is_call, result, partial=partial)


class JsonCall(JsonOutputKeyToolsParser):
    """Reads a call's arguments into a dict."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Parse the reply; see `_read`."""
        return _read(super().parse_result, _is_call, result, partial=partial)


def _read(
    parse: Callable[..., Any], is_there: Callable[[Generation], bool], result: list[Generation], *, partial: bool
) -> Any:
    """Read an answer as a parser does, None if there is none yet; but refuse one that will not become whole.

    Raises:
        BehestRefusalError: The model refused.
        OutputParserException: The answer ended before it was whole.
    """
    result = _with_reply(result)
    message = result[0].message if result and isinstance(result[0], ChatGeneration) else None
    is_on_its_way = partial and isinstance(message, AIMessageChunk) and message.chunk_position != "last"
    refusal = message.additional_kwargs.get("refusal") if message is not None else None
    if isinstance(refusal, str):
        if is_on_its_way:
            return None
        msg = f"The model refused: {refusal}"
        raise BehestRefusalError(msg, llm_output=refusal)
    if not is_on_its_way and not is_there(result[0]):
        return None
    return parse(result, partial=is_on_its_way)


def _with_reply(result: list[Generation]) -> list[Generation]:
    """Return a result with the reply that it is of.

    Where a model doesn't stream, the parsers of a chain that does are given its reply as a chunk of no kind.
    """
    generation = result[0] if result else None
    message = generation.message if isinstance(generation, ChatGeneration) else None
    if isinstance(message, BaseMessageChunk) and not isinstance(message, AIMessage):
        return [ChatGeneration(message=AIMessage.model_validate(message.model_dump()))]
    return result


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
