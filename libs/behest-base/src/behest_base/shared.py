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

if TYPE_CHECKING:
    from behest_base.core import Core

__all__ = ["client", "close_shared"]

# Configurations, not users: a process has a few. A bound all the same, for programs that make up a new one per request.
MAX_CLIENTS: Final = 64

_lock = threading.Lock()
_clients: OrderedDict[str, Core] = OrderedDict()


def client(cls: type[Core], key: SecretStr | None, arguments: dict[str, Any]) -> Core:
    """Return the client made with these arguments and this environment."""
    name = _fingerprint(cls, key, arguments)
    with _lock:
        known = _clients.get(name)
        if known is None:
            known = _clients[name] = cls(key, **arguments)
            while len(_clients) > MAX_CLIENTS:
                _clients.popitem(last=False)  # whoever still holds it goes on with it
        _clients.move_to_end(name)
        return known


def close_shared() -> None:
    """Close all shared clients and forget them, as at the end of a test."""
    with _lock:
        gone = list(_clients.values())
        _clients.clear()
    for one in gone:
        one.close()


# Who was given no client has none to close.
atexit.register(close_shared)


def _fingerprint(cls: type[Core], key: SecretStr | None, arguments: dict[str, Any]) -> str:
    """Return a digest of what decides a client, so that the cache's keys hold no secret."""
    environment = sorted((name, value) for name, value in os.environ.items() if name.upper().startswith("BEHEST_"))
    default = {name: parameter.default for name, parameter in inspect.signature(cls.__init__).parameters.items()}
    given = sorted((name, repr(value)) for name, value in arguments.items() if value != default.get(name))
    secret = key.get_secret_value() if key is not None else None
    whole = repr((f"{cls.__module__}.{cls.__qualname__}", secret, given, environment))
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
