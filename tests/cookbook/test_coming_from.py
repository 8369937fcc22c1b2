"""Coming from another library: both halves do the same job, and ours sends each user's own token."""

from __future__ import annotations

import gc
from collections.abc import Generator
from types import ModuleType
from typing import Any

import langchain_openai
import pytest

from behest_base import Behest
from behest_base.emulator import Emulator
from cookbook.conftest import Run, load
from support.keys import api_key
from support.llamaindex import said

# The libraries that are left never close their connections.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

PAIRS = ("ChatOpenAI → ChatBehest", "ChatOpenRouter → ChatBehest", "OpenAILike → BehestLLM", "behest-ai → behest-base")


@pytest.fixture(autouse=True)
def collected() -> Generator[None]:
    """Let what they leave be collected here, and not in another test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """Import the recipe, with the real libraries that it comes from."""
    module = load("coming_from.py")
    assert module.ChatOpenAI is langchain_openai.ChatOpenAI
    assert tuple(module.PAIRS) == PAIRS
    return module


@pytest.fixture(scope="module")
def live() -> Generator[Emulator]:
    """Run an emulator with a key that the vendor's SDK knows."""
    with Emulator(api_key=api_key()) as running:
        yield running


@pytest.mark.parametrize("half", [0, 1], ids=["before", "after"])
@pytest.mark.parametrize("pair", PAIRS)
def test_each_half_does_the_job(pair: str, half: int, recipe: ModuleType, live: Emulator) -> None:
    """Each user's thread has their two turns, once each; each call has its user's token; the key goes to the mint only."""
    live.reset()
    with Behest(live.api_key, base_url=live.base_url) as behest:
        project: Any = recipe.Project(live.base_url, live.api_key, behest, live)
        for user, colour in recipe.USERS.items():
            assert colour in recipe.PAIRS[pair][half](project, user, "t")
    for user, colour in recipe.USERS.items():
        thread = live.thread(user, "t")
        assert said(thread, "user") == [("user", recipe.told(colour)), ("user", recipe.ASKED)]
        assert len(thread) == 4
    assert [chat.user_id for chat in live.chats] == ["alice", "alice", "bob", "bob"]
    assert live.api_key not in "".join(chat.headers["authorization"] for chat in live.chats)
    assert len(live.mints) == (4 if (pair, half) == (PAIRS[3], 0) else 2)


def test_it_runs_alone(run: Run) -> None:
    """Run alone, it compares all four, and leaves no thread behind."""
    out = run("coming_from.py")
    assert out.count("alice: My favourite colour is teal.") == 8
    assert out.count("bob: My favourite colour is amber.") == 8
    assert "before  4 tokens minted for 4 calls" in out
    assert out.count("after   2 tokens minted for 4 calls") == 4


def test_it_leaves_no_thread_behind(run: Run, live: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key in the environment it runs there, and deletes what it made."""
    live.reset()
    for name, value in live.env.items():
        monkeypatch.setenv(name, value)
    run("coming_from.py")
    assert len(live.chats) == 32
    assert live.threads("alice") == live.threads("bob") == []


def test_what_a_careless_user_is_told(give_up: Run, monkeypatch: pytest.MonkeyPatch, live: Emulator) -> None:
    """No address, a malformed key, one that is not known, a wrong host: each ends in a line."""
    live.reset()
    monkeypatch.setenv("BEHEST_KEY", api_key())
    assert "BEHEST_BASE_URL or BEHEST_SLUG" in give_up("coming_from.py")
    monkeypatch.setenv("BEHEST_BASE_URL", live.base_url)
    assert "401" in give_up("coming_from.py")
    assert live.chats == []
    monkeypatch.setenv("BEHEST_KEY", "nonsense")
    assert "none of the accepted forms" in give_up("coming_from.py")
    monkeypatch.setenv("BEHEST_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BEHEST_KEY", api_key())
    assert "ConnectError" in give_up("coming_from.py")
