"""A model's life: copies, pickles, dicts, loops, threads; and that no secret travels along."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined] # not in its __all__
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer, Memory
from llama_index.core.workflow import Context, JsonPickleSerializer, JsonSerializer

from behest_base import Behest, BehestBadRequestError, BehestConfigError, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestAsyncChatStore, BehestChatStore, BehestLLM, BehestMemory

HELLO = [ChatMessage("Hello.")]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301
def test_copies_work_after_use(again: Callable[[Any], Any], environment: Emulator) -> None:
    """A model that was used can be copied and pickled by reference to the environment, and goes on."""
    llm = BehestLLM(user_id="alice", temperature=0.5)
    llm.chat(HELLO)
    other = again(llm)
    other.chat(HELLO)
    assert [call.json["temperature"] for call in environment.chats] == [0.5, 0.5]
    assert len(environment.mints) == 1


@pytest.mark.parametrize("make", [BehestLLM, BehestChatStore, BehestAsyncChatStore, BehestMemory])
def test_key_as_an_argument_does_not_travel(make: Callable[..., Any], gateway: Emulator) -> None:
    """Pickling what was given its key as an argument fails and says what to do instead."""
    given = make(api_key=gateway.api_key, base_url=gateway.base_url)
    with pytest.raises(BehestConfigError, match="BEHEST_KEY"):
        pickle.dumps(given)
    with Behest(gateway.api_key, base_url=gateway.base_url) as client, pytest.raises(BehestConfigError):
        pickle.dumps(make(client=client))


def test_pickle_leaves_the_model_whole(environment: Emulator) -> None:
    """A callback handler that can't travel stays behind, and on the model that stays."""
    handler = LlamaDebugHandler(print_trace_on_end=False)
    handler.lock = threading.Lock()  # type: ignore[attr-defined] # what can't be pickled
    llm = BehestLLM(user_id="alice", callback_manager=CallbackManager([handler]))
    pickle.loads(pickle.dumps(llm)).chat(HELLO)  # noqa: S301
    assert llm.callback_manager.handlers == [handler]
    assert len(environment.chats) == 1


def test_dict_round_trip(environment: Emulator) -> None:
    """`to_dict` and `from_dict` keep the settings; the key is not among them."""
    llm = BehestLLM("behest-extractive", user_id="alice", thread_id="trip", max_tokens=9, context_window=1_000)
    again = BehestLLM.from_dict(llm.to_dict())
    assert again.to_dict() == llm.to_dict()
    assert again.chat(HELLO).message.content
    assert json.loads(llm.to_json())["class_name"] == "BehestLLM"
    assert environment.api_key not in llm.to_json()


def _buffer() -> BaseMemory:
    return ChatMemoryBuffer.from_defaults(
        chat_store=BehestChatStore(user_id="alice"), chat_store_key="trip", tokenizer_fn=str.split
    )


def _memory() -> BaseMemory:
    return Memory.from_defaults(session_id="trip", chat_store=BehestAsyncChatStore(user_id="alice"))


def _behest() -> BaseMemory:
    return BehestMemory(user_id="alice", thread_id="trip")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Skipping serialization of known")
@pytest.mark.parametrize("serializer", [JsonSerializer(), JsonPickleSerializer()])
@pytest.mark.parametrize("make", [_buffer, _memory, _behest])
async def test_context_round_trip(
    make: Callable[[], BaseMemory], serializer: JsonSerializer, environment: Emulator
) -> None:
    """A workflow's context takes the model and the memory along, finds them again, and the thread goes on."""
    llm, memory = BehestLLM(user_id="alice", thread_id="trip"), make()
    agent = FunctionAgent(llm=llm)
    context = Context(agent)
    await agent.run("My favourite colour is teal.", ctx=context, memory=memory)
    kept = json.loads(json.dumps(context.to_dict(serializer=serializer)))
    assert environment.api_key not in json.dumps(kept)
    restored = Context.from_dict(agent, kept, serializer=serializer)
    is_left_out = make is _memory and type(serializer) is JsonSerializer  # by the framework, which says so
    answer = await agent.run("What is my favourite colour?", ctx=restored, memory=make() if is_left_out else None)
    assert "teal" in str(answer)
    thread = environment.thread("alice", "trip")
    assert [message["content"] for message in thread if message["role"] == "user"] == [
        "My favourite colour is teal.",
        "What is my favourite colour?",
    ]
    assert [message["role"] for message in thread] == ["user", "assistant"] * 2
    found = await restored.store.get("memory")
    assert type(found) is type(memory)


def test_buffer_on_the_store_round_trip(environment: Emulator) -> None:
    """A ChatMemoryBuffer finds the store's class again."""
    memory = ChatMemoryBuffer.from_defaults(
        chat_store=BehestChatStore(user_id="alice"), chat_store_key="trip", tokenizer_fn=str.split
    )
    again = ChatMemoryBuffer.from_dict(memory.to_dict())
    assert isinstance(again.chat_store, BehestChatStore)
    assert (again.chat_store.user_id, again.chat_store_key) == ("alice", "trip")
    assert again.get_all() == []
    assert environment.api_key not in memory.to_string()


