"""What a BehestLLM is: its fields, its client, for whom it calls by default, and its life."""

from __future__ import annotations

import contextvars
from typing import Any, Final, Self

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.llms.function_calling import FunctionCallingLLM

from behest_base import UNSET, Identity, Scope, Unset
from llamaindex_behest.connection import Connected

__all__ = ["BehestModel"]

# The gateway doesn't say what its models hold. 128,000 is what the models served behind such gateways have had for years;
# llama-index-core's own default of 3,900 would cut every retrieved context to pieces.
CONTEXT_WINDOW_TOKENS: Final = 128_000
NUM_OUTPUT_TOKENS: Final = 4_096


class BehestModel(Connected, FunctionCallingLLM):
    """The base of `BehestLLM`: everything but its calls."""

    model: str = Field(default="default", description="The model's name; `default` is the project's own.")
    user_id: str | None = Field(default=None, description="The end user when neither the call nor the scope names one.")
    session_id: str | None = Field(default=None, description="The gateway's memory of one sitting. None: one per call.")
    thread_id: str | None = Field(default=None, description="The persistent conversation. None: none.")
    tier: str | int | None = Field(default=None, description="The user's tier, as the mint takes it.")
    temperature: float | None = Field(default=None, description="None leaves it to the model.")
    max_tokens: int | None = Field(default=None, description="The most tokens to answer with. None: the model's own.")
    additional_kwargs: dict[str, Any] = Field(default_factory=dict, description="More fields of the request.")
    context_window: int = Field(
        default=CONTEXT_WINDOW_TOKENS, gt=0, description="Tokens of prompt and answer together."
    )
    num_output: int | None = Field(default=None, gt=0, description="Tokens to keep free for the answer.")
    is_function_calling_model: bool = Field(default=True, description="False makes agents call tools by text.")
    store_tool_calls: bool | None = Field(
        default=None, description="Whether the tier keeps tool calls in threads. None: found out when it matters."
    )
    resend_history: bool = Field(
        default=False, description="Send whole lists, though the thread holds their beginning."
    )
    timeout: float | None = Field(default=None, gt=0, description="Seconds for each step of a request. None: 120.")
    max_retries: int | None = Field(default=None, ge=0, description="Sends after the first. None: the client's, 2.")

    _is_one_users: bool = PrivateAttr(default=False)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that serialized models are found by."""
        return "BehestLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What engines need to know of the model to cut prompts to its size."""
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.num_output or self.max_tokens or min(NUM_OUTPUT_TOKENS, self.context_window // 4),
            is_chat_model=True,
            is_function_calling_model=self.is_function_calling_model,
            model_name=self.model,
        )

    def for_user(
        self,
        user_id: str,
        *,
        thread_id: str | None = None,
        session_id: str | None = None,
        tier: str | int | None = None,
    ) -> Self:
        """Return a light copy for one user, on the same client, tokens and connections.

        Nothing of another user's conversation goes along: the copy's thread, session and tier are what is given here. An ambient
        scope of the same user, or of none, goes before them; one of another user says nothing of this one. A call's own
        arguments go before both.

        Args:
            user_id: The end user.
            thread_id: The conversation, None for none.
            session_id: The session, None for a fresh one per call.
            tier: The user's tier.
        """
        copy = self.model_copy(
            update={"user_id": user_id, "thread_id": thread_id, "session_id": session_id, "tier": tier}
        )
        copy._connect(None, self.client)  # noqa: SLF001 - our own class; made now, so that both have the same one
        copy._is_one_users = True  # noqa: SLF001 - as above
        return copy

    def identify(self, scope: Scope | None = None) -> Identity:
        """Return for whom a call would be made: each field from the call, the ambient scope, this model, its client.

        Raises:
            BehestConfigError: No user is named anywhere, or a field can't be sent.
        """
        own = Scope(
            user_id=_unset(self.user_id),
            session_id=_unset(self.session_id),
            thread_id=_unset(self.thread_id),
            tier=UNSET if self.tier is None else self.tier,
        )
        if self._is_one_users and Scope.current().user_id not in (UNSET, self.user_id):
            return contextvars.Context().run(self.client.identify, scope, own)  # without the other user's ambient scope
        return self.client.identify(scope, default=own)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Make it again from its fields, and know whether it is one user's."""
        super().__setstate__(state)
        self._is_one_users = (state.get("__pydantic_private__") or {}).get("_is_one_users", False)

    def call_limits(self) -> dict[str, Any]:
        """Return the time and retries of a call, where this model has its own."""
        limits = {"timeout": self.timeout, "max_retries": self.max_retries}
        return {name: value for name, value in limits.items() if value is not None}


def _unset(value: str | None) -> str | Unset:
    return UNSET if value is None else value
