"""Token usage: the OpenAI wire's object as LangChain's `UsageMetadata`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

__all__ = ["usage_metadata"]

# These tiers are priced apart, so LangChain counts their tokens under names of their own.
_PRICED_TIERS: Final = ("priority", "flex")


def usage_metadata(usage: Mapping[str, Any], service_tier: str | None = None) -> UsageMetadata:
    """Return the usage as LangChain counts it.

    Args:
        usage: The `usage` object of a completion. Anthropic's names for cached tokens, which LiteLLM passes on, are read too.
        service_tier: The tier that the answer names.
    """
    input_tokens = usage.get("prompt_tokens") or 0
    output_tokens = usage.get("completion_tokens") or 0
    total_tokens = usage.get("total_tokens")
    return UsageMetadata(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens if total_tokens is None else total_tokens,
        input_token_details=cast("InputTokenDetails", _input_details(usage, input_tokens, service_tier)),
        output_token_details=cast("OutputTokenDetails", _output_details(usage, output_tokens, service_tier)),
    )


def _input_details(usage: Mapping[str, Any], tokens: int, tier: str | None) -> dict[str, int]:
    details = usage.get("prompt_tokens_details") or {}
    cached = _first(details.get("cached_tokens"), usage.get("cache_read_input_tokens"))
    written = _first(
        details.get("cache_write_tokens"),
        details.get("cache_creation_tokens"),
        usage.get("cache_creation_input_tokens"),
    )
    return _counted(tier, tokens, cached, audio=details.get("audio_tokens"), cache_read=cached, cache_creation=written)


def _output_details(usage: Mapping[str, Any], tokens: int, tier: str | None) -> dict[str, int]:
    details = usage.get("completion_tokens_details") or {}
    reasoning = details.get("reasoning_tokens")
    return _counted(tier, tokens, reasoning, audio=details.get("audio_tokens"), reasoning=reasoning)


def _counted(tier: str | None, tokens: int, apart: int | None, **details: int | None) -> dict[str, int]:
    """Name the details for the tier, where it is priced apart; its own count leaves out what is counted by a detail."""
    priced = tier if tier in _PRICED_TIERS else None
    prefix = f"{priced}_" if priced else ""
    named = {
        name if name == "audio" else f"{prefix}{name}": count for name, count in details.items() if count is not None
    }
    if priced:
        named[priced] = tokens - (apart or 0)
    return named


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
