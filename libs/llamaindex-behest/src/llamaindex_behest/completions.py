"""Completions by way of chat. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

from llama_index.core.base.llms.generic_utils import prompt_to_messages
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse

if TYPE_CHECKING:
    from llamaindex_behest.model import BehestModel

__all__ = ["acompletions_of", "as_completion", "as_messages", "completions_of"]


def as_messages(model: BehestModel, prompt: str, *, formatted: bool) -> list[ChatMessage]:
    """Return the chat that completes a prompt."""
    if not formatted and model.completion_to_prompt is not None:
        prompt = model.completion_to_prompt(prompt)
    return prompt_to_messages(prompt)


def as_completion(response: ChatResponse) -> CompletionResponse:
    """Return the answer of a chat as a completion."""
    # Not validated, as in streaming: it is made of what a ChatResponse has, and a stream makes one per chunk.
    return CompletionResponse.model_construct(
        text=response.message.content or "",
        additional_kwargs={**response.message.additional_kwargs, **response.additional_kwargs},
        raw=response.raw,
        logprobs=response.logprobs,
        delta=response.delta,
    )


def completions_of(pieces: Generator[ChatResponse, None, None]) -> Generator[CompletionResponse, None, None]:
    """Return a stream of chat answers as one of completions, which closes the other when it is closed."""
    with contextlib.closing(pieces):
        for piece in pieces:
            yield as_completion(piece)


async def acompletions_of(pieces: AsyncGenerator[ChatResponse, None]) -> AsyncGenerator[CompletionResponse, None]:
    """Return a stream of chat answers as one of completions, which closes the other when it is closed."""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield as_completion(piece)
