"""The fixtures to copy: one emulator for all tests, as new for each of them, and the environment that leads to it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from behest_base import close_shared
from behest_base.emulator import Emulator


@pytest.fixture(scope="session")
def emulator() -> Generator[Emulator]:
    """Run the gateway on a free port of this machine."""
    with Emulator() as running:
        yield running


@pytest.fixture
def gateway(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Generator[Emulator]:
    """Give a test the gateway without threads, faults and recordings; the app finds it as it finds the real one."""
    emulator.reset()
    for name, value in emulator.env.items():
        monkeypatch.setenv(name, value)
    yield emulator
    close_shared()  # the clients that models without one share: the next test's app makes its own
