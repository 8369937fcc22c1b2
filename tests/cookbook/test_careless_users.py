"""What a recipe says when it can't do its work: one line that tells what to do, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from behest_base.emulator import Emulator
from cookbook.conftest import Run
from support.keys import api_key

# llama-index-core's own agents use what pydantic and its workflows have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CALLING = (
    "agents_langchain.py",
    "agents_llamaindex.py",
    "quickstart.py",
    "quotas_and_fallbacks.py",
    "rag_langchain.py",
    "rag_llamaindex.py",
    "sign_in.py",
)
RAG = ("rag_langchain.py", "rag_llamaindex.py")


@pytest.mark.parametrize("recipe", [*CALLING, "chat_service"])
def test_no_address(recipe: str, give_up: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key alone doesn't lead to a gateway."""
    monkeypatch.setenv("BEHEST_KEY", api_key())
    assert "BEHEST_BASE_URL or BEHEST_SLUG" in give_up(recipe)


@pytest.mark.parametrize("recipe", [*CALLING, "chat_service"])
def test_a_malformed_key(recipe: str, give_up: Run, environment: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is none is not sent."""
    monkeypatch.setenv("BEHEST_KEY", "nonsense")
    assert "none of the accepted forms" in give_up(recipe)
    assert environment.requests == []


@pytest.mark.parametrize("recipe", CALLING)
def test_a_wrong_key(recipe: str, give_up: Run, environment: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the gateway doesn't know is refused once."""
    wrong = api_key()
    monkeypatch.setenv("BEHEST_KEY", wrong)
    said = give_up(recipe)
    assert "401" in said
    assert wrong not in said
    assert [mint.status for mint in environment.mints] == [401]
    assert environment.chats == []


@pytest.mark.parametrize("recipe", CALLING)
def test_a_wrong_host(recipe: str, give_up: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that isn't there can't be reached."""
    monkeypatch.setenv("BEHEST_KEY", api_key())
    monkeypatch.setenv("BEHEST_BASE_URL", "http://127.0.0.1:9")
    assert "BehestConnectionError: The gateway at 127.0.0.1:9 can't be reached" in give_up(recipe)


def test_a_wrong_file(give_up: Run, tmp_path: Path) -> None:
    """One that isn't there, or holds no text."""
    assert "FileNotFoundError" in give_up("quickstart.py", "missing.txt")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG")
    assert "UnicodeDecodeError" in give_up("quickstart.py", str(picture))


@pytest.mark.parametrize("recipe", RAG)
def test_a_folder_without_texts(recipe: str, give_up: Run, tmp_path: Path) -> None:
    """One that isn't there, holds nothing, or an empty file."""
    assert "no .md file with text" in give_up(recipe, "--texts", str(tmp_path / "missing"))
    assert "no .md file with text" in give_up(recipe, "--texts", str(tmp_path))
    (tmp_path / "empty.md").touch()
    assert "no .md file with text" in give_up(recipe, "--texts", str(tmp_path))


@pytest.mark.parametrize("recipe", RAG)
def test_an_embedding_model_that_is_none(recipe: str, give_up: Run) -> None:
    """A module that isn't there."""
    assert "No module named 'missing'" in give_up(recipe, "--embedding", "missing:Model")


def test_a_plot_that_cannot_be_written(give_up: Run, tmp_path: Path) -> None:
    """In a folder that isn't there."""
    assert "FileNotFoundError" in give_up("quotas_and_fallbacks.py", "--plot", str(tmp_path / "missing" / "usage.png"))
