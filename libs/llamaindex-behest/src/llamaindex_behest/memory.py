"""BehestMemory: a thread of the gateway as the memory of a chat engine or an agent."""

from __future__ import annotations

from typing import Any, Self

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field
from llama_index.core.memory.types import BaseMemory
from pydantic import SecretStr

from behest_base import Behest
from llamaindex_behest.keeper import Keeper
from llamaindex_behest.on_threads import OnThreads

__all__ = ["BehestMemory"]


class BehestMemory(OnThreads, BaseMemory):
    """A conversation that the gateway keeps: what was said is read from there, and what is put is what its calls recorded.

    Use it with a `BehestLLM` on the same client, for the same user and thread. Both may come from the ambient scope, so that
    one engine or agent serves many users. The list that it gives is never cut: the gateway supplies the thread's messages
    itself, and the model sends only what is new.

    Example:
        ```python
        agent = FunctionAgent(tools=[...], llm=BehestLLM())
        memory = BehestMemory()
        with scope("alice", thread_id="support-42"):
            print(await agent.run("Where is my order?", memory=memory))
        ```
    """

    thread_id: str | None = Field(default=None, description="The thread. None: the ambient scope's.")

    def __init__(
        self,
        thread_id: str | None = None,
        *,
        user_id: str | None = None,
        api_key: str | SecretStr | None = None,
        client: Behest | None = None,
        base_url: str | None = None,
        slug: str | None = None,
    ) -> None:
        """Check the arguments; nothing is sent.

        Args:
            thread_id: The thread; else the ambient scope's.
            user_id: The end user when the ambient scope names none.
            api_key: API key, signing key or token, as `behest_base.Behest` takes it; else `BEHEST_KEY`.
            client: A client to call with: the model's, if that was given one.
            base_url: The gateway, if not from `BEHEST_BASE_URL` or a slug.
            slug: The project's slug, if not from `BEHEST_SLUG`.
        """
        own: dict[str, Any] = {"thread_id": thread_id}
        super().__init__(user_id=user_id, base_url=base_url, slug=slug, **own)
        self._connect(api_key, client)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that serialized memories are found by."""
        return "BehestMemory"

    @classmethod
    def from_defaults(cls, **kwargs: Any) -> Self:
        """Return a memory; takes what the class takes."""
        return cls(**kwargs)

    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: A002, ARG002 - the framework's names
        """Return the messages, oldest first, those that wait for the next call at the end.

        Args:
            input: What the user asks in this turn, if an engine says so.
            **kwargs: What other memories cut their list by.
        """
        thread = self._thread()
        thread.contents.expire(input)
        return thread.load().messages()

    async def aget(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: A002, ARG002 - the framework's names
        """Return the messages; see `get`."""
        thread = self._thread()
        thread.contents.expire(input)
        return (await thread.aload()).messages()

    def get_all(self) -> list[ChatMessage]:
        """Return the messages, oldest first, those that wait for the next call at the end."""
        return self._thread().load().messages()

    async def aget_all(self) -> list[ChatMessage]:
        """Return the messages; see `get_all`."""
        return (await self._thread().aload()).messages()

    def put(self, message: ChatMessage) -> None:
        """Add a message: one that the thread has is nothing to do, a new user message waits for the next call.

        Raises:
            BehestConfigError: It can't be stored.
        """
        self._thread().contents.put(message)

    async def aput(self, message: ChatMessage) -> None:
        """Add a message; see `put`."""
        self._thread().contents.put(message)

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """Add messages, one after the other; see `put`."""
        for message in messages:
            self.put(message)

    def set(self, messages: list[ChatMessage]) -> None:
        """Make the thread these messages: what it holds is nothing to do, new user messages wait for the next call.

        Raises:
            BehestConfigError: It would take rewriting what the gateway holds.
        """
        self._thread().reload().set(messages)

    async def aset(self, messages: list[ChatMessage]) -> None:
        """Make the thread these messages; see `set`."""
        (await self._thread().areload()).set(messages)

    def reset(self) -> None:
        """Delete the thread."""
        self._thread().delete()

    async def areset(self) -> None:
        """Delete the thread."""
        await self._thread().adelete()

    def _thread(self) -> Keeper:
        return self._keeper(self.thread_id)
