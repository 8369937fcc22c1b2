"""What the stores and the memory have in common: whose threads they are, and the way to them."""

from __future__ import annotations

from llama_index.core.bridge.pydantic import Field

from behest_base import UNSET, Scope
from llamaindex_behest.connection import Connected
from llamaindex_behest.keeper import Keeper

__all__ = ["OnThreads"]


class OnThreads(Connected):
    """A component that reads and deletes one user's threads."""

    user_id: str | None = Field(default=None, description="The end user when the ambient scope names none.")

    def _keeper(self, thread_id: str | None) -> Keeper:
        return Keeper(self.client, self.user_id, thread_id)

    def _whose(self) -> Scope:
        own = Scope(user_id=UNSET if self.user_id is None else self.user_id)
        return Scope.current().over(own)
