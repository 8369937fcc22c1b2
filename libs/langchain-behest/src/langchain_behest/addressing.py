"""The public calls of a model, each with its identity put into its arguments before langchain-core takes over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig, ensure_config

from langchain_behest.fields import BehestFields
from langchain_behest.identity import Addressee, addressed, scope_of, scope_of_call, take_scope
from langchain_behest.messages_in import with_cut_calls_apart

__all__ = ["AddressedModel"]


class AddressedModel(BehestFields):
    """A model whose calls are for someone: decided when the call is made, and part of what caches and traces know it by."""

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002 - core's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer a prompt; see `BaseChatModel.invoke`, and the class for the identity's arguments."""
        config, kwargs = self._address(config, kwargs)
        return super().invoke(input, config, stop=stop, **kwargs)

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002 - core's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer a prompt; see `invoke`."""
        config, kwargs = self._address(config, kwargs)
        return await super().ainvoke(input, config, stop=stop, **kwargs)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - core's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Answer a prompt piece by piece. For whom is decided now, not at the first step."""
        config, kwargs = self._address(config, kwargs)
        return super().stream(input, config, stop=stop, **kwargs)

    def astream(
        self,
        input: LanguageModelInput,  # noqa: A002 - core's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Answer a prompt piece by piece; see `stream`."""
        config, kwargs = self._address(config, kwargs)
        return super().astream(input, config, stop=stop, **kwargs)

    if not TYPE_CHECKING:  # to type checkers they stay the overloads of langchain-core

        def stream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
            """Stream events; with `version="v3"` the typed stream of langchain-core. See `BaseChatModel.stream_events`."""
            config, kwargs = self._address(config, kwargs)
            return super().stream_events(input, config, **kwargs)

        def astream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
            """Stream events; see `stream_events`."""
            config, kwargs = self._address(config, kwargs)
            return super().astream_events(input, config, **kwargs)

    def generate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult:
        """Answer several prompts; see `BaseChatModel.generate`."""
        _, kwargs = self._address(None, kwargs)
        return super().generate(messages, *args, **kwargs)

    async def agenerate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult:
        """Answer several prompts; see `BaseChatModel.generate`."""
        _, kwargs = self._address(None, kwargs)
        return await super().agenerate(messages, *args, **kwargs)

    def _address(
        self, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> tuple[RunnableConfig | None, dict[str, Any]]:
        """Put the identity into the call's arguments, where it separates traces and cache entries."""
        if isinstance(kwargs.get("user_id"), Addressee):
            return config, kwargs
        config = ensure_config(config)
        scope = scope_of_call(take_scope(kwargs), config, scope_of(self))
        return config, {**kwargs, **addressed(self.behest.identify(scope))}

    # -- caches: an answer out of a conversation is no one else's, nor the next turn's ------------------------------

    def _generate_with_cache(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        model = self._for_caching(kwargs)
        return with_cut_calls_apart(super(AddressedModel, model)._generate_with_cache(messages, *args, **kwargs))

    async def _agenerate_with_cache(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        model = self._for_caching(kwargs)
        return with_cut_calls_apart(await super(AddressedModel, model)._agenerate_with_cache(messages, *args, **kwargs))

    def _for_caching(self, kwargs: Mapping[str, Any]) -> AddressedModel:
        """Return this model, or one without cache for a call whose answer depends on what the gateway remembers."""
        remembers = kwargs.get("thread_id") is not None or kwargs.get("session_id") is not None
        return self.model_copy(update={"cache": False}) if remembers and self.cache is not False else self

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # A client that was passed in is no part of a dump, and two of them may be of two projects.
        return f"{self.behest.base_url}---{super()._get_llm_string(stop, **kwargs)}"
