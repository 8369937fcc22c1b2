"""The stores and the memory on the wire: whose threads they touch, what they send, and how little of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import BaseMemory, Memory

from behest_base import Behest, BehestConfigError, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestAsyncChatStore, BehestChatStore, BehestLLM, BehestMemory
from support.llamaindex import said

Store = BehestChatStore | BehestAsyncChatStore
Ask = Callable[..., Awaitable[Any]]

HELLO, MORE = ChatMessage("Hello."), ChatMessage("And now?")


async def blocking(store: Any, name: str, *arguments: Any) -> Any:
    """Call a method of `BehestChatStore`."""
    return getattr(store, name)(*arguments)


async def native(store: Any, name: str, *arguments: Any) -> Any:
    """Call its native one."""
    return await getattr(store, {"add_message": "async_add_message"}.get(name, f"a{name}"))(*arguments)


async def of_memorys_store(store: Any, name: str, *arguments: Any) -> Any:
    """Call a method of `BehestAsyncChatStore`."""
    return await getattr(store, name)(*arguments)


@pytest.fixture(params=[blocking, native, of_memorys_store])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Call a store's methods in one of the ways."""
    call: Ask = request.param
    return call


@pytest.fixture
def make_store(ask: Ask, behest: Behest) -> Callable[..., Store]:
    """Make the store that has them."""
    kind = BehestAsyncChatStore if ask is of_memorys_store else BehestChatStore
    return lambda user_id=None: kind(client=behest, user_id=user_id)


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    """Give alice's."""
    return make_store("alice")


def wire(gateway: Emulator) -> list[tuple[str, str, str | None]]:
    """Return what was asked of the gateway, but for mints: method, path and user."""
    return [(request.method, request.path, request.user_id) for request in gateway.requests if request.kind != "mint"]


def begin(behest: Behest, user: str, thread: str, text: str = "Hello.") -> None:
    """Have a turn in a thread."""
    BehestLLM(client=behest, user_id=user, thread_id=thread).chat([ChatMessage(text)])


async def test_keys_are_the_users_threads(
    ask: Ask, make_store: Callable[..., Store], behest: Behest, gateway: Emulator
) -> None:
    """Each user sees their own threads only, asked for with their own token; the ambient user goes before the store's."""
    begin(behest, "alice", "trip")
    begin(behest, "alice", "work")
    begin(behest, "bob", "secret")
    gateway.clear()
    anyones = make_store()
    assert sorted(await ask(make_store("alice"), "get_keys")) == ["trip", "work"]
    with scope("bob"):
        assert await ask(anyones, "get_keys") == ["secret"]
        assert await ask(make_store("alice"), "get_keys") == ["secret"]
    assert wire(gateway) == [("GET", "/v1/threads", user) for user in ("alice", "bob", "bob")]
    with pytest.raises(BehestConfigError, match="user_id="):
        await ask(anyones, "get_keys")


async def test_keys_of_many_pages(ask: Ask, store: Store, behest: Behest, gateway: Emulator) -> None:
    """All of a long list are there."""
    gateway.list_shape, gateway.page_size = "data", 2
    for number in range(5):
        begin(behest, "alice", f"t{number}")
    assert sorted(await ask(store, "get_keys")) == [f"t{number}" for number in range(5)]


async def test_deleting_touches_one_users_thread(ask: Ask, store: Store, behest: Behest, gateway: Emulator) -> None:
    """The thread of alice is read and deleted; that of the same name of bob's is not."""
    begin(behest, "alice", "trip")
    begin(behest, "bob", "trip")
    gateway.clear()
    await ask(store, "delete_messages", "trip")
    assert wire(gateway) == [
        ("GET", "/v1/threads/trip/messages", "alice"),
        ("DELETE", "/v1/threads/trip", "alice"),
    ]
    assert gateway.thread("alice", "trip") == []
    assert len(gateway.thread("bob", "trip")) == 2


