"""The recipe for testing an app: its tests pass, and find an app that is broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cookbook.conftest import COOKBOOK

FOLDER = COOKBOOK / "testing_your_app"


def outcome(folder: Path) -> str:
    """Run a folder's tests as a user does, and return the last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return ran.stdout.strip().splitlines()[-1]


def test_its_tests_pass() -> None:
    """All of them."""
    assert outcome(FOLDER).startswith("8 passed")


@pytest.mark.parametrize(
    ("right", "broken", "failures"),
    [
        ("user_id=user_id", 'user_id="everybody"', "3 failed"),
        ('thread_id=f"ticket-{ticket}"', "thread_id=None", "4 failed"),
        ("except BehestQuotaError as error:", "except ZeroDivisionError as error:", "1 failed"),
    ],
)
def test_a_broken_app_is_found(tmp_path: Path, right: str, broken: str, failures: str) -> None:
    """An app that mixes users, forgets its threads or lets an error through fails them."""
    copy = tmp_path / "app"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    app = copy / "support_desk.py"
    text = app.read_text(encoding="utf-8")
    assert text.count(right) == 1
    app.write_text(text.replace(right, broken), encoding="utf-8")
    assert outcome(copy).startswith(failures)
