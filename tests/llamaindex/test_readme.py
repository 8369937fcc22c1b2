"""The README and the docstrings: their Python runs, as it stands there, against the emulator."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer, Memory

import llamaindex_behest
from behest_base import scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestAsyncChatStore, BehestChatStore, BehestLLM, BehestMemory
from support.examples import blocks, run
from support.llamaindex import said

README = Path(__file__).parents[2] / "libs" / "llamaindex-behest" / "README.md"

# llama-index-core's own agents and memories use what pydantic and its workflows have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_readme_runs(environment: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block runs after the one before it; the agent remembers, and each thread has the user's words."""
    run(blocks(README.read_text(encoding="utf-8")), {})
    out = capsys.readouterr().out
    assert "Order 1234 is on its way." in out
    assert "Ada" in out
    assert out.count("closed on Mondays") >= 3
    asked = "When is the museum closed?"
    expected = {
        "support-42": ["My name is Ada. Where is my order 1234?", "What is my name?"],
        "small-talk": ["My favourite colour is teal."],
        "museum": [asked],
        "tour": [asked],
        "agents": [asked],
    }
    assert sorted(thread["id"] for thread in environment.threads("alice")) == sorted(expected)
    for thread, words in expected.items():
        assert said(environment.thread("alice", thread), "user") == [("user", word) for word in words]


@pytest.mark.parametrize("documented", [BehestLLM, BehestChatStore, BehestAsyncChatStore])
def test_docstrings_run(documented: type, environment: Emulator) -> None:
    """So do the examples of the classes."""
    names: dict[str, Any] = {
        "BehestLLM": BehestLLM,
        "BehestChatStore": BehestChatStore,
        "BehestAsyncChatStore": BehestAsyncChatStore,
        "ChatMemoryBuffer": ChatMemoryBuffer,
        "Memory": Memory,
        "SimpleChatEngine": SimpleChatEngine,
        "ChatMessage": ChatMessage,
    }
    run(blocks(inspect.getdoc(documented) or ""), names)
    if "engine" in names:
        names["engine"].chat("Hello.")
        assert said(environment.thread("alice", "support-42"), "user") == [("user", "Hello.")]
    assert environment.chats


def test_the_memorys_docstring_runs(environment: Emulator) -> None:
    """The memory's example awaits, so that it stands in a function."""
    (code,) = blocks(inspect.getdoc(BehestMemory) or "")
    body = "\n".join(f"    {line}" for line in code.replace("[...]", "[]").splitlines())
    names: dict[str, Any] = {
        "FunctionAgent": FunctionAgent,
        "BehestLLM": BehestLLM,
        "BehestMemory": BehestMemory,
        "scope": scope,
    }
    run([f"async def example():\n{body}"], names)
    asyncio.run(names["example"]())
    assert said(environment.thread("alice", "support-42"), "user") == [("user", "Where is my order?")]


def test_public_names_are_documented() -> None:
    """Each class says what it is, and each of its public methods what it does."""
    for name in llamaindex_behest.__all__:
        exported = getattr(llamaindex_behest, name)
        assert exported.__doc__
        for method, value in vars(exported).items():
            assert method.startswith("_") or not inspect.isfunction(value) or value.__doc__, f"{name}.{method}"
