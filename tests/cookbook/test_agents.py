"""Agents in both frameworks: tools, two processes in one thread, and a tool's own question that stays out of it."""

from __future__ import annotations

import json

import pytest

from behest_base.emulator import Emulator
from cookbook.conftest import Run
from support.llamaindex import said

# llama-index-core's own agents use what pydantic and its workflows have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RECIPES = ("agents_langchain.py", "agents_llamaindex.py")
TURNS = [
    "What do ferry tickets for 2 adults and 3 children cost?",
    "Ask the guide: how many steps does the lighthouse have?",
    "How many euros was that again?",
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_runs_alone(recipe: str, run: Run) -> None:
    """Without a key it starts the emulator, calls both tools, and remembers."""
    out = run(recipe)
    assert "emulator" in out
    assert "ticket_price(adults=2, children=3)" in out
    assert "agent: There are 142 steps" in out
    assert out.rstrip().endswith("agent: 2 adults and 3 children pay 49 euros.")


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_second_process_goes_on(recipe: str, stored: bool, spawn: Run, environment: Emulator) -> None:  # noqa: FBT001 - a parameter of the table
    """The thread has three turns, once each, and tool traffic if the tier stores it; the tool's own call is not in it."""
    environment.store_tool_calls = stored
    spawn(recipe, *TURNS[:2], "--user", "bob", "--thread", "trip")
    out = spawn(recipe, TURNS[2], "--user", "bob", "--thread", "trip")
    assert "49 euros" in out
    thread = environment.thread("bob", "trip")
    words = [turn for turn in said(thread) if turn[1]]
    assert [text for role, text in words if role == "user"] == TURNS
    assert [role for role, _ in words] == ["user", "assistant"] * 3
    assert any(message["role"] == "tool" for message in thread) is stored
    (own,) = [call for call in environment.chats if call.thread_id is None]
    assert "142 steps" in json.dumps(own.json)
    assert own.user_id == "bob"
    assert said(environment.chats[-1].effective_prompt)[-1] == ("user", TURNS[2])
    assert len([text for _, text in said(environment.chats[-1].effective_prompt) if text == TURNS[0]]) == 1
