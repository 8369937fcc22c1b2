"""What all tests share: one emulator per process, an environment without keys, and clients that are closed again."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from behest_base import Behest, close_shared
from behest_base.emulator import Emulator

_NEEDS_OPENAI = re.compile(
    r"^\s*(?:from|import) (?:openai|langchain_openai|langchain_openrouter|llama_index\.llms\.openai|behest\b)",
    re.MULTILINE,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two legs of `make test`: the adapters need no OpenAI SDK, the tests beside it and its peers do."""
    parser.addoption(
        "--openai",
        choices=["refused", "needed"],
        help="run only the tests that need no OpenAI SDK, or only those that do",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse imports of the OpenAI SDK where that is what is tested."""
    if config.getoption("--openai") == "refused":
        sys.modules["openai"] = None  # type: ignore[assignment] # how an import is made to fail


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of the other leg: those that import the SDK or a peer that stands on it, or those that don't."""
    leg = config.getoption("--openai")
    if leg is None or not collection_path.name.startswith("test_"):
        return None
    needs_openai = bool(_NEEDS_OPENAI.search(collection_path.read_text(encoding="utf-8")))
    return needs_openai is (leg == "refused") or None


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Take every key and address of the developer's own out of the environment, and close shared clients after a test."""
    for name in list(os.environ):
        if name.upper().startswith(("BEHEST_", "OPENAI_", "LANGCHAIN_", "LANGSMITH_")):
            monkeypatch.delenv(name)
    yield
    close_shared()


@pytest.fixture(scope="session")
def emulator() -> Generator[Emulator]:
    """Run one emulator for all tests of this process."""
    with Emulator() as running:
        yield running


@pytest.fixture
def gateway(emulator: Emulator) -> Generator[Emulator]:
    """Give a test the emulator as new."""
    emulator.reset()
    yield emulator
    emulator.reset()


@pytest.fixture
def behest(gateway: Emulator) -> Generator[Behest]:
    """Give a test a client of the emulator, without a default user."""
    with Behest(gateway.api_key, base_url=gateway.base_url) as client:
        yield client


@pytest.fixture
def environment(gateway: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Set the environment that leads to the emulator."""
    monkeypatch.setenv("BEHEST_KEY", gateway.api_key)
    monkeypatch.setenv("BEHEST_BASE_URL", gateway.base_url)
    return gateway
