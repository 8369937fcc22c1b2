"""The suites of LLMs, on the family that speaks the same wire: OpenAILike, on the emulator's endpoint with a user's token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped] # it has no py.typed

from behest_base.emulator import Emulator
from llamaindex.conformance.function_calling import FunctionCallingTests
from llamaindex.conformance.llms import LLMTests, StructuredTests


class TestOpenAILike(LLMTests, StructuredTests, FunctionCallingTests):
    """Not `LLMLifeTests`: it can't be pickled once it was used, and keeps connections of event loops that have ended."""

    keeps_history = False
    counts_tokens = ("chat", "achat", "complete", "acomplete")

    @pytest.fixture
    async def llm(self, gateway: Emulator) -> AsyncIterator[OpenAILike]:
        """Give one, told all that it can be told, on connections that are closed again."""
        with httpx.Client() as client:
            async with httpx.AsyncClient() as async_client:
                yield OpenAILike(
                    model="default",
                    api_key=gateway.issue("alice"),
                    api_base=f"{gateway.base_url}/v1",
                    is_chat_model=True,
                    is_function_calling_model=True,
                    max_retries=0,
                    http_client=client,
                    async_http_client=async_client,
                )

    @pytest.fixture
    def introduced(self, knows_ada: str) -> str:
        """Have the model know Ada."""
        return knows_ada

    @pytest.fixture
    def calls_both(self, calls_both_tools: Callable[[], None]) -> Callable[[], None]:
        """Have the model call both."""
        return calls_both_tools
