"""Tool calls put together from the pieces that a stream brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ToolCallPieces"]


class ToolCallPieces:
    """Puts the calls of one streamed message together, and gives each a position of its own.

    Servers differ: some number the calls and send id and name with the first piece only, some with every piece; some send
    each call whole under the same number, or under none; some make up an id for every piece. A call begins with its name.

    Attributes:
        calls: The calls so far in the order in which they began, as a whole message has them.
    """

    def __init__(self) -> None:
        """Begin with no call."""
        self.calls: list[dict[str, Any]] = []
        self._at: dict[int | None, int] = {}

    def add(self, piece: Mapping[str, Any]) -> tuple[int, bool]:
        """Take one entry of a delta's `tool_calls`.

        Returns:
            The position of the call that it belongs to, and whether its id and name are none that the call has not had.
        """
        call_id: str | None = piece.get("id") or None
        function: Mapping[str, Any] = piece.get("function") or {}
        name: str = function.get("name") or ""
        position = self._position(piece.get("index"), call_id, name)
        call = self.calls[position]
        is_repeated = call_id is not None and call["id"] is not None
        if not is_repeated:
            call["id"] = call_id or call["id"]
            call["function"]["name"] += name
        call["function"]["arguments"] += function.get("arguments") or ""
        return position, is_repeated

    def _position(self, index: int | None, call_id: str | None, name: str) -> int:
        known = self._at.get(index)
        if known is not None and (not name or call_id is None or self.calls[known]["id"] in (None, call_id)):
            return known
        self._at[index] = len(self.calls)
        self.calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        return self._at[index]
