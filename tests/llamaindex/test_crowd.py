"""A crowd of users on one shared model, engine and memory: nobody gets what is another's, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ChatResponse

from behest_base import Behest, BehestRateLimitError, BehestServerError, BehestStreamError, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM, BehestMemory
from support.crowd import THREAD, check_apart, let_fail, meet

FORMS = ("chat", "achat", "stream", "astream")


@pytest.mark.parametrize("seed", range(2))
async def test_a_crowd_stays_apart(seed: int, gateway: Emulator) -> None:
    """Fifty users at once, in threads and tasks by turns, leaving streams early, while the gateway fails now and then."""
    let_fail(gateway, random.Random(seed))  # noqa: S311 - a test's
    async with Behest(gateway.api_key, base_url=gateway.base_url, max_retries=1) as client:
        llm, memory = BehestLLM(client=client), BehestMemory(client=client)
        engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)

        async def say(user: str, text: str, dice: random.Random) -> None:
            leave_after = dice.choice((1, 3, 100))
            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "chat": lambda: asyncio.to_thread(engine.chat, text),
                "achat": lambda: engine.achat(text),
                "stream": lambda: asyncio.to_thread(_read, llm, memory, text, leave_after),
                "astream": lambda: _aread(llm, memory, text, leave_after),
            }
            # What failed waits in the memory and goes out with the next words.
            with (
                contextlib.suppress(BehestServerError, BehestRateLimitError, BehestStreamError),
                scope(user, thread_id=THREAD),
            ):
                await ways[dice.choice(FORMS)]()

        await meet(say, gateway, seed)
    await asyncio.to_thread(check_apart, gateway)


def _read(llm: BehestLLM, memory: BehestMemory, text: str, leave_after: int) -> None:
    memory.put(ChatMessage(text))
    read: list[ChatResponse] = []
    with contextlib.closing(llm.stream_chat(memory.get())) as pieces:
        for piece in pieces:
            read.append(piece)
            if len(read) >= leave_after:
                return
    memory.put(read[-1].message)


async def _aread(llm: BehestLLM, memory: BehestMemory, text: str, leave_after: int) -> None:
    await memory.aput(ChatMessage(text))
    read: list[ChatResponse] = []
    async with contextlib.aclosing(await llm.astream_chat(await memory.aget())) as pieces:
        async for piece in pieces:
            read.append(piece)
            if len(read) >= leave_after:
                return
    await memory.aput(read[-1].message)
