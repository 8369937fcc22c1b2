"""The suites of LLMs, on llama-index-core's own mocks and on ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from llama_index.core.llms.mock import MockFunctionCallingLLM, MockLLM

from behest_base.emulator import Emulator
from llamaindex.conformance.function_calling import FunctionCallingTests
from llamaindex.conformance.llms import CHATS, COMPLETIONS, LLMLifeTests, StructuredTests
from llamaindex_behest import BehestLLM


class TestMockLLM(LLMLifeTests):
    """llama-index-core's model that says what it was told."""

    reports_once = False

    @pytest.fixture
    def llm(self) -> MockLLM:
        """Give one."""
        return MockLLM()


class TestMockFunctionCallingLLM(FunctionCallingTests):
    """llama-index-core's model that calls all tools that it is given."""

    raises_on_no_call = False

    @pytest.fixture
    def llm(self) -> MockFunctionCallingLLM:
        """Give one."""
        return MockFunctionCallingLLM()


class TestBehestLLM(LLMLifeTests, StructuredTests, FunctionCallingTests):
    """Our model, on the emulator."""

    counts_tokens = (*CHATS, *COMPLETIONS)

    @pytest.fixture
    def llm(self, environment: Emulator) -> BehestLLM:
        """Give one whose key is in the environment, so that it can be sent elsewhere."""
        assert environment.api_key
        return BehestLLM(user_id="alice")

    @pytest.fixture
    def secrets(self, gateway: Emulator, llm: BehestLLM) -> list[str]:
        """Give the key, and the token that the calls are made with."""
        return [gateway.api_key, llm.client.mint(user_id="alice").token.get_secret_value()]

    @pytest.fixture
    def introduced(self, knows_ada: str) -> str:
        """Have the model know Ada."""
        return knows_ada

    @pytest.fixture
    def calls_both(self, calls_both_tools: Callable[[], None]) -> Callable[[], None]:
        """Have the model call both."""
        return calls_both_tools