async def test_setting_what_is_there_sends_nothing(ask: Ask, store: Store, behest: Behest, gateway: Emulator) -> None:
    """The thread is read to compare, and that is all, also where it takes refusing."""
    begin(behest, "alice", "trip")
    held = await ask(store, "get_messages", "trip")
    gateway.clear()
    await ask(store, "set_messages", "trip", held)
    with pytest.raises(BehestConfigError, match="no way to change or remove single ones"):
        await ask(store, "set_messages", "trip", [ChatMessage("Something else.")])
    with pytest.raises(BehestConfigError, match="the gateway writes a turn when the model is called in the thread"):
        await ask(store, "set_messages", "trip", [*held, ChatMessage(role=MessageRole.ASSISTANT, content="Made up.")])
    assert wire(gateway) == [("GET", "/v1/threads/trip/messages", "alice")] * 3


async def test_what_waits_goes_out_once(ask: Ask, store: Store, behest: Behest, gateway: Emulator) -> None:
    """Messages that were added or set go out with the next call in the thread, whatever its list, and not again."""
    llm = BehestLLM(client=behest, user_id="alice", thread_id="trip")
    await ask(store, "set_messages", "trip", [HELLO])
    await ask(store, "add_message", "trip", MORE)
    assert wire(gateway) == [("GET", "/v1/threads/trip/messages", "alice")]
    llm.chat([MORE])
    llm.chat([ChatMessage("Later.")], thread_id="trip")
    sent = [[message["content"] for message in call.json["messages"]] for call in gateway.chats]
    assert sent == [["Hello.", "And now?"], ["Later."]]
    assert said(gateway.thread("alice", "trip"), "user") == [
        ("user", text) for text in ("Hello.", "And now?", "Later.")
    ]


async def test_what_waits_goes_out_with_one_of_two_streams(
    ask: Ask, store: Store, llm: BehestLLM, gateway: Emulator
) -> None:
    """Of two streams that are made before either is read, the first that is read brings what waits."""
    await ask(store, "add_message", "trip", HELLO)
    one = llm.stream_chat([MORE], thread_id="trip")
    two = await llm.astream_chat([ChatMessage("Once more.")], thread_id="trip")
    _ = [piece async for piece in two]
    list(one)
    users = [message["content"] for message in gateway.thread("alice", "trip") if message["role"] == "user"]
    assert users == ["Hello.", "Once more.", "And now?"]


async def test_what_was_taken_back_does_not_go_out(ask: Ask, store: Store, behest: Behest, gateway: Emulator) -> None:
    """A message that waited and was deleted is in no request; one that was stored can't be taken back."""
    llm = BehestLLM(client=behest, user_id="alice", thread_id="trip")
    await ask(store, "add_message", "trip", HELLO)
    await ask(store, "add_message", "trip", ChatMessage("A slip."))
    assert (await ask(store, "delete_message", "trip", 1)).content == "A slip."
    llm.chat([ChatMessage("What a tool asks.")])
    assert gateway.chats[-1].thread_id is None
    llm.chat([HELLO])
    with pytest.raises(BehestConfigError, match="Delete the whole thread"):
        await ask(store, "delete_message", "trip", 0)
    assert [request for request in wire(gateway) if request[0] not in ("GET", "POST")] == []
    assert "A slip." not in json.dumps([call.json for call in gateway.chats])
    assert said(gateway.thread("alice", "trip"), "user") == [("user", "Hello.")]


async def test_reads_are_few(ask: Ask, store: Store, behest: Behest, gateway: Emulator) -> None:
    """Adding asks nothing; of many looks the first in a turn reads, and the first after it: others may have gone on."""
    llm = BehestLLM(client=behest, user_id="alice", thread_id="trip")
    for turn in range(3):
        gateway.clear()
        await ask(store, "add_message", "trip", ChatMessage(f"Question {turn}?"))
        assert wire(gateway) == []
        for _ in range(3):
            held = await ask(store, "get_messages", "trip")
        reply = llm.chat(held).message
        await ask(store, "add_message", "trip", reply)
        for _ in range(3):
            assert len(await ask(store, "get_messages", "trip")) == 2 * (turn + 1)
        methods = [method for method, _, _ in wire(gateway)]
        assert methods[:2] == ["GET", "POST"]
        assert methods[2:] in ([], ["GET"])
        (call,) = gateway.chats
        assert [message["content"] for message in call.json["messages"]] == [f"Question {turn}?"]


