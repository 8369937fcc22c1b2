"""How the tests run a recipe: in this process with its arguments, or as a process of its own."""

from __future__ import annotations

import importlib.util
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

COOKBOOK = Path(__file__).parents[2] / "cookbook"

Run = Callable[..., str]


def load(name: str) -> ModuleType:
    """Import a recipe by its path within the cookbook."""
    path = COOKBOOK / name
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a recipe's `main` with these arguments, and return what it printed."""

    def run_main(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        load(name).main()
        return capsys.readouterr().out

    return run_main


@pytest.fixture
def spawn() -> Run:
    """Run a recipe as a user does, as a process with the environment of this one, and return what it printed."""

    def run_process(name: str, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, str(COOKBOOK / name), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy(), timeout=50)
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + (ran.stderr if code else "")

    return run_process


@pytest.fixture
def give_up(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a recipe as a script that can't do its work, and return the line with which it ends."""

    def run_script(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(COOKBOOK / name), run_name="__main__")
        assert isinstance(ended.value.code, str)
        return ended.value.code

    return run_script
