"""Which of a model's calls are turns of the thread that they are made under (D8: what belongs to the conversation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from behest_base import ThreadView, turns
from llamaindex_behest.identity import Use

__all__ = ["Conversation", "Message", "same_reply", "text_of"]

Message = Mapping[str, Any]


class Conversation:
    """What the memories and stores of one thread read from it, and what they were told of the turn under way.

    Attributes:
        base: The thread's messages when the turn began; None: to be read.
        turn: What this turn has added to them.
        read_at: How many calls the client's view had recorded when `base` was read.
        accounted: How many it had recorded when the last turn was complete.
        opened_at: How many calls the gateway had taken when this turn began.
        looked_at: How many it had taken when a memory last showed the messages.
        in_use: Whether a memory was read or written since the last turn was complete.
        asked: This turn's user message, None if no memory was told.
        was_put: Whether `asked` was put, rather than named in a read.
        archived: How many of the oldest messages a memory has set aside.
        is_stale: Whether a turn began since `base` was read.
        look_is_of_put: Whether the next look belongs to a put, and begins no turn.
    """

    def __init__(self) -> None:
        """Know of no turn."""
        self.base: list[Message] | None = None
        self.turn: list[Message] = []
        self.read_at = self.accounted = self.opened_at = 0
        self.looked_at = 0
        self.in_use = False
        self.asked: Message | None = None
        self.was_put = False
        self.archived = 0
        self.is_stale = self.look_is_of_put = False

    def ask(self, message: Message, view: ThreadView, *, put: bool) -> None:
        """Note this turn's user message."""
        self.in_use = True
        if self.asked is None or self.was_put or not _same_question(message, self.asked):
            self.opened_at = view.turns_begun
            self.was_put = False
        self.asked = message
        self.was_put = self.was_put or put

    def end(self, view: ThreadView) -> None:
        """Note that the turn has its final reply."""
        self.in_use = self.was_put = False
        self.asked = None
        self.accounted = view.turns_recorded

    def takes(
        self, messages: Sequence[Message], marks: list[str | None], thread_id: str, use: Use, view: ThreadView
    ) -> bool:
        """Say whether a call with this list is a part of the turn, and mark in `marks` the replies of it that lost theirs."""
        if use is Use.QUESTION:
            return self._is_asked(messages, marks, thread_id, view)
        if self.asked is not None:
            return self._goes_on(messages, marks, thread_id, view)
        return use is Use.CONVERSATION or (self.in_use and thread_id in marks)

    def _is_asked(
        self, messages: Sequence[Message], marks: Sequence[str | None], thread_id: str, view: ThreadView
    ) -> bool:
        """Say whether a chat engine asks this turn's question: it has just read the history, and asks once."""
        question = next((message for message in reversed(messages) if message["role"] == "user"), None)
        if not self.in_use or question is None or view.turns_recorded > self.looked_at:
            return False
        is_told = any(_same_question(message, self.asked) for message in messages)
        is_first = self.asked is None and self.base == [] and not self.turn
        if not (is_told or is_first or thread_id in marks):
            return False
        # Whatever turn was under way was abandoned, or is this one; the engine puts its question only later.
        self.asked, self.was_put = question, False
        self.opened_at, self.accounted = view.turns_begun, view.turns_recorded
        return True

    def _goes_on(self, messages: Sequence[Message], marks: list[str | None], thread_id: str, view: ThreadView) -> bool:
        """Say whether a list is the turn's own: the question if it is not answered yet, else it with an answer of this turn."""
        asked_at = max((i for i, message in enumerate(messages) if _same_question(message, self.asked)), default=-1)
        if asked_at < 0:
            return False
        after = range(asked_at + 1, len(messages))
        if view.turns_recorded <= self.opened_at:
            return not any(messages[i]["role"] == "user" for i in after)
        replies = [i for i in after if messages[i]["role"] == "assistant"]
        if not replies:
            return False  # a tool that asks the model what the user asked
        if marks[replies[-1]] != thread_id and not _rewritten(messages[replies[-1]], view):
            return False
        for i in replies:
            marks[i] = thread_id
        return True


def text_of(message: Message) -> str:
    """Return the text of an OpenAI message."""
    return turns.text_of(message.get("content")).strip()


def same_reply(ours: Message, theirs: Message) -> bool:
    """Say whether one reply is the other, or has it within: agents put theirs together with the thoughts that led to it."""
    one, other = ("".join(text_of(message).split()) for message in (ours, theirs))
    return one == other or bool(one and other and (one in other or other in one))


def _same_question(message: Message, asked: Message | None) -> bool:
    if asked is None or message["role"] != "user":
        return False
    return message["content"] == asked["content"] or (text_of(message) == text_of(asked) != "")


def _rewritten(message: Message, view: ThreadView) -> bool:
    """Say whether an agent's text is the last reply, parsed and written anew (ReAct): their first lines are the same."""
    recorded = view.recorded[-1] if view.recorded else None
    if recorded is None or recorded["role"] != "assistant" or not text_of(recorded):
        return False
    return _first_line(message) == _first_line(recorded)


def _first_line(message: Message) -> str:
    return next(iter(text_of(message).splitlines()), "").strip()
