"""What a client knows of a thread besides what the gateway holds."""

from __future__ import annotations

import asyncio

import pytest

from behest_base import Behest, Scope
from behest_base.emulator import Emulator
from behest_base.views import Views

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}
IN_THREAD = Scope("alice", thread_id="t")


def test_views_with_pending_messages_are_kept() -> None:
    """Of many views the longest unused goes, but none with a message that waits."""
    views = Views(limit=2)
    waiting = views.of("alice", "1")
    waiting.add_pending([{"role": "user", "content": "Wait."}])
    second = views.of("alice", "2")
    views.of("alice", "3")
    assert views.of("alice", "1") is waiting
    assert views.of("alice", "2") is not second
    full = Views(limit=1)
    for n in range(3):
        full.of("alice", str(n)).add_pending([{"role": "user", "content": "Wait."}])
    assert full.of("alice", "0").pending
    waiting.begin([{"role": "user", "content": "Other."}])
    assert len(waiting.pending) == 1


def test_views_keep_no_images() -> None:
    """What a turn sent is remembered by its texts."""
    view = Views().of("alice", "t")
    sent = {
        "role": "user",
        "content": [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": "data:"}}],
    }
    view.begin([sent])
    assert [one["content"] for one in view.recorded] == ["Look."]
    view.finish([sent], {"role": "assistant", "content": "I see."})
    assert [one["content"] for one in view.recorded] == ["Look.", "I see."]
    assert len(sent["content"]) == 2


@pytest.mark.parametrize("form", ["plain", "streamed"])
def test_a_mended_call_is_recorded_as_it_went_out(gateway: Emulator, behest: Behest, form: str) -> None:
    """Calls that another process left open in the thread are closed before a turn, and the view knows of it."""
    gateway.store_tool_calls = True
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    gateway.script({"content": None, "tool_calls": [call]})
    behest.complete(HELLO, scope=IN_THREAD)
    if form == "plain":
        behest.complete(HELLO, scope=IN_THREAD)
    else:
        assert list(behest.stream(HELLO, scope=IN_THREAD))
    assert [one["role"] for one in gateway.thread("alice", "t")] == ["user", "assistant", "tool", "user", "assistant"]
    view = behest.view(user_id="alice", thread_id="t")
    assert [one["role"] for one in view.recorded] == ["tool", "user", "assistant"]


async def test_a_cancelled_call_brings_its_messages_with_the_next_one(gateway: Emulator, behest: Behest) -> None:
    """Even while its error is still held, as `gather` does, the messages that it set out with wait again."""
    view = behest.view(user_id="alice", thread_id="t")
    view.add_pending(HELLO["messages"])
    with gateway.holding("chat"):
        task = asyncio.create_task(behest.acomplete(HELLO, scope=IN_THREAD))
        await asyncio.to_thread(gateway.wait_for, lambda: gateway.chats)
        assert not view.waiting
        task.cancel()
        outcomes = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert [one["content"] for one in view.waiting] == ["Hello."]
    sent = await behest.anew_messages([], [], behest.identify(IN_THREAD))
    assert [one["content"] for one in sent] == ["Hello."]
    await behest.aclose()
