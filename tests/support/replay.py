"""A server that answers chat calls with recordings, for tests that compare two clients on the same bytes."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["CORPUS", "Recording", "Replay", "recording", "recordings", "replaying"]

CORPUS = Path(__file__).parents[1] / "corpus"


@dataclass(frozen=True)
class Recording:
    """One answer of an OpenAI-compatible server.

    Attributes:
        name: What it shows.
        response: The answer to a plain call, if it is of one.
        sse: The events of a streamed answer, as they came over the wire.
        pieces: Where the stream is cut into TCP writes, in bytes from the start.
        differs: Fields that ChatOpenAI reads in another way, and why ours is right.
    """

    name: str
    response: dict[str, Any] | None = None
    sse: str | None = None
    pieces: list[int] = field(default_factory=list)
    differs: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Be known by name in test ids."""
        return self.name

    @property
    def body(self) -> bytes:
        """The answer's bytes."""
        return json.dumps(self.response).encode() if self.sse is None else self.sse.encode()


def recordings(kind: str) -> list[Recording]:
    """Return the corpus's recordings that have a `response`, or those that have an `sse`."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(CORPUS.glob("*.json"))]
    return [
        Recording(each["name"], each.get("response"), each.get("sse"), each.get("pieces", []), each.get("differs", {}))
        for each in found
        if kind in each
    ]


def recording(name: str) -> Recording:
    """Return the corpus's recording of this name."""
    return next(each for kind in ("response", "sse") for each in recordings(kind) if each.name == name)


class Replay:
    """Where the server is, what it answers next, and what it was sent."""

    def __init__(self, base_url: str) -> None:
        """Begin with nothing to answer."""
        self.base_url = base_url
        self.recording = Recording("nothing", {"choices": []})
        self.bodies: list[dict[str, Any]] = []


@contextmanager
def replaying() -> Iterator[Replay]:
    """Serve on a free port; every POST is answered with the recording."""
    replay = Replay("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            replay.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            recording = replay.recording
            kind = "application/json" if recording.sse is None else "text/event-stream; charset=utf-8"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(recording.body)))
            self.end_headers()
            cuts = [0, *recording.pieces, len(recording.body)]
            for start, end in itertools.pairwise(cuts):
                self.wfile.write(recording.body[start:end])
                self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    replay.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield replay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
