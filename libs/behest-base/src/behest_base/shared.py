"""One client per configuration and process, for models that were given none: one connection pool, one token cache."""

from __future__ import annotations

import atexit
import hashlib
import inspect
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from behest_base.forks import on_fork
from behest_base.settings import BehestSettings

if TYPE_CHECKING:
    from behest_base.core import Core

__all__ = ["client", "close_shared"]

# Configurations, not users: a process has a few. A bound all the same, for programs that make up a new one per request.
MAX_CLIENTS: Final = 64


class _Clients:
    """The clients, by the digest of what made them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_name: OrderedDict[str, Core] = OrderedDict()
        on_fork(self)

    def after_fork(self) -> None:  # pragma: no cover - a forked child, which no coverage is measured in
        self.lock = threading.Lock()


_clients = _Clients()


def client(cls: type[Core], key: SecretStr | None, arguments: dict[str, Any]) -> Core:
    """Return the client made with these arguments and this environment."""
    name = _fingerprint(cls, key, arguments)
    with _clients.lock:
        known = _clients.by_name.get(name)
        if known is None:
            known = _clients.by_name[name] = cls(key, **arguments)
            while len(_clients.by_name) > MAX_CLIENTS:
                _clients.by_name.popitem(last=False)  # whoever still holds it goes on with it
        _clients.by_name.move_to_end(name)
        return known


def close_shared() -> None:
    """Close all shared clients and forget them, as at the end of a test."""
    with _clients.lock:
        gone = list(_clients.by_name.values())
        _clients.by_name.clear()
    for one in gone:
        one.close()


# Who was given no client has none to close.
atexit.register(close_shared)


def _fingerprint(cls: type[Core], key: SecretStr | None, arguments: dict[str, Any]) -> str:
    """Return a digest of what decides a client, so that the cache's keys hold no secret."""
    environment = sorted((name, value) for name, value in os.environ.items() if name.upper().startswith("BEHEST_"))
    default = {name: parameter.default for name, parameter in inspect.signature(cls.__init__).parameters.items()}
    given = sorted((name, _told(value)) for name, value in arguments.items() if value != default.get(name))
    secret = key.get_secret_value() if key is not None else None
    whole = repr((f"{cls.__module__}.{cls.__qualname__}", secret, given, environment))
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


def _told(value: object) -> str:
    """Return what tells an argument from others; settings that differ in their key alone look the same."""
    key = value.key if isinstance(value, BehestSettings) else None
    return repr(value) if key is None else repr((value, key.get_secret_value()))
