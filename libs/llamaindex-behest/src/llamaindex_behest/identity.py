"""For whom and in which conversation a call of the model is made (D8: not every call of an LLM belongs to the conversation)."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from typing import Any, Final

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.prompts.base import ChatPromptTemplate, SelectorPromptTemplate

from behest_base import UNSET, Identity, Scope

__all__ = ["IDENTITY_ARGUMENTS", "Use", "forced_identity", "placed_at", "prompt_use", "take_scope", "use_of", "using"]

IDENTITY_ARGUMENTS: Final = ("user_id", "session_id", "thread_id", "tier")
"""Keyword arguments of every call that say for whom it is; they are taken out before the request is built."""


class Use(enum.Enum):
    """What a call of the model is for."""

    CONVERSATION = "conversation"
    """`chat` and the tool-calling methods: a turn, unless a memory says that the turn is another."""
    QUESTION = "question"
    """`predict` and `stream` of a chat prompt that ends in the bare question: how chat engines answer, if a memory is in use."""
    PROMPT = "prompt"
    """Any other chat prompt: a turn only if a memory of the thread says so."""
    APART = "apart"
    """Completions, structured answers and text prompts: never a turn."""


# The last message of the prompts that chat engines answer with (llama_index.core.chat_engine.utils).
_BARE_QUESTION: Final = "{query_str}"

_use: ContextVar[Use] = ContextVar("behest_use", default=Use.CONVERSATION)
_forced: ContextVar[Identity | None] = ContextVar("behest_forced_identity", default=None)


@contextlib.contextmanager
def using(use: Use) -> Generator[None, None, None]:
    """Say what the model's calls inside the block are for."""
    reset = _use.set(use)
    try:
        yield
    finally:
        _use.reset(reset)


@contextlib.contextmanager
def placed_at(identity: Identity) -> Generator[None, None, None]:
    """Make the model's calls inside the block for an identity resolved before."""
    reset = _forced.set(identity)
    try:
        yield
    finally:
        _forced.reset(reset)


def use_of() -> Use:
    """Return what the call under way is for."""
    return _use.get()


def forced_identity() -> Identity | None:
    """Return the identity that was resolved before, if it was."""
    return _forced.get()


def prompt_use(prompt: BasePromptTemplate, llm: BaseLLM) -> Use:
    """Return what a prediction of this prompt is for."""
    if isinstance(prompt, SelectorPromptTemplate):
        prompt = prompt.select(llm)
    if not isinstance(prompt, ChatPromptTemplate):
        return Use.APART
    last = prompt.message_templates[-1].content if prompt.message_templates else None
    return Use.QUESTION if (last or "").strip() == _BARE_QUESTION else Use.PROMPT


def take_scope(kwargs: Mapping[str, Any]) -> tuple[Scope, dict[str, Any]]:
    """Split keyword arguments into the identity that they name and the rest."""
    rest = {name: value for name, value in kwargs.items() if name not in IDENTITY_ARGUMENTS}
    return Scope(**{name: kwargs.get(name, UNSET) for name in IDENTITY_ARGUMENTS}), rest
