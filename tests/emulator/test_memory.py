"""Sessions and threads: what is remembered for whom, and what is stored of a call."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from behest_base.emulator import Emulator
from emulator.wire import Caller, assistant_calling, system, tool_result, user

FACT, QUESTION = "My favourite colour is teal.", "What is my favourite colour?"


def said(messages: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Return role and content of messages."""
    return [(message["role"], message["content"]) for message in messages]


def roles(gateway: Emulator, thread: str = "t") -> list[str]:
    """Return the roles of what a thread of Alice's holds."""
    return [message["role"] for message in gateway.thread("alice", thread)]


def test_calls_without_a_session_share_one(gateway: Emulator, alice: Caller) -> None:
    """Without a session named, two unrelated calls see each other's memory."""
    alice.ask(FACT)
    assert "teal" in alice.ask(QUESTION)
    assert gateway.chats[1].session_id == "default"


def test_sessions_are_apart(gateway: Emulator, http: httpx.Client, alice: Caller, bob: Caller) -> None:
    """Memory is one user's, in one session."""
    alice.ask(FACT, session="s1")
    assert "teal" in alice.ask(QUESTION, session="s1")
    assert "teal" not in alice.ask(QUESTION, session="s2")
    assert "teal" not in bob.ask(QUESTION, session="s1")
    claimed = Caller(gateway, http)
    claimed.headers = {"Authorization": f"Bearer {gateway.issue('alice', sid='s1')}"}
    assert "teal" in claimed.ask(QUESTION)
    assert "teal" not in claimed.ask(QUESTION, session="s2")


def test_a_thread_is_supplied_by_the_gateway(gateway: Emulator, alice: Caller) -> None:
    """The second call sends only what is new; the earlier messages come out of the thread."""
    alice.ask(FACT, thread="t")
    assert "teal" in alice.ask(QUESTION, thread="t")
    assert said(gateway.chats[1].effective_prompt or [])[::2] == [("user", FACT), ("user", QUESTION)]
    assert roles(gateway) == ["user", "assistant"] * 2


def test_threads_are_apart(alice: Caller, bob: Caller) -> None:
    """A thread is one user's, and what is said in it is not in the session."""
    alice.ask(FACT, thread="t", session="s")
    assert "teal" not in bob.ask(QUESTION, thread="t", session="s")
    assert "teal" not in alice.ask(QUESTION, session="s")


def test_the_order_of_memory(gateway: Emulator, alice: Caller) -> None:
    """The request's system messages, the thread's messages, the session's, the request's others."""
    gateway.script("A session.", "A thread.", "Well.")
    alice.ask("In the session.", session="s")
    alice.ask("In the thread.", thread="t")
    alice.ask(user("Now."), system("Be brief."), thread="t", session="s")
    assert [text for _, text in said(gateway.chats[2].effective_prompt or [])] == [
        "Be brief.",
        "In the thread.",
        "A thread.",
        "In the session.",
        "A session.",
        "Now.",
    ]


def test_system_messages_are_not_stored(gateway: Emulator, alice: Caller) -> None:
    """Instructions belong to a request, not to its thread or session."""
    alice.ask(system("Be brief."), user("Hello."), thread="t")
    alice.ask({"role": "developer", "content": "Be brief."}, user("Hello."), thread="t")
    assert roles(gateway) == ["user", "assistant"] * 2


def test_streams_are_stored_before_they_end(gateway: Emulator, alice: Caller) -> None:
    """Whoever has read a stream to its end finds the turn in the thread."""
    gateway.script({"content": "Teal, of course.", "reasoning_content": "Hm."})
    with alice.streaming(FACT, thread="t") as response:
        for line in response.iter_lines():
            if line == "data: [DONE]":
                assert said(gateway.thread("alice", "t")) == [("user", FACT), ("assistant", "Teal, of course.")]
    assert gateway.thread("alice", "t")[1]["reasoning_content"] == "Hm."


