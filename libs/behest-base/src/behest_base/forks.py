"""Lets a forked child begin anew with what its parent's other threads held when they were left behind."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forked", "on_fork"]


class Forked(Protocol):
    """Something with locks, which another thread of the parent may hold at the moment of the fork."""

    def after_fork(self) -> None:
        """Replace the locks; called in the child before any thread runs there."""
        ...


_owners: weakref.WeakSet[Forked] = weakref.WeakSet()


def on_fork(owner: Forked) -> None:
    """Call the owner's `after_fork` in every forked child, for as long as the owner lives."""
    _owners.add(owner)


def _in_the_child() -> None:  # pragma: no cover - a forked child, which no coverage is measured in
    for owner in list(_owners):
        owner.after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has none, and no forks
    os.register_at_fork(after_in_child=_in_the_child)
