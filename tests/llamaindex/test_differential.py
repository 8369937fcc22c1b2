"""BehestLLM beside OpenAILike on the same recordings: equal where both have a field, richer where the other drops one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ThinkingBlock, ToolCallBlock
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped] # it has no py.typed

from behest_base import Behest
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM
from support.minters import made_up_token
from support.replay import Recording, Replay, recording, recordings, replaying

HELLO = [ChatMessage("Hello.")]


@pytest.fixture(scope="module")
def server() -> Iterator[Replay]:
    """Run the server of recordings for this module."""
    with replaying() as running:
        yield running


@pytest.fixture
def ours(server: Replay) -> BehestLLM:
    """Give a BehestLLM that talks to it."""
    return BehestLLM(api_key=made_up_token("alice", 1), base_url=server.base_url)


@pytest.fixture
def theirs(server: Replay) -> Iterator[OpenAILike]:
    """Give an OpenAILike that talks to it, told all that it can be told, on a client that is closed: it closes none."""
    with httpx.Client() as http:
        yield OpenAILike(
            model="gpt-4o",
            api_key="none",
            api_base=f"{server.base_url}/v1",
            is_chat_model=True,
            is_function_calling_model=True,
            max_retries=0,
            http_client=http,
        )


def shown(response: ChatResponse) -> dict[str, Any]:
    """Return what of a response both are to agree in, under the names that LlamaIndex has for it."""
    blocks = response.message.blocks
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    calls = [
        (block.tool_call_id, block.tool_name, block.tool_kwargs or "")
        for block in blocks
        if isinstance(block, ToolCallBlock)
    ]
    return {
        "role": response.message.role,
        "content": response.message.content or "",
        "thinking": "".join(block.content or "" for block in blocks if isinstance(block, ThinkingBlock)),
        "tool_calls": calls,
        "logprobs": response.logprobs,
        "usage": {name: response.additional_kwargs[name] for name in counts if name in response.additional_kwargs},
    }


# Where OpenAILike reads something else, and why ours is right.
_MIXED = {"content": "a stream shows one answer; OpenAILike mixes both"}
_TORN = {"tool_calls": "each piece belongs to the call of its index; OpenAILike makes a call of every piece"}
_LOST = {"tool_calls": "a chunk may hold pieces of several calls; OpenAILike reads the first only"}
_GLUED = {"tool_calls": "another id begins another call; OpenAILike makes one of both"}
DIFFERS: dict[str, dict[str, str]] = {
    "captured-litellm-stream-n-two": _MIXED,
    "captured-litellm-stream-tool-calls-interleaved": _TORN,
    "captured-litellm-stream-tool-calls-two-in-one-chunk": _LOST,
    "stream-n-two": _MIXED,
    "stream-tool-call-id-repeated": {"tool_calls": "an id and name sent again are the same; OpenAILike adds them up"},
    "stream-tool-calls-interleaved": _TORN,
    "stream-tool-calls-same-index": _GLUED,
    "stream-tool-calls-two-in-one-chunk": _LOST,
    "stream-tool-calls-without-index": _GLUED,
}


def check(each: Recording, ours: ChatResponse, theirs: ChatResponse) -> None:
    """Check that ours has all that theirs has, and that what is said to differ does."""
    mine, other = shown(ours), shown(theirs)
    different = {name for name in other if mine[name] != other[name]}
    assert different == set(DIFFERS.get(each.name, {})), {name: (mine[name], other[name]) for name in different}


@pytest.mark.parametrize("each", recordings("response"), ids=str)
def test_plain(each: Recording, server: Replay, ours: BehestLLM, theirs: OpenAILike) -> None:
    """A plain answer is read as OpenAILike reads it, or more of it is."""
    server.recording = each
    check(each, ours.chat(HELLO), theirs.chat(HELLO))


@pytest.mark.parametrize("each", recordings("sse"), ids=str)
def test_streamed(each: Recording, server: Replay, ours: BehestLLM, theirs: OpenAILike) -> None:
    """The last response of a stream is what OpenAILike's is, or more; it adds up to the deltas."""
    server.recording = each
    pieces = list(ours.stream_chat(HELLO))
    assert "".join(piece.delta or "" for piece in pieces) == (pieces[-1].message.content or "")
    check(each, pieces[-1], list(theirs.stream_chat(HELLO, stream_options={"include_usage": True}))[-1])


