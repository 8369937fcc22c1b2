"""Which messages of a list a thread doesn't hold yet: pure decisions about lists of OpenAI messages.

A framework hands the model its whole list every time, while the gateway supplies a thread's earlier messages itself. So a
message that came out of a thread is marked with the thread's id, and everything up to the last such message is held. What
the marks can't tell, the thread itself does: `plan` then asks for its messages, once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

from behest_base.jsons import is_array

__all__ = [
    "Message",
    "Plan",
    "after_instructions",
    "cancelled_results",
    "close_open_calls",
    "plan",
    "text_of",
    "with_pending",
]

Message = Mapping[str, Any]

CANCELLED: Final = "The call was cancelled before it had a result."


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes out.

    Attributes:
        messages: The system messages, and what the thread doesn't hold.
        stores_tool_calls: What was learned of the tier, None if nothing.
    """

    messages: list[dict[str, Any]]
    stores_tool_calls: bool | None = None


def plan(
    messages: Sequence[Message], marks: Sequence[str | None], thread_id: str, *, stores_tool_calls: bool | None
) -> Generator[None, Sequence[Message], Plan]:
    """Decide what of a list goes out in a call in a thread.

    Yields only where the thread's own messages are needed, and is sent them.

    Args:
        messages: The whole list, as OpenAI messages.
        marks: For each message, the id of the thread that it came out of, or None.
        thread_id: The thread of the call.
        stores_tool_calls: Whether the tier keeps tool calls in threads, None if not known yet.

    Returns:
        What goes out, and what was learned.
    """
    messages, marked = close_open_calls(messages, [mark == thread_id for mark in marks])
    # Held for certain: everything through the last marked message, except that a reply which only calls tools may not be stored.
    settled = _last(i for i, message in enumerate(messages) if marked[i] and not _calls(message))
    tail = range(settled + 1, len(messages))
    if any(messages[i]["role"] == "assistant" and not marked[i] for i in tail):
        held = yield
        settled = max(settled, _matched(messages, held))
    called = _last(i for i in tail if i > settled and marked[i])
    if called < 0:
        return Plan(_outgoing(messages, settled))
    if stores_tool_calls is None:
        held = yield
        stores_tool_calls = any(message["role"] == "tool" or _calls(message) for message in held)
    if stores_tool_calls:
        return Plan(_outgoing(messages, called), stores_tool_calls)
    # The turn's user messages were stored by its first call; the tool traffic goes out until the final reply is there.
    asked = _last(i for i in range(settled + 1, called) if messages[i]["role"] == "user")
    return Plan(_outgoing(messages, max(settled, asked)), stores_tool_calls)


def with_pending(outgoing: list[dict[str, Any]], pending: Sequence[Message]) -> list[dict[str, Any]]:
    """Put the messages that wait for this call in front of it, after the system messages, each once.

    A call in the middle of a tool loop goes out as it is: a user message before the tool's result would break the order.
    """
    first = _first_said(outgoing)
    if first < len(outgoing) and outgoing[first]["role"] != "user":
        return outgoing
    there = [_key(message) for message in outgoing]
    missing: list[dict[str, Any]] = []
    for message in pending:
        key = _key(message)
        if key in there:
            there.remove(key)
        else:
            missing.append(dict(message))
    return after_instructions(outgoing, missing)


def after_instructions(messages: Sequence[Message], more: Sequence[Message]) -> list[dict[str, Any]]:
    """Put messages in front of a list's others, after its leading system messages."""
    first = _first_said(messages)
    return [dict(message) for message in (*messages[:first], *more, *messages[first:])]


def close_open_calls(messages: Sequence[Message], marked: Sequence[bool]) -> tuple[list[Message], list[bool]]:
    """Answer as cancelled each tool call that something else than its result follows; models refuse such a list.

    So is a call without a result whose neighbours have theirs, at the end of a list: as where one of several parallel calls
    handed the conversation to another agent.
    """
    closed: list[Message] = []
    flags: list[bool] = []
    waiting: list[str] = []
    for message, mark in zip(messages, marked, strict=True):
        if message["role"] == "tool":
            waiting = [call for call in waiting if call != message.get("tool_call_id")]
        elif message["role"] not in _INSTRUCTIONS:
            closed += _cancelled(waiting)
            flags += [False] * len(waiting)
            waiting = _calls(message)
        closed.append(message)
        flags.append(mark)
    if closed and closed[-1]["role"] == "tool":
        closed += _cancelled(waiting)
        flags += [False] * len(waiting)
    return closed, flags


def cancelled_results(thread: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the results that close the calls which a thread ends in, if it does."""
    waiting: list[str] = []
    for message in thread:
        if message["role"] == "tool":
            waiting = [call for call in waiting if call != message.get("tool_call_id")]
        else:
            waiting = _calls(message)
    return _cancelled(waiting)


def text_of(content: Any) -> str:
    """Return the text of a message's content, the text parts of a list joined."""
    if isinstance(content, str):
        return content
    if not is_array(content):
        return ""
    texts = (part if isinstance(part, str) else part.get("text") for part in content)
    return "".join(text for text in texts if isinstance(text, str))


_INSTRUCTIONS: Final = ("system", "developer")


def _first_said(messages: Sequence[Message]) -> int:
    return next((i for i, message in enumerate(messages) if message["role"] not in _INSTRUCTIONS), len(messages))


def _outgoing(messages: Sequence[Message], held: int) -> list[dict[str, Any]]:
    return [dict(message) for i, message in enumerate(messages) if i > held or message["role"] in _INSTRUCTIONS]


def _matched(messages: Sequence[Message], thread: Sequence[Message]) -> int:
    """Return the index of the last message, not after the last assistant's, that equals one of the thread's in order."""
    end = _last(i for i, message in enumerate(messages) if message["role"] == "assistant")
    said = [i for i in range(end + 1) if messages[i]["role"] not in _INSTRUCTIONS]
    ours, theirs = [_key(messages[i]) for i in said], [_key(message) for message in thread]
    blocks = [b for b in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks() if b.size]
    if not blocks:
        return -1
    last = blocks[-1]
    here, there = last.a + last.size, last.b + last.size
    if here < len(ours) and there < len(theirs) and _broken_off(ours[here], theirs[there]):
        return said[here]
    return said[here - 1]


_Key = tuple[str, str, tuple[str, ...]]


def _broken_off(ours: _Key, theirs: _Key) -> bool:
    """Say whether both are one reply, of which one side has less because the stream was broken off."""
    shorter, longer = sorted((ours[1], theirs[1]), key=len)
    return ours[0] == theirs[0] == "assistant" and bool(shorter) and longer.startswith(shorter)


def _key(message: Message) -> _Key:
    return message["role"], text_of(message.get("content")).strip(), tuple(_calls(message))


def _calls(message: Message) -> list[str]:
    calls = message.get("tool_calls") if message["role"] == "assistant" else None
    return [str(call.get("id")) for call in calls or ()]


def _cancelled(call_ids: Iterable[str]) -> list[dict[str, Any]]:
    return [{"role": "tool", "tool_call_id": call_id, "content": CANCELLED} for call_id in call_ids]


def _last(indices: Iterable[int]) -> int:
    return max(indices, default=-1)
