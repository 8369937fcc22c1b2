"""For whom a model call is made, decided when it is made: the call's arguments, its configuration, the ambient scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, Self

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from behest_base import UNSET, Identity, Scope

__all__ = [
    "CONFIGURABLE",
    "Addressee",
    "addressed",
    "configured_scope",
    "scope_of",
    "scope_of_call",
    "side_call",
    "take_scope",
]

FIELDS: Final = ("user_id", "session_id", "thread_id", "tier")
_PLACES: Final = ("session_id", "thread_id")

CONFIGURABLE: Final[Mapping[str, str]] = {f"behest_{name}": name for name in FIELDS}
"""The keys of `config["configurable"]` that say for whom a call is made, and the fields they stand for."""

# LangGraph names nodes in the checkpoint namespace, `node:task|node:task`; its ToolNode is `tools`, and create_agent calls
# a middleware's hooks after the middleware and the hook.
_TOOLS_NODE: Final = "tools"
_HOOKS: Final = (".before_agent", ".before_model", ".after_model", ".after_agent")
# langchain marks the calls that its middleware makes for itself (summaries, tool selection) with this metadata.
_INTERNAL_CALL: Final = "lc_internal_call"


class Addressee(str):
    """A user id that knows the whole scope it was resolved in.

    Call arguments end up in traces and cache keys, where this is the plain user id: what else the scope holds, a user's
    own token for example, stays out of them, and out of pickles.
    """

    __slots__ = ("scope",)

    scope: Scope

    def __new__(cls, identity: Identity) -> Self:
        """Make one of an identity; a session made up for one call is not kept, each call gets its own."""
        self = super().__new__(cls, identity.user_id)
        self.scope = Scope(
            user_id=identity.user_id,
            session_id=identity.session_id if identity.has_own_session else None,
            thread_id=identity.thread_id,
            tier=identity.tier,
            token=identity.token,
        )
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the plain user id."""
        return (str, (str(self),))

    def __copy__(self) -> Addressee:
        """Return this one."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Addressee:
        """Return this one."""
        return self


def take_scope(kwargs: dict[str, Any]) -> Scope:
    """Take the identity out of a call's arguments."""
    return Scope(**{name: kwargs.pop(name) for name in FIELDS if name in kwargs})


def scope_of(fields: Any) -> Scope:
    """Return the identity that an object's attributes of these names say."""
    return Scope(**{name: getattr(fields, name) for name in FIELDS})


def configured_scope(config: RunnableConfig) -> Scope:
    """Return the identity in a configuration's `configurable`."""
    configurable = config.get("configurable") or {}
    return Scope(**{name: configurable[key] for key, name in CONFIGURABLE.items() if key in configurable})


def addressed(identity: Identity) -> dict[str, Any]:
    """Return call arguments that say this identity: what separates traces and cache entries of users is in plain sight."""
    addressee = Addressee(identity)
    shown = {
        "session_id": identity.session_id if identity.has_own_session else None,
        "thread_id": identity.thread_id,
        "tier": identity.tier,
    }
    return {"user_id": addressee, **{name: value for name, value in shown.items() if value is not None}}


def scope_of_call(call: Scope, config: RunnableConfig, fields: Scope) -> Scope:
    """Return for whom a call is made, short of the client's own defaults.

    Inside a tool or a middleware's own call, an inherited thread or session is not the call's: the conversation is the
    agent's. One that the call itself names is, and in a tool one that the model's fields name.

    Args:
        call: What the call's arguments say.
        config: The call's configuration, merged with the one it is made in.
        fields: What the model's fields say.
    """
    # A configuration that a call is given replaces the `configurable` it is made in; the fields it leaves out are still meant.
    around = var_child_runnable_config.get() or {}
    own, inherited = configured_scope(config), configured_scope(around).over(Scope.current())
    sides = {side for each in (config, around) if (side := side_call(each)) is not None}
    if not sides:
        return call.over(own).over(inherited).over(fields)
    named = _without_place(own, [name for name in _PLACES if getattr(own, name) == getattr(inherited, name)])
    # A middleware's model is the agent's own: its field says where the agent talks.
    meant = _without_place(fields) if "middleware" in sides else fields
    whole = call.over(named).over(_without_place(inherited)).over(meant)
    return replace(
        whole,
        session_id=None if whole.session_id is UNSET else whole.session_id,
        thread_id=None if whole.thread_id is UNSET else whole.thread_id,
    )


def side_call(config: RunnableConfig) -> Literal["tool", "middleware"] | None:
    """Say whether a call is made inside an agent's tool, or by its middleware for itself, rather than by the agent."""
    metadata = config.get("metadata") or {}
    if _INTERNAL_CALL in metadata:
        return "middleware"
    namespace = (config.get("configurable") or {}).get("checkpoint_ns") or metadata.get("langgraph_checkpoint_ns") or ""
    nodes = [part.split(":", 1)[0] for part in str(namespace).split("|")]
    if any(node.endswith(_HOOKS) for node in nodes):
        return "middleware"
    return "tool" if _TOOLS_NODE in nodes else None


def _without_place(scope: Scope, names: Sequence[str] = _PLACES) -> Scope:
    """Return a scope that leaves it to others in which session and thread a call is made."""
    unset: dict[str, Any] = dict.fromkeys(names, UNSET)
    return replace(scope, **unset)