def test_several_event_loops(environment: Emulator) -> None:
    """One model serves one `asyncio.run` after another, and blocking calls in between."""
    llm = BehestLLM(user_id="alice")

    async def ask() -> bool:
        _ = [piece async for piece in await llm.astream_chat(HELLO)]
        return bool((await llm.achat(HELLO)).message.content)

    assert asyncio.run(ask())
    assert llm.chat(HELLO).message.content
    assert asyncio.run(ask())
    assert len(environment.mints) == 1


async def test_blocking_call_in_a_running_loop(environment: Emulator) -> None:
    """A blocking call inside a running loop works; it needs no loop of its own."""
    assert BehestLLM(user_id="alice").chat(HELLO).message.content
    assert len(environment.chats) == 1


def test_users_in_threads(environment: Emulator) -> None:
    """One model, many threads, each in a scope of its own: each call is for its own user, with one mint per user."""
    llm = BehestLLM()

    def ask(number: int) -> None:
        with scope(f"user-{number % 5}"):
            list(llm.stream_chat([ChatMessage(f"I am user-{number % 5}.")]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(20)))
    assert len(environment.mints) == 5
    for call in environment.chats:
        assert call.json["messages"][0]["content"] == f"I am {call.user_id}."


async def test_users_in_tasks(environment: Emulator) -> None:
    """The same in tasks."""
    llm = BehestLLM()

    async def ask(number: int) -> None:
        with scope(f"user-{number % 5}"):
            await llm.achat([ChatMessage(f"I am user-{number % 5}.")])

    await asyncio.gather(*(ask(number) for number in range(20)))
    assert len(environment.mints) == 5
    for call in environment.chats:
        assert call.json["messages"][0]["content"] == f"I am {call.user_id}."


class _Listener(BaseEventHandler):
    """Keeps what instrumentation events say."""

    said: list[str] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        """Return the name."""
        return "_Listener"

    def handle(self, event: Any, **_: Any) -> None:
        """Keep an event."""
        self.said.append(repr(event) + event.model_dump_json(fallback=repr))


def test_no_secret_in_what_others_see(gateway: Emulator) -> None:
    """Neither key nor token is in events, callbacks, reprs or dicts, in an error's case either."""
    listener, debug = _Listener(), LlamaDebugHandler(print_trace_on_end=False)
    root = get_dispatcher()
    root.add_event_handler(listener)
    try:
        llm = BehestLLM(api_key=gateway.api_key, base_url=gateway.base_url, callback_manager=CallbackManager([debug]))
        llm.chat(HELLO, user_id="alice")
        list(llm.stream_complete("Hello.", user_id="alice"))
        gateway.fail_next(status=400, path="chat")
        with pytest.raises(BehestBadRequestError) as caught:
            llm.chat(HELLO, user_id="alice")
    finally:
        root.event_handlers.remove(listener)
    seen = "".join(
        [*listener.said, repr(debug.get_event_pairs()), repr(llm), str(llm), llm.to_json(), repr(caught.value)]
    )
    assert "Hello." in seen
    secrets = [gateway.api_key, *(call.headers["authorization"].removeprefix("Bearer ") for call in gateway.chats)]
    assert not [secret for secret in secrets if secret in seen]


async def test_token_counting_handler_counts_real_tokens(behest: Behest, gateway: Emulator) -> None:
    """Each of the eight methods is counted once, with the gateway's own numbers."""
    counter = TokenCountingHandler(tokenizer=lambda _: [0] * 1_000_000)
    llm = BehestLLM(client=behest, user_id="alice", callback_manager=CallbackManager([counter]))
    llm.chat(HELLO)
    list(llm.stream_chat(HELLO))
    await llm.achat(HELLO)
    _ = [piece async for piece in await llm.astream_chat(HELLO)]
    llm.complete("Hello.")
    list(llm.stream_complete("Hello."))
    await llm.acomplete("Hello.")
    _ = [piece async for piece in await llm.astream_complete("Hello.")]
    assert len(counter.llm_token_counts) == 8
    usage = behest.usage(user_id="alice").platform
    assert counter.prompt_llm_token_count == usage.input_tokens
    assert counter.completion_llm_token_count == usage.output_tokens
    assert len(gateway.chats) == 8


def test_ambient_scope_through_settings(environment: Emulator) -> None:
    """A model in Settings, made before any user is known, calls for whoever the scope names."""
    Settings.llm = BehestLLM()
    try:
        with scope("alice"):
            Settings.llm.complete("Hello.")
    finally:
        Settings._llm = None
    assert environment.chats[0].user_id == "alice"
