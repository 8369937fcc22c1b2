"""Metadata: what a reply says about itself, plain and streamed, and that nothing the gateway says is lost."""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessage, HumanMessage

from behest_base import Behest
from behest_base.emulator import Emulator, RawSSE
from langchain_behest import ChatBehest
from langchain_behest.usage import usage_metadata

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 10,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 2, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 1},
    "cost": 0.002,
}

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1764000000,
    "model": "gpt-5",
    "system_fingerprint": "fp_1",
    "service_tier": "default",
    "usage": USAGE,
    "provider": "Example",
    "citations": ["https://example.com/"],
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "native_finish_reason": "end_turn",
            "logprobs": {"content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]},
            "message": {"role": "assistant", "content": "Hi", "annotations": [{"type": "note"}], "mood": "good"},
        }
    ],
}


def events(answer: dict[str, Any]) -> RawSSE:
    """Return an answer as the stream that a server would send for it."""
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    choice = answer["choices"][0]
    delta = {**head, "choices": [{"index": 0, "delta": choice["message"], "logprobs": choice["logprobs"]}]}
    end = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    chunks = [delta, end, {**head, "choices": [], "usage": answer["usage"]}]
    return RawSSE("".join([*(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), "data: [DONE]\n\n"]).encode())


def check(reply: AIMessage) -> None:
    """Check that everything is there."""
    metadata = reply.response_metadata
    assert metadata["model_name"] == "gpt-5"
    assert metadata["model_provider"] == "behest"
    assert metadata["finish_reason"] == "stop"
    assert metadata["system_fingerprint"] == "fp_1"
    assert metadata["service_tier"] == "default"
    assert metadata["id"] == "chatcmpl-1"
    assert metadata["cost"] == 0.002
    assert metadata["token_usage"] == USAGE
    assert metadata["logprobs"]["content"][0]["token"] == "Hi"
    assert (metadata["provider"], metadata["citations"]) == ("Example", ["https://example.com/"])
    assert reply.additional_kwargs == {"annotations": [{"type": "note"}], "mood": "good"}
    assert reply.usage_metadata == {
        "input_tokens": 20,
        "output_tokens": 10,
        "total_tokens": 30,
        "input_token_details": {"audio": 2, "cache_read": 5, "cache_creation": 3},
        "output_token_details": {"audio": 1, "reasoning": 4},
    }
    assert metadata["behest"].keys() == {"user_id", "session_id", "trace_id", "request_id"}


async def test_everything_is_kept(model: ChatBehest, gateway: Emulator) -> None:
    """Known fields stand where LangChain has a place for them, unknown ones under their own names."""
    gateway.script(ANSWER, ANSWER)
    plain = model.invoke("Hello.")
    check(plain)
    assert plain.response_metadata["native_finish_reason"] == "end_turn"
    check(await model.ainvoke("Hello."))


async def test_a_stream_keeps_everything_too(model: ChatBehest, gateway: Emulator) -> None:
    """The chunks of a stream add up to the same."""
    gateway.script(events(ANSWER), events(ANSWER))
    check(reduce(add, model.stream("Hello.")))
    check(reduce(add, [chunk async for chunk in model.astream("Hello.")]))


def test_a_thread_is_named(model: ChatBehest, gateway: Emulator) -> None:
    """A reply of a call in a thread says which, and where the gateway noted it."""
    place = model.invoke("Hello.", thread_id="t", session_id="s").response_metadata["behest"]
    assert (place["user_id"], place["thread_id"], place["session_id"]) == ("alice", "t", "s")
    assert gateway.chats[0].thread_id == "t"


def test_several_answers(model: ChatBehest, gateway: Emulator) -> None:
    """`n` answers are as many generations, each with its own ending; a stream shows the first."""
    other = {"index": 1, "finish_reason": "length", "message": {"role": "assistant", "content": "Ho"}}
    gateway.script({**ANSWER, "choices": [*ANSWER["choices"], other]})
    [generations] = model.generate([[HumanMessage("Hello.")]], n=2).generations
    assert [generation.text for generation in generations] == ["Hi", "Ho"]
    assert [generation.generation_info["finish_reason"] for generation in generations] == ["stop", "length"]  # type: ignore[index]
    assert gateway.chats[0].json["n"] == 2
    assert "".join(chunk.text for chunk in model.stream("Hello there.", n=2)) == "Noted: Hello there."


async def test_a_streaming_model_loses_no_answer(behest: Behest, gateway: Emulator) -> None:
    """A model that streams for its callbacks doesn't where several answers are asked for: a stream has one."""
    model = ChatBehest(client=behest, user_id="alice", streaming=True)
    plain = model.generate([[HumanMessage("Hello.")]], n=2)
    task = await model.model_copy(update={"n": 3}).agenerate([[HumanMessage("Hello.")]])
    assert [len(result.generations[0]) for result in (plain, task)] == [2, 3]
    assert not any(chat.json.get("stream") for chat in gateway.chats)


def test_usage_is_counted_by_langchains_callback(model: ChatBehest) -> None:
    """LangChain's own counting of usage finds model and tokens, plain and streamed."""
    with get_usage_metadata_callback() as counted:
        plain = model.invoke("Hello.")
        list(model.stream("Hello."))
    [usage] = counted.usage_metadata.values()
    assert plain.usage_metadata is not None
    assert usage["total_tokens"] == 2 * plain.usage_metadata["total_tokens"]


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_tiers_that_are_priced_apart(tier: str) -> None:
    """Tokens of a tier with prices of its own are counted under its name."""
    usage = usage_metadata(USAGE, tier)
    assert usage["input_token_details"] == {
        "audio": 2,
        f"{tier}_cache_read": 5,
        f"{tier}_cache_creation": 3,
        tier: 15,
    }
    assert usage["output_token_details"] == {"audio": 1, f"{tier}_reasoning": 4, tier: 6}


def test_anthropics_names_are_read() -> None:
    """Cached tokens are found under the names that LiteLLM passes on for Anthropic."""
    counts = {
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 2,
    }
    assert usage_metadata(counts) == {
        "input_tokens": 9,
        "output_tokens": 1,
        "total_tokens": 10,
        "input_token_details": {"cache_read": 4, "cache_creation": 2},
        "output_token_details": {},
    }


def test_an_answer_that_says_little(model: ChatBehest, gateway: Emulator) -> None:
    """Without usage, id or model the reply has no more than it was told, and the model asked for."""
    gateway.script({"choices": [{"message": {"content": "Bare."}, "finish_reason": "stop"}]})
    reply = model.invoke("Hello.")
    assert reply.text == "Bare."
    assert reply.response_metadata["model_name"] == "default"
