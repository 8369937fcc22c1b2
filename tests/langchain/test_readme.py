"""The README and the docstrings: their Python runs, as it stands there, against the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

import langchain_behest
from behest_base.emulator import Emulator
from langchain_behest import BehestChatHistory, ChatBehest
from support.examples import blocks, run

README = Path(__file__).parents[2] / "libs" / "langchain-behest" / "README.md"


def test_the_readme_runs(environment: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block runs after the one before it, and the agent remembers."""
    run(blocks(README.read_text(encoding="utf-8")), {})
    assert environment.requests
    said = capsys.readouterr().out
    assert said.startswith("Order 1234 is on its way.\nMy name is Ada.\n")
    assert "'user_id': 'alice'" in said


def test_the_models_docstring_runs(environment: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """So do the examples of the class, awaiting where they await."""
    code = blocks(ChatBehest.__doc__ or "")
    names = {"BaseModel": BaseModel, "HumanMessage": HumanMessage}
    run([block for block in code if "await " not in block and "async " not in block], names)
    assert len(code) >= 9
    assert environment.chats
    assert capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*RunnableWithMessageHistory:DeprecationWarning")
def test_the_histories_docstring_runs(environment: Emulator) -> None:
    """So do those of the history."""
    from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder  # noqa: PLC0415
    from langchain_core.runnables.history import RunnableWithMessageHistory  # noqa: PLC0415

    names: dict[str, Any] = {
        "ChatBehest": ChatBehest,
        "BehestChatHistory": BehestChatHistory,
        "RunnableWithMessageHistory": RunnableWithMessageHistory,
        "prompt": ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")]),
    }
    with langchain_behest.scope("alice"):
        run(blocks(BehestChatHistory.__doc__ or ""), names)
    assert [message["role"] for message in environment.thread("alice", "support-42")] == ["user", "assistant"] * 2


def test_the_public_names_are_these() -> None:
    """What the package exports is what it says it exports, each with a docstring."""
    assert sorted(langchain_behest.__all__) == sorted(
        name for name in vars(langchain_behest) if not name.startswith("_") and name not in SUBMODULES
    )
    for name in langchain_behest.__all__:
        assert name == "UNSET" or getattr(langchain_behest, name).__doc__


SUBMODULES = {path.stem for path in Path(langchain_behest.__file__).parent.glob("*.py")}


def test_no_openai_sdk_is_imported() -> None:
    """The package needs no OpenAI SDK, and importing it loads none."""
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    code = "import sys, langchain_behest; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
