"""The I/O of a thread's contents: reads and deletes, for callers that block and for tasks."""

from __future__ import annotations

import contextlib

from llama_index.core.base.llms.types import ChatMessage

from behest_base import UNSET, Behest, BehestNotFoundError, Identity, Scope, ThreadMessage
from llamaindex_behest.view import ThreadContents

__all__ = ["Keeper"]


class Keeper:
    """One user's thread, on one client. Made anew for each operation: for whom is decided when it is called."""

    def __init__(self, client: Behest, user_id: str | None, thread_id: str | None) -> None:
        """Decide for whom: the ambient scope's user, else this one, else the client's.

        Raises:
            BehestConfigError: No user or no thread is named anywhere.
        """
        own = Scope(user_id=UNSET if user_id is None else user_id)
        self._client = client
        self._identity: Identity = client.identify(
            Scope(thread_id=UNSET if thread_id is None else thread_id), default=own
        )
        view = client.view(self._identity)
        self.contents = ThreadContents(view, self._identity.user_id, self._thread)

    def load(self) -> ThreadContents:
        """Return the contents, read if need be."""
        if self.contents.must_be_read:
            self.reload()
        return self.contents

    async def aload(self) -> ThreadContents:
        """Return the contents, read if need be."""
        if self.contents.must_be_read:
            await self.areload()
        return self.contents

    def reload(self) -> ThreadContents:
        """Return the contents, read now."""
        try:
            self._take(self._client.threads.messages(self._thread, scope=self._scope))
        except BehestNotFoundError:  # it comes to exist with the first call
            self._take([])
        return self.contents

    async def areload(self) -> ThreadContents:
        """Return the contents, read now."""
        try:
            self._take(await self._client.threads.amessages(self._thread, scope=self._scope))
        except BehestNotFoundError:
            self._take([])
        return self.contents

    def delete(self) -> list[ChatMessage] | None:
        """Delete the thread, and return what was in it; None if there was no such thread."""
        gone = self.reload().messages()
        with contextlib.suppress(BehestNotFoundError):
            self._client.threads.delete(self._thread, scope=self._scope)
        return gone or None

    async def adelete(self) -> list[ChatMessage] | None:
        """Delete the thread, and return what was in it; None if there was no such thread."""
        gone = (await self.areload()).messages()
        with contextlib.suppress(BehestNotFoundError):
            await self._client.threads.adelete(self._thread, scope=self._scope)
        return gone or None

    @property
    def _thread(self) -> str:
        return self._identity.thread_id or ""

    @property
    def _scope(self) -> Scope:
        return Scope(user_id=self._identity.user_id, token=self._identity.token)

    def _take(self, messages: list[ThreadMessage]) -> None:
        self.contents.was_read([message.wire() for message in messages])
