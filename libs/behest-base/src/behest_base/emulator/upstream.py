"""A real OpenAI-compatible server behind the emulator, instead of the built-in model."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

import httpx

from behest_base.emulator.refusals import Refusal
from behest_base.jsons import is_object

if TYPE_CHECKING:
    from behest_base.emulator.controls import Controls

__all__ = ["complete", "stream"]

TIMEOUT_SECONDS: Final = 300.0


async def complete(gateway: Controls, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask the server for a completion.

    Raises:
        Refusal: It can't be reached, or answers with an error.
    """
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            response = await client.send(_request(client, gateway, asked))
    except httpx.TransportError as error:
        raise _unreachable(error) from error
    _check(response)
    try:
        completion = response.json()
    except ValueError:
        completion = None
    if not is_object(completion) or not completion.get("choices"):
        raise Refusal(502, "upstream_error", "The upstream server answered with something else than a completion.")
    return completion


async def stream(gateway: Controls, asked: dict[str, Any]) -> AsyncGenerator[bytes]:
    """Pass the server's event stream through, line by line.

    Raises:
        Refusal: It can't be reached, or answers with an error.
    """
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            response = await client.send(_request(client, gateway, asked), stream=True)
            async with contextlib.aclosing(response):
                if response.is_error:
                    await response.aread()
                _check(response)
                async with contextlib.aclosing(_lines(response)) as lines:
                    async for line in lines:
                        yield line
    except httpx.TransportError as error:
        raise _unreachable(error) from error


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Cut where an event stream does, and not at U+2028 and the like as `aiter_lines` does: JSON may contain them."""
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest + b"\n"


def _request(client: httpx.AsyncClient, gateway: Controls, asked: dict[str, Any]) -> httpx.Request:
    body = {name: value for name, value in asked.items() if name != "model"}
    model = gateway.upstream_model or asked["model"]
    if model != "default":
        body["model"] = model
    headers = {"Authorization": f"Bearer {gateway.upstream_key}"} if gateway.upstream_key else {}
    base = str(gateway.upstream).rstrip("/").removesuffix("/v1")
    return client.build_request("POST", f"{base}/v1/chat/completions", json=body, headers=headers)


def _check(response: httpx.Response) -> None:
    if response.is_error:
        raise Refusal(
            502, "upstream_error", f"The upstream server answered {response.status_code}: {response.text[:300]}"
        )


def _unreachable(error: httpx.TransportError) -> Refusal:
    return Refusal(502, "upstream_unreachable", f"The upstream server can't be reached: {error}")
