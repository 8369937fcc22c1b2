"""Threads and models: their wire, and what a client knows of a thread."""

from __future__ import annotations

from typing import Any

import pytest

from behest_base import (
    Behest,
    BehestAuthError,
    BehestBadRequestError,
    BehestConfigError,
    BehestError,
    BehestNotFoundError,
    BehestServerError,
    BehestStreamError,
    Scope,
    scope,
)
from behest_base.emulator import Emulator, RawSSE
from behest_base.turns import CANCELLED

IN_THREAD = Scope("alice", thread_id="t")
Message = dict[str, Any]


def user(text: str) -> Message:
    """Make a user message."""
    return {"role": "user", "content": text}


def calling(name: str = "c1") -> Message:
    """Make a reply that calls a tool."""
    call = {"id": name, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def say(behest: Behest, *messages: Message, scope: Scope = IN_THREAD) -> dict[str, Any]:
    """Make a call with these messages."""
    return behest.complete({"messages": list(messages)}, scope=scope)


@pytest.mark.parametrize("shape", ["bare", "wrapped", "data"])
async def test_lists_in_every_form(gateway: Emulator, behest: Behest, shape: Any) -> None:
    """Lists come bare, wrapped, or in pages, and are read whole, sync and async."""
    gateway.list_shape, gateway.page_size = shape, 2
    for n in range(5):
        say(behest, user(f"Fact {n}."), scope=Scope("alice", thread_id=f"t{n}"))
    say(behest, user("More."), scope=Scope("alice", thread_id="t0"))
    with scope("alice"):
        listed, alisted = behest.threads.list(), await behest.threads.alist()
        messages, amessages = behest.threads.messages("t0"), await behest.threads.amessages("t0")
        thread = await behest.threads.aget("t0")
    assert [one.id for one in listed] == [one.id for one in alisted] == ["t0", "t4", "t3", "t2", "t1"]
    assert [one.role for one in messages] == [one.role for one in amessages] == ["user", "assistant"] * 2
    assert messages[0].text == "Fact 0."
    assert messages[0].id
    assert messages[0].created_at
    assert (thread.id, thread.title, sorted(thread.model_extra or ())) == (
        "t0",
        "Fact 0.",
        ["created_at", "message_count"],
    )
    assert thread.model_extra
    assert thread.model_extra["message_count"] == 4


async def test_deleting(gateway: Emulator, behest: Behest) -> None:
    """A deleted thread is gone, and what waited for it is forgotten; an unknown one is an error."""
    for name in ("a", "b"):
        say(behest, user("Hi."), scope=Scope("alice", thread_id=name))
    behest.view(user_id="alice", thread_id="a").add_pending([user("Wait.")])
    behest.threads.delete("a", user_id="alice")
    await behest.threads.adelete("b", user_id="alice")
    assert gateway.threads("alice") == []
    assert behest.view(user_id="alice", thread_id="a").pending == ()
    for read in (behest.threads.get, behest.threads.messages, behest.threads.delete):
        with pytest.raises(BehestNotFoundError):
            read("a", user_id="alice")


def test_threads_are_the_users_own(gateway: Emulator, behest: Behest) -> None:
    """Bob doesn't see alice's thread of the same name."""
    say(behest, user("My boat is called Petrel."))
    answer = say(behest, user("What is my boat called?"), scope=Scope("bob", thread_id="t"))
    assert "Petrel" not in answer["choices"][0]["message"]["content"]
    assert behest.threads.messages("t", user_id="bob")[0].text == "What is my boat called?"
    assert len(gateway.thread("alice", "t")) == 2


@pytest.mark.parametrize("name", ["a/b", "a?b=c", "a#b", "a%2Fb", "..a", "a+b", "a:b"])
def test_ids_are_quoted(gateway: Emulator, behest: Behest, name: str) -> None:
    """An id can't lead to another path."""
    where = Scope("alice", thread_id=name)
    say(behest, user("Hi."), scope=where)
    assert len(behest.threads.messages(name, user_id="alice")) == 2
    behest.threads.delete(name, user_id="alice")
    assert gateway.threads("alice") == []


@pytest.mark.parametrize("name", [".", ".."])
def test_ids_that_are_no_path(behest: Behest, name: str) -> None:
    """Dots alone would be another path."""
    with pytest.raises(BehestConfigError, match="thread"):
        behest.threads.get(name, user_id="alice")


def test_reading_a_thread_is_no_call_in_it(gateway: Emulator, behest: Behest) -> None:
    """It names no thread in its headers, so that a lost answer may be asked for again."""
    say(behest, user("Hi."))
    with scope("alice", thread_id="t"):
        behest.threads.messages("t")
    assert "x-thread-id" not in gateway.requests[-1].headers


def test_a_list_that_is_none(gateway: Emulator, behest: Behest) -> None:
    """A body in no known form is an error that says so."""
    bodies: tuple[Any, ...] = ({"things": []}, "text", [{"no": "id"}], [5])
    for body in bodies:
        gateway.fail_next(status=200, path="threads", body=body)
        with pytest.raises(BehestServerError):
            behest.threads.list(user_id="alice")


def test_new_messages_without_a_thread(gateway: Emulator, behest: Behest) -> None:
    """Without a thread the list goes out as it is."""
    identity = behest.identify(Scope("alice"))
    assert behest.new_messages([user("a")], [None], identity) == [user("a")]
    assert gateway.requests == []


async def test_new_messages_read_the_thread_once(gateway: Emulator, behest: Behest) -> None:
    """An unmarked list costs one read; whether tool calls are stored is learned once per client."""
    gateway.script("A.", calling())
    say(behest, user("a"))
    identity = behest.identify(IN_THREAD)
    listed = [user("a"), {"role": "assistant", "content": "A."}, user("b")]
    assert await behest.anew_messages(listed, [None] * 3, identity) == [user("b")]
    assert [one.kind for one in gateway.requests].count("threads") == 1
    say(behest, user("b"))
    tools = [*listed, calling(), {"role": "tool", "tool_call_id": "c1", "content": "42"}]
    for _ in range(2):
        sent = behest.new_messages(tools, [None, "t", None, "t", None], identity)
        assert [one["role"] for one in sent] == ["assistant", "tool"]
    assert [one.kind for one in gateway.requests].count("threads") == 2
    told = behest.new_messages(tools, [None, "t", None, "t", None], identity, store_tool_calls=True)
    assert [one["role"] for one in told] == ["tool"]


def test_pending_messages_go_out_with_the_next_call(gateway: Emulator, behest: Behest) -> None:
    """Once, and only when the gateway took them."""
    identity = behest.identify(IN_THREAD)
    view = behest.view(identity)
    view.add_pending([user("First."), user("Second.")])
    assert view.remove_pending(1) == user("Second.")
    gateway.fail_next(status=400, path="chat")
    for outcome in (BehestBadRequestError, None):
        body = {"messages": behest.new_messages([user("Third.")], [None], identity)}
        if outcome is not None:
            with pytest.raises(outcome):
                behest.complete(body, scope=identity)
            assert view.pending == (user("First."),)
        else:
            behest.complete(body, scope=identity)
    assert view.pending == ()
    assert [one["content"] for one in gateway.thread("alice", "t")][:2] == ["First.", "Third."]
    assert [one["role"] for one in view.recorded] == ["user", "user", "assistant"]
    assert view.turns_recorded == 1


def test_a_stream_records_its_turn(gateway: Emulator, behest: Behest) -> None:
    """Streamed turns are known as well, those broken off too, with what had arrived."""
    view = behest.view(user_id="alice", thread_id="t")
    gateway.script("One two three.", RawSSE([b'data: {"choices":[{"index":0,"delta":{"content":"One"}}]}\n\n']))
    list(behest.stream({"messages": [user("a")]}, scope=IN_THREAD))
    assert view.recorded[-1] == {"role": "assistant", "content": "One two three."}
    with pytest.raises(BehestStreamError):
        list(behest.stream({"messages": [user("b")]}, scope=IN_THREAD))
    assert [one["content"] for one in view.recorded] == ["b", "One"]
    assert view.turns_recorded == 2


def test_a_streamed_tool_call_is_recorded_whole(gateway: Emulator, behest: Behest) -> None:
    """Its pieces are put together."""
    gateway.script(calling("c9"))
    list(behest.stream({"messages": [user("a")]}, scope=IN_THREAD))
    assert behest.view(user_id="alice", thread_id="t").recorded[-1] == calling("c9")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_thread_that_ends_in_an_open_call_is_mended(
    gateway: Emulator, behest: Behest, *, streamed: bool
) -> None:
    """A turn abandoned by another process is closed as cancelled, and the new message goes through, once."""
    gateway.store_tool_calls = True
    gateway.script(calling())
    say(behest, user("a"))
    body = {"messages": [{"role": "system", "content": "Be brief."}, user("b")]}
    with Behest(gateway.api_key, base_url=gateway.base_url) as other:
        if streamed:
            async for _ in other.astream(body, scope=IN_THREAD):
                pass
        else:
            other.complete(body, scope=IN_THREAD)
        await other.aclose()
    roles = [one["role"] for one in gateway.thread("alice", "t")]
    assert roles == ["user", "assistant", "tool", "user", "assistant"]
    assert [chat.status for chat in gateway.chats] == [200, 400, 200]


def test_a_thread_whose_calls_get_some_of_their_results_is_mended(gateway: Emulator, behest: Behest) -> None:
    """Of several open calls those are closed whose results the call doesn't bring."""
    gateway.store_tool_calls = True
    gateway.script({**calling("c1"), "tool_calls": [*calling("c1")["tool_calls"], *calling("c2")["tool_calls"]]}, "b")
    say(behest, user("a"))
    say(behest, {"role": "tool", "tool_call_id": "c2", "content": "42"})
    results = [(one["tool_call_id"], one["content"]) for one in gateway.thread("alice", "t") if one["role"] == "tool"]
    assert results == [("c1", CANCELLED), ("c2", "42")]
    assert [chat.status for chat in gateway.chats] == [200, 400, 200]


def test_another_bad_request_in_a_thread_surfaces(gateway: Emulator, behest: Behest) -> None:
    """What closed calls can't mend is raised as it was."""
    say(behest, user("a"))
    for _ in range(2):
        with pytest.raises(BehestBadRequestError, match="must answer a tool call"):
            say(behest, {"role": "tool", "tool_call_id": "x", "content": "1"})
        gateway.fail_next(status=500, path="threads", times=3)


async def test_a_deleted_thread_is_forgotten(gateway: Emulator, behest: Behest) -> None:
    """With a thread goes what waits to go out in it and what was noted of it, be the thread there or not."""
    view = behest.view(user_id="alice", thread_id="t")
    for is_there in (True, False):
        if is_there:
            say(behest, user("One."))
        view.add_pending([user("Later.")])
        noted = view.notes(list[str])
        assert view.notes(list[str]) is noted
        if is_there:
            behest.threads.delete("t", scope=IN_THREAD)
        else:
            with pytest.raises(BehestNotFoundError):
                await behest.threads.adelete("t", scope=IN_THREAD)
        assert view.pending == view.recorded == ()
        assert view.notes(list[str]) is not noted
    view.add_pending([user("Later.")])
    gateway.fail_next(status=403, path="threads")
    with pytest.raises(BehestAuthError):
        behest.threads.delete("t", scope=IN_THREAD)
    assert view.pending == (user("Later."),)


def test_views_need_a_thread(behest: Behest) -> None:
    """A view of no thread is an error."""
    with pytest.raises(BehestConfigError, match="thread_id"):
        behest.view(user_id="alice")


async def test_models(gateway: Emulator, behest: Behest) -> None:
    """The OpenAI list."""
    gateway.models = ("m1",)
    assert [one["id"] for one in behest.models(user_id="alice")] == ["default", "m1"]
    assert [one["id"] for one in await behest.amodels(user_id="alice")] == ["default", "m1"]
    gateway.fail_next(status=200, path="models", body={"data": 5})
    with pytest.raises(BehestError, match="models"):
        behest.models(user_id="alice")