def test_stored_messages_are_whole(gateway: Emulator, alice: Caller) -> None:
    """A stored message has all of its fields, an id and a time of its own."""
    alice.ask({"role": "user", "name": "Alice", "content": FACT}, thread="t")
    stored = alice.get("/v1/threads/t/messages").json()
    assert stored == gateway.thread("alice", "t")
    assert stored[0]["name"] == "Alice"
    assert len({message["id"] for message in stored}) == 2
    assert all(message["created_at"] for message in stored)


def tool_turn(alice: Caller, gateway: Emulator) -> None:
    """Go through a turn with a tool call, sending what the thread doesn't hold."""
    calling = assistant_calling("c1")
    gateway.script(calling, "It is four.")
    alice.post("What is two and two?", thread="t")
    held = gateway.store_tool_calls
    alice.post(*([] if held else [calling]), tool_result("c1", "4"), thread="t")


def test_tool_calls_that_are_stored(gateway: Emulator, alice: Caller) -> None:
    """Where the tier stores tool calls, the thread holds the whole turn."""
    gateway.store_tool_calls = True
    tool_turn(alice, gateway)
    assert [chat.status for chat in gateway.chats] == [200, 200]
    assert roles(gateway) == ["user", "assistant", "tool", "assistant"]
    assert gateway.thread("alice", "t")[1]["tool_calls"][0]["id"] == "c1"


def test_tool_calls_that_are_not_stored(gateway: Emulator, alice: Caller) -> None:
    """Where it doesn't, the thread holds the question and the final reply."""
    tool_turn(alice, gateway)
    assert [chat.status for chat in gateway.chats] == [200, 200]
    assert said(gateway.thread("alice", "t")) == [("user", "What is two and two?"), ("assistant", "It is four.")]


def test_an_open_tool_call_blocks_its_thread(gateway: Emulator, alice: Caller) -> None:
    """Where tool calls are stored, the next call has to answer them first."""
    gateway.store_tool_calls = True
    gateway.script(assistant_calling("c1"))
    alice.post("What is two and two?", thread="t")
    assert alice.post("Never mind.", thread="t").status_code == 400
    assert alice.post(tool_result("c1", "cancelled"), user("Never mind."), thread="t").status_code == 200


@pytest.mark.parametrize("chunks", [0, 3])
def test_a_client_that_goes_away(gateway: Emulator, alice: Caller, chunks: int) -> None:
    """What was sent until then is stored, with the user's message."""
    gateway.chunk_delay = 0.02
    gateway.script(" ".join(f"word{n}" for n in range(500)))
    with alice.streaming("Talk.", thread="t") as response:
        lines = (line for line in response.iter_lines() if '"content": "' in line)
        for _ in range(1 + chunks):
            next(lines)
    gateway.wait_for(lambda: gateway.chats[0].disconnected)
    gateway.wait_for(lambda: gateway.thread("alice", "t"))
    stored = gateway.thread("alice", "t")
    assert stored[0]["content"] == "Talk."
    if chunks:
        assert stored[1]["content"].startswith("word0 word1 word2")
        assert len(stored[1]["content"].split()) < 500


def test_refused_calls_leave_nothing(gateway: Emulator, alice: Caller) -> None:
    """A call that fails before the model is not in the thread; the thread doesn't come to exist."""
    gateway.fail_next(status=500)
    alice.post(FACT, thread="t")
    alice.post(FACT, thread="t", model="other")
    assert gateway.threads("alice") == []
    assert alice.get("/v1/threads").json() == []


def test_lists_threads_newest_first(gateway: Emulator, alice: Caller, bob: Caller) -> None:
    """The list has a user's own threads, the last used first, with title and times."""
    for name in ("a", "b", "a"):
        alice.ask(f"Hello {name}.", thread=name)
    bob.ask("Hello.", thread="c")
    first, second = alice.get("/v1/threads").json()
    assert (first["id"], second["id"]) == ("a", "b")
    assert (first["title"], first["message_count"]) == ("Hello a.", 4)
    assert first["last_message_at"] > second["last_message_at"] > first["created_at"]
    assert [thread["id"] for thread in gateway.threads("bob")] == ["c"]


