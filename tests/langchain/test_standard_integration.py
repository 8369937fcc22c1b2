"""LangChain's standard integration tests of a chat model, against the emulator."""

from __future__ import annotations

import json
from typing import Any, Literal

import httpx
import pytest
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests

from behest_base import Behest
from behest_base.emulator import Emulator, RawSSE
from langchain_behest import ChatBehest

Detail = Literal["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]

DETAILS: list[Detail] = ["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]

USAGE = {
    "prompt_tokens": 40,
    "completion_tokens": 30,
    "total_tokens": 70,
    "prompt_tokens_details": {"audio_tokens": 10, "cached_tokens": 10, "cache_write_tokens": 10},
    "completion_tokens_details": {"audio_tokens": 10, "reasoning_tokens": 10},
}


class Cassette:
    """What stands in for a recording of the network: the emulator answers at once, there is nothing to record."""

    responses = ("the emulator's",)


class TestChatBehestIntegration(ChatModelIntegrationTests):
    """The whole suite, with everything switched on."""

    has_tool_calling = True
    has_tool_choice = True
    has_structured_output = True
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_video_inputs = True
    supports_anthropic_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    returns_usage_metadata = True
    supports_model_override = True
    model_override_value = "other"
    enable_vcr_tests = True

    @pytest.fixture(autouse=True)
    def _on_the_emulator(
        self, behest: Behest, gateway: Emulator, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        self._client, self._gateway = behest, gateway
        gateway.models = (*gateway.models, "other")
        # The suite fetches its pictures and sounds from the network.
        monkeypatch.setattr(httpx, "get", lambda url, **_: httpx.Response(200, content=f"bytes of {url}".encode()))
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "none, nothing is fetched")
        if request.node.name == "test_json_mode":
            # The keys are asked for in words, which it takes a model to understand.
            gateway.model = lambda _: json.dumps({"setup": "Knock, knock.", "punchline": "Who's there?"})

    @pytest.fixture
    def vcr(self) -> Cassette:
        """Give the test of streaming's overhead something that is recorded already."""
        return Cassette()

    @property
    def chat_model_class(self) -> type[ChatBehest]:
        """The class under test."""
        return ChatBehest

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """Its arguments."""
        return {"client": self._client, "user_id": "alice"}

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Detail]]:
        """Every detail, plain and streamed."""
        return {"invoke": DETAILS, "stream": DETAILS}

    def _invoke(self, *, stream: bool) -> AIMessage:
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        model = ChatBehest(**self.chat_model_params)
        if not stream:
            message = {"role": "assistant", "content": "Counted."}
            self._gateway.script({"choices": [{**choice, "message": message}], "usage": USAGE})
            return model.invoke("Hello.")
        chunks = [{"choices": [{**choice, "delta": {"content": "Counted."}}]}, {"choices": [], "usage": USAGE}]
        events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        self._gateway.script(RawSSE("".join([*events, "data: [DONE]\n\n"]).encode()))
        first, *rest = model.stream("Hello.")
        return first + rest

    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        """Answer with every detail counted."""
        return self._invoke(stream=stream)

    def invoke_with_audio_output(self, *, stream: bool = False) -> AIMessage:
        """Answer with every detail counted."""
        return self._invoke(stream=stream)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        """Answer with every detail counted."""
        return self._invoke(stream=stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        """Answer with every detail counted."""
        return self._invoke(stream=stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        """Answer with every detail counted."""
        return self._invoke(stream=stream)
