"""What a streamed chunk costs in BehestLLM: beside OpenAILike on the same local server, and as an answer grows tenfold.

Prints the times per chunk, the best of several rounds, and fails beyond the bounds.
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

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped] # it has no py.typed

from llamaindex_behest import BehestLLM

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.replay import Recording, replaying

CHUNKS = 1_000
ROUNDS = 5
PEER_BOUND = 0.40
SHORT, LONG = 2_000, 20_000
GROWTH_BOUND = 15.0

QUESTION = [ChatMessage("Count.")]


def events(count: int) -> str:
    """Return the events of a stream of so many words."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        *({"content": f"word{i} "} for i in range(count)),
    ]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}
    chunks.append({**head, "choices": [], "usage": usage})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def token() -> str:
    """Return an unsigned token, which the local server doesn't check."""
    now = int(time.time())
    parts: list[dict[str, Any]] = [{"alg": "RS256", "typ": "JWT"}, {"uid": "alice", "iat": now, "exp": now + 3600}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2ln"])


def timed(model: FunctionCallingLLM) -> float:
    """Return the seconds that reading one stream took."""
    begin = time.perf_counter()
    for _ in model.stream_chat(QUESTION):
        pass
    return time.perf_counter() - begin


async def atimed(model: FunctionCallingLLM) -> float:
    """Return the seconds that reading one stream took in a task."""
    begin = time.perf_counter()
    async for _ in await model.astream_chat(QUESTION):
        pass
    return time.perf_counter() - begin


def best(measure: Callable[[FunctionCallingLLM], float], models: list[FunctionCallingLLM]) -> list[float]:
    """Return the best time of each model in seconds, the rounds taken in turns."""
    rounds = [[measure(model) for model in models] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


async def abest(
    measure: Callable[[FunctionCallingLLM], Awaitable[float]], models: list[FunctionCallingLLM]
) -> list[float]:
    """Return the same for tasks."""
    rounds = [[await measure(model) for model in models] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def main() -> int:
    """Measure, print, and say by the exit code whether the bounds are kept."""
    kept = True
    with replaying() as server:
        key = token()
        ours = BehestLLM(api_key=key, base_url=server.base_url, user_id="alice")
        peer = OpenAILike(model="bench", api_key=key, api_base=f"{server.base_url}/v1", is_chat_model=True)
        server.recording = Recording("bench", sse=events(CHUNKS))
        results = {
            "stream_chat": best(timed, [ours, peer]),
            "astream_chat": asyncio.run(abest(atimed, [ours, peer])),
        }
        for name, (mine, theirs) in results.items():
            kept &= mine / theirs <= PEER_BOUND
            print(
                f"{name:13} BehestLLM {mine / CHUNKS * 1e6:6.1f} µs/chunk   OpenAILike {theirs / CHUNKS * 1e6:6.1f} µs/chunk"
                f"   ratio {mine / theirs:.2f}"
            )
        lengths = {}
        for count in (SHORT, LONG):
            server.recording = Recording("bench", sse=events(count))
            (lengths[count],) = best(timed, [ours])
        growth = lengths[LONG] / lengths[SHORT]
        kept &= growth <= GROWTH_BOUND
        print(f"{LONG} chunks take {growth:.1f} times the time of {SHORT}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
