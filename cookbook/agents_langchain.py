"""An agent with two tools whose conversation is a thread of the gateway, in LangChain.

    pip install "langchain-behest[emulator]" langchain
    python cookbook/agents_langchain.py                            # three turns, on the emulator
    python cookbook/agents_langchain.py "How high is the tower?"   # your own; --user, --thread

There is no checkpointer and no history to load: each turn sends its new message, the gateway supplies the earlier ones, and the
next process that is given the thread's name goes on with it (with BEHEST_KEY set; the emulator ends with this process).

One of the tools asks a model itself. It inherits the user from the agent's configuration, but its question is no turn of the
conversation, so it stays out of the thread; nobody has to say so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from behest_base import Behest, BehestError
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest

GUIDE = Path(__file__).parent / "texts" / "lighthouse.md"
TURNS = [
    "What do ferry tickets for 2 adults and 3 children cost?",
    "Ask the guide: how many steps does the lighthouse have?",
    "How many euros was that again?",
]


def ticket_price(adults: int, children: int) -> str:
    """Compute what return tickets for the ferry cost."""
    return f"{adults} adults and {children} children pay {14 * adults + 7 * children} euros."


def make_guide(model: ChatBehest) -> Callable[[str], str]:
    """Return a tool that answers from a text, with a model of its own."""

    def guide(question: str) -> str:
        """Ask the guide, who knows the lighthouse."""
        asked = [("system", f"Answer from this text:\n\n{GUIDE.read_text(encoding='utf-8')}"), ("human", question)]
        return model.invoke(asked).text

    return guide


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
    """Take the turns one after the other."""
    parser = argparse.ArgumentParser(description="Talk to an agent in a thread.")
    parser.add_argument("turns", nargs="*", default=TURNS)
    parser.add_argument("--user", default="alice")
    parser.add_argument("--thread", default="agent-langchain")
    given = parser.parse_args()
    with gateway() as behest:
        model = ChatBehest(client=behest)
        agent = create_agent(
            model, [ticket_price, make_guide(model)], system_prompt="You help visitors of Skerry Point."
        )
        config: RunnableConfig = {"configurable": {"behest_user_id": given.user, "behest_thread_id": given.thread}}
        for turn in given.turns:
            print(f"\n{given.user}: {turn}")
            state = agent.invoke({"messages": [HumanMessage(turn)]}, config)
            for message in state["messages"][1:]:
                for call in getattr(message, "tool_calls", ()):
                    print(
                        f"   {call['name']}({', '.join(f'{name}={value!r}' for name, value in call['args'].items())})"
                    )
            print(f"agent: {state['messages'][-1].text}")


if __name__ == "__main__":
    try:
        main()
    except BehestError as error:
        sys.exit(f"{type(error).__name__}: {error}")
