"""The emulator as a running server, in a thread of its own."""

from __future__ import annotations

import secrets
import socket
import threading
from types import TracebackType
from typing import Self, Unpack

import uvicorn

from behest_base.emulator.app import make_app
from behest_base.emulator.controls import Controls
from behest_base.emulator.settings import Settings

__all__ = ["Emulator"]


class Emulator(Controls):
    """The gateway on this machine, for tests and for trying things out.

    It listens on loopback from `start()` or the begin of a `with` block, verifies tokens, keeps sessions and threads, and
    records every request. What can be turned while it runs are its attributes (see `Controls`).

    Example:
        ```python
        with Emulator() as gateway:
            behest = Behest(gateway.api_key, base_url=gateway.base_url, user_id="alice")
            gateway.fail_next(status=429, retry_after=1)
            behest.complete({"messages": [{"role": "user", "content": "Hello"}]})
            assert [chat.status for chat in gateway.chats] == [429, 200]
        ```
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        db: str = ":memory:",
        api_key: str | None = None,
        tenant_id: str = "tenant-emulator",
        project_id: str = "project-emulator",
        **settings: Unpack[Settings],
    ) -> None:
        """Prepare; nothing listens yet.

        Args:
            host: The address to listen on.
            port: The port, 0 for a free one.
            db: A SQLite file for sessions and threads, to keep them; in memory by default.
            api_key: The project's API key; made up by default.
            tenant_id: The tenant that tokens are for.
            project_id: The project that tokens are for.
            **settings: What its attributes are to begin with, such as `store_tool_calls=True`; see `Controls` and `Limits`.

        Raises:
            TypeError: There is no such setting.
        """
        made_up = f"behest_sk_test_{secrets.token_hex(16)}"
        super().__init__(db=db, api_key=api_key or made_up, tenant_id=tenant_id, project_id=project_id)
        self._host = host
        self._port = port
        self._settings = settings
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self._apply()

    @property
    def base_url(self) -> str:
        """The address to give to clients."""
        return f"http://{self._host}:{self._port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that lead clients here."""
        return {"BEHEST_KEY": self.api_key, "BEHEST_BASE_URL": self.base_url}

    def start(self) -> Self:
        """Begin to listen.

        Raises:
            OSError: The port is taken.
            OverflowError: It is no port's number.
        """
        # With the protocol named, asyncio turns Nagle's algorithm off; with it on, each answer would take 40 ms.
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
            # From here on connections wait in the queue, so that nobody has to wait for the server to be up.
            listener.listen(128)
        except (OSError, OverflowError):
            listener.close()
            raise
        self._listener = listener
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            make_app(self),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            date_header=False,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="behest-emulator", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, and close the database; an emulator is not started again."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join()
            self._server = self._thread = None
        if self._listener is not None:
            self._listener.close()  # a server that is stopped before it was up leaves it open
        self.store.close()

    def reset(self) -> None:
        """Be as new: no memory, no faults, no scripts, no recordings, the settings that it began with."""
        super().reset()
        self._apply()

    def __enter__(self) -> Self:
        """Listen for the length of the block."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _apply(self) -> None:
        for name, value in self._settings.items():
            if name not in Settings.__annotations__:
                self.store.close()
                raise TypeError(f"The emulator has no setting {name!r}.")
            setattr(self if hasattr(self, name) else self.limits, name, value)
