"""Structured answers: the model's own JSON schema mode first, a function call where that is refused or not kept to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any, TypeVar

import llama_index.core.instrumentation as instrument
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.instrumentation.events.llm import LLMStructuredPredictEndEvent, LLMStructuredPredictStartEvent
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.program.streaming_utils import process_streaming_content_incremental
from llama_index.core.program.utils import FlexibleModel, process_streaming_objects
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode

from behest_base import BehestBadRequestError, BehestContextOverflowError, Identity
from llamaindex_behest.answers import Answers
from llamaindex_behest.calls import identity_apart
from llamaindex_behest.identity import placed_at
from llamaindex_behest.schemas import response_format

__all__ = ["StructuredAnswers"]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

dispatcher = instrument.get_dispatcher(__name__)  # type: ignore[attr-defined] # not in its __all__


class StructuredAnswers(Answers):
    """Answers that are objects. They are made outside of any thread and named session."""

    @dispatcher.span
    def structured_predict(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> M:
        """Answer a prompt with an object.

        Args:
            output_cls: Its class, a pydantic model.
            prompt: The prompt.
            llm_kwargs: Fields of the request, and `user_id`, `tier`.
            **prompt_args: What fills the prompt.

        Raises:
            BehestError: The call failed.
            ValueError: The answer can't be read as the class, even by way of a function call.
        """
        with placed_at(identity_apart(self, llm_kwargs)):
            if self._has_native_mode:
                messages, arguments = self._native(output_cls, prompt, llm_kwargs, prompt_args)
                _started(output_cls, prompt, prompt_args)
                try:
                    return _ended(_object(output_cls, self.chat(messages, **arguments).message.content))
                except (BehestBadRequestError, ValidationError) as error:
                    _raise_if_final(error)
            answer: M = super().structured_predict(output_cls, prompt, dict(llm_kwargs or {}), **prompt_args)
            return answer

    @dispatcher.span
    async def astructured_predict(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> M:
        """Answer a prompt with an object; see `structured_predict`."""
        with placed_at(identity_apart(self, llm_kwargs)):
            if self._has_native_mode:
                messages, arguments = self._native(output_cls, prompt, llm_kwargs, prompt_args)
                _started(output_cls, prompt, prompt_args)
                try:
                    return _ended(_object(output_cls, (await self.achat(messages, **arguments)).message.content))
                except (BehestBadRequestError, ValidationError) as error:
                    _raise_if_final(error)
            answer: M = await super().astructured_predict(output_cls, prompt, dict(llm_kwargs or {}), **prompt_args)
            return answer

    def stream_structured_predict(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> Generator[M | FlexibleModel, None, None]:
        """Answer a prompt with an object that grows; see `structured_predict`. For whom is decided now."""
        objects = super().stream_structured_predict(output_cls, prompt, dict(llm_kwargs or {}), **prompt_args)
        return _each_at(identity_apart(self, llm_kwargs), objects)

    async def astream_structured_predict(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> AsyncGenerator[M | FlexibleModel, None]:
        """Answer a prompt with an object that grows; see `structured_predict`. For whom is decided now."""
        identity = identity_apart(self, llm_kwargs)
        objects = await super().astream_structured_predict(output_cls, prompt, dict(llm_kwargs or {}), **prompt_args)
        return _aeach_at(identity, objects)

    def _structured_stream_call(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> Generator[Any, None, None]:
        if self._has_native_mode:
            messages, arguments = self._native(output_cls, prompt, llm_kwargs, prompt_args)
            growing = _Growing(output_cls)
            try:
                for piece in self.stream_chat(messages, **arguments):
                    yield growing.add(piece)
                growing.check()
            except BehestBadRequestError as error:
                _raise_if_final(error, begun=growing.latest is not None)
            else:
                return
        if self._calls_functions:
            called = _Called(output_cls, self)
            offer = _offer(output_cls, self._list_of(prompt, prompt_args), llm_kwargs)
            for piece in self.stream_chat_with_tools(**offer):
                yield called.add(piece)
            return
        yield from super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)

    async def _structured_astream_call(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> AsyncGenerator[Any, None]:
        by_text = super()._structured_astream_call

        async def objects() -> AsyncGenerator[Any, None]:
            if self._has_native_mode:
                messages, arguments = self._native(output_cls, prompt, llm_kwargs, prompt_args)
                growing = _Growing(output_cls)
                try:
                    async for piece in await self.astream_chat(messages, **arguments):
                        yield growing.add(piece)
                    growing.check()
                except BehestBadRequestError as error:
                    _raise_if_final(error, begun=growing.latest is not None)
                else:
                    return
            if self._calls_functions:
                called = _Called(output_cls, self)
                offer = _offer(output_cls, self._list_of(prompt, prompt_args), llm_kwargs)
                async for piece in await self.astream_chat_with_tools(**offer):
                    yield called.add(piece)
                return
            async for one in await by_text(output_cls, prompt, llm_kwargs, **prompt_args):
                yield one

        return objects()

    @property
    def _calls_functions(self) -> bool:
        modes = (PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION)
        return self.is_function_calling_model and self.pydantic_program_mode in modes

    @property
    def _has_native_mode(self) -> bool:
        return self.pydantic_program_mode is PydanticProgramMode.DEFAULT

    def _native(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: Mapping[str, Any] | None,
        prompt_args: Mapping[str, Any],
    ) -> tuple[list[ChatMessage], dict[str, Any]]:
        messages = self._list_of(prompt, prompt_args)
        return messages, {**(llm_kwargs or {}), "response_format": response_format(output_cls)}

    def _list_of(self, prompt: PromptTemplate, prompt_args: Mapping[str, Any]) -> list[ChatMessage]:
        return self._extend_messages(prompt.format_messages(llm=self, **prompt_args))


class _Growing:
    """The object that a streamed answer makes, as far as it came."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        self._output_cls = output_cls
        self._text = ""
        self.latest: Any = None

    def add(self, piece: Any) -> Any:
        # Reading the text so far is the dearest part of a piece, and most of them (role, usage) add nothing to it.
        if piece.delta or self.latest is None:
            self._text = piece.message.content or ""
            self.latest = process_streaming_content_incremental(piece, self._output_cls, self.latest)
        return self.latest

    def check(self) -> None:
        """Raise what is wrong with the whole answer, if it can't be read as the class."""
        if not isinstance(self.latest, self._output_cls):
            _object(self._output_cls, self._text)


