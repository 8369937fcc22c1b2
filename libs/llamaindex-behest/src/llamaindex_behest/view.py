"""A thread as a memory or a store shows it: what the gateway holds, and what waits here to go out with the next call (D6, D7).

There is no endpoint that writes a message: a turn is written by the model's call in the thread. So what a framework puts is
either in the thread already, or a user message that waits, or something that can't be stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from llama_index.core.base.llms.types import ChatMessage

from behest_base import BehestConfigError, ThreadView
from llamaindex_behest.conversation import Conversation, Message, same_reply, text_of
from llamaindex_behest.messages_in import from_wire
from llamaindex_behest.messages_out import marks_of, wire_message

__all__ = ["ThreadContents"]

_INSTRUCTIONS: Final = ("system", "developer")


class ThreadContents:
    """The messages of one user's thread. Pure but for what the client's view and conversation keep."""

    def __init__(self, view: ThreadView, user_id: str, thread_id: str) -> None:
        """Show the user's thread that a client has this view of."""
        self._view = view
        self._user_id = user_id
        self._talk = view.notes(Conversation)
        self._thread_id = thread_id

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def must_be_read(self) -> bool:
        """Whether the gateway has to be asked before the messages can be shown."""
        talk = self._talk
        if talk.base is None or talk.look_is_of_put:
            return talk.base is None
        if talk.asked is not None:
            return talk.is_stale or self._was_given_up
        # The first look after a turn: another process may have gone on. Or this client's model was called past the memory.
        return not talk.in_use or self._view.turns_recorded > max(talk.accounted, talk.read_at)

    @property
    def _was_given_up(self) -> bool:
        """Whether an engine's call broke off before the engine put anything of its turn: the thread may have it."""
        talk, recorded = self._talk, self._view.turns_recorded
        return not talk.was_put and not talk.turn and recorded > max(talk.opened_at, talk.read_at)

    def was_read(self, messages: Sequence[Message]) -> None:
        """Take in what the gateway holds."""
        talk = self._talk
        talk.base = [dict(message) for message in messages]
        talk.turn = list(self._view.pending)
        talk.is_stale = False
        talk.read_at = self._view.turns_recorded
        if talk.asked is None and not talk.in_use:
            talk.accounted = talk.read_at

    def expire(self, question: str | None = None) -> None:
        """Have the thread read anew: a turn begins, and another process may have gone on with it.

        Args:
            question: What the user asks in this turn, if it is known.
        """
        asked = {"role": "user", "content": question}
        if question and (self._talk.asked is None or _key(self._talk.asked) != _key(asked)):
            self._talk.end(self._view)
            self._talk.base = None
            self._talk.ask(asked, self._view, put=False)

    def messages(self) -> list[ChatMessage]:
        """Return all messages, oldest first; those that the thread holds are marked with it."""
        talk = self._talk
        if talk.look_is_of_put:
            talk.look_is_of_put = False
        else:
            talk.in_use, talk.looked_at = True, self._view.turns_begun
        waiting = [_key(message) for message in self._view.pending]
        held = [self._marked(message) for message in talk.base or ()]
        # A tool's result may be put before the call that takes it along (a handoff), so that it goes by its neighbours' marks.
        return held + [
            from_wire(message) if message["role"] == "tool" or _key(message) in waiting else self._marked(message)
            for message in talk.turn
        ]

    def _marked(self, message: Message) -> ChatMessage:
        return from_wire(message, {"user_id": self._user_id, "thread_id": self._thread_id})

    # -- putting ------------------------------------------------------------------------------------------------------

    def put_and_look(self, messages: Sequence[ChatMessage]) -> None:
        """Take messages as `put` does, for who looks at all of them right after that, as `Memory` does to see how long they are.

        Raises:
            BehestConfigError: One can't be stored.
        """
        for message in messages:
            self.put(message)
        self._talk.look_is_of_put = True

    def put(self, message: ChatMessage) -> None:
        """Take a message that a framework puts at the end.

        Raises:
            BehestConfigError: It can't be stored.
        """
        wire = wire_message(message)
        if wire["role"] == "user":
            self._put_user(wire)
        elif wire["role"] == "assistant":
            self._put_reply(wire, marked=marks_of([message], self._user_id) == [self._thread_id])
        elif wire["role"] in ("tool", "function"):
            self._put_result(wire)
        else:
            _refuse_instructions(wire["role"])

    def _put_user(self, wire: dict[str, Any]) -> None:
        talk, view = self._talk, self._view
        if self._was_recorded_before_put(wire):
            self._append(wire)
            talk.ask(wire, view, put=True)
            talk.opened_at = talk.accounted  # its answer is there already
            return
        begins = talk.asked is None or talk.was_put or _key(talk.asked) != _key(wire)
        view.add_pending([wire])
        talk.ask(wire, view, put=True)
        talk.turn.append(wire)
        talk.is_stale = talk.is_stale or begins  # another process may have gone on with the thread

    def _was_recorded_before_put(self, wire: Message) -> bool:
        """Say whether an engine puts only now what its call has recorded (the context engines do)."""
        talk, view = self._talk, self._view
        if talk.was_put or view.turns_recorded <= talk.accounted:
            return False
        return any(_key(message) == _key(wire) for message in view.recorded)

    def _put_reply(self, wire: dict[str, Any], *, marked: bool) -> None:
        recorded = self._recorded_reply()
        if marked:
            self._append(wire)
        elif recorded is not None and same_reply(wire, recorded) and not _calls(wire):
            self._append(recorded)
        elif not (_calls(wire) and _calls(wire) == _calls(recorded or {})) and not wire.get("tool_call_id"):
            # (With tool_call_id it is a tool's result that an agent answers with as it is: return_direct.)
            self._refuse_reply()
        if not _calls(wire):
            self._talk.end(self._view)

    def _recorded_reply(self) -> Message | None:
        view = self._view
        if view.turns_recorded <= self._talk.accounted or not view.recorded:
            return None
        return view.recorded[-1] if view.recorded[-1]["role"] == "assistant" else None

    def _put_result(self, wire: dict[str, Any]) -> None:
        known = [call for message in (*(self._talk.base or ()), *self._talk.turn) for call in _calls(message)]
        known += [call for message in self._view.recorded for call in _calls(message)]
        sent = [message.get("tool_call_id") for message in self._view.recorded if message["role"] == "tool"]
        if wire.get("tool_call_id") not in (*known, *sent):
            self._refuse("A tool result whose call is not in it")
        self._append(wire)

    def _append(self, wire: Message) -> None:
        talk = self._talk
        if talk.base is not None and self._view.turns_recorded > talk.read_at:
            talk.turn.append(wire)

    # -- replacing ----------------------------------------------------------------------------------------------------

    def set(self, messages: Sequence[ChatMessage]) -> None:
        """Make the thread these messages, as far as that is nothing to do but to keep new user messages for the next call.

        The thread must have been read.

        Raises:
            BehestConfigError: It would take rewriting what the gateway holds.
        """
        wire = [wire_message(message) for message in messages]
        for message in wire:
            if message["role"] in _INSTRUCTIONS:
                _refuse_instructions(message["role"])
        new = _new_after(self._talk.base or [], wire)
        if new is None:
            self._refuse_rewriting()
        if any(message["role"] != "user" for message in new):
            self._refuse_reply()
        while self._view.pending:
            self._view.remove_pending(-1)
        self._view.add_pending(new)
        self._talk.end(self._view)
        self._talk.turn = list(new)
        if new:
            self._talk.ask(new[-1], self._view, put=True)

    def remove(self, index: int) -> ChatMessage | None:
        """Take back a message that waits to go out; None if there is none at this position.

        Raises:
            BehestConfigError: The gateway holds it.
        """
        everything = self.messages()
        index += len(everything) if index < 0 else 0
        if not 0 <= index < len(everything):
            return None
        waiting = index - (len(everything) - len(self._view.pending))
        if waiting < 0:
            self._refuse_rewriting()
        self._view.remove_pending(waiting)
        del self._talk.turn[index - len(self._talk.base or ())]
        self._talk.end(self._view)
        if self._view.pending:
            self._talk.ask(self._view.pending[-1], self._view, put=True)
        return everything[index]

    # -- setting aside ------------------------------------------------------------------------------------------------

    @property
    def archived(self) -> int:
        """How many of the oldest messages are set aside."""
        return self._talk.archived

    def archive(self, count: int) -> list[ChatMessage]:
        """Set the oldest `count` messages aside and return them. The thread keeps them; only this process knows of it."""
        oldest = self.messages()[self._talk.archived :][:count]
        self._talk.archived += len(oldest)
        return oldest

    # -- what can't be done -------------------------------------------------------------------------------------------

    def _refuse_reply(self) -> NoReturn:
        self._refuse(
            "A reply that no call in it produced",
            " CondenseQuestionChatEngine can't work with a thread: its answers come from a query engine that never sees what "
            "the user typed; use CondensePlusContextChatEngine. Where an answer was refined over several calls, retrieve "
            "less, or raise context_window=. Where Memory puts its blocks into the user's message, have it put them into the "
            "system message (InsertMethod.SYSTEM).",
        )

    def _refuse(self, what: str, more: str = "") -> NoReturn:
        msg = (
            f"{what} can't be stored in the thread {self._thread_id!r}: the gateway writes a turn when the model is called in the thread, and "
            "has no other way to write one. Call a BehestLLM on the same client, for the same user and thread "
            f"(llm.for_user(user_id, thread_id=…), or the ambient scope).{more}"
        )
        raise BehestConfigError(msg, code="not_in_thread")

    def _refuse_rewriting(self) -> NoReturn:
        msg = (
            f"The gateway holds other messages in the thread {self._thread_id!r} than these, and has no way to change or remove "
            "single ones. Delete the whole thread (reset(), delete_messages()), or go on under another thread id."
        )
        raise BehestConfigError(msg, code="not_in_thread")


