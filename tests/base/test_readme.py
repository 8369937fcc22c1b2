"""The README: its Python runs, as it stands there, against the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from behest_base import BehestVerifier
from behest_base.emulator import Emulator
from support.examples import blocks, run

README = Path(__file__).parents[2] / "libs" / "behest-base" / "README.md"


def test_the_readme_runs(environment: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block runs after the one before it; a front end's token is carried as it is."""
    *examples, in_tests = blocks(README.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    run(examples, names)
    said = capsys.readouterr().out
    assert said.startswith("Noted: Hello\n")
    assert "ThreadMessage(role='assistant', content='Noted: Hello'" in said
    assert [chat.thread_id for chat in environment.chats] == [None, "support-42"]
    names["verifier"] = BehestVerifier(base_url=environment.base_url, project_id=environment.project_id)
    token = environment.issue("carol")
    assert names["answer"](token)["choices"]
    assert environment.chats[-1].user_id == "carol"
    assert environment.chats[-1].headers["authorization"] == f"Bearer {token}"
    names["behest"].close()
    run([in_tests], names)
    names["behest"].close()
