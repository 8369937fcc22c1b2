"""A plain HTTP client of the emulator, and users who call with it."""

from __future__ import annotations

from collections.abc import Generator

import httpx
import pytest

from behest_base.emulator import Emulator
from emulator.wire import Caller


@pytest.fixture
def http(gateway: Emulator) -> Generator[httpx.Client]:
    """Give an HTTP client that knows the emulator's address and nothing else."""
    with httpx.Client(base_url=gateway.base_url, timeout=10) as client:
        yield client


@pytest.fixture
def alice(gateway: Emulator, http: httpx.Client) -> Caller:
    """Give a user with a token."""
    return Caller(gateway, http)


@pytest.fixture
def bob(gateway: Emulator, http: httpx.Client) -> Caller:
    """Give another user."""
    return Caller(gateway, http, "bob")
