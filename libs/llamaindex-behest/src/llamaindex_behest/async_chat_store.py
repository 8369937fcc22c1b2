"""BehestAsyncChatStore: the same for `llama_index.core.memory.Memory`."""

from __future__ import annotations

import asyncio

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import SecretStr

from behest_base import Behest, BehestConfigError
from llamaindex_behest.on_threads import OnThreads
from llamaindex_behest.view import ThreadContents

__all__ = ["BehestAsyncChatStore"]


class BehestAsyncChatStore(OnThreads, AsyncDBChatStore):
    """Chat histories that the gateway keeps, for `Memory`. The key (its `session_id`) is the thread id.

    It reads from the gateway and writes through it, as `BehestChatStore` does. Messages that `Memory` archives stay in the
    thread, and this process notes how many they are.

    Example:
        ```python
        llm = BehestLLM(user_id="alice", thread_id="support-42")
        memory = Memory.from_defaults(session_id="support-42", chat_store=BehestAsyncChatStore(user_id="alice"))
        engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
        ```
    """

    def __init__(
        self,
        *,
        user_id: str | None = None,
        api_key: str | SecretStr | None = None,
        client: Behest | None = None,
        base_url: str | None = None,
        slug: str | None = None,
    ) -> None:
        """Check the arguments; nothing is sent.

        Args:
            user_id: The end user when the ambient scope names none.
            api_key: API key, signing key or token, as `behest_base.Behest` takes it; else `BEHEST_KEY`.
            client: A client to call with: the model's, if that was given one.
            base_url: The gateway, if not from `BEHEST_BASE_URL` or a slug.
            slug: The project's slug, if not from `BEHEST_SLUG`.
        """
        super().__init__(user_id=user_id, base_url=base_url, slug=slug)
        self._connect(api_key, client)

    @classmethod
    def class_name(cls) -> str:
        """Return the class's name."""
        return "BehestAsyncChatStore"

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Return a thread's messages, oldest first, those that wait for the next call at the end.

        Args:
            key: The thread id.
            status: Which of them; None for all.
            limit: The most to return.
            offset: How many to leave out at the beginning.
        """
        contents = await self._loaded(key)
        chosen = _with_status(contents.messages(), contents.archived, status)[offset or 0 :]
        return chosen if limit is None else chosen[:limit]

    async def count_messages(self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE) -> int:
        """Return how many messages a thread has, see `get_messages`."""
        return len(await self.get_messages(key, status))

    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE) -> None:
        """Add a message: one that the thread has is nothing to do, a new user message waits for the next call.

        Raises:
            BehestConfigError: It can't be stored.
        """
        await self.add_messages(key, [message], status)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Add messages, one after the other; see `add_message`."""
        _only_active(status)
        self._keeper(key).contents.put_and_look(messages)

    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Make a thread these messages: what it holds is nothing to do, new user messages wait for the next call.

        Raises:
            BehestConfigError: It would take rewriting what the gateway holds.
        """
        _only_active(status)
        (await asyncio.to_thread(self._keeper(key).reload)).set(messages)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Take back a message that waits for the next call; None if there is none at this position.

        Raises:
            BehestConfigError: The gateway holds it; only a whole thread can be deleted.
        """
        return (await self._loaded(key)).remove(idx)

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Delete a thread.

        Raises:
            BehestConfigError: Only a part of it was to be deleted.
        """
        if status is not None:
            contents = await self._loaded(key)
            everything = contents.messages()
            chosen = _with_status(everything, contents.archived, status)
            if not chosen:
                return
            if len(chosen) < len(everything):
                _refuse_part(f"its {status.value} messages")
        await asyncio.to_thread(self._keeper(key).delete)

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the oldest messages, which can be done only with all of them at once; return them.

        Raises:
            BehestConfigError: The thread has more.
        """
        keeper = self._keeper(key)
        if n < 1:
            return []
        if n < len((await asyncio.to_thread(keeper.load)).messages()):
            _refuse_part(f"its oldest {n}")
        return await asyncio.to_thread(keeper.delete) or []

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Set the oldest active messages aside and return them. The thread keeps them; only this process knows of it."""
        return (await self._loaded(key)).archive(n)

    async def get_keys(self) -> list[str]:
        """Return the ids of the user's threads."""
        threads = await asyncio.to_thread(self.client.threads.list, scope=self._whose())
        return [thread.id for thread in threads]

    async def _loaded(self, key: str) -> ThreadContents:
        # In a thread, over the connections that threads share: Memory's blocking methods run each call in an event loop that
        # they close without shutting down its generators, so that connections of that loop would never be closed.
        return await asyncio.to_thread(self._keeper(key).load)


def _with_status(messages: list[ChatMessage], archived: int, status: MessageStatus | None) -> list[ChatMessage]:
    if status is None:
        return messages
    return messages[:archived] if status is MessageStatus.ARCHIVED else messages[archived:]


def _only_active(status: MessageStatus) -> None:
    if status is not MessageStatus.ACTIVE:
        msg = "Messages can't be added as archived: a thread has no place for that. Archive the oldest ones instead."
        raise BehestConfigError(msg, code="not_in_thread")


def _refuse_part(what: str) -> None:
    msg = f"The gateway deletes a thread whole, not {what}. Delete all of it, or archive the oldest messages."
    raise BehestConfigError(msg, code="not_in_thread")
