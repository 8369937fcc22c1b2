"""An agent with two tools whose conversation is a thread of the gateway, in LlamaIndex.

    pip install "llamaindex-behest[emulator]"
    python cookbook/agents_llamaindex.py                            # three turns, on the emulator
    python cookbook/agents_llamaindex.py "How high is the tower?"   # your own; --user, --thread

The agent and its memory are made once and serve every user: `scope` says whose turn it is. Each turn sends its new message, the
gateway supplies the earlier ones, and the next process that is given the thread's name goes on with it (with BEHEST_KEY set;
the emulator ends with this process).

One of the tools is a query engine on the same LLM. Its questions are no turns of the conversation, so they stay out of the
thread; nobody has to say so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path

from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.tools import QueryEngineTool

from behest_base import Behest, BehestError, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM, BehestMemory

GUIDE = Path(__file__).parent / "texts" / "lighthouse.md"
TURNS = [
    "What do ferry tickets for 2 adults and 3 children cost?",
    "Ask the guide: how many steps does the lighthouse have?",
    "How many euros was that again?",
]


def ticket_price(adults: int, children: int) -> str:
    """Compute what return tickets for the ferry cost."""
    return f"{adults} adults and {children} children pay {14 * adults + 7 * children} euros."


def make_agent(llm: BehestLLM) -> FunctionAgent:
    """Return an agent with a function and a query engine."""
    index = SummaryIndex.from_documents([Document(text=GUIDE.read_text(encoding="utf-8"))], transformations=[])
    guide = QueryEngineTool.from_defaults(
        index.as_query_engine(llm=llm), name="guide", description="Ask the guide, who knows the lighthouse."
    )
    return FunctionAgent(tools=[ticket_price, guide], llm=llm, system_prompt="You help visitors of Skerry Point.")


async def take_turn(agent: FunctionAgent, memory: BehestMemory, text: str) -> None:
    """Print an agent's tool calls and answer."""
    running = agent.run(text, memory=memory)
    async for event in running.stream_events():
        if isinstance(event, ToolCallResult):
            arguments = ", ".join(f"{name}={value!r}" for name, value in event.tool_kwargs.items())
            print(f"   {event.tool_name}({arguments})")
    print(f"agent: {await running}")


async def take_turns(behest: Behest, user: str, thread: str, turns: list[str]) -> None:
    """Take the turns one after the other."""
    agent = make_agent(BehestLLM(client=behest))
    memory = BehestMemory(client=behest)
    with scope(user, thread_id=thread):
        for turn in turns:
            print(f"\n{user}: {turn}")
            await take_turn(agent, memory, turn)


@contextlib.contextmanager
def gateway() -> Generator[Behest]:
    """Give a client: of the real gateway with BEHEST_KEY in the environment, else of an emulator."""
    if os.environ.get("BEHEST_KEY"):
        with Behest() as behest:
            yield behest
        return
    with Emulator() as emulator, Behest(emulator.api_key, base_url=emulator.base_url) as behest:
        print("BEHEST_KEY is not set, so this runs on the emulator.")
        yield behest


def main() -> None:
    """Read the arguments, and talk."""
    parser = argparse.ArgumentParser(description="Talk to an agent in a thread.")
    parser.add_argument("turns", nargs="*", default=TURNS)
    parser.add_argument("--user", default="alice")
    parser.add_argument("--thread", default="agent-llamaindex")
    given = parser.parse_args()
    with gateway() as behest:
        asyncio.run(take_turns(behest, given.user, given.thread, given.turns))


if __name__ == "__main__":
    try:
        main()
    except BehestError as error:
        sys.exit(f"{type(error).__name__}: {error}")
