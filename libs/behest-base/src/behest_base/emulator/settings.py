"""What an emulator can be told to begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

from behest_base.emulator.faults import Reply

__all__ = ["Settings"]


class Settings(TypedDict, total=False):
    """The keyword settings of an `Emulator`: attributes of `Controls`, and from `requests_per_minute` on of `Limits`."""

    store_tool_calls: bool
    mint_shape: Literal["current", "legacy"]
    min_ttl: int
    list_shape: Literal["bare", "wrapped", "data"]
    page_size: int
    models: tuple[str, ...]
    has_usage: bool
    blocked_words: tuple[str, ...]
    clock_offset: float
    mint_delay: float
    chat_delay: float
    chunk_delay: float
    reserve_same_token: bool
    model: Callable[[dict[str, Any]], Reply] | None
    upstream: str | None
    upstream_key: str | None
    upstream_model: str | None
    requests_per_minute: int | None
    user_requests_per_minute: int | None
    token_budget: int | None
