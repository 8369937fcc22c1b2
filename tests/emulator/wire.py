"""Plain HTTP calls to the emulator, as any client would make them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from typing import Any

import httpx

from behest_base.emulator import Emulator

__all__ = ["Caller", "assistant_calling", "content_of", "data_of", "system", "tool", "tool_result", "user"]

Message = dict[str, Any]


class Caller:
    """One user who talks to a gateway with httpx alone."""

    def __init__(self, gateway: Emulator, http: httpx.Client, user_id: str = "alice") -> None:
        """Take a token of the user's."""
        self.http = http
        self.headers = {"Authorization": f"Bearer {gateway.issue(user_id)}"}

    def post(
        self, *messages: Message | str, thread: str | None = None, session: str | None = None, **body: Any
    ) -> httpx.Response:
        """Make a chat call; a text is a user message."""
        said = [user(one) if isinstance(one, str) else one for one in messages]
        return self.http.post(
            "/v1/chat/completions", json={"messages": said, **body}, headers=self._headers(thread, session)
        )

    def ask(self, *messages: Message | str, **options: Any) -> str:
        """Make a chat call that has to succeed, and return the reply's text."""
        response = self.post(*messages, **options)
        assert response.status_code == 200, response.text
        return content_of(response)

    @contextlib.contextmanager
    def streaming(
        self, text: str, *, thread: str | None = None, session: str | None = None, **body: Any
    ) -> Generator[httpx.Response]:
        """Make a streamed chat call."""
        asked = {"messages": [user(text)], "stream": True, **body}
        headers = self._headers(thread, session)
        with self.http.stream("POST", "/v1/chat/completions", json=asked, headers=headers) as response:
            yield response

    def stream(self, text: str, **options: Any) -> list[dict[str, Any]]:
        """Read a whole stream and return its chunks, which `[DONE]` must follow."""
        with self.streaming(text, **options) as response:
            events = data_of(response)
        assert events[-1] == "[DONE]"
        return [json.loads(one) for one in events[:-1]]

    def get(self, path: str, **query: str) -> httpx.Response:
        """Read something."""
        return self.http.get(path, params=query, headers=self.headers)

    def _headers(self, thread: str | None, session: str | None) -> dict[bytes, bytes]:
        named = {"X-Thread-Id": thread, "X-Session-Id": session}
        every = {**self.headers, **{name: value for name, value in named.items() if value is not None}}
        return {name.encode(): value.encode() for name, value in every.items()}


def data_of(response: httpx.Response) -> list[str]:
    """Return the data of an event stream's events."""
    return [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]


def content_of(response: httpx.Response) -> str:
    """Return the text of a completion's first choice."""
    return str(response.json()["choices"][0]["message"]["content"])


def system(text: str) -> Message:
    """Make a system message."""
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    """Make a user message."""
    return {"role": "user", "content": text}


def assistant_calling(*ids: str, name: str = "look") -> Message:
    """Make an assistant message that calls a tool, once for each id."""
    calls = [{"id": one, "type": "function", "function": {"name": name, "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def tool_result(call_id: str, text: str) -> Message:
    """Make a tool's answer."""
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def tool(name: str, description: str, **properties: Any) -> dict[str, Any]:
    """Make a tool all of whose properties are required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}
