"""The constructor arguments of `ChatBehest`, and what follows from them without a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import httpx
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.utils.utils import _build_model_kwargs
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from behest_base import UNSET, Behest, BehestConfigError, Unset
from langchain_behest.params import PARAMETERS, SYNONYMS
from langchain_behest.version import __version__

__all__ = ["BehestFields"]


class BehestFields(BaseChatModel):
    """What a `ChatBehest` is configured with; see there."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: str = "default"
    """The model, by its name in the project; `default` is the project's own."""

    user_id: str | Unset | None = UNSET
    """The end user whom calls are made for, unless a call or the ambient `scope` names another."""

    session_id: str | Unset | None = UNSET
    """The session; without one each call has its own and shares no memory."""

    thread_id: str | Unset | None = UNSET
    """The thread; in one, only what it doesn't hold yet is sent."""

    tier: str | int | Unset | None = UNSET
    """The user's tier."""

    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """The project's API key, private key or ready token; `BEHEST_KEY` if not given."""

    base_url: str | None = None
    """The gateway's address; `BEHEST_BASE_URL` if not given."""

    slug: str | None = None
    """The project's slug, instead of an address; `BEHEST_SLUG` if not given."""

    client: Behest | None = Field(default=None, exclude=True, repr=False)
    """A client to use; without one, the process's shared client with this key and address."""

    temperature: float | None = None
    """Sampling temperature."""

    max_tokens: int | None = None
    """The most tokens to generate; `max_completion_tokens` is read too."""

    top_p: float | None = None
    """Nucleus sampling: the probability mass to sample from."""

    stop: list[str] | str | None = None
    """Where to stop generating; `stop_sequences` is read too."""

    seed: int | None = None
    """Seed, for models that can repeat themselves."""

    n: int | None = None
    """How many answers to generate; `generate` and `batch` return them, `invoke` and `stream` the first."""

    presence_penalty: float | None = None
    """Penalty for tokens that are there already."""

    frequency_penalty: float | None = None
    """Penalty for tokens by how often they are there."""

    logit_bias: dict[int, int] | dict[str, int] | None = None
    """Bias of single tokens."""

    logprobs: bool | None = None
    """Whether to return log probabilities."""

    top_logprobs: int | None = None
    """How many alternatives' log probabilities to return."""

    reasoning_effort: str | None = None
    """How much a reasoning model is to think, such as `low`, `medium` or `high`."""

    service_tier: str | None = None
    """The provider's service tier, where it has such."""

    timeout: float | httpx.Timeout | None = None
    """Seconds for each step of a request, or an `httpx.Timeout`; the client's if None."""

    max_retries: int | None = None
    """Sends after the first, for failures that may pass; the client's (2) if None."""

    streaming: bool = False
    """Whether `invoke` streams, for callbacks that want tokens."""

    stream_usage: bool = True
    """Whether streams end with the token usage."""

    store_tool_calls: bool | None = None
    """Whether the project's tier keeps tool calls in threads; None learns it by reading the thread, once."""

    resend_history: bool = False
    """Whether to send every message in a thread, also those that it holds."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further parameters of the request."""

    extra_body: dict[str, Any] | None = None
    """Fields that go into the request as they are, over all others."""

    disabled_params: dict[str, Any] | None = None
    """Parameters never to send; with a list of values, only these values are not sent."""

    _client: Behest | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _read_synonyms_and_unknown(cls, values: Any) -> Any:
        # Not aliases of pydantic: to type checkers an alias would be the only name of the argument.
        if not isinstance(values, Mapping):
            return values
        named = {SYNONYMS.get(name, name): value for name, value in values.items()}
        if isinstance(named.get("model_kwargs"), Mapping):
            named["model_kwargs"] = {**named["model_kwargs"]}  # it is added to, and may be the caller's own
        return _build_model_kwargs(named, set(cls.model_fields))

    @model_validator(mode="after")
    def _note_behest_version(self) -> Self:
        self._add_version("langchain-behest", __version__)
        return self

    @property
    def model_name(self) -> str:
        """The model, under the name it has in other chat models."""
        return self.model

    @property
    def behest(self) -> Behest:
        """The client that calls are made with: for threads, usage, and everything that isn't chat.

        Raises:
            BehestConfigError: Key or address is missing or malformed.
        """
        if self.client is not None:
            return self.client
        if self._client is None:
            given = {name: value for name in ("base_url", "slug") if (value := getattr(self, name)) is not None}
            self._client = Behest.shared(self.api_key, **given)
        return self._client

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where a loaded model takes the key from: no dump holds it."""
        return {"api_key": "BEHEST_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Say that it can be dumped and loaded."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Dump what differs from the defaults."""
        found = super().to_json()
        if found["type"] == "constructor":
            found["kwargs"] = {name: value for name, value in found["kwargs"].items() if value is not UNSET}
        return found

    @property
    def _defaults(self) -> dict[str, Any]:
        found = {name: value for name in PARAMETERS if (value := getattr(self, name)) is not None}
        return {**found, "model_kwargs": self.model_kwargs, "extra_body": self.extra_body}

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        found = {name: value for name, value in self._defaults.items() if name != "model" and value}
        place = {name: value for name in ("base_url", "slug") if (value := getattr(self, name)) is not None}
        return {"model_name": self.model, **place, **found}

    @property
    def _llm_type(self) -> str:
        return "behest-chat"

    def _resolve_model_profile(self) -> ModelProfile | None:
        # What the gateway itself promises; context window and modalities are the project's model's: pass profile= for these.
        return {"text_inputs": True, "text_outputs": True, "tool_calling": True}

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle by reference to the environment: no key leaves the process, a worker reads its own.

        Raises:
            BehestConfigError: The key was given as an argument.
        """
        if self.api_key is not None:
            msg = (
                "A ChatBehest whose api_key was given as an argument can't be pickled, since the key would leave the process. "
                "Set BEHEST_KEY here and in the workers, and leave api_key= out."
            )
            raise BehestConfigError(msg)
        state = super().__getstate__()
        return {**state, "__pydantic_private__": {**(state["__pydantic_private__"] or {}), "_client": None}}
