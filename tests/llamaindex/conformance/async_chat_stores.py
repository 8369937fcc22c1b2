"""A conformance suite for the chat stores of `Memory`: what any `AsyncDBChatStore` must do, seen through its own interface.

```python
class TestMyAsyncChatStore(AsyncChatStoreTests):
    @pytest.fixture
    def store(self) -> MyAsyncChatStore:
        return MyAsyncChatStore(...)
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus

from llamaindex.conformance.messages import assistant, rich_turn, said, same, tool_turn, turn, user

__all__ = ["AsyncChatStoreTests"]

Converse = Callable[..., Awaitable[None]]

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED


class AsyncChatStoreTests:
    """What an `AsyncDBChatStore` must do.

    Override the fixture `store`; `converse` where turns come to be in another way than by adding them; `reopened` where another
    process can look at the same data; and what the store can't do. What it can't do it must refuse, and lose nothing by it.
    """

    writes_replies: ClassVar[bool] = True
    """Whether it takes a reply from anywhere."""

    changes_history: ClassVar[bool] = True
    """Whether stored messages can be replaced or deleted by themselves."""

    adds_archived: ClassVar[bool] = True
    """Whether messages can be added and set as archived ones."""

    holds_instructions: ClassVar[bool] = True
    """Whether it takes system messages."""

    refusal: ClassVar[type[Exception]] = Exception
    """What it raises where it can't do something."""

    refusal_says: ClassVar[str] = "."
    """What the refusal's message must match, so that it is of help."""

    additional_kwargs: ClassVar[dict[str, Any]] = {"name": "Ada", "note": {"page": 3}}
    """What of a user message's `additional_kwargs` it must keep."""

    @pytest.fixture
    def store(self) -> AsyncDBChatStore:
        """Give an empty store; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def reopened(self, store: AsyncDBChatStore) -> AsyncDBChatStore:
        """Give the store as another process has it, if it keeps its data elsewhere."""
        return store

    @pytest.fixture
    def converse(self) -> Converse:
        """Have a conversation of given messages under a key of a store."""

        async def add(store: AsyncDBChatStore, key: str, messages: Sequence[ChatMessage]) -> None:
            for message in messages:
                await store.add_message(key, message)

        return add

    def index_of(self, position: int) -> int:
        """Return the index by which `delete_message` knows the message at a position, in a store that had no other key."""
        return position

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Expect the refusal."""
        with pytest.raises(self.refusal, match=self.refusal_says):
            yield

    # -- reading ------------------------------------------------------------------------------------------------------

    async def test_an_unknown_key_is_empty(self, store: AsyncDBChatStore) -> None:
        """Nothing is there to read, delete or archive, and looking for it makes nothing."""
        for status in (ACTIVE, ARCHIVED, None):
            assert await store.get_messages("nowhere", status) == []
            assert await store.count_messages("nowhere", status) == 0
            await store.delete_messages("nowhere", status)
        assert await store.delete_message("nowhere", 0) is None
        assert await store.delete_oldest_messages("nowhere", 2) == []
        assert await store.archive_oldest_messages("nowhere", 2) == []
        assert await store.get_keys() == []

    async def test_turns_are_read_as_they_were(
        self, store: AsyncDBChatStore, reopened: AsyncDBChatStore, converse: Converse
    ) -> None:
        """Each message is there once, oldest first, and counted, here and for whoever looks next."""
        await converse(store, "a", [*turn(1), *turn(2), *turn(3)])
        for seen in (store, reopened, store):
            assert said(await seen.get_messages("a")) == said([*turn(1), *turn(2), *turn(3)])
            assert await seen.count_messages("a") == 6

    async def test_a_part_is_read(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """`offset` leaves out messages at the beginning, `limit` those after so many."""
        await converse(store, "a", [*turn(1), *turn(2)])
        everything = said([*turn(1), *turn(2)])
        assert said(await store.get_messages("a", limit=3)) == everything[:3]
        assert said(await store.get_messages("a", limit=2, offset=1)) == everything[1:3]
        assert said(await store.get_messages("a", offset=2)) == everything[2:]
        assert said(await store.get_messages("a", limit=9, offset=9)) == []
        assert said(await store.get_messages("a", limit=0)) == []

    async def test_keys_are_apart(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """Each key has its own messages, and all keys are listed once."""
        for number, key in enumerate("aAb"):
            await converse(store, key, [*turn(number), *turn(number + 10)])
        assert sorted(await store.get_keys()) == sorted("aAb")
        for number, key in enumerate("aAb"):
            assert said(await store.get_messages(key)) == said([*turn(number), *turn(number + 10)])

    async def test_blocks_and_kwargs_are_kept(
        self, store: AsyncDBChatStore, reopened: AsyncDBChatStore, converse: Converse
    ) -> None:
        """Text, images, audio, documents, thinking and the message's own kwargs come back as they went in."""
        given = rich_turn(self.additional_kwargs)
        await converse(store, "a", given)
        assert same(await store.get_messages("a"), given)
        assert same(await reopened.get_messages("a"), given)

    async def test_tool_traffic_is_kept(
        self, store: AsyncDBChatStore, reopened: AsyncDBChatStore, converse: Converse
    ) -> None:
        """Calls and their results come back in order, each result with the call that it answers."""
        await converse(store, "a", tool_turn())
        assert same(await store.get_messages("a"), tool_turn())
        assert same(await reopened.get_messages("a"), tool_turn())

    # -- adding -------------------------------------------------------------------------------------------------------

    async def test_user_messages_are_added_at_the_end(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """One by one or together they are the last messages, once, before the answer and after it."""
        await converse(store, "a", turn(1))
        await store.add_message("a", user("One."))
        await store.add_messages("a", [user("Two."), user("Three?")])
        waiting = said([*turn(1), user("One."), user("Two."), user("Three?")])
        assert said(await store.get_messages("a")) == waiting
        await converse(store, "a", [assistant("Four.")])
        assert said(await store.get_messages("a")) == [*waiting, ("assistant", "Four.")]

    async def test_a_reply_from_elsewhere(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """It is added, or refused without a loss: the question still waits for its answer."""
        await converse(store, "a", turn(1))
        await store.add_message("a", user("Question 2?"))
        if self.writes_replies:
            await store.add_message("a", assistant("I was never asked."))
            assert (await store.get_messages("a"))[-1].content == "I was never asked."
            return
        with self.refused():
            await store.add_message("a", assistant("I was never asked."))
        with self.refused():
            await store.add_messages("a", [assistant("I was never asked."), user("Lost?")])
        assert said(await store.get_messages("a")) == said([*turn(1), user("Question 2?")])
        await converse(store, "a", turn(2)[1:])
        assert said(await store.get_messages("a")) == said([*turn(1), *turn(2)])

    async def test_instructions(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """A system message is added, or refused without a loss."""
        await converse(store, "a", turn(1))
        system = ChatMessage(role=MessageRole.SYSTEM, content="Be brief.")
        if self.holds_instructions:
            await store.add_message("a", system)
            assert said(await store.get_messages("a")) == said([*turn(1), system])
            return
        with self.refused():
            await store.add_message("a", system)
        assert said(await store.get_messages("a")) == said(turn(1))

    async def test_many_keys_at_once(self, store: AsyncDBChatStore) -> None:
        """Tasks that add under keys of their own don't disturb each other, once the store is open."""
        keys = [f"k{number}" for number in range(8)]
        assert await store.get_keys() == []  # SQLAlchemyChatStore can't be opened by two at once
        await asyncio.gather(*(store.add_message(key, user(f"For {key}.")) for key in keys))
        for key in keys:
            assert said(await store.get_messages(key)) == [("user", f"For {key}.")]

    # -- replacing ----------------------------------------------------------------------------------------------------

    async def test_setting_what_is_there(
        self, store: AsyncDBChatStore, reopened: AsyncDBChatStore, converse: Converse
    ) -> None:
        """Setting the messages that are there changes nothing; a new question at the end is added, once."""
        await converse(store, "a", turn(1))
        await store.set_messages("a", await store.get_messages("a"))
        await store.set_messages("a", turn(1))
        assert said(await store.get_messages("a")) == said(turn(1))
        for _ in range(2):
            await store.set_messages("a", [*turn(1), user("Question 2?")])
        await converse(store, "a", turn(2)[1:])
        for seen in (store, reopened):
            assert said(await seen.get_messages("a")) == said([*turn(1), *turn(2)])

    async def test_setting_something_else(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """Other messages replace those that are there, or are refused without a loss."""
        await converse(store, "a", turn(1))
        for other in (turn(2), [user("Question 1?"), assistant("Another answer.")]):
            if self.changes_history:
                await store.set_messages("a", other)
                assert said(await store.get_messages("a")) == said(other)
            else:
                with self.refused():
                    await store.set_messages("a", other)
                assert said(await store.get_messages("a")) == said(turn(1))

    # -- deleting -----------------------------------------------------------------------------------------------------

    async def test_deleting_all(self, store: AsyncDBChatStore, reopened: AsyncDBChatStore, converse: Converse) -> None:
        """The key is gone, others are not, and it can be begun anew."""
        await converse(store, "a", [*turn(1), *tool_turn()])
        await converse(store, "b", turn(2))
        await store.add_message("a", user("Question 3?"))
        await store.delete_messages("a")
        for seen in (store, reopened):
            assert await seen.get_messages("a", None) == []
            assert await seen.get_keys() == ["b"]
        await converse(store, "a", turn(4))
        assert said(await store.get_messages("a")) == said(turn(4))

    async def test_deleting_what_was_just_added(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """The message is returned and gone; the others stay."""
        await converse(store, "a", turn(1))
        await store.add_messages("a", [user("One."), user("Two.")])
        gone = await store.delete_message("a", self.index_of(2))
        assert gone is not None
        assert gone.content == "One."
        assert said(await store.get_messages("a")) == said([*turn(1), user("Two.")])
        assert await store.delete_message("a", self.index_of(9)) is None

    async def test_deleting_what_was_stored(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """One of the history's messages, or its oldest, go, or are refused without a loss."""
        await converse(store, "a", [*turn(1), *turn(2)])
        if self.changes_history:
            gone = await store.delete_message("a", self.index_of(3))
            assert gone is not None
            assert gone.content == "Answer 2."
            assert said(await store.delete_oldest_messages("a", 2)) == said(turn(1))
            assert said(await store.get_messages("a")) == said(turn(2)[:1])
            return
        with self.refused():
            await store.delete_message("a", self.index_of(3))
        with self.refused():
            await store.delete_oldest_messages("a", 2)
        assert said(await store.get_messages("a")) == said([*turn(1), *turn(2)])

    async def test_deleting_the_oldest_that_are_all(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """As many as there are, or more, are all of them; none is none."""
        for count in (4, 9):
            await converse(store, "a", [*turn(1), *turn(2)])
            assert await store.delete_oldest_messages("a", 0) == []
            assert said(await store.delete_oldest_messages("a", count)) == said([*turn(1), *turn(2)])
            assert await store.get_messages("a") == []

    # -- setting aside ------------------------------------------------------------------------------------------------

    async def test_archiving(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """The oldest active messages are returned, no longer active, but not gone; the next ones go on from there."""
        await converse(store, "a", [*turn(1), *turn(2), *turn(3)])
        assert said(await store.archive_oldest_messages("a", 2)) == said(turn(1))
        assert said(await store.get_messages("a")) == said([*turn(2), *turn(3)])
        assert said(await store.archive_oldest_messages("a", 1)) == said(turn(2)[:1])
        assert said(await store.get_messages("a", ARCHIVED)) == said([*turn(1), turn(2)[0]])
        assert said(await store.get_messages("a", None)) == said([*turn(1), *turn(2), *turn(3)])
        counted = [await store.count_messages("a", status) for status in (ACTIVE, ARCHIVED, None)]
        assert counted == [3, 3, 6]
        await converse(store, "a", turn(4))
        assert said(await store.get_messages("a")) == said([turn(2)[1], *turn(3), *turn(4)])

    async def test_archiving_more_than_there_is(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """All are archived, then there is nothing left to archive; a deleted key has no archive."""
        await converse(store, "a", turn(1))
        assert said(await store.archive_oldest_messages("a", 9)) == said(turn(1))
        assert await store.archive_oldest_messages("a", 1) == []
        assert await store.get_messages("a") == []
        await store.delete_messages("a")
        assert await store.get_messages("a", ARCHIVED) == []

    async def test_deleting_one_status(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """Only the active or only the archived ones go, or that is refused without a loss."""
        await converse(store, "a", [*turn(1), *turn(2)])
        await store.delete_messages("a", ARCHIVED)  # there are none
        assert said(await store.archive_oldest_messages("a", 2)) == said(turn(1))
        if self.changes_history:
            await store.delete_messages("a", ACTIVE)
            assert said(await store.get_messages("a", None)) == said(turn(1))
            await store.delete_messages("a", ARCHIVED)
            assert await store.get_messages("a", None) == []
            return
        for status in (ACTIVE, ARCHIVED):
            with self.refused():
                await store.delete_messages("a", status)
        assert said(await store.get_messages("a", None)) == said([*turn(1), *turn(2)])

    async def test_adding_to_the_archive(self, store: AsyncDBChatStore, converse: Converse) -> None:
        """Messages can be added and set as archived ones, or that is refused without a loss."""
        await converse(store, "a", turn(1))
        if self.adds_archived:
            await store.add_message("a", user("Long ago."), ARCHIVED)
            await store.add_messages("a", [user("Long, long ago.")], ARCHIVED)
            assert said(await store.get_messages("a")) == said(turn(1))
            assert await store.count_messages("a", ARCHIVED) == 2
            await store.set_messages("a", turn(2), ARCHIVED)
            assert said(await store.get_messages("a", ARCHIVED)) == said(turn(2))
            assert await store.get_messages("a") == []
            return
        with self.refused():
            await store.add_message("a", user("Long ago."), ARCHIVED)
        with self.refused():
            await store.add_messages("a", [user("Long, long ago.")], ARCHIVED)
        with self.refused():
            await store.set_messages("a", turn(1), ARCHIVED)
        assert said(await store.get_messages("a", None)) == said(turn(1))