async def test_a_call_beside_the_store_is_seen(ask: Ask, store: Store, behest: Behest, gateway: Emulator) -> None:
    """What this client's model was told in the thread, past the store, is read at the next look."""
    assert await ask(store, "get_messages", "trip") == []
    begin(behest, "alice", "trip")
    assert len(await ask(store, "get_messages", "trip")) == 2
    assert said(gateway.thread("alice", "trip"), "user") == [("user", "Hello.")]


async def test_a_late_put_after_a_look(ask: Ask, store: Store, behest: Behest, gateway: Emulator) -> None:
    """A turn that is put after its call is recognised, also where someone looked in between; it is not sent again."""
    llm = BehestLLM(client=behest, user_id="alice", thread_id="trip")
    assert await ask(store, "get_messages", "trip") == []
    reply = llm.chat([HELLO]).message
    assert len(await ask(store, "get_messages", "trip")) == 2
    await ask(store, "add_message", "trip", HELLO)
    await ask(store, "add_message", "trip", reply)
    assert len(await ask(store, "get_messages", "trip")) == 2
    llm.chat([MORE])
    assert said(gateway.thread("alice", "trip"), "user") == [("user", "Hello."), ("user", "And now?")]


async def test_others_are_seen_after_messages_were_shown(
    make_memory: Callable[..., BaseMemory], llm: BehestLLM, gateway: Emulator
) -> None:
    """A page that shows the messages between two turns doesn't hide what another process adds before the second."""
    memory = make_memory()
    memory.put(HELLO)
    memory.put(llm.chat(memory.get()).message)
    assert len(memory.get_all()) == 2
    with Behest(gateway.api_key, base_url=gateway.base_url) as other:
        begin(other, "alice", "trip", "From elsewhere.")
    memory.put(MORE)
    users = [message.content for message in memory.get() if message.role is MessageRole.USER]
    assert users == ["Hello.", "From elsewhere.", "And now?"]


async def test_marks_say_where_a_message_lives(ask: Ask, store: Store, behest: Behest) -> None:
    """What the thread holds is marked with it; what waits is not."""
    begin(behest, "alice", "trip")
    await ask(store, "add_message", "trip", MORE)
    *held, waiting = await ask(store, "get_messages", "trip")
    assert [message.additional_kwargs["behest"] for message in held] == [{"user_id": "alice", "thread_id": "trip"}] * 2
    assert "behest" not in waiting.additional_kwargs


