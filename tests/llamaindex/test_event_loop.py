"""In tasks nothing blocks the event loop: no call, no stream, no tool, no store, and no thread that has to be read."""

from __future__ import annotations

import os
import subprocess
import sys

from behest_base.emulator import Emulator

UNBLOCKED = """
import asyncio, warnings
warnings.simplefilter("ignore")
from blockbuster import BlockBuster
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import Memory
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel
from llamaindex_behest import BehestAsyncChatStore, BehestChatStore, BehestLLM, BehestMemory

class Name(BaseModel):
    name: str

HELLO = [ChatMessage("Hello.")]

async def main():
    await BehestLLM(user_id="first").achat(HELLO)  # httpcore imports its backends with its first request
    llm = BehestLLM(user_id="alice", thread_id="t", timeout=30)
    agent = FunctionAgent(llm=llm)  # the workflow reads its own source to know its steps
    await agent.run("Hello.", memory=BehestMemory("t", user_id="alice"))
    BlockBuster().activate()
    await llm.achat(HELLO)
    await llm.achat([*HELLO, ChatMessage("The mark is lost.", role="assistant"), ChatMessage("And now?")])
    assert [piece async for piece in await llm.astream_chat(HELLO)]
    assert [piece async for piece in await llm.astream_complete("Hello.")]
    assert await llm.astructured_predict(Name, PromptTemplate("Who?"))
    memory = BehestMemory("t", user_id="alice")
    assert await memory.aget()
    await SimpleChatEngine.from_defaults(llm=llm, memory=memory).achat("Hello.")
    await agent.run("And now?", memory=memory)
    await memory.areset()
    store = BehestChatStore(user_id="alice")
    assert await store.aget_messages("new") == []
    assert await store.adelete_message("newer", 0) is None
    await store.async_add_message("s", HELLO[0])
    await store.aset_messages("s", HELLO)
    await store.adelete_last_message("s")
    assert await store.aget_messages("s") == []
    assert await store.aget_keys() == []
    await store.adelete_messages("s")
    queue = Memory.from_defaults(
        session_id="m", chat_store=BehestAsyncChatStore(user_id="alice"), tokenizer_fn=str.split
    )
    await queue.aput(HELLO[0])
    await queue.aset(HELLO)
    assert await queue.aget_all()
    await queue.areset()

asyncio.run(main())
"""


def test_the_event_loop_is_never_blocked(gateway: Emulator) -> None:
    """Everything native, the first calls too, in a process of its own: the emulator waits for its database."""
    done = subprocess.run(
        [sys.executable, "-c", UNBLOCKED],
        env={**os.environ, **gateway.env},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {chat.user_id for chat in gateway.chats} == {"first", "alice"}
    assert gateway.threads("alice") == []
