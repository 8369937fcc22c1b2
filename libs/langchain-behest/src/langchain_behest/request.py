"""One call of a model: what goes out, for whom, and how, decided before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from behest_base import Behest, Identity
from langchain_behest.messages_out import mark_of, wire_messages

__all__ = ["Request", "prepare"]


@dataclass(frozen=True, slots=True)
class Request:
    """A call that has not been made.

    Attributes:
        identity: For whom, and in which thread.
        parameters: The body without its messages.
        messages: The whole list.
        marks: For each message, the thread it came out of.
        options: `timeout` and `max_retries`, as far as they are given.
        store_tool_calls: Whether the tier keeps tool calls, if that was said.
        resends: Whether everything goes out, also what the thread holds.
    """

    identity: Identity
    parameters: dict[str, Any]
    messages: list[dict[str, Any]]
    marks: list[str | None]
    options: dict[str, Any]
    store_tool_calls: bool | None
    resends: bool

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.parameters.get("model", "default"))

    def body(self, behest: Behest) -> dict[str, Any]:
        """Return the body, without the messages that the thread holds; may read the thread."""
        if self.resends:
            return self._with(self.messages)
        return self._with(
            behest.new_messages(self.messages, self.marks, self.identity, store_tool_calls=self.store_tool_calls)
        )

    async def abody(self, behest: Behest) -> dict[str, Any]:
        """Return the body, without the messages that the thread holds; may read the thread."""
        if self.resends:
            return self._with(self.messages)
        return self._with(
            await behest.anew_messages(self.messages, self.marks, self.identity, store_tool_calls=self.store_tool_calls)
        )

    def _with(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self.parameters, "messages": messages}


def prepare(
    messages: Sequence[BaseMessage], identity: Identity, parameters: dict[str, Any], how: Mapping[str, Any]
) -> Request:
    """Return the request of a call.

    Args:
        messages: The whole list.
        identity: For whom.
        parameters: The body without its messages.
        how: The call's or the model's `timeout`, `max_retries`, `store_tool_calls`, `resend_history`.
    """
    wire, sources = wire_messages(messages)
    if identity.thread_id is not None:
        wire = [_as_instruction(each, source) for each, source in zip(wire, sources, strict=True)]
    return Request(
        identity=identity,
        parameters=parameters,
        messages=wire,
        marks=[mark_of(message, identity.user_id) for message in sources],
        options={name: how[name] for name in ("timeout", "max_retries") if how[name] is not None},
        store_tool_calls=how["store_tool_calls"],
        resends=bool(how["resend_history"]) or identity.thread_id is None,
    )


def _as_instruction(wire: dict[str, Any], source: BaseMessage) -> dict[str, Any]:
    """Return a summary that langchain's middleware put in front of a list as an instruction.

    It comes as a human message; in a thread it would be stored as if the user had said it.
    """
    is_summary = wire["role"] == "user" and source.additional_kwargs.get("lc_source") == "summarization"
    return {**wire, "role": "system"} if is_summary else wire
