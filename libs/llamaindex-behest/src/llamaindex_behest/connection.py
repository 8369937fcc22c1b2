"""What the model, the stores and the memory have in common: a client, found in the environment or given, and how they travel."""

from __future__ import annotations

import pickle
from typing import Any, Final

from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr
from pydantic import SecretStr

from behest_base import Behest, BehestConfigError

__all__ = ["Connected"]

_KEY_IS_AN_ARGUMENT: Final = (
    "{name} whose key was given as an argument can't be pickled, since the key would leave the process. Set BEHEST_KEY "
    "(BEHEST_KEY_FILE) here and in the workers, and make it without api_key=."
)


class Connected(BaseModel):
    """A component that calls the gateway. No key or token is ever in a field of it."""

    base_url: str | None = Field(default=None, description="The gateway, if not from BEHEST_BASE_URL or a slug.")
    slug: str | None = Field(default=None, description="The project's slug, if not from BEHEST_SLUG.")

    _api_key: SecretStr | None = PrivateAttr(default=None)
    _client: Behest | None = PrivateAttr(default=None)

    def _connect(self, api_key: str | SecretStr | None, client: Behest | None) -> None:
        secret = SecretStr(api_key) if isinstance(api_key, str) else api_key
        del api_key  # no secret in the frame of an error
        self._api_key = secret
        self._client = client

    @property
    def client(self) -> Behest:
        """The client in use; made from the arguments and the environment at the first call, and shared in the process."""
        if self._client is None:
            self._client = Behest.shared(self._api_key, base_url=self.base_url, slug=self.slug)
        return self._client

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle by reference to the environment: no key, token or connection leaves the process.

        Raises:
            BehestConfigError: The key was an argument, here or of the client.
        """
        if self._api_key is not None:
            raise BehestConfigError(_KEY_IS_AN_ARGUMENT.format(name=type(self).__name__))
        # Not the base class's way, which takes what can't be pickled (a callback handler) out of the living object as well.
        state = dict(BaseModel.__getstate__(self))
        state["__dict__"] = {name: value for name, value in self.__dict__.items() if _can_travel(self, name, value)}
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Make it again from its fields, so that what didn't travel has its default."""
        self.__init__(**state["__dict__"])  # type: ignore[misc] # as llama-index-core's components do it
        self._client = (state.get("__pydantic_private__") or {}).get("_client")


def _can_travel(component: BaseModel, name: str, value: Any) -> bool:
    field = type(component).model_fields.get(name)
    if field is None or not field.exclude:
        return True
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 - whatever a user's handler raises
        return False
    return True
