"""The chat service on a free port of this machine, for its tests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Generator

import uvicorn

from behest_base import Behest
from behest_base.emulator import Emulator, RawSSE
from cookbook.conftest import load

__all__ = ["THINKING", "serving"]

# A model that takes its time: there is a stream, but no word of the answer yet.
THINKING = RawSSE([b": thinking\n\n", b": thinking\n\n"])


@contextlib.contextmanager
def serving(gateway: Emulator, key: str | None = None) -> Generator[str]:
    """Serve the chat service on a gateway, with its key or another, and give the service's address."""
    recipe = load("chat_service/app.py")
    client = Behest(key or gateway.api_key, base_url=gateway.base_url, max_retry_after=recipe.MAX_RETRY_AFTER_SECONDS)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        recipe.create_app(client), ws="none", log_config=None, log_level="critical", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        client.close()
