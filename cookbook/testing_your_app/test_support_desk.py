"""Testing your own app on the emulator: what it sends, what is stored, and what it says when things go wrong.

pip install "langchain-behest[emulator]" pytest
python -m pytest cookbook/testing_your_app
"""

from __future__ import annotations

import pytest
from support_desk import answer  # type: ignore[import-not-found] # beside this file, where pytest.ini looks

from behest_base.emulator import Emulator


@pytest.mark.usefixtures("gateway")
def test_the_answer_comes_from_the_thread() -> None:
    """The built-in model answers from what it was given, so a memory that works can be seen to work."""
    answer("alice", "7", "My order is 1234.")
    assert "1234" in answer("alice", "7", "What is my order?")


def test_what_is_sent(gateway: Emulator) -> None:
    """Every request is recorded: who, in which thread, with which messages, and what the model was given in the end."""
    answer("alice", "7", "Hello.")
    answer("alice", "7", "Hello again.")
    last = gateway.chats[-1]
    assert (last.user_id, last.thread_id) == ("alice", "ticket-7")
    assert [message["role"] for message in last.json["messages"]] == ["system", "user"]
    assert last.effective_prompt is not None
    assert [message["role"] for message in last.effective_prompt] == ["system", "user", "assistant", "user"]
    assert len(gateway.mints) == 1


def test_customers_are_kept_apart(gateway: Emulator) -> None:
    """Each has threads of their own, whatever their names."""
    answer("alice", "7", "My order is 1234.")
    assert "1234" not in answer("bob", "7", "What is my order?")
    assert [len(gateway.thread(user, "ticket-7")) for user in ("alice", "bob")] == [2, 2]


def test_replies_of_your_own(gateway: Emulator) -> None:
    """The next reply can be said beforehand, or computed from the request."""
    gateway.script("Good day.", lambda request: f"You wrote {len(request['messages'])} messages.")
    assert answer("alice", "7", "Hello.") == "Good day."
    assert answer("alice", "8", "Hello.") == "You wrote 2 messages."


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            {"status": 402, "code": "quota_exceeded", "upgrade_url": "https://shop.example/plans"},
            "https://shop.example/plans",
        ),
        ({"status": 429, "retry_after": 90}, "in 90 seconds"),
        ({"status": 200, "after_chunks": 3, "close": True}, "broke off"),
    ],
)
def test_what_customers_are_told(gateway: Emulator, fault: dict[str, object], said: str) -> None:
    """A fault can be asked for, at any point of an answer."""
    gateway.fail_next(path="chat", **fault)  # type: ignore[arg-type] # a table of keyword arguments
    assert said in answer("alice", "7", "Where is my order?")


def test_what_mends_itself_is_not_seen(gateway: Emulator) -> None:
    """A short wait is waited, and a rejected token renewed, without the app's noticing."""
    answer("alice", "7", "Hello.")
    gateway.fail_next(status=503, retry_after=0, path="chat")
    gateway.reject_all_tokens()
    assert answer("alice", "7", "Hello again.")
    assert [chat.status for chat in gateway.chats] == [200, 503, 401, 200]
    assert len(gateway.thread("alice", "ticket-7")) == 4
