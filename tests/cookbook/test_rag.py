"""Retrieval in both frameworks: the answers, the sources, and what the thread is left with."""

from __future__ import annotations

import pytest

from behest_base.emulator import Emulator
from cookbook.conftest import Run
from support.llamaindex import said

RECIPES = ("rag_langchain.py", "rag_llamaindex.py")
COST = "What does a return ticket for the ferry cost?"
CLOSED = "When is the museum closed?"


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_runs_alone(recipe: str, run: Run) -> None:
    """Without a key it starts the emulator, says so, and answers from the right texts."""
    out = run(recipe)
    assert "emulator" in out
    for found in (
        "4 October 1871",
        "142 steps",
        "14 euros",
        "closed on Mondays",
        "[lighthouse.md",
        "[ferry.md",
        "[museum.md",
    ):
        assert found in out


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_second_process_goes_on(recipe: str, spawn: Run, environment: Emulator) -> None:
    """The thread has the user's words and the answers, once each; each prompt has the passages and the turns so far."""
    assert "14 euros" in spawn(recipe, COST, "--user", "bob", "--thread", "trip")
    assert "Mondays" in spawn(recipe, CLOSED, "--user", "bob", "--thread", "trip")
    thread = environment.thread("bob", "trip")
    assert [(message["role"], message["content"]) for message in thread[::2]] == [("user", COST), ("user", CLOSED)]
    assert [message["role"] for message in thread[1::2]] == ["assistant"] * 2
    condensing = [call for call in environment.chats if call.thread_id is None]
    last = environment.chats[-1]
    assert len(condensing) == 1
    assert last.json["stream"] is True
    assert "standalone question" in condensing[0].json["messages"][-1]["content"].lower()
    assert [message["role"] for message in last.json["messages"]] == ["system", "user"]
    assert last.effective_prompt is not None
    assert "closed on Mondays" in last.effective_prompt[0]["content"]
    assert said(last.effective_prompt) == said(thread[:3])
    assert {call.user_id for call in environment.chats} == {"bob"}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("recipe", "embedding"), [("rag_langchain.py", "LangChainWords"), ("rag_llamaindex.py", "LlamaIndexWords")]
)
def test_an_embedding_model_of_ones_own(recipe: str, embedding: str, run: Run) -> None:
    """The flag searches a vector store instead."""
    out = run(recipe, COST, "--embedding", f"support.embeddings:{embedding}")
    assert "14 euros" in out
    assert "[ferry.md" in out
