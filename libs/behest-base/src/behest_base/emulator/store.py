"""Sessions, threads and usage, in SQLite."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import threading
import uuid
from collections.abc import Sequence
from typing import Any, Final

from behest_base.jsons import is_array, is_object

__all__ = ["Store"]

Message = dict[str, Any]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS thread (
    user TEXT, id TEXT, title TEXT, created_at TEXT, last_message_at TEXT, PRIMARY KEY (user, id));
CREATE TABLE IF NOT EXISTS message (
    n INTEGER PRIMARY KEY, user TEXT, thread TEXT, body TEXT);
CREATE INDEX IF NOT EXISTS message_thread ON message (user, thread);
CREATE TABLE IF NOT EXISTS memory (
    n INTEGER PRIMARY KEY, user TEXT, session TEXT, body TEXT);
CREATE INDEX IF NOT EXISTS memory_session ON memory (user, session);
CREATE TABLE IF NOT EXISTS used (
    at TEXT, user TEXT, model TEXT, input_tokens INTEGER, output_tokens INTEGER);
"""
_TABLES: Final = ("thread", "message", "memory", "used")
TITLE_CHARACTERS: Final = 60


class Store:
    """What the gateway remembers, by user."""

    def __init__(self, path: str) -> None:
        """Open a database file, or `:memory:`."""
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock, self._db:
            for table in _TABLES:
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are ours

    def messages(self, user: str, thread: str) -> list[Message] | None:
        """Return a thread's messages, oldest first; None if there is no such thread."""
        rows = self._rows("SELECT body FROM message WHERE user = ? AND thread = ? ORDER BY n", user, thread)
        return [json.loads(row["body"]) for row in rows] if self.thread(user, thread) else None

    def thread(self, user: str, thread: str) -> dict[str, Any] | None:
        """Return what is known of a thread."""
        rows = self._threads(user, thread)
        return rows[0] if rows else None

    def threads(self, user: str) -> list[dict[str, Any]]:
        """Return a user's threads, newest first."""
        return self._threads(user, None)

    def append(self, user: str, thread: str, messages: Sequence[Message]) -> None:
        """Store messages in a thread, which comes to exist with them."""
        if not messages:
            return
        now = dt.datetime.now(dt.UTC).isoformat()
        title = next((_text(message)[:TITLE_CHARACTERS] for message in messages if message["role"] == "user"), None)
        with self._lock, self._db:
            self._db.execute(
                "INSERT INTO thread VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET last_message_at = ?",
                (user, thread, title, now, now, now),
            )
            for message in messages:
                stored = {"id": f"msg_{uuid.uuid4().hex}", "created_at": now, **message}
                self._db.execute(
                    "INSERT INTO message (user, thread, body) VALUES (?, ?, ?)", (user, thread, json.dumps(stored))
                )

    def delete(self, user: str, thread: str) -> bool:
        """Delete a thread; say whether there was one."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM message WHERE user = ? AND thread = ?", (user, thread))
            return self._db.execute("DELETE FROM thread WHERE user = ? AND id = ?", (user, thread)).rowcount > 0

    def memory(self, user: str, session: str) -> list[Message]:
        """Return what a session remembers."""
        rows = self._rows("SELECT body FROM memory WHERE user = ? AND session = ? ORDER BY n", user, session)
        return [json.loads(row["body"]) for row in rows]

    def remember(self, user: str, session: str, messages: Sequence[Message]) -> None:
        """Add to a session's memory."""
        with self._lock, self._db:
            for message in messages:
                self._db.execute(
                    "INSERT INTO memory (user, session, body) VALUES (?, ?, ?)", (user, session, json.dumps(message))
                )

    def count(self, user: str, model: str, input_tokens: int, output_tokens: int) -> None:
        """Note what a call used."""
        now = dt.datetime.now(dt.UTC).isoformat()
        with self._lock, self._db:
            self._db.execute("INSERT INTO used VALUES (?, ?, ?, ?, ?)", (now, user, model, input_tokens, output_tokens))

    def usage(self, begin: str, end: str) -> list[dict[str, Any]]:
        """Return what was used by model, between two ISO moments."""
        rows = self._rows(
            "SELECT model, COUNT(*) AS requests, SUM(input_tokens) AS input_tokens, SUM(output_tokens) AS output_tokens "
            "FROM used WHERE at >= ? AND at <= ? GROUP BY model ORDER BY model",
            begin,
            end,
        )
        return [{**dict(row), "cost_usd": 0.0} for row in rows]

    def tokens_used(self) -> int:
        """Return all tokens used so far."""
        return int(self._rows("SELECT COALESCE(SUM(input_tokens + output_tokens), 0) AS n FROM used")[0]["n"])

    def _threads(self, user: str, thread: str | None) -> list[dict[str, Any]]:
        query = (
            "SELECT id, title, created_at, last_message_at, "
            "(SELECT COUNT(*) FROM message WHERE user = thread.user AND thread = thread.id) AS message_count "
            "FROM thread WHERE user = ? AND (? IS NULL OR id = ?) ORDER BY last_message_at DESC, rowid DESC"
        )
        return [dict(row) for row in self._rows(query, user, thread, thread)]

    def _rows(self, query: str, *values: str | None) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()


def _text(message: Message) -> str:
    content = message.get("content")
    if is_array(content):
        return " ".join(str(part.get("text", "")) for part in content if is_object(part)).strip()
    return str(content or "")
