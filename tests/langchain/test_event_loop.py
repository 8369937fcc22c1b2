"""In tasks nothing blocks the event loop: no call, no stream, and no thread that has to be read."""

from __future__ import annotations

import os
import subprocess
import sys

from behest_base.emulator import Emulator

UNBLOCKED = """
import asyncio
from blockbuster import BlockBuster
from langchain_core.messages import AIMessage, HumanMessage
from langchain_behest import BehestChatHistory, ChatBehest

async def main():
    await ChatBehest(user_id="first").ainvoke("Hello.")  # httpcore imports its backends with its first request
    BlockBuster().activate()
    model, history = ChatBehest(user_id="alice", thread_id="t", timeout=30), BehestChatHistory("t", "alice")
    await model.ainvoke("Hello.")
    await model.ainvoke([HumanMessage("Hello."), AIMessage("The mark is lost."), HumanMessage("And now?")])
    assert [chunk async for chunk in model.astream("Hello.")]
    assert [event async for event in model.astream_events("Hello.", version="v2")]
    assert await history.aget_messages()
    await history.aadd_messages([HumanMessage("Later.")])
    await history.aclear()

asyncio.run(main())
"""


def test_the_event_loop_is_never_blocked(gateway: Emulator) -> None:
    """Calls, streams, events and histories, the first ones too, in a process of its own: the emulator waits for its database."""
    done = subprocess.run(
        [sys.executable, "-c", UNBLOCKED],
        env={**os.environ, **gateway.env},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [chat.user_id for chat in gateway.chats] == ["first", "alice", "alice", "alice", "alice"]
