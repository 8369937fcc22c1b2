"""The gateway's error answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

__all__ = ["Refusal"]


class Refusal(Exception):  # noqa: N818 - the gateway refuses a request; nothing went wrong here
    """A request that the gateway answers with an error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Any = None,
        upgrade_url: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what the answer says."""
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"code": code, "message": message}
        if details is not None:
            self.body["details"] = details
        if upgrade_url is not None:
            self.body["upgrade_url"] = upgrade_url

    def response(self) -> Response:
        """Return the answer in the gateway's envelope."""
        return JSONResponse({"error": self.body}, self.status, headers=self.headers)
