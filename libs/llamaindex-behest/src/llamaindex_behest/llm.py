"""BehestLLM: the Behest gateway as a LlamaIndex LLM."""

# ruff: noqa: ARG002, FBT001, FBT002, PLR0917 - the signatures are the framework's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
)
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.tools.types import BaseTool
from llama_index.core.types import TokenAsyncGen, TokenGen
from pydantic import SecretStr

from behest_base import Behest, BehestConfigError
from llamaindex_behest.completions import acompletions_of, as_completion, as_messages, completions_of
from llamaindex_behest.identity import Use, prompt_use, using
from llamaindex_behest.structured import StructuredAnswers
from llamaindex_behest.tools import keep_first_call, tool_arguments, tool_selections, with_user_message

__all__ = ["BehestLLM"]

_UNKNOWN_FIELDS: Final = (
    "BehestLLM takes no {names}. The key is api_key=, the gateway's address base_url= or slug=; fields of the request that it "
    "has no name for go into additional_kwargs=."
)


class BehestLLM(StructuredAnswers):
    """A model behind the Behest gateway, with a token per end user.

    Key and address come from the environment (`BEHEST_KEY`, `BEHEST_BASE_URL` or `BEHEST_SLUG`) or from arguments. For whom
    a call is made is decided for each call: its keyword arguments `user_id`, `session_id`, `thread_id` and `tier`, else the
    ambient `behest_base.scope`, else this model's fields, else `BEHEST_USER_ID`. Errors are those of `behest_base`.

    In a thread the gateway supplies the earlier messages, so that only new ones are sent; and only calls that are turns of
    the conversation are made in it: completions, structured answers and predictions of text prompts never are.

    Example:
        ```python
        llm = BehestLLM(user_id="alice")
        print(llm.complete("Say hello."))
        for piece in llm.for_user("bob").stream_chat([ChatMessage("Say hello.")]):
            print(piece.delta, end="")
        ```
    """

    def __init__(
        self,
        model: str = "default",
        *,
        api_key: str | SecretStr | None = None,
        client: Behest | None = None,
        **fields: Any,
    ) -> None:
        """Check the fields; nothing is sent, and no client is made before the first call.

        Args:
            model: The model's name, any that the gateway serves.
            api_key: API key, signing key or token, as `behest_base.Behest` takes it; else `BEHEST_KEY`.
            client: A client to call with, instead of one from `api_key`, `base_url`, `slug` and the environment.
            **fields: The other fields.

        Raises:
            BehestConfigError: One of the fields is unknown.
        """
        if unknown := sorted(fields.keys() - type(self).model_fields.keys()):
            fields.clear()  # no secret in the frame of an error
            raise BehestConfigError(_UNKNOWN_FIELDS.format(names=", ".join(f"{name}=" for name in unknown)))
        super().__init__(model=model, **fields)
        self._connect(api_key, client)

    # -- chat -------------------------------------------------------------------------------------------------------

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a list of messages.

        Args:
            messages: The list.
            **kwargs: Fields of the request, and `user_id`, `session_id`, `thread_id`, `tier`.

        Returns:
            The answer; `raw` is the gateway's completion, `usage` in it.

        Raises:
            BehestError: As `behest_base.errors` draws it.
        """
        return self._answer(messages, kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a list of messages; see `chat`."""
        return await self._aanswer(messages, kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a list of messages piece by piece; takes what `chat` takes.

        For whom is decided now; the request goes out with the first step. An answer that breaks off raises, with the text so
        far in `.partial` of the error.
        """
        return self._pieces(messages, kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answer a list of messages piece by piece; see `stream_chat`."""
        return await self._apieces(messages, kwargs)

    # -- completion, by way of chat -----------------------------------------------------------------------------------

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete a prompt, outside of any thread and named session.

        Args:
            prompt: The text.
            formatted: Whether `completion_to_prompt` was applied to it already.
            **kwargs: As in `chat`.
        """
        with using(Use.APART):
            return as_completion(self._answer(as_messages(self, prompt, formatted=formatted), kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete a prompt; see `complete`."""
        with using(Use.APART):
            return as_completion(await self._aanswer(as_messages(self, prompt, formatted=formatted), kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Complete a prompt piece by piece; see `complete`."""
        with using(Use.APART):
            pieces = self._pieces(as_messages(self, prompt, formatted=formatted), kwargs)
        return completions_of(pieces)

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Complete a prompt piece by piece; see `complete`."""
        with using(Use.APART):
            pieces = await self._apieces(as_messages(self, prompt, formatted=formatted), kwargs)
        return acompletions_of(pieces)

    # -- prompts ------------------------------------------------------------------------------------------------------

    def predict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        """Answer a prompt with text. A text prompt is never a turn, a chat prompt while a memory of the thread is in use."""
        with using(prompt_use(prompt, self)):
            return super().predict(prompt, **prompt_args)

    async def apredict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        """Answer a prompt with text; see `predict`."""
        with using(prompt_use(prompt, self)):
            return await super().apredict(prompt, **prompt_args)

    def stream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenGen:
        """Answer a prompt with text piece by piece; see `predict`."""
        with using(prompt_use(prompt, self)):
            return super().stream(prompt, **prompt_args)

    async def astream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenAsyncGen:
        """Answer a prompt with text piece by piece; see `predict`."""
        with using(prompt_use(prompt, self)):
            return await super().astream(prompt, **prompt_args)

    # -- tools --------------------------------------------------------------------------------------------------------

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        choice = kwargs.pop("tool_choice", None)
        return {
            "messages": with_user_message(chat_history, user_msg),
            **tool_arguments(tools, parallel=allow_parallel_tool_calls, required=tool_required, choice=choice),
            **kwargs,
        }

    def predict_and_call(self, *args: Any, **kwargs: Any) -> AgentChatResponse:
        """Let the model choose a tool, and call it; takes what `FunctionCallingLLM.predict_and_call` takes.

        The result doesn't go back to the model, so this is a turn only if a memory of the thread says so: selectors and
        programs work in this way.
        """
        with using(Use.PROMPT):
            return super().predict_and_call(*args, **kwargs)

    async def apredict_and_call(self, *args: Any, **kwargs: Any) -> AgentChatResponse:
        """Let the model choose a tool, and call it; see `predict_and_call`."""
        with using(Use.PROMPT):
            return await super().apredict_and_call(*args, **kwargs)

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else keep_first_call(response)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the tool calls of a response, whole or streamed so far.

        Args:
            response: What one of the tool-calling methods returned.
            error_on_no_tool_call: Whether none is an error.
            **kwargs: Nothing that is used here.

        Raises:
            ValueError: There is none, and that is an error.
        """
        return tool_selections(response, error_on_no_tool_call=error_on_no_tool_call)
