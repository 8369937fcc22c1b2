"""One call of the model: for whom, what is in its request, and in which thread. Pure, but for what the client knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage

from behest_base import UNSET, Identity, Scope
from llamaindex_behest.conversation import Conversation
from llamaindex_behest.identity import Use, forced_identity, take_scope, use_of
from llamaindex_behest.messages_out import marks_of, to_wire
from llamaindex_behest.model import BehestModel
from llamaindex_behest.request import chat_body

__all__ = ["Call", "identity_apart"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is about to be made.

    Attributes:
        model: Whose call it is.
        identity: For whom, and in which session and thread.
        messages: The whole list, as OpenAI messages.
        marks: For each of them, the thread it came out of.
        arguments: The call's own fields of the request.
    """

    model: BehestModel
    identity: Identity
    messages: list[dict[str, Any]]
    marks: list[str | None]
    arguments: dict[str, Any]

    @classmethod
    def of(cls, model: BehestModel, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> Call:
        """Decide, now and not when a stream is first advanced, for whom and where the call is made.

        Raises:
            BehestConfigError: No user is named anywhere, or a block can't be sent.
        """
        scope, arguments = take_scope(kwargs)
        wire = to_wire(messages)
        identity = forced_identity() or model.identify(scope)
        marks = marks_of(messages, identity.user_id)
        if not _belongs(model, scope, identity, wire, marks):
            identity = model.identify(scope.over(_NO_CONVERSATION))
        return cls(model, identity, wire, marks, arguments)

    def outgoing(self) -> list[dict[str, Any]]:
        """Return what of the list goes out."""
        if self._goes_whole:
            return self.messages
        return self.model.client.new_messages(*self._list, store_tool_calls=self.model.store_tool_calls)

    async def aoutgoing(self) -> list[dict[str, Any]]:
        """Return what of the list goes out."""
        if self._goes_whole:
            return self.messages
        return await self.model.client.anew_messages(*self._list, store_tool_calls=self.model.store_tool_calls)

    def body(self, outgoing: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the request's body."""
        return chat_body(self.model, outgoing, self.arguments)

    @property
    def _goes_whole(self) -> bool:
        return self.identity.thread_id is None or self.model.resend_history

    @property
    def _list(self) -> tuple[list[dict[str, Any]], list[str | None], Identity]:
        return self.messages, self.marks, self.identity


_NO_CONVERSATION: Final = Scope(session_id=None, thread_id=None)


def identity_apart(model: BehestModel, kwargs: Mapping[str, Any] | None) -> Identity:
    """Return for whom a call is made that belongs to no conversation, unless its own arguments name one.

    Raises:
        BehestConfigError: No user is named anywhere.
    """
    scope, _ = take_scope(kwargs or {})
    return model.identify(scope.over(_NO_CONVERSATION))


def _belongs(
    model: BehestModel,
    scope: Scope,
    identity: Identity,
    messages: Sequence[dict[str, Any]],
    marks: list[str | None],
) -> bool:
    """Say whether a call belongs to the conversation that its identity names."""
    use = use_of()
    if forced_identity() is not None:
        return True  # it was decided before
    if use is Use.APART:
        return False
    if scope.thread_id is not UNSET:
        return True  # the call itself says where it belongs
    if identity.thread_id is None:
        return use is Use.CONVERSATION
    view = model.client.view(identity)
    return view.notes(Conversation).takes(messages, marks, identity.thread_id, use, view)
