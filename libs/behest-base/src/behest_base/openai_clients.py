"""Ready OpenAI clients on the gateway (extra `openai`, 2.x and 3.x): our token and retries, none of their own."""

from __future__ import annotations

from typing import Final

import httpx

try:
    from openai import AsyncOpenAI, OpenAI
except ImportError as error:  # pragma: no cover - seen in an interpreter of its own
    _missing = 'Behest.openai() needs the OpenAI SDK: pip install "behest-base[openai]".'
    raise ImportError(_missing) from error

__all__ = ["make_async_openai", "make_openai"]

# The SDK demands a key and writes it into the header that the auth replaces; the environment's OPENAI_* must not stand in.
PLACEHOLDER: Final = "replaced-by-the-users-token"


def make_openai(base_url: str, http: httpx.Client) -> OpenAI:
    """Return a client whose requests go out over `http`."""
    return OpenAI(
        api_key=PLACEHOLDER, organization="", project="", base_url=f"{base_url}/v1", max_retries=0, http_client=http
    )


def make_async_openai(base_url: str, http: httpx.AsyncClient) -> AsyncOpenAI:
    """Return a client for tasks."""
    return AsyncOpenAI(
        api_key=PLACEHOLDER, organization="", project="", base_url=f"{base_url}/v1", max_retries=0, http_client=http
    )
