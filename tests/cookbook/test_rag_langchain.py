"""Retrieval in LangChain: the answers, the sources, and what the thread is left with."""

from __future__ import annotations

from pathlib import Path

import pytest

from behest_base.emulator import Emulator
from cookbook.conftest import Run
from support.llamaindex import said

RECIPE = "rag_langchain.py"
COST = "What does a return ticket for the ferry cost?"
CLOSED = "When is the museum closed?"


def test_it_runs_alone(run: Run) -> None:
    """Without a key it starts the emulator, says so, and answers from the right texts."""
    out = run(RECIPE)
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


def test_a_second_process_goes_on(spawn: Run, environment: Emulator) -> None:
    """The thread has the user's words and the answers, once each; each prompt has the passages and the turns so far."""
    assert "14 euros" in spawn(RECIPE, COST, "--user", "bob", "--thread", "trip")
    assert "Mondays" in spawn(RECIPE, CLOSED, "--user", "bob", "--thread", "trip")
    thread = environment.thread("bob", "trip")
    assert [(message["role"], message["content"]) for message in thread[::2]] == [("user", COST), ("user", CLOSED)]
    assert [message["role"] for message in thread[1::2]] == ["assistant"] * 2
    condensing = [call for call in environment.chats if call.thread_id is None]
    last = environment.chats[-1]
    assert len(condensing) == 1
    assert "Standalone question" in condensing[0].json["messages"][-1]["content"]
    assert [message["role"] for message in last.json["messages"]] == ["system", "user"]
    assert last.effective_prompt is not None
    assert "closed on Mondays" in last.effective_prompt[0]["content"]
    assert said(last.effective_prompt) == said(thread[:3])
    assert {call.user_id for call in environment.chats} == {"bob"}


@pytest.mark.usefixtures("environment")
def test_an_embedding_model_of_ones_own(run: Run) -> None:
    """The flag searches a vector store instead."""
    out = run(RECIPE, COST, "--embedding", "support.embeddings:LangChainWords")
    assert "14 euros" in out
    assert "[ferry.md" in out


def test_a_folder_without_texts(spawn: Run, tmp_path: Path) -> None:
    """A wrong folder is said in a line."""
    assert "no .md file" in spawn(RECIPE, "--texts", str(tmp_path), code=1)