@pytest.mark.parametrize("each", recordings("response"), ids=str)
async def test_tasks_read_the_same(each: Recording, server: Replay, ours: BehestLLM) -> None:
    """An answer read in a task is the one that a thread gets."""
    server.recording = each
    assert shown(await ours.achat(HELLO)) == shown(ours.chat(HELLO))


@pytest.mark.parametrize("each", recordings("sse"), ids=str)
async def test_streams_in_tasks_are_the_same(each: Recording, server: Replay, ours: BehestLLM) -> None:
    """So are the responses of a stream."""
    server.recording = each
    in_task = [shown(piece) async for piece in await ours.astream_chat(HELLO)]
    assert in_task == [shown(piece) for piece in ours.stream_chat(HELLO)]


def last_of(model: BehestLLM | OpenAILike) -> ChatResponse:
    """Return the last response of a stream, for which nothing special was asked."""
    responses: list[ChatResponse] = list(model.stream_chat(HELLO))
    return responses[-1]


def test_usage_is_there_unasked(server: Replay, ours: BehestLLM, theirs: OpenAILike) -> None:
    """A stream asks for its usage by itself; OpenAILike has to be told with every call."""
    server.recording = recording("stream-text")
    assert shown(last_of(ours))["usage"] == {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    last_of(theirs)
    assert [body.get("stream_options") for body in server.bodies[-2:]] == [{"include_usage": True}, None]


def test_a_refusal_is_kept_whole(server: Replay, ours: BehestLLM, theirs: OpenAILike) -> None:
    """The pieces of a refusal add up; OpenAILike drops them."""
    for name in ("stream-refusal", "plain-refusal"):
        server.recording = recording(name)
        mine, other = (
            (last_of(ours), last_of(theirs)) if name == "stream-refusal" else (ours.chat(HELLO), theirs.chat(HELLO))
        )
        assert mine.message.additional_kwargs["refusal"] == "I can't help with that."
        assert "refusal" not in other.message.additional_kwargs


def test_signed_thinking_is_kept(server: Replay, ours: BehestLLM, theirs: OpenAILike) -> None:
    """The signature by which a model knows its own thinking again comes along; OpenAILike drops it."""
    server.recording = recording("stream-litellm-thinking-blocks")
    signed = [
        [block.additional_information for block in last_of(model).message.blocks if isinstance(block, ThinkingBlock)]
        for model in (ours, theirs)
    ]
    assert any("signature" in information for information in signed[0])
    assert not any("signature" in information for information in signed[1])


def test_streamed_logprobs(server: Replay, ours: BehestLLM, theirs: OpenAILike) -> None:
    """The log probabilities of a stream's tokens come with the token; OpenAILike drops them."""
    server.recording = recording("stream-logprobs")
    assert [piece.logprobs for piece in ours.stream_chat(HELLO) if piece.logprobs]
    assert not [piece.logprobs for piece in theirs.stream_chat(HELLO) if piece.logprobs]


def test_a_stream_cut_short(gateway: Emulator, behest: Behest) -> None:
    """OpenAILike ends a stream without a finish reason as if all of it had come; BehestLLM raises (see test_endings)."""
    token = behest.mint("alice").token.get_secret_value()
    gateway.script("one two three four five six")
    gateway.fail_next(path="chat", after_chunks=4, end=True)
    with httpx.Client() as http:
        peer = OpenAILike(
            model="default",
            api_base=f"{gateway.base_url}/v1",
            api_key=token,
            is_chat_model=True,
            http_client=http,
        )
        assert list(peer.stream_chat(HELLO))[-1].message.content == "one two three"
