"""A crowd of users on one shared model and one shared agent: nobody gets what is another's, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import aclosing
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from langchain_behest import BehestRateLimitError, BehestServerError, BehestStreamError, ChatBehest
from support.crowd import THREAD, check_apart, let_fail, meet

FORMS = ("invoke", "ainvoke", "stream", "astream", "agent", "aagent")


@pytest.mark.parametrize("seed", range(2))
async def test_a_crowd_stays_apart(seed: int, gateway: Emulator) -> None:
    """Fifty users at once, in threads and tasks by turns, leaving streams early, while the gateway fails now and then."""
    let_fail(gateway, random.Random(seed))  # noqa: S311 - a test's
    unsaid: dict[str, list[HumanMessage]] = defaultdict(list)
    async with Behest(gateway.api_key, base_url=gateway.base_url, max_retries=1) as client:
        model = ChatBehest(client=client)
        agent = create_agent(model, [])

        async def say(user: str, text: str, dice: random.Random) -> None:
            unsaid[user].append(HumanMessage(text))
            form, given = dice.choice(FORMS), [*unsaid[user]]
            config: RunnableConfig = {"configurable": {"behest_user_id": user, "behest_thread_id": THREAD}}
            is_ambient, leave_after = dice.random() < 0.5, dice.choice((1, 3, 100))
            try:
                with scope(user, thread_id=THREAD) if is_ambient else scope():
                    await _ask(model, agent, form, given, None if is_ambient else config, after=leave_after)
            except BehestStreamError:  # the gateway has what was said, and the answer as far as it came
                unsaid[user].clear()
            except (BehestServerError, BehestRateLimitError):  # it has not: it is said again
                pass
            else:
                unsaid[user].clear()

        await meet(say, gateway, seed)
    await asyncio.to_thread(check_apart, gateway)


async def _ask(
    model: ChatBehest, agent: Any, form: str, given: list[HumanMessage], config: RunnableConfig | None, *, after: int
) -> None:
    match form:
        case "invoke":
            await asyncio.to_thread(model.invoke, given, config)
        case "ainvoke":
            await model.ainvoke(given, config)
        case "stream":
            await asyncio.to_thread(_read, model, given, config, after)
        case "astream":
            async with aclosing(model.astream(given, config)) as chunks:  # type: ignore[type-var] # core says iterator
                seen = 0
                async for _ in chunks:
                    if (seen := seen + 1) >= after:
                        break
        case "agent":
            await asyncio.to_thread(agent.invoke, {"messages": given}, config)
        case _:
            await agent.ainvoke({"messages": given}, config)


def _read(model: ChatBehest, given: list[HumanMessage], config: RunnableConfig | None, after: int) -> None:
    for seen, _ in enumerate(model.stream(given, config), 1):
        if seen >= after:
            break
