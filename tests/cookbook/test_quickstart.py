"""The quickstart, and the list of all recipes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from behest_base.emulator import Emulator
from cookbook.conftest import COOKBOOK, Run
from support.llamaindex import said

RECIPE = "quickstart.py"
RECIPES = sorted(
    path.name for path in COOKBOOK.iterdir() if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
)
# What the recipes may ask for: our own distributions, and what the tests are run with.
PINNED = {"behest-base", "langchain-behest", "llamaindex-behest"} | set(
    re.findall(r"^([\w.-]+)==", (COOKBOOK.parent / "requirements-dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
)
FACT, QUESTION = "My boat is called Petrel.", "What is my boat called?"


def test_it_runs_alone(spawn: Run) -> None:
    """Without a key it runs on the emulator, and answers from a README of this repository."""
    out = spawn(RECIPE)
    assert "BEHEST_KEY is not set, so this runs on the emulator" in out
    assert out.count("A token is renewed in the last 20 % of its lifetime") == 2
    assert out.count("Petrel") >= 4
    assert "2 tokens were minted for 2 users" in out


def test_a_file_and_a_question_of_ones_own(spawn: Run, environment: Emulator, tmp_path: Path) -> None:
    """With a key it runs there; each part is the right user's, and bob's thread doesn't know what alice's does."""
    file = tmp_path / "notes.txt"
    file.write_text("The harbour was built in 1820. Herring is caught in June.", encoding="utf-8")
    out = spawn(RECIPE, str(file), "When was the harbour built?")
    assert out.count("The harbour was built in 1820.") == 2
    assert "emulator" not in out
    answers = [call for call in environment.chats if call.thread_id is None]
    assert [call.user_id for call in answers] == ["alice", "bob"]
    assert said(environment.thread("alice", "quickstart"), "user") == [("user", FACT), ("user", QUESTION)]
    assert "Petrel" in environment.thread("alice", "quickstart")[-1]["content"]
    assert "Petrel" not in environment.thread("bob", "quickstart")[-1]["content"]
    assert [mint.user_id for mint in environment.mints] == ["alice", "bob"]
    spawn(RECIPE, str(file), "When was the harbour built?")
    assert len(environment.thread("alice", "quickstart")) == 4  # what an earlier run left behind is not mixed in


def test_the_list_names_all_recipes() -> None:
    """Each recipe stands in the list with its command, and its own first lines have that command and what to install."""
    listed = (COOKBOOK / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"^\| \[([\w.]+)/?\]\([^)]*\) \|.*\| `(.+)` \|$", listed, re.MULTILINE))
    assert sorted(commands) == RECIPES
    for name, command in commands.items():
        head = _head(COOKBOOK / name)
        assert command in head, name
        assert _packages(head) <= PINNED, name


def _packages(head: str) -> set[str]:
    """Return what a recipe says to install, without extras."""
    lines = re.findall(r"^\s*pip install (.+?)(?:\s+#.*)?$", head, re.MULTILINE)
    assert lines, head
    return {re.sub(r"\[.*]", "", name.strip('"')) for line in lines for name in line.split()}


def _head(recipe: Path) -> str:
    if recipe.suffix == ".py":
        return ast.get_docstring(ast.parse(recipe.read_text(encoding="utf-8"))) or ""
    readme = recipe / "README.md"
    return (readme if readme.exists() else next(recipe.glob("test_*.py"))).read_text(encoding="utf-8")
