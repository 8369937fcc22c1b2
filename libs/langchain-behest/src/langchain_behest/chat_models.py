"""ChatBehest: the Behest gateway as a LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, ensure_config

from langchain_behest import content_in
from langchain_behest.addressing import AddressedModel
from langchain_behest.chunks import ChunkReader
from langchain_behest.counting import estimated_token_ids
from langchain_behest.errors import langchain_errors
from langchain_behest.identity import Addressee, scope_of, scope_of_call, take_scope
from langchain_behest.messages_in import chat_result, combined_output
from langchain_behest.params import CALL_OPTIONS, request_parameters
from langchain_behest.request import Request, prepare
from langchain_behest.structured import Method, structured_output
from langchain_behest.tools import Tool, response_format, wire_tools
from langchain_behest.tools import tool_choice as wire_tool_choice

__all__ = ["ChatBehest"]

content_in.register()


class ChatBehest(AddressedModel):
    """The chat models behind a Behest gateway: every call is made for one end user, with a short-lived token of theirs.

    ## Setup

    ```bash
    pip install langchain-behest
    export BEHEST_KEY="…"          # the project's API key
    export BEHEST_SLUG="…"         # or BEHEST_BASE_URL
    ```

    ## For whom

    A call needs a user. Each of `user_id`, `session_id`, `thread_id` and `tier` is taken from the first place that says it:
    the call's (or `bind`'s) arguments, `config["configurable"]` (`behest_user_id`, `behest_session_id`, `behest_thread_id`,
    `behest_tier`), the ambient `behest_base.scope`, the model's own fields, the client (`BEHEST_USER_ID`). None means none.
    A call without a session shares memory with no other call. In a thread the gateway supplies the earlier messages; what it
    holds is not sent again, however much of the conversation is passed in.

    Inside an agent's tool (LangGraph's `tools` node), and in calls that langchain's middleware makes for itself, a thread or
    session that is merely inherited does not apply: such a call is no turn of the conversation.

    ## Key arguments

    - for whom, and where: `user_id`, `session_id`, `thread_id`, `tier`
    - the request: `model`, `temperature`, `max_tokens`, `top_p`, `stop`, `seed`, `n`, `presence_penalty`, `frequency_penalty`,
      `logit_bias`, `logprobs`, `top_logprobs`, `reasoning_effort`, `service_tier`, and `model_kwargs`, `extra_body`,
      `disabled_params`
    - the connection: `api_key`, `base_url` or `slug`, or a whole `client`; `timeout`, `max_retries`
    - streams: `streaming`, `stream_usage`; threads: `store_tool_calls`, `resend_history`

    ## Instantiate

    ```python
    from langchain_behest import ChatBehest

    model = ChatBehest(user_id="alice", temperature=0, max_retries=2)
    ```

    ## Invoke

    ```python
    messages = [("system", "Answer in one sentence."), ("human", "What is a token?")]
    model.invoke(messages)
    model.invoke(messages, user_id="bob")
    model.invoke(messages, config={"configurable": {"behest_user_id": "bob"}})
    ```

    ## Stream

    ```python
    for chunk in model.stream(messages):
        print(chunk.text, end="")
    ```

    A stream that breaks off or ends early raises `BehestStreamError`, with what had arrived in `.partial`.

    ## Async

    ```python
    await model.ainvoke(messages)

    async for chunk in model.astream(messages):
        print(chunk.text, end="")
    ```

    ## Threads

    ```python
    model.invoke("My order is 1234.", thread_id="support-42")
    model.invoke("What is my order?", thread_id="support-42")
    ```

    ## Tool calling

    ```python
    def get_weather(city: str) -> str:
        '''Get the weather of a city.'''
        return "sunny"

    model.bind_tools([get_weather]).invoke("How is the weather in Turin?").tool_calls
    ```

    ## Structured output

    ```python
    class Joke(BaseModel):
        setup: str
        punchline: str

    model.with_structured_output(Joke).invoke("Tell me a joke.")
    ```

    An answer that was refused raises `BehestRefusalError`, one that was cut short langchain-core's `OutputParserException`.

    ## Image, file and audio input

    ```python
    image = {"type": "image", "url": "https://example.com/cat.png"}
    model.invoke([HumanMessage([{"type": "text", "text": "What is this?"}, image])])
    ```

    ## Reasoning

    ```python
    model.invoke("How many r are in raspberry?").content_blocks  # reasoning blocks before the text
    ```

    ## Token usage and response metadata

    ```python
    reply = model.invoke(messages)
    reply.usage_metadata
    reply.response_metadata["behest"]  # user_id, session_id, thread_id, trace_id, request_id
    ```

    ## Everything else

    `model.behest` is the client: `model.behest.threads.list(user_id="alice")`, `model.behest.usage()`.

    Errors are `langchain_behest.errors`; they belong to langchain-core's model errors too. Tokens are in no field, argument,
    trace or dump; a key given as `api_key` is in no dump, and a model with one can't be pickled.
    """

    # -- the calls --------------------------------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - core's signature
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            request = self._request(messages, stop, kwargs)
            answer = self.behest.complete(request.body(self.behest), scope=request.identity, **request.options)
        return chat_result(answer, request.model)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - core's signature
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            request = self._request(messages, stop, kwargs)
            body = await request.abody(self.behest)
            answer = await self.behest.acomplete(body, scope=request.identity, **request.options)
        return chat_result(answer, request.model)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - core calls the handlers for each chunk
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with langchain_errors():
            request = self._request(messages, stop, kwargs)
            reader = ChunkReader(request.model)
            with self.behest.stream(request.body(self.behest), scope=request.identity, **request.options) as chunks:
                for chunk in chunks:
                    if (piece := reader.read(chunk)) is not None:
                        yield piece
            yield reader.last()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - core calls the handlers for each chunk
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with langchain_errors():
            request = self._request(messages, stop, kwargs)
            reader = ChunkReader(request.model)
            body = await request.abody(self.behest)
            async with self.behest.astream(body, scope=request.identity, **request.options) as chunks:
                async for chunk in chunks:
                    if (piece := reader.read(chunk)) is not None:
                        yield piece
            yield reader.last()

    def _request(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Request:
        scope = take_scope(kwargs)
        if isinstance(scope.user_id, Addressee):
            scope = scope.user_id.scope
        else:  # called without the public methods
            scope = scope_of_call(scope, ensure_config(), scope_of(self))
        how = {name: kwargs.pop(name, getattr(self, name)) for name in CALL_OPTIONS}
        parameters = request_parameters(self._defaults, kwargs, stop=stop, disabled=self.disabled_params)
        if not how["stream_usage"]:
            parameters.setdefault("stream_options", {"include_usage": False})
        return prepare(messages, self.behest.identify(scope), parameters, how)

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        # A stream shows one answer: where several are asked for, a call that streams for its callbacks would lose the others.
        if (kwargs.get("n") or self.n or 1) > 1 and not kwargs.get("stream"):
            return False
        return super()._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)

    def _combine_llm_outputs(self, outputs: list[dict[str, Any] | None], /) -> dict[str, Any]:
        return combined_output(outputs)

    # -- tools and structured answers -------------------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[Tool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools it may call.

        Args:
            tools: Pydantic or TypedDict classes, functions, LangChain tools, JSON schemas, or OpenAI tools.
            tool_choice: `auto`, `none`, `any` or `required` or True, the name of a tool, or the wire's own object.
            strict: Whether the model must keep to the tools' schemas.
            parallel_tool_calls: Whether it may call several at once.
            **kwargs: Further arguments of each call.

        Raises:
            ValueError: `tool_choice` is the name of none of the tools.
        """
        formatted = wire_tools(tools, strict=strict)
        if kwargs.get("response_format") is not None:
            kwargs["response_format"] = response_format(kwargs["response_format"], strict=strict)
        chosen = {"tool_choice": wire_tool_choice(tool_choice, formatted), "parallel_tool_calls": parallel_tool_calls}
        return self.bind(
            tools=formatted, **{name: value for name, value in chosen.items() if value is not None}, **kwargs
        )

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return this model with answers in a schema.

        Args:
            schema: A Pydantic class (answers are its instances), a TypedDict class, a JSON schema or an OpenAI function
                (answers are dicts). Only `json_mode` does without.
            method: `json_schema` asks with `response_format`, `function_calling` with a tool, `json_mode` for any JSON.
            include_raw: Whether to return `{"raw", "parsed", "parsing_error"}` instead of the parsed answer; a parsing error is
                then handed over, also at the end of a stream, instead of raised.
            strict: Whether the model must keep to the schema.
            **kwargs: Further arguments of each call, such as `tools`; a reply that calls one has no answer, which is None.

        Raises:
            ValueError: The method is unknown, or has no schema or no use for `strict`.
        """
        return structured_output(self, schema, method=method, include_raw=include_raw, strict=strict, **kwargs)

    # -- counting ---------------------------------------------------------------------------------------------------

    def get_token_ids(self, text: str) -> list[int]:
        """Return about as many ids as the text has tokens: an estimate, which needs no tokenizer and no network.

        Give `custom_get_token_ids=` to count with the tokenizer of your project's model.
        """
        return estimated_token_ids(text) if self.custom_get_token_ids is None else self.custom_get_token_ids(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return an estimate of the messages' tokens, those of the tools' schemas included."""
        return count_tokens_approximately(messages, tools=[*wire_tools(tools)] if tools else None)
