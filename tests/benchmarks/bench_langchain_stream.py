"""What a streamed chunk costs in ChatBehest, beside ChatOpenAI on the same local server: a ratio, which travels better than times.

Prints the time per chunk of both, sync and async, the best of several rounds, and fails beyond the bound.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_behest import ChatBehest

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.replay import Recording, replaying

CHUNKS = 1_000
ROUNDS = 5
BOUND = 0.35


def events() -> str:
    """Return the events of a stream of so many words."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        *({"content": f"word{i} "} for i in range(CHUNKS)),
    ]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 1, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 1}
    chunks.append({**head, "choices": [], "usage": usage})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def token() -> str:
    """Return an unsigned token, which the local server doesn't check."""
    now = int(time.time())
    parts: list[dict[str, Any]] = [{"alg": "RS256", "typ": "JWT"}, {"uid": "alice", "iat": now, "exp": now + 3600}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2ln"])


def timed(model: BaseChatModel) -> float:
    """Return the seconds that reading one stream took."""
    begin = time.perf_counter()
    read = sum(1 for _ in model.stream("Count."))
    assert read >= CHUNKS
    return time.perf_counter() - begin


async def atimed(model: BaseChatModel) -> float:
    """Return the seconds that reading one stream took in a task."""
    begin = time.perf_counter()
    read = 0
    async for _ in model.astream("Count."):
        read += 1
    assert read >= CHUNKS
    return time.perf_counter() - begin


def best(measure: Callable[[BaseChatModel], float], models: list[BaseChatModel]) -> list[float]:
    """Return the best time of each model per chunk in microseconds, the rounds taken in turns."""
    rounds = [[measure(model) for model in models] for _ in range(ROUNDS)]
    return [min(times) / CHUNKS * 1e6 for times in zip(*rounds, strict=True)]


async def abest(measure: Callable[[BaseChatModel], Awaitable[float]], models: list[BaseChatModel]) -> list[float]:
    """Return the same for tasks."""
    rounds = [[await measure(model) for model in models] for _ in range(ROUNDS)]
    return [min(times) / CHUNKS * 1e6 for times in zip(*rounds, strict=True)]


def main() -> int:
    """Measure, print, and say by the exit code whether the bound is kept."""
    with replaying() as server:
        server.recording = Recording("bench", sse=events())
        key = SecretStr(token())
        models: list[BaseChatModel] = [
            ChatBehest(api_key=key, base_url=server.base_url, user_id="alice"),
            ChatOpenAI(model="bench", api_key=key, base_url=f"{server.base_url}/v1", stream_usage=True),
        ]
        results = {"stream": best(timed, models), "astream": asyncio.run(abest(atimed, models))}
    ratios = []
    for name, (ours, theirs) in results.items():
        ratios.append(ours / theirs)
        print(
            f"{name:8} ChatBehest {ours:6.1f} µs/chunk   ChatOpenAI {theirs:6.1f} µs/chunk   ratio {ours / theirs:.2f}"
        )
    return 0 if max(ratios) <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
