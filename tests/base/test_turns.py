"""What goes out in a thread: the messages that it doesn't hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from behest_base.turns import cancelled_results, close_open_calls, plan, text_of, with_pending

Message = dict[str, Any]
THREAD = "t"


def user(text: str) -> Message:
    """Make a user message."""
    return {"role": "user", "content": text}


def said(text: str) -> Message:
    """Make a reply."""
    return {"role": "assistant", "content": text}


def system(text: str = "Be brief.") -> Message:
    """Make a system message."""
    return {"role": "system", "content": text}


def calls(*ids: str) -> Message:
    """Make a reply that only calls tools."""
    wanted = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": wanted}


def result(call: str, text: str = "42") -> Message:
    """Make a tool's result."""
    return {"role": "tool", "tool_call_id": call, "content": text}


class Thread:
    """A thread that counts how often it is read."""

    def __init__(self, *messages: Message) -> None:
        """Hold these messages."""
        self.messages = messages
        self.reads = 0


def sent(
    messages: Sequence[Message],
    marked: Sequence[int] = (),
    thread: Thread | None = None,
    *,
    stores: bool | None = None,
    other: Sequence[int] = (),
) -> list[Message]:
    """Return what goes out of a list of which some messages are marked with this thread, and some with another."""
    marks = [THREAD if i in marked else "elsewhere" if i in other else None for i in range(len(messages))]
    steps = plan(messages, marks, THREAD, stores_tool_calls=stores)
    thread = thread or Thread()
    try:
        next(steps)
        while True:
            thread.reads += 1
            steps.send(thread.messages)
    except StopIteration as stop:
        return list(stop.value.messages)


def test_a_list_without_replies_is_all_new() -> None:
    """A first turn goes out as it is, and the thread is not read."""
    thread = Thread(user("Hi"))
    messages = [system(), user("Hi")]
    assert sent(messages, thread=thread) == messages
    assert thread.reads == 0


def test_everything_through_the_last_marked_reply_is_held() -> None:
    """Of a whole list only the system message and what follows the last marked reply go out."""
    messages = [system(), user("a"), said("b"), user("c"), said("d"), user("e")]
    assert sent(messages, [2, 4]) == [system(), user("e")]


def test_a_mark_of_another_thread_is_none() -> None:
    """Replies of another thread are compared with this one like unmarked ones."""
    thread = Thread()
    messages = [user("a"), said("b"), user("c")]
    assert sent(messages, thread=thread, other=[1]) == messages
    assert thread.reads == 1


def test_an_unmarked_list_is_compared_with_the_thread_once() -> None:
    """What equals the thread's messages in order is held, by role and text."""
    thread = Thread(user("a"), said("b"), user("c"), said("d"))
    messages = [system(), user("a"), said("b "), user("c"), said("d"), user("e")]
    assert sent(messages, thread=thread) == [system(), user("e")]
    assert thread.reads == 1


def test_a_question_asked_again_is_new() -> None:
    """A user's message after the last reply goes out even if the thread holds the same words."""
    thread = Thread(user("again"), said("b"))
    assert sent([user("again"), said("b"), user("again")], thread=thread) == [user("again")]


def test_a_trimmed_list_is_still_recognised() -> None:
    """A list whose begin was cut off matches the thread's end."""
    thread = Thread(user("a"), said("b"), user("c"), said("d"))
    assert sent([user("c"), said("d"), user("e")], thread=thread) == [user("e")]


def test_a_reply_broken_off_on_either_side_is_the_same_reply() -> None:
    """A front end that shows less, or more, of a stopped stream than the thread holds doubles nothing."""
    thread = Thread(user("a"), said("One, two"))
    for shown in ("One, two, thr", "One"):
        assert sent([user("a"), said(shown), user("go on")], thread=thread) == [user("go on")]


def test_foreign_examples_go_out() -> None:
    """Few-shot examples that the thread has never seen are the caller's to send."""
    messages = [user("2+2"), said("4"), user("3+3")]
    assert sent(messages, thread=Thread()) == messages


