"""Tool calls put together from the pieces that a stream brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ToolCallPieces"]


class ToolCallPieces:
    """Puts the calls of one streamed message together, and gives each a position of its own.

    Servers differ: some number the calls and send id and name with the first piece only, some with every piece; some send
    each call whole under the same number, or under none.

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
            The position of the call that it belongs to, and whether it repeats an id and name that were known.
        """
        call_id: str | None = piece.get("id") or None
        position = self._position(piece.get("index"), call_id)
        call = self.calls[position]
        is_repeated = call_id is not None and call["id"] == call_id
        call["id"] = call_id or call["id"]
        function: Mapping[str, Any] = piece.get("function") or {}
        if not is_repeated:
            call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
        return position, is_repeated

    def _position(self, index: int | None, call_id: str | None) -> int:
        known = self._at.get(index)
        if known is not None and (call_id is None or self.calls[known]["id"] in (None, call_id)):
            return known
        self._at[index] = len(self.calls)
        self.calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        return self._at[index]