@pytest.mark.parametrize("name", ["chat", "stream_chat"])
def test_memorys_blocking_methods_outside_of_a_loop(
    name: str, llm: BehestLLM, behest: Behest, gateway: Emulator
) -> None:
    """`Memory` opens an event loop for each of its blocking methods; in threads of its own too, and all of them work."""

    def talk(thread_id: str) -> list[str | None]:
        store = BehestAsyncChatStore(client=behest, user_id="alice")
        memory = Memory.from_defaults(session_id=thread_id, chat_store=store, tokenizer_fn=str.split)
        engine = SimpleChatEngine.from_defaults(llm=llm.for_user("alice", thread_id=thread_id), memory=memory)
        for text in ("My boat is called Petrel.", "What is my boat called?"):
            answer = getattr(engine, name)(text)
            if name == "stream_chat":
                list(answer.response_gen)
        memory.put_messages([ChatMessage("Bye.")])
        return [message.content for message in memory.get_all()]

    threads = [f"t{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        talked = list(pool.map(talk, threads))
    for thread_id, contents in zip(threads, talked, strict=True):
        assert "Petrel" in (contents[3] or "")
        assert contents[4] == "Bye."
        assert [message["content"] for message in gateway.thread("alice", thread_id)] == contents[:4]


async def test_memorys_blocking_methods_inside_a_loop(llm: BehestLLM, behest: Behest, gateway: Emulator) -> None:
    """So do they where a loop is running already, for the user of the ambient scope; each way to read sees the same."""
    memory = Memory.from_defaults(
        session_id="trip", chat_store=BehestAsyncChatStore(client=behest), tokenizer_fn=str.split
    )
    with scope("alice"):
        memory.set([HELLO])
        reply = (await llm.achat(memory.get())).message
        memory.put(reply)
        assert memory.get() == await memory.aget() == memory.get_all() == await memory.aget_all()
        assert len(memory.get()) == 2
        memory.reset()
        assert memory.get() == []
    assert gateway.threads("alice") == []
    assert {user for _, _, user in wire(gateway)} == {"alice"}


def test_chat_history_given_to_a_memory(behest: Behest, llm: BehestLLM, gateway: Emulator) -> None:
    """`chat_history=` of `from_defaults` is set: user messages wait, and what nobody's call produced is refused."""
    store = BehestAsyncChatStore(client=behest, user_id="alice")
    memory = Memory.from_defaults(session_id="trip", chat_store=store, chat_history=[HELLO], tokenizer_fn=str.split)
    memory.put(llm.chat(memory.get()).message)
    assert said(gateway.thread("alice", "trip"), "user") == [("user", "Hello.")]
    with pytest.raises(BehestConfigError, match="can't be stored"):
        Memory.from_defaults(
            session_id="new", chat_store=store, chat_history=[HELLO, reply_of("Made up.")], tokenizer_fn=str.split
        )


def reply_of(text: str) -> ChatMessage:
    """Return a reply that no call produced."""
    return ChatMessage(role=MessageRole.ASSISTANT, content=text)


async def test_memories_of_one_thread_are_one(behest: Behest, llm: BehestLLM, gateway: Emulator) -> None:
    """Stores and memory on one client show the same of a thread, what waits included."""
    memory = BehestMemory("trip", client=behest, user_id="alice")
    stores: tuple[BehestChatStore, BehestAsyncChatStore] = (
        BehestChatStore(client=behest, user_id="alice"),
        BehestAsyncChatStore(client=behest, user_id="alice"),
    )
    memory.put(HELLO)
    memory.put((await llm.achat(memory.get())).message)
    stores[0].add_message("trip", MORE)
    everything = memory.get_all()
    assert len(everything) == 3
    assert stores[0].get_messages("trip") == await stores[1].get_messages("trip") == everything
    await stores[1].delete_messages("trip")
    assert memory.get_all() == stores[0].get_messages("trip") == []
    assert gateway.threads("alice") == []


async def test_no_thread_is_an_error(behest: Behest, gateway: Emulator) -> None:
    """A memory without a thread says which ways there are to name one; nothing is sent."""
    memory = BehestMemory(client=behest, user_id="alice")
    for look in (memory.get, memory.get_all, memory.reset, lambda: memory.put(HELLO)):
        with pytest.raises(BehestConfigError, match="thread"):
            look()
    assert gateway.requests == []


async def test_tasks_and_threads_take_turns(
    make_memory: Callable[..., BaseMemory], behest: Behest, gateway: Emulator
) -> None:
    """Conversations in many threads at once, by tasks and by blocking calls, stay apart."""

    async def talk(number: int) -> None:
        llm = BehestLLM(client=behest, user_id="alice", thread_id=f"t{number}")
        engine = SimpleChatEngine.from_defaults(llm=llm, memory=make_memory(f"t{number}"))
        for turn in range(3):
            text = f"Fact {turn} of {number}."
            await (engine.achat(text) if number % 2 else asyncio.to_thread(engine.chat, text))

    await asyncio.gather(*(talk(number) for number in range(8)))
    for number in range(8):
        users = said(gateway.thread("alice", f"t{number}"), "user")
        assert users == [("user", f"Fact {turn} of {number}.") for turn in range(3)]