def _refuse_instructions(role: str) -> NoReturn:
    msg = f"A thread holds no {role} messages: give instructions to the engine or agent (system_prompt=, prefix_messages=)."
    raise BehestConfigError(msg, code="not_in_thread")


_Key = tuple[str, str, tuple[str, ...]]


def _key(message: Message) -> _Key:
    return message["role"], text_of(message), tuple(_calls(message))


def _calls(message: Message) -> list[str]:
    return [str(call.get("id")) for call in message.get("tool_calls") or () if isinstance(call, Mapping)]


def _new_after(held: Sequence[Message], wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return what a wanted list adds to what is held; None if it doesn't begin with how that ends.

    Tool traffic is left out of the comparison: whether a thread has it is the tier's setting.
    """
    ours, theirs = [m for m in wanted if _is_said(m)], [m for m in held if _is_said(m)]
    for size in range(min(len(ours), len(theirs)), -1, -1):
        pairs = zip(ours[:size], theirs[len(theirs) - size :], strict=True)
        if all(_same(one, other) for one, other in pairs):
            return None if theirs and not size else ours[size:]
    return None


def _is_said(message: Message) -> bool:
    return message["role"] in ("user", "assistant") and not _calls(message)


def _same(one: Message, other: Message) -> bool:
    if one["role"] != other["role"]:
        return False
    return text_of(one) == text_of(other) or (one["role"] == "assistant" and same_reply(one, other))
