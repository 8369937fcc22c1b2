"""Models on the emulator, and ways to call them."""

from __future__ import annotations

import pytest

from behest_base import Behest
from langchain_behest import ChatBehest


@pytest.fixture
def model(behest: Behest) -> ChatBehest:
    """Give a model that calls for alice unless told otherwise."""
    return ChatBehest(client=behest, user_id="alice")


@pytest.fixture
def anyone(behest: Behest) -> ChatBehest:
    """Give a model that has no user of its own."""
    return ChatBehest(client=behest)
