"""A conformance suite for LLMs that call functions: what any `FunctionCallingLLM` must do for agents and programs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool

from llamaindex.conformance.llms import each

__all__ = ["FunctionCallingTests", "distance", "weather"]


def weather(city: str = "Oslo") -> str:
    """Tell the weather of a city."""
    return f"Sun in {city}."


def distance(city: str = "Rome") -> str:
    """Tell the distance to a city."""
    return f"It is far to {city}."


every_way = pytest.mark.parametrize(
    "way", ["chat_with_tools", "achat_with_tools", "stream_chat_with_tools", "astream_chat_with_tools"]
)


class FunctionCallingTests:
    """What a `FunctionCallingLLM` must do. Override the fixtures `llm` and, if the model must be told, `calls_both`."""

    raises_on_no_call: ClassVar[bool] = True
    """Whether an answer without a call is an error for those who ask for one."""

    keeps_history: ClassVar[bool] = True
    """Whether the caller's history is left as it was, rather than given the user's message too."""

    @pytest.fixture
    def llm(self) -> FunctionCallingLLM:
        """Give a model; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def calls_both(self) -> Callable[[], None]:
        """Have the model call both tools at once, for Oslo and Rome, when it is called next."""
        return lambda: None

    @pytest.fixture
    def tools(self) -> list[FunctionTool]:
        """Give one tool."""
        return [FunctionTool.from_defaults(weather)]

    def test_it_says_that_it_calls_functions(self, llm: FunctionCallingLLM) -> None:
        """Engines choose by it."""
        assert llm.metadata.is_function_calling_model

    @every_way
    async def test_a_call(self, way: str, llm: FunctionCallingLLM, tools: list[FunctionTool]) -> None:
        """The call has its name, arguments and id, and stands as a block in the message; the history stays as it was."""
        history = [ChatMessage(role=MessageRole.SYSTEM, content="Use tools.")]
        before = copy.deepcopy(history)
        asked = "What is the weather in Oslo?"
        answer = (await each(llm, way, tools, user_msg=asked, chat_history=history))[-1]
        (call,) = llm.get_tool_calls_from_response(answer)
        assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Oslo"})
        (block,) = [block for block in answer.message.blocks if isinstance(block, ToolCallBlock)]
        assert block.tool_name == "weather"
        assert call.tool_id
        assert call.tool_id == block.tool_call_id
        assert history == (before if self.keeps_history else [*before, ChatMessage(asked)])

    @every_way
    async def test_a_message_in_place_of_text(
        self, way: str, llm: FunctionCallingLLM, tools: list[FunctionTool]
    ) -> None:
        """The user's words can come as a message too, or as the last of the history."""
        message = ChatMessage("What is the weather in Oslo?")
        kinds: list[dict[str, Any]] = [{"user_msg": message}, {"chat_history": [message]}]
        for kind in kinds:
            answer = (await each(llm, way, tools, **kind))[-1]
            assert [call.tool_name for call in llm.get_tool_calls_from_response(answer)] == ["weather"]

    @every_way
    async def test_the_result_goes_back(self, way: str, llm: FunctionCallingLLM, tools: list[FunctionTool]) -> None:
        """The message with the call, and the result after it, are taken back and answered with text."""
        history = [ChatMessage("What is the weather in Oslo?")]
        answer = (await each(llm, way, tools, chat_history=history))[-1]
        (call,) = llm.get_tool_calls_from_response(answer)
        result = ChatMessage(
            role=MessageRole.TOOL, content="Sun in Oslo.", additional_kwargs={"tool_call_id": call.tool_id}
        )
        last = (await each(llm, way, tools, chat_history=[*history, answer.message, result]))[-1]
        assert last.message.content
        assert llm.get_tool_calls_from_response(last, error_on_no_tool_call=False) == []

    @every_way
    async def test_two_calls_at_once(
        self, way: str, llm: FunctionCallingLLM, tools: list[FunctionTool], calls_both: Callable[[], None]
    ) -> None:
        """Both are there, each with its own arguments, and told apart."""
        both = [*tools, FunctionTool.from_defaults(distance)]
        calls_both()
        asked = "What is the weather in Oslo, and the distance to Rome?"
        answer = (await each(llm, way, both, user_msg=asked, allow_parallel_tool_calls=True))[-1]
        calls = llm.get_tool_calls_from_response(answer)
        assert [(call.tool_name, call.tool_kwargs) for call in calls] == [
            ("weather", {"city": "Oslo"}),
            ("distance", {"city": "Rome"}),
        ]
        assert len({call.tool_id for call in calls}) == 2

    async def test_no_call(self, llm: FunctionCallingLLM) -> None:
        """An answer without a call has none, and is an error only for who wants one."""
        answer = await llm.achat([ChatMessage("Hello.")])
        assert llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False) == []
        if self.raises_on_no_call:
            with pytest.raises(ValueError, match="tool call"):
                llm.get_tool_calls_from_response(answer, error_on_no_tool_call=True)
        else:
            assert llm.get_tool_calls_from_response(answer, error_on_no_tool_call=True) == []

    @pytest.mark.parametrize("way", ["predict_and_call", "apredict_and_call"])
    async def test_predict_and_call(self, way: str, llm: FunctionCallingLLM, tools: list[FunctionTool]) -> None:
        """The tool is called with the model's arguments, and its output is the answer."""
        (answer,) = await each(llm, way, tools, user_msg="What is the weather in Oslo?")
        assert answer.response == "Sun in Oslo."
        assert [source.tool_name for source in answer.sources] == ["weather"]

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # llama-index-core's own agents use what is deprecated
    @pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "plain"])
    async def test_an_agent(self, streaming: bool, llm: FunctionCallingLLM) -> None:  # noqa: FBT001
        """An agent has its tool called once, and ends with an answer."""
        cities: list[str] = []

        def weather(city: str = "Oslo") -> str:
            """Tell the weather of a city."""
            cities.append(city)
            return f"Sun in {city}."

        agent = FunctionAgent(tools=[FunctionTool.from_defaults(weather)], llm=llm, streaming=streaming)
        answer = await agent.run("What is the weather in Oslo?")
        assert cities == ["Oslo"]
        assert str(answer)
