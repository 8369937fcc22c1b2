"""BehestChatHistory: a LangChain chat history that is a thread of the gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from behest_base import UNSET, Behest, BehestConfigError, BehestNotFoundError, Identity, Scope, ThreadMessage, Unset
from langchain_behest.errors import langchain_errors
from langchain_behest.ledger import Ledger, ThreadNeededError
from langchain_behest.messages_out import mark_of, wire_messages
from langchain_behest.thread_in import messages_of_thread, pending_messages

__all__ = ["BehestChatHistory"]


class BehestChatHistory(BaseChatMessageHistory):
    """A thread of the gateway as a chat history: reads from it, and writes through the calls that are made in it.

    The gateway has no endpoint that writes a message: a turn is written by the model call made in the thread. So give the
    model the same thread (`ChatBehest(thread_id=…)`, `thread_id=` in the call, or `behest_thread_id` in `configurable`).
    Adding a turn that the gateway has is then nothing to do; adding a user message keeps it until the next call in the
    thread, with which it goes out; adding a reply that no call in the thread produced is an error.

    Example:
        ```python
        history = BehestChatHistory("support-42", user_id="alice")
        model = ChatBehest(user_id="alice", thread_id="support-42")
        model.invoke("My order is 1234.")
        print(history.messages)
        ```

    With `RunnableWithMessageHistory`, make one per thread id, and give the model the thread as well:

        ```python
        chain = RunnableWithMessageHistory(
            prompt | model,
            lambda thread_id: BehestChatHistory(thread_id, user_id="alice"),
            input_messages_key="question",
            history_messages_key="history",
        )
        config = {"configurable": {"session_id": "support-42", "behest_thread_id": "support-42"}}
        chain.invoke({"question": "Where is it?"}, config)
        ```
    """

    def __init__(
        self,
        thread_id: str,
        user_id: str | Unset = UNSET,
        *,
        client: Behest | None = None,
        tier: str | int | Unset = UNSET,
    ) -> None:
        """Name a thread; nothing is sent.

        Args:
            thread_id: The thread; it comes to exist with the first call in it.
            user_id: Whose thread; the ambient `scope`'s user or the client's default if not given.
            client: A client to use; from the environment if not given. Share it with the model (`ChatBehest.behest`).
            tier: The user's tier.
        """
        self.thread_id = thread_id
        self._scope = Scope(user_id, thread_id=thread_id, tier=tier)
        self._client = client

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override] # core declares an attribute
        """The thread's messages, oldest first, and the user messages that wait for the next call. One request.

        An unknown thread reads as empty.

        Raises:
            BehestError: The gateway refused, or could not be reached.
        """
        with langchain_errors():
            client, identity = self._where()
            return self._with_pending(client, identity, self._read(client))

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the thread's messages; see `messages`."""
        with langchain_errors():
            client, identity = self._where()
            return self._with_pending(client, identity, await self._aread(client))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages: what the gateway has is left alone, user messages wait for the next call in the thread.

        System messages are left out: a thread holds none, they are the prompt's.

        Args:
            messages: A turn that was just made, or user messages to come.

        Raises:
            BehestConfigError: A reply or a tool result is among them that no call in this thread produced; nothing was added.
        """
        with langchain_errors():
            client, identity = self._where()
            try:
                self._enter(client, identity, messages)
            except ThreadNeededError:
                thread = self._read(client)
                with _foreign(identity):
                    self._enter(client, identity, messages, thread)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages; see `add_messages`."""
        with langchain_errors():
            client, identity = self._where()
            try:
                self._enter(client, identity, messages)
            except ThreadNeededError:
                thread = await self._aread(client)
                with _foreign(identity):
                    self._enter(client, identity, messages, thread)

    def clear(self) -> None:
        """Delete the thread and forget what waits for it.

        Raises:
            BehestError: The gateway refused, or could not be reached.
        """
        with langchain_errors():
            client, _ = self._where()
            with suppress(BehestNotFoundError):
                client.threads.delete(self.thread_id, scope=self._scope)

    async def aclear(self) -> None:
        """Delete the thread; see `clear`."""
        with langchain_errors():
            client, _ = self._where()
            with suppress(BehestNotFoundError):
                await client.threads.adelete(self.thread_id, scope=self._scope)

    def _where(self) -> tuple[Behest, Identity]:
        client = self._client if self._client is not None else Behest.shared()
        return client, client.identify(self._scope)

    def _read(self, client: Behest) -> list[ThreadMessage]:
        try:
            return client.threads.messages(self.thread_id, scope=self._scope)
        except BehestNotFoundError:  # it comes to exist with the first call in it
            return []

    async def _aread(self, client: Behest) -> list[ThreadMessage]:
        try:
            return await client.threads.amessages(self.thread_id, scope=self._scope)
        except BehestNotFoundError:
            return []

    @staticmethod
    def _with_pending(client: Behest, identity: Identity, thread: Sequence[ThreadMessage]) -> list[BaseMessage]:
        return messages_of_thread(thread, identity) + pending_messages(client.view(identity).pending)

    @staticmethod
    def _enter(
        client: Behest,
        identity: Identity,
        messages: Sequence[BaseMessage],
        thread: Sequence[ThreadMessage] | None = None,
    ) -> None:
        wire, sources = wire_messages(messages)
        marks = [mark_of(message, identity.user_id) == identity.thread_id for message in sources]
        view = client.view(identity)
        held = None if thread is None else [message.wire() for message in thread]
        # Histories come and go with requests; the view, and what was noted of it, stays with the client.
        view.notes(Ledger).enter(wire, marks, view, held)


@contextmanager
def _foreign(identity: Identity) -> Iterator[None]:
    try:
        yield
    except ThreadNeededError as error:
        _refuse(str(error), identity)


def _refuse(role: str, identity: Identity) -> NoReturn:
    what = "reply" if role == "assistant" else f"message of the role {role}"
    msg = (
        f"A {what} that no call in the thread {identity.thread_id!r} produced can't be stored: the gateway writes a turn when the "
        "model is called in the thread, and has no other way to write one. Call the model in it (thread_id=, or behest_thread_id "
        "in configurable); its replies need no adding. Nothing was added."
    )
    raise BehestConfigError(msg)
