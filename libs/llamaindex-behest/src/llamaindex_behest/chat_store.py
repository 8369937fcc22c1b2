"""BehestChatStore: a chat store whose keys are the ids of the gateway's threads."""

from __future__ import annotations

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.loading import RECOGNIZED_CHAT_STORES
from pydantic import SecretStr

from behest_base import Behest
from llamaindex_behest.on_threads import OnThreads

__all__ = ["BehestChatStore"]


class BehestChatStore(OnThreads, BaseChatStore):
    """Chat histories that the gateway keeps. The key is the thread id, and each user has their own threads.

    It reads from the gateway and writes through it: a turn is stored by the model's call in the thread, so use it with a
    `BehestLLM` on the same client, for the same user and thread. Putting what the thread has is nothing to do; a user message
    waits for the next call; anything else can't be stored, and raises an error that says why.

    Example:
        ```python
        llm = BehestLLM(user_id="alice", thread_id="support-42")
        memory = ChatMemoryBuffer.from_defaults(
            llm=llm, chat_store=BehestChatStore(user_id="alice"), chat_store_key="support-42"
        )
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
        """Return the name that serialized stores are found by."""
        return "BehestChatStore"

    def get_messages(self, key: str) -> list[ChatMessage]:
        """Return a thread's messages, oldest first, those that wait for the next call at the end."""
        return self._keeper(key).load().messages()

    async def aget_messages(self, key: str) -> list[ChatMessage]:
        """Return a thread's messages; see `get_messages`."""
        return (await self._keeper(key).aload()).messages()

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Make a thread these messages: what it holds is nothing to do, new user messages wait for the next call.

        Raises:
            BehestConfigError: It would take rewriting what the gateway holds.
        """
        self._keeper(key).reload().set(messages)

    async def aset_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Make a thread these messages; see `set_messages`."""
        (await self._keeper(key).areload()).set(messages)

    def add_message(self, key: str, message: ChatMessage) -> None:
        """Add a message: one that the thread has is nothing to do, a new user message waits for the next call.

        Raises:
            BehestConfigError: It can't be stored.
        """
        self._keeper(key).contents.put(message)

    async def async_add_message(self, key: str, message: ChatMessage) -> None:
        """Add a message; see `add_message`."""
        self._keeper(key).contents.put(message)

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """Delete a thread, and return what was in it; None if there is no such thread."""
        return self._keeper(key).delete()

    async def adelete_messages(self, key: str) -> list[ChatMessage] | None:
        """Delete a thread; see `delete_messages`."""
        return await self._keeper(key).adelete()

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Take back a message that waits for the next call; None if there is none at this position.

        Raises:
            BehestConfigError: The gateway holds it; only a whole thread can be deleted.
        """
        return self._keeper(key).load().remove(idx)

    async def adelete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Take back a message that waits for the next call; see `delete_message`."""
        return (await self._keeper(key).aload()).remove(idx)

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Take back the last message if it waits for the next call; see `delete_message`."""
        return self.delete_message(key, -1)

    async def adelete_last_message(self, key: str) -> ChatMessage | None:
        """Take back the last message if it waits for the next call; see `delete_message`."""
        return await self.adelete_message(key, -1)

    def get_keys(self) -> list[str]:
        """Return the ids of the user's threads."""
        return [thread.id for thread in self.client.threads.list(scope=self._whose())]

    async def aget_keys(self) -> list[str]:
        """Return the ids of the user's threads."""
        return [thread.id for thread in await self.client.threads.alist(scope=self._whose())]


# Where llama-index-core finds the class of a serialized store, as a ChatMemoryBuffer has it.
RECOGNIZED_CHAT_STORES[BehestChatStore.class_name()] = BehestChatStore  # type: ignore[assignment] # its inferred type
