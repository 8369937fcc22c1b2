"""BehestLLM on the wire: the eight core methods, usage, metadata."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from behest_base import Behest, BehestConfigError, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM

QUESTION = [
    ChatMessage(role=MessageRole.SYSTEM, content="The office is in Oslo."),
    ChatMessage(role=MessageRole.USER, content="Where is the office?"),
]


async def _stream_chat(llm: BehestLLM) -> Any:
    return list(llm.stream_chat(QUESTION))[-1]


async def _astream_chat(llm: BehestLLM) -> Any:
    return [piece async for piece in await llm.astream_chat(QUESTION)][-1]


async def _chat(llm: BehestLLM) -> Any:
    return llm.chat(QUESTION)


async def _achat(llm: BehestLLM) -> Any:
    return await llm.achat(QUESTION)


async def _complete(llm: BehestLLM) -> Any:
    return llm.complete("The office is in Oslo. Where is the office?")


async def _acomplete(llm: BehestLLM) -> Any:
    return await llm.acomplete("The office is in Oslo. Where is the office?")


async def _stream_complete(llm: BehestLLM) -> Any:
    return list(llm.stream_complete("The office is in Oslo. Where is the office?"))[-1]


async def _astream_complete(llm: BehestLLM) -> Any:
    return [piece async for piece in await llm.astream_complete("The office is in Oslo. Where is the office?")][-1]


CHATS = [_chat, _achat, _stream_chat, _astream_chat]
COMPLETIONS = [_complete, _acomplete, _stream_complete, _astream_complete]
Ask = Callable[[BehestLLM], Awaitable[Any]]


@pytest.fixture
def llm(behest: Behest) -> BehestLLM:
    """Give a model for alice."""
    return BehestLLM(client=behest, user_id="alice")


@pytest.mark.parametrize("ask", [*CHATS, *COMPLETIONS])
async def test_core_methods_answer_as_the_user(ask: Ask, llm: BehestLLM, gateway: Emulator) -> None:
    """Each of the eight methods answers through one chat call with the user's token and a session of its own."""
    answer = await ask(llm)
    text = answer.text if hasattr(answer, "text") else answer.message.content
    assert "Oslo" in text
    (call,) = gateway.chats
    assert call.user_id == "alice"
    assert call.json["model"] == "default"
    assert len(call.headers["x-session-id"]) == 32
    assert "x-thread-id" not in call.headers


