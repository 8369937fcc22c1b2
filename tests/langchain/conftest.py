"""Models on the emulator, and ways to call them."""

from __future__ import annotations

import pytest

from behest_base import Behest
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest


@pytest.fixture
def model(behest: Behest) -> ChatBehest:
    """Give a model that calls for alice unless told otherwise."""
    return ChatBehest(client=behest, user_id="alice")


@pytest.fixture
def anyone(behest: Behest) -> ChatBehest:
    """Give a model that has no user of its own."""
    return ChatBehest(client=behest)


@pytest.fixture
def threaded(behest: Behest) -> ChatBehest:
    """Give a model in alice's thread t."""
    return ChatBehest(client=behest, user_id="alice", thread_id="t")


@pytest.fixture(params=[False, True], ids=["tier-drops-tools", "tier-stores-tools"])
def every_tier(request: pytest.FixtureRequest, gateway: Emulator) -> bool:
    """Run a test twice: where the tier keeps tool calls in threads, and where it doesn't."""
    gateway.store_tool_calls = bool(request.param)
    return gateway.store_tool_calls
