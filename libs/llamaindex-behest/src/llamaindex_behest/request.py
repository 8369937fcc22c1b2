"""The body of a chat request. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llamaindex_behest.model import BehestModel

__all__ = ["chat_body"]

# Arguments that llama-index-core passes to every LLM and that are no part of the request.
_FRAMEWORKS_OWN: Final = frozenset({"formatted", "verbose"})


def chat_body(model: BehestModel, messages: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body: the model's own settings, over them `additional_kwargs`, over them the call's arguments.

    An argument that is None leaves the field out, so that a call can take a model's setting back.
    """
    fields: dict[str, Any] = {
        "model": model.model,
        "temperature": model.temperature,
        "max_tokens": model.max_tokens,
        **model.additional_kwargs,
        **{name: value for name, value in kwargs.items() if name not in _FRAMEWORKS_OWN},
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return {**given, "messages": list(messages)}