def test_tool_traffic_goes_out_again_where_it_is_not_stored() -> None:
    """Until the final reply the tool calls and their results go out, the user's message once."""
    messages = [system(), user("a"), calls("1"), result("1"), calls("2"), result("2")]
    assert sent(messages[:4], [2], stores=False) == [system(), calls("1"), result("1")]
    assert sent(messages, [2, 4], stores=False) == [system(), calls("1"), result("1"), calls("2"), result("2")]


def test_tool_traffic_is_held_where_it_is_stored() -> None:
    """Where the tier stores tool calls only the newest results go out."""
    messages = [system(), user("a"), calls("1"), result("1"), calls("2"), result("2")]
    assert sent(messages, [2, 4], stores=True) == [system(), result("2")]


def test_tool_traffic_before_a_final_reply_is_held() -> None:
    """After the turn's final reply its tool traffic is left out, stored or not."""
    messages = [user("a"), calls("1"), result("1"), said("b"), user("c")]
    for stores in (True, False):
        assert sent(messages, [1, 3], stores=stores) == [user("c")]


def test_the_tier_is_learned_from_the_thread() -> None:
    """Whether tool calls are stored is seen in the thread after the first of them."""
    messages = [user("a"), calls("1"), result("1")]
    storing, dropping = Thread(user("a"), calls("1")), Thread(user("a"))
    assert sent(messages, [1], storing) == [result("1")]
    assert sent(messages, [1], dropping) == [calls("1"), result("1")]
    assert storing.reads == dropping.reads == 1


def test_an_abandoned_call_is_answered_as_cancelled() -> None:
    """A new message after a tool call without its result doesn't block the thread, whether it is stored or not."""
    messages = [user("a"), calls("1"), user("b")]
    stored = sent(messages, [1], stores=True)
    assert [message["role"] for message in stored] == ["tool", "user"]
    assert stored[0]["tool_call_id"] == "1"
    assert [message["role"] for message in sent(messages, [1], stores=False)] == ["assistant", "tool", "user"]


def test_only_open_calls_are_closed() -> None:
    """Of several calls those with a result keep it."""
    messages, marked = close_open_calls([calls("1", "2"), result("2"), user("b")], [True, False, False])
    assert [message.get("tool_call_id") for message in messages] == [None, "2", "1", None]
    assert marked == [True, False, False, False]


def test_calls_beside_those_that_have_results_are_closed_at_the_end() -> None:
    """At a list's end a call is closed where its neighbours have results; a reply that was not acted upon yet stays open."""
    messages, marked = close_open_calls([user("a"), calls("1", "2"), result("1")], [False, True, False])
    assert [message.get("tool_call_id") for message in messages] == [None, None, "1", "2"]
    assert marked == [False, True, False, False]
    assert len(close_open_calls([user("a"), calls("1")], [False, True])[0]) == 2


def test_cancelled_results_close_what_a_thread_ends_in() -> None:
    """A thread that ends in open calls says which results are missing; another says none."""
    assert [one["tool_call_id"] for one in cancelled_results([user("a"), calls("1", "2"), result("1")])] == ["2"]
    assert cancelled_results([user("a"), calls("1"), result("1"), said("b")]) == []


def test_pending_messages_go_in_front_once() -> None:
    """A pending message goes out after the system message, and not twice if the list has it."""
    assert with_pending([system(), user("b")], [user("a")]) == [system(), user("a"), user("b")]
    assert with_pending([system(), user("b")], [user("b")]) == [system(), user("b")]
    assert with_pending([user("b"), user("b")], [user("b"), user("b"), user("b")]) == [user("b")] * 3


def test_pending_messages_wait_for_the_end_of_a_tool_loop() -> None:
    """A tool's result has to follow its call, so pending messages stay pending."""
    assert with_pending([system(), result("1")], [user("a")]) == [system(), result("1")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "b"}], "ab"),
        (["a", "b"], "ab"),
    ],
)
def test_text_of_content(content: Any, text: str) -> None:
    """Content lists are compared by their text."""
    assert text_of(content) == text