@pytest.mark.parametrize("name", ["with space", "a/b", "ü", "a?b#c", "x" * 300])
def test_any_thread_id(alice: Caller, name: str) -> None:
    """Thread ids are the client's to choose."""
    alice.ask("Hello.", thread=name)
    stored = alice.get("/v1/threads").json()[0]["id"]
    path = httpx.URL("http://x").copy_with(raw_path=b"/v1/threads/" + _quoted(stored)).raw_path.decode()
    assert alice.http.get(path, headers=alice.headers).json()["id"] == stored
    assert len(alice.http.get(f"{path}/messages", headers=alice.headers).json()) == 2
    assert alice.http.delete(path, headers=alice.headers).status_code == 204


def _quoted(name: str) -> bytes:
    return "".join(f"%{byte:02X}" for byte in name.encode()).encode()


def test_deletes_a_thread(alice: Caller, bob: Caller) -> None:
    """A deleted thread is gone with its messages; nobody else can delete it; a new one of its name is empty."""
    alice.ask(FACT, thread="t")
    assert bob.http.delete("/v1/threads/t", headers=bob.headers).status_code == 404
    gone = alice.http.delete("/v1/threads/t", headers=alice.headers)
    assert (gone.status_code, gone.content) == (204, b"")
    for path in ("/v1/threads/t", "/v1/threads/t/messages"):
        assert alice.get(path).json()["error"]["code"] == "thread_not_found"
    assert alice.http.delete("/v1/threads/t", headers=alice.headers).status_code == 404
    assert "teal" not in alice.ask(QUESTION, thread="t")


def test_forms_of_lists(gateway: Emulator, alice: Caller) -> None:
    """Lists come bare, under their name, or in pages that a cursor leads through."""
    for n in range(5):
        alice.ask("Hello.", thread=f"t{n}")
    gateway.list_shape = "wrapped"
    assert len(alice.get("/v1/threads").json()["threads"]) == 5
    assert len(alice.get("/v1/threads/t0/messages").json()["messages"]) == 2
    gateway.list_shape, gateway.page_size = "data", 2
    names, page = [], alice.get("/v1/threads").json()
    while True:
        names += [thread["id"] for thread in page["data"]]
        if not page["has_more"]:
            break
        page = alice.get("/v1/threads", cursor=page["next_cursor"]).json()
    assert names == ["t4", "t3", "t2", "t1", "t0"]
    assert page["next_cursor"] is None
    assert len(alice.get("/v1/threads", limit="1").json()["data"]) == 1
    assert len(alice.get("/v1/threads", limit="99").json()["data"]) == 2
    assert alice.get("/v1/threads", cursor="made-up").status_code == 400


def test_usage_is_counted(gateway: Emulator, alice: Caller, bob: Caller) -> None:
    """Usage has the project's requests and tokens of all users, by model, in the window."""
    used = [alice.post("Hello.").json()["usage"], bob.post("Hello.").json()["usage"]]
    alice.stream("And streamed.", session="other")
    shown = alice.get("/v1/billing/usage").json()
    assert shown["project_id"] == gateway.project_id
    platform = shown["platform"]
    assert platform["requests"] == platform["by_model"][0]["requests"] == 3
    assert platform["input_tokens"] > sum(one["prompt_tokens"] for one in used)
    assert platform["by_model"][0]["model"] == "behest-extractive"
    assert shown["byok"]["requests"] == 0
    past = alice.get("/v1/billing/usage", **{"from": "2020-01-01", "to": "2020-01-31"}).json()
    assert past["window"] == {"from": "2020-01-01", "to": "2020-01-31"}
    assert past["platform"]["requests"] == 0
    gateway.has_usage = False
    assert alice.get("/v1/billing/usage").status_code == 404
