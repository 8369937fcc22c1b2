"""A conformance suite for chat stores: what any `BaseChatStore` must do, seen through its own interface.

```python
class TestMyChatStore(ChatStoreTests):
    @pytest.fixture
    def store(self) -> MyChatStore:
        return MyChatStore(...)
```
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.loading import load_chat_store

from llamaindex.conformance.messages import assistant, rich_turn, said, same, tool_turn, turn, user

__all__ = ["ChatStoreTests"]

Ask = Callable[..., Any]

# The interface's one native method whose name doesn't begin with a bare `a`.
_NATIVE = {"add_message": "async_add_message"}


class ChatStoreTests:
    """What a `BaseChatStore` must do, by its blocking methods and by its native ones.

    Override the fixture `store`; `converse` where turns come to be in another way than by adding them; `reopened` where another
    process can look at the same data; and what the store can't do. What it can't do it must refuse, and lose nothing by it.
    """

    writes_replies: ClassVar[bool] = True
    """Whether it takes a reply from anywhere."""

    changes_history: ClassVar[bool] = True
    """Whether a stored message can be replaced or deleted by itself."""

    holds_instructions: ClassVar[bool] = True
    """Whether it takes system messages."""

    refusal: ClassVar[type[Exception]] = Exception
    """What it raises where it can't do something."""

    refusal_says: ClassVar[str] = "."
    """What the refusal's message must match, so that it is of help."""

    additional_kwargs: ClassVar[dict[str, Any]] = {"name": "Ada", "note": {"page": 3}}
    """What of a user message's `additional_kwargs` it must keep."""

    keys: ClassVar[Sequence[str]] = ("a", "A", "a/b", "a%2Fb", "a?b=c", "a b", "größe")
    """Keys that it must tell apart."""

    refused_keys: ClassVar[Sequence[str]] = ()
    """Keys that it can't have."""

    @pytest.fixture
    def store(self) -> BaseChatStore:
        """Give an empty store; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def reopened(self, store: BaseChatStore) -> BaseChatStore:
        """Give the store as another process has it, if it keeps its data elsewhere."""
        return store

    @pytest.fixture(params=["blocking", "native"])
    def ask(self, request: pytest.FixtureRequest) -> Ask:
        """Call a method of a store by its name: the blocking one, and the native one."""

        async def call(store: BaseChatStore, name: str, *arguments: Any) -> Any:
            if request.param == "blocking":
                return getattr(store, name)(*arguments)
            return await getattr(store, _NATIVE.get(name, f"a{name}"))(*arguments)

        return call

    @pytest.fixture
    def converse(self) -> Ask:
        """Have a conversation of given messages under a key of a store."""

        async def add(store: BaseChatStore, key: str, messages: Sequence[ChatMessage]) -> None:
            for message in messages:
                await store.async_add_message(key, message)

        return add

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Expect the refusal."""
        with pytest.raises(self.refusal, match=self.refusal_says):
            yield

    # -- reading ------------------------------------------------------------------------------------------------------

    async def test_an_unknown_key_is_empty(self, store: BaseChatStore, ask: Ask) -> None:
        """Nothing is there to read or delete, and looking for it makes nothing."""
        assert await ask(store, "get_messages", "nowhere") == []
        assert not await ask(store, "delete_messages", "nowhere")
        assert await ask(store, "delete_message", "nowhere", 0) is None
        assert await ask(store, "delete_last_message", "nowhere") is None
        assert await ask(store, "get_keys") == []

    async def test_turns_are_read_as_they_were(
        self, store: BaseChatStore, reopened: BaseChatStore, ask: Ask, converse: Ask
    ) -> None:
        """Each message is there once, oldest first, here and for whoever looks next."""
        await converse(store, "a", [*turn(1), *turn(2), *turn(3)])
        for seen in (store, reopened, store):
            assert said(await ask(seen, "get_messages", "a")) == said([*turn(1), *turn(2), *turn(3)])

    async def test_keys_are_apart(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """Each key has its own messages, also two that look alike, and all keys are listed."""
        for number, key in enumerate(self.keys):
            await converse(store, key, turn(number))
        assert sorted(await ask(store, "get_keys")) == sorted(self.keys)
        for number, key in enumerate(self.keys):
            assert said(await ask(store, "get_messages", key)) == said(turn(number))
        for key in self.refused_keys:
            with self.refused():
                await ask(store, "get_messages", key)
            with self.refused():
                await ask(store, "add_message", key, user("Lost?"))

    async def test_blocks_and_kwargs_are_kept(
        self, store: BaseChatStore, reopened: BaseChatStore, ask: Ask, converse: Ask
    ) -> None:
        """Text, images, audio, documents, thinking and the message's own kwargs come back as they went in."""
        given = rich_turn(self.additional_kwargs)
        await converse(store, "a", given)
        assert same(await ask(store, "get_messages", "a"), given)
        assert same(await ask(reopened, "get_messages", "a"), given)

    async def test_tool_traffic_is_kept(
        self, store: BaseChatStore, reopened: BaseChatStore, ask: Ask, converse: Ask
    ) -> None:
        """Calls and their results come back in order, each result with the call that it answers."""
        await converse(store, "a", tool_turn())
        assert same(await ask(store, "get_messages", "a"), tool_turn())
        assert same(await ask(reopened, "get_messages", "a"), tool_turn())

    # -- adding -------------------------------------------------------------------------------------------------------

    async def test_a_user_message_is_added_at_the_end(
        self, store: BaseChatStore, reopened: BaseChatStore, ask: Ask, converse: Ask
    ) -> None:
        """It is the last of the messages, once, before its answer and after it."""
        await converse(store, "a", turn(1))
        await ask(store, "add_message", "a", user("Question 2?"))
        assert said(await ask(store, "get_messages", "a")) == said([*turn(1), turn(2)[0]])
        await converse(store, "a", turn(2)[1:])
        for seen in (store, reopened):
            assert said(await ask(seen, "get_messages", "a")) == said([*turn(1), *turn(2)])

    async def test_the_message_that_is_added_is_left_alone(self, store: BaseChatStore, ask: Ask) -> None:
        """Adding changes nothing of the caller's message."""
        message = rich_turn(self.additional_kwargs)[0]
        before = copy.deepcopy(message)
        await ask(store, "add_message", "a", message)
        assert message == before

    async def test_a_reply_from_elsewhere(
        self, store: BaseChatStore, reopened: BaseChatStore, ask: Ask, converse: Ask
    ) -> None:
        """It is added, or refused without a loss: the question still waits for its answer."""
        await converse(store, "a", turn(1))
        await ask(store, "add_message", "a", user("Question 2?"))
        if self.writes_replies:
            await ask(store, "add_message", "a", assistant("I was never asked."))
            assert (await ask(store, "get_messages", "a"))[-1].content == "I was never asked."
            return
        with self.refused():
            await ask(store, "add_message", "a", assistant("I was never asked."))
        assert said(await ask(store, "get_messages", "a")) == said([*turn(1), user("Question 2?")])
        await converse(store, "a", turn(2)[1:])
        for seen in (store, reopened):
            assert said(await ask(seen, "get_messages", "a")) == said([*turn(1), *turn(2)])

    async def test_instructions(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """A system message is added, or refused without a loss."""
        await converse(store, "a", turn(1))
        system = ChatMessage(role=MessageRole.SYSTEM, content="Be brief.")
        if self.holds_instructions:
            await ask(store, "add_message", "a", system)
            assert said(await ask(store, "get_messages", "a")) == said([*turn(1), system])
            return
        with self.refused():
            await ask(store, "add_message", "a", system)
        with self.refused():
            await ask(store, "set_messages", "a", [system, *turn(1)])
        assert said(await ask(store, "get_messages", "a")) == said(turn(1))

    # -- replacing ----------------------------------------------------------------------------------------------------

    async def test_setting_what_is_there(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """Setting the messages that are there changes nothing, whether they were read or written by hand."""
        await converse(store, "a", [*turn(1), *turn(2)])
        await ask(store, "set_messages", "a", await ask(store, "get_messages", "a"))
        await ask(store, "set_messages", "a", [*turn(1), *turn(2)])
        assert said(await ask(store, "get_messages", "a")) == said([*turn(1), *turn(2)])

    async def test_setting_more_than_is_there(
        self, store: BaseChatStore, reopened: BaseChatStore, ask: Ask, converse: Ask
    ) -> None:
        """A new question at the end is added, once however often it is set, and then answered."""
        await converse(store, "a", turn(1))
        for _ in range(2):
            await ask(store, "set_messages", "a", [*turn(1), user("Question 2?")])
            assert said(await ask(store, "get_messages", "a")) == said([*turn(1), user("Question 2?")])
        await converse(store, "a", turn(2)[1:])
        for seen in (store, reopened):
            assert said(await ask(seen, "get_messages", "a")) == said([*turn(1), *turn(2)])

    async def test_setting_on_nothing(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """A first question can be set as well as added."""
        await ask(store, "set_messages", "a", [user("Question 1?")])
        await converse(store, "a", turn(1)[1:])
        assert said(await ask(store, "get_messages", "a")) == said(turn(1))

    async def test_setting_something_else(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """Other messages replace those that are there, or are refused without a loss."""
        await converse(store, "a", turn(1))
        others: list[list[ChatMessage]] = [turn(2), [user("Question 1?"), assistant("Another answer.")], []]
        for other in others:
            if self.changes_history:
                await ask(store, "set_messages", "a", other)
                assert said(await ask(store, "get_messages", "a")) == said(other)
            else:
                with self.refused():
                    await ask(store, "set_messages", "a", other)
                assert said(await ask(store, "get_messages", "a")) == said(turn(1))

    # -- deleting -----------------------------------------------------------------------------------------------------

    async def test_deleting_all(self, store: BaseChatStore, reopened: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """What was there is returned; the key is gone, others are not; and it can be begun anew."""
        await converse(store, "a", [*turn(1), *tool_turn()])
        await converse(store, "b", turn(2))
        await ask(store, "add_message", "a", user("Question 3?"))
        gone = await ask(store, "delete_messages", "a")
        assert same(gone, [*turn(1), *tool_turn(), user("Question 3?")])
        for seen in (store, reopened):
            assert await ask(seen, "get_messages", "a") == []
            assert await ask(seen, "get_keys") == ["b"]
            assert said(await ask(seen, "get_messages", "b")) == said(turn(2))
        await converse(store, "a", turn(4))
        assert said(await ask(store, "get_messages", "a")) == said(turn(4))

    async def test_deleting_what_was_just_added(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """The last message, or the one at its position, is returned and gone; the others stay."""
        await converse(store, "a", turn(1))
        for name, position in (("delete_message", (2,)), ("delete_last_message", ())):
            await ask(store, "add_message", "a", user("A slip of the tongue."))
            gone = await ask(store, name, "a", *position)
            assert gone.content == "A slip of the tongue."
            assert said(await ask(store, "get_messages", "a")) == said(turn(1))
        await converse(store, "a", turn(2))
        assert said(await ask(store, "get_messages", "a")) == said([*turn(1), *turn(2)])

    async def test_deleting_between_others_just_added(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """Of several messages that were just added the one at the position goes."""
        await converse(store, "a", turn(1))
        for text in ("One.", "Two.", "Three."):
            await ask(store, "add_message", "a", user(text))
        gone = await ask(store, "delete_message", "a", 3)
        assert gone.content == "Two."
        assert said(await ask(store, "get_messages", "a")) == said([*turn(1), user("One."), user("Three.")])

    async def test_deleting_at_no_position(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """Nothing is there, so nothing is returned and nothing is lost."""
        await converse(store, "a", turn(1))
        assert await ask(store, "delete_message", "a", 2) is None
        assert said(await ask(store, "get_messages", "a")) == said(turn(1))

    async def test_deleting_what_was_stored(self, store: BaseChatStore, ask: Ask, converse: Ask) -> None:
        """A message in the middle of the history goes, or is refused without a loss; so does the last."""
        await converse(store, "a", [*turn(1), *turn(2)])
        if self.changes_history:
            assert (await ask(store, "delete_message", "a", 0)).content == "Question 1?"
            assert (await ask(store, "delete_last_message", "a")).content == "Answer 2."
            assert said(await ask(store, "get_messages", "a")) == said([turn(1)[1], turn(2)[0]])
            return
        with self.refused():
            await ask(store, "delete_message", "a", 0)
        with self.refused():
            await ask(store, "delete_last_message", "a")
        assert said(await ask(store, "get_messages", "a")) == said([*turn(1), *turn(2)])

    # -- together -----------------------------------------------------------------------------------------------------

    async def test_many_keys_at_once(self, store: BaseChatStore, ask: Ask) -> None:
        """Tasks and threads that add under keys of their own don't disturb each other."""
        keys = [f"k{number}" for number in range(12)]
        await asyncio.gather(*(ask(store, "add_message", key, user(f"For {key}.")) for key in keys))
        for key in keys:
            assert said(await ask(store, "get_messages", key)) == [("user", f"For {key}.")]

    def test_many_threads_at_once(self, store: BaseChatStore) -> None:
        """The same for threads, which the framework's writers are."""
        keys = [f"k{number}" for number in range(12)]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda key: store.add_message(key, user(f"For {key}.")), keys))
            seen = list(pool.map(store.get_messages, keys))
        assert [said(messages) for messages in seen] == [[("user", f"For {key}.")] for key in keys]

    def test_a_serialized_store_is_found_again(self, store: BaseChatStore) -> None:
        """llama-index-core finds the class by its name, and it has the settings."""
        again = load_chat_store(store.to_dict())
        assert type(again) is type(store)
        assert again.to_dict() == store.to_dict()

    async def test_under_a_buffer(self, store: BaseChatStore, converse: Ask) -> None:
        """A ChatMemoryBuffer reads, begins, and resets what the store has, also after a round trip of its own."""
        memory = ChatMemoryBuffer.from_defaults(
            chat_store=store, chat_store_key="a", chat_history=[user("Question 1?")], tokenizer_fn=str.split
        )
        await converse(store, "a", turn(1)[1:])
        assert said(memory.get()) == said(await memory.aget()) == said(turn(1))
        again = ChatMemoryBuffer.from_dict(memory.to_dict())
        assert type(again.chat_store) is type(store)
        assert again.chat_store_key == "a"
        await memory.areset()
        assert memory.get_all() == []