@pytest.mark.parametrize("ask", [*CHATS, *COMPLETIONS])
async def test_usage_is_in_every_last_answer(ask: Ask, llm: BehestLLM) -> None:
    """Plain and streamed answers carry the gateway's token counts, in raw and where LlamaIndex's counters look."""
    answer = await ask(llm)
    usage = answer.raw["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0
    assert answer.additional_kwargs["prompt_tokens"] == usage["prompt_tokens"]
    assert answer.additional_kwargs["total_tokens"] == usage["total_tokens"]


def test_stream_grows_by_its_deltas(llm: BehestLLM) -> None:
    """Each piece has the text so far and what is new in it."""
    so_far = ""
    for piece in llm.stream_chat(QUESTION):
        so_far += piece.delta or ""
        assert (piece.message.content or "") == so_far
    assert "Oslo" in so_far


def test_no_user_is_an_error_before_anything_is_sent(behest: Behest, gateway: Emulator) -> None:
    """A call for nobody raises when it is made, a streamed one too."""
    llm = BehestLLM(client=behest)
    with pytest.raises(BehestConfigError, match="user_id="):
        llm.chat(QUESTION)
    with pytest.raises(BehestConfigError, match="user_id="):
        llm.stream_chat(QUESTION)
    assert gateway.requests == []


def test_identity_order(behest: Behest, gateway: Emulator) -> None:
    """The call's argument wins over the ambient scope, and that over the model's own user."""
    llm = BehestLLM(client=behest, user_id="model")
    llm.chat(QUESTION)
    with scope("ambient"):
        llm.chat(QUESTION)
        llm.chat(QUESTION, user_id="call", session_id="sitting")
    assert [call.user_id for call in gateway.chats] == ["model", "ambient", "call"]
    last = gateway.chats[-1]
    assert last.headers["x-session-id"] == "sitting"
    assert not {"user_id", "session_id", "thread_id", "tier"} & last.json.keys()


def test_stream_is_for_whom_it_was_called(behest: Behest, gateway: Emulator) -> None:
    """A stream made inside a scope and advanced outside of it is for the scope's user."""
    llm = BehestLLM(client=behest)
    with scope("alice"):
        pieces = llm.stream_chat(QUESTION)
    with scope("bob"):
        list(pieces)
    assert [call.user_id for call in gateway.chats] == ["alice"]


async def test_async_stream_is_for_whom_it_was_called(behest: Behest, gateway: Emulator) -> None:
    """The same holds for tasks."""
    llm = BehestLLM(client=behest)
    with scope("alice"):
        pieces = await llm.astream_chat(QUESTION)
    with scope("bob"):
        _ = [piece async for piece in pieces]
    assert [call.user_id for call in gateway.chats] == ["alice"]


def test_thread_gets_each_message_once(behest: Behest, gateway: Emulator) -> None:
    """Five turns with the whole list each time: the gateway is sent what is new, and holds each message once."""
    llm = BehestLLM(client=behest, user_id="alice", thread_id="trip")
    history: list[ChatMessage] = []
    for turn in range(5):
        history.append(ChatMessage(role=MessageRole.USER, content=f"Fact {turn}: the value is {turn}."))
        history.append(llm.chat(history).message)
    said = [message["content"] for message in gateway.thread("alice", "trip") if message["role"] == "user"]
    assert said == [f"Fact {turn}: the value is {turn}." for turn in range(5)]
    assert [len(call.json["messages"]) for call in gateway.chats] == [1] * 5
    prompt = [message["content"] for message in gateway.chats[-1].effective_prompt or ()]
    assert len(prompt) == 9
    assert prompt[0] == said[0]


async def test_two_users_have_two_threads(behest: Behest, gateway: Emulator) -> None:
    """A thread's id is a user's own: another user's marked messages are new in the thread of the same name."""
    llm = BehestLLM(client=behest, thread_id="trip")
    question, again = ChatMessage("q0"), ChatMessage("q1")
    gateway.script("a0", "b0", "a0", "c0")
    plain = llm.chat([question], user_id="alice").message
    llm.chat([question, plain, again], user_id="bob")
    *_, streamed = [piece.message async for piece in await llm.astream_chat([question], user_id="alice")]
    await llm.achat([question, streamed, again], user_id="carol")
    for call in gateway.chats[1::2]:
        assert [message["content"] for message in call.json["messages"]] == ["q0", "a0", "q1"]


def test_completion_stays_out_of_the_thread(behest: Behest, gateway: Emulator) -> None:
    """A completion under a thread and a named session is made in neither."""
    llm = BehestLLM(client=behest, user_id="alice", thread_id="trip", session_id="sitting")
    llm.complete("Condense this.")
    (call,) = gateway.chats
    assert call.thread_id is None
    assert call.headers["x-session-id"] != "sitting"


def test_client_comes_from_the_environment(environment: Emulator) -> None:
    """Without client and arguments the environment leads to the gateway, and two models share one client."""
    assert "Oslo" in str(BehestLLM(user_id="alice").complete("The office is in Oslo. Where is the office?"))
    assert BehestLLM().client is BehestLLM(user_id="bob").client
    assert len(environment.mints) == 1


def test_for_user_is_a_light_copy(llm: BehestLLM, gateway: Emulator) -> None:
    """A copy for another user is on the same client, keeps the settings and takes nothing of the conversation along."""
    shared = BehestLLM("behest-extractive", client=llm.client, user_id="alice", thread_id="trip", temperature=0.5)
    bob = shared.for_user("bob")
    bob.chat(QUESTION)
    (call,) = gateway.chats
    assert (call.user_id, call.thread_id, call.json["temperature"]) == ("bob", None, 0.5)
    assert bob.client is shared.client
    assert shared.user_id == "alice"


def test_metadata_takes_any_model_name() -> None:
    """Metadata needs no client and no known model; window and output can be set."""
    metadata = BehestLLM("some-model-of-tomorrow").metadata
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    assert (metadata.model_name, metadata.context_window) == ("some-model-of-tomorrow", 128_000)
    small = BehestLLM(context_window=8_000, num_output=500).metadata
    assert (small.context_window, small.num_output) == (8_000, 500)


def test_none_takes_a_setting_back(behest: Behest, gateway: Emulator) -> None:
    """A call's argument replaces the model's setting, and None leaves the field out."""
    llm = BehestLLM(client=behest, user_id="alice", temperature=0.5, additional_kwargs={"seed": 7})
    llm.chat(QUESTION, temperature=None, top_p=0.9)
    (call,) = gateway.chats
    assert "temperature" not in call.json
    assert (call.json["seed"], call.json["top_p"]) == (7, 0.9)


@pytest.mark.parametrize("field", ["api_base", "key", "default_headers"])
def test_unknown_fields_are_refused(field: str) -> None:
    """Names of other LLMs' fields would else be ignored; the error says the names here, and no value."""
    with pytest.raises(BehestConfigError, match=f"no {field}=.*additional_kwargs=") as caught:
        BehestLLM(**{field: "behest_sk_test_canary"})  # type: ignore[arg-type] # the mistake
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert "canary" not in f"{caught.value} {frames[1:]}"  # the first is this test's own