class _Called:
    """The object that the arguments of a streamed function call make, as far as they came."""

    def __init__(self, output_cls: type[BaseModel], llm: Answers) -> None:
        self._output_cls = output_cls
        self._llm = llm
        self._latest: Any = None

    def add(self, piece: Any) -> Any:
        latest = None if self._latest is None else [self._latest]
        self._latest = process_streaming_objects(piece, self._output_cls, cur_objects=latest, llm=self._llm)
        return self._latest


def _offer(
    output_cls: type[BaseModel], messages: list[ChatMessage], llm_kwargs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the arguments of a call that must answer with the object. The framework's own stream leaves it to the model."""
    return {
        **(llm_kwargs or {}),
        "tools": [get_function_tool(output_cls)],
        "chat_history": messages,
        "tool_required": True,
    }


def _object(output_cls: type[M], content: str | None) -> M:
    return output_cls.model_validate_json(content or "")


def _raise_if_final(error: BehestBadRequestError | ValidationError, *, begun: bool = False) -> None:
    """Raise an error that a function call would not mend."""
    if begun or isinstance(error, BehestContextOverflowError):
        raise error


def _started(output_cls: type[BaseModel], prompt: PromptTemplate, prompt_args: dict[str, Any]) -> None:
    """Tell the framework's observers what `LLM.structured_predict` would."""
    dispatcher.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))


def _ended(output: M) -> M:
    """Tell the framework's observers of the object."""
    dispatcher.event(LLMStructuredPredictEndEvent(output=output))
    return output


def _each_at(identity: Identity, items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Advance a generator as this identity, and leave what its consumer does in between alone."""
    while True:
        with placed_at(identity):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


async def _aeach_at(identity: Identity, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    while True:
        with placed_at(identity):
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
        yield item
