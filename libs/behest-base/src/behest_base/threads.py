"""The threads resource: persistent conversations that the gateway keeps, per user (`index`, `sdk`: Threads)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from behest_base.errors import BehestConfigError, BehestNotFoundError, BehestServerError
from behest_base.exchange import Call, Exchange, Operation, read_json
from behest_base.jsons import is_array, is_object
from behest_base.scope import UNSET, Identity, Scope, Unset
from behest_base.turns import text_of

if TYPE_CHECKING:
    from behest_base.views import Views

__all__ = ["Thread", "ThreadMessage", "Threads", "thread_messages"]

M = TypeVar("M", bound=BaseModel)

THREADS: Final = "/v1/threads"
# A gateway that answers with the same cursor for ever is not followed for ever.
MAX_PAGES: Final = 10_000
_WIRE_FIELDS: Final = frozenset(
    {
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "refusal",
        "reasoning_content",
        "thinking_blocks",
        "audio",
    }
)


class Thread(BaseModel):
    """A conversation. Fields of the gateway's that are not named here are kept (`model_extra`).

    Attributes:
        id: The id that the client chose.
        title: A title, if the gateway made one.
        last_message_at: When the last message was stored, as the gateway says it.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    title: str | None = None
    last_message_at: str | int | float | None = None


class ThreadMessage(BaseModel):
    """A message of a thread. Fields that are not named here are kept (`model_extra`).

    Attributes:
        role: `user`, `assistant`, `tool` or `system`.
        content: Text, or a list of OpenAI content parts.
        id: The gateway's id of the message.
        name: The name of the sender.
        created_at: When it was stored, as the gateway says it.
        tool_calls: The calls of an assistant message, where the tier stores them.
        tool_call_id: The call that a tool message answers.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    role: str
    content: str | list[dict[str, Any]] | None = None
    id: str | int | None = None
    name: str | None = None
    created_at: str | int | float | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text of the content."""
        return text_of(self.content)

    def wire(self) -> dict[str, Any]:
        """Return it as an OpenAI message, without what only the thread has."""
        fields = self.model_dump(include=set(_WIRE_FIELDS), exclude_none=True)
        return {"role": self.role, "content": self.content, **fields}


# Inside a class that has a method `list`, type checkers take the name for it.
ThreadList = list[Thread]
MessageList = list[ThreadMessage]


class Threads:
    """Lists, reads and deletes a user's threads. Reach it as `Behest.threads`.

    Every method takes the user as `user_id=` or in `scope=`; without them the ambient scope and the client's default
    decide. All raise the errors of `behest_base.errors`; the methods with an `a` in front do the same without blocking.
    """

    def __init__(self, exchange: Exchange, identify: Callable[[Scope], Identity], views: Views) -> None:
        """Use a client's exchange."""
        self._exchange = exchange
        self._identify = identify
        self._views = views

    def list(self, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> ThreadList:
        """Return the user's threads, in the gateway's order, all pages of them."""
        return self._exchange.run(_list(self._who(user_id, scope)))

    async def alist(self, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> ThreadList:
        """Return the user's threads."""
        return await self._exchange.arun(_list(self._who(user_id, scope)))

    def get(self, thread_id: str, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> Thread:
        """Return one thread.

        Raises:
            BehestNotFoundError: The user has no such thread; one comes to exist with the first chat call that names it.
        """
        return self._exchange.run(_get(self._who(user_id, scope, thread_id)))

    async def aget(self, thread_id: str, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> Thread:
        """Return one thread."""
        return await self._exchange.arun(_get(self._who(user_id, scope, thread_id)))

    def messages(self, thread_id: str, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> MessageList:
        """Return a thread's messages, oldest first, all pages of them.

        Raises:
            BehestNotFoundError: The user has no such thread.
        """
        return self._exchange.run(thread_messages(self._who(user_id, scope, thread_id)))

    async def amessages(
        self, thread_id: str, *, user_id: str | Unset = UNSET, scope: Scope | None = None
    ) -> MessageList:
        """Return a thread's messages, oldest first."""
        return await self._exchange.arun(thread_messages(self._who(user_id, scope, thread_id)))

    def delete(self, thread_id: str, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> None:
        """Delete a thread and everything in it, and forget what waits here to go out in it.

        Raises:
            BehestNotFoundError: The user has no such thread.
        """
        self._exchange.run(self._delete(self._who(user_id, scope, thread_id)))

    async def adelete(self, thread_id: str, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> None:
        """Delete a thread and everything in it."""
        await self._exchange.arun(self._delete(self._who(user_id, scope, thread_id)))

    def _who(self, user_id: str | Unset, scope: Scope | None, thread_id: str | Unset = UNSET) -> Identity:
        return self._identify(Scope(user_id=user_id, thread_id=thread_id).over(scope or Scope()))

    def _delete(self, identity: Identity) -> Operation[None]:
        view = self._views.of(identity.user_id, identity.thread_id or "")
        try:
            yield _call("DELETE", _path(identity), identity)
        except BehestNotFoundError:
            view.clear()
            raise
        view.clear()


def thread_messages(identity: Identity) -> Operation[list[ThreadMessage]]:
    """Read all messages of the identity's thread."""
    items = yield from _pages(_call("GET", f"{_path(identity)}/messages", identity), "messages")
    return [_parsed(ThreadMessage, item) for item in items]


def _list(identity: Identity) -> Operation[list[Thread]]:
    items = yield from _pages(_call("GET", THREADS, identity), "threads")
    return [_parsed(Thread, item) for item in items]


def _get(identity: Identity) -> Operation[Thread]:
    answer = read_json((yield _call("GET", _path(identity), identity)))
    wrapped = answer.get("thread") if is_object(answer) else None
    return _parsed(Thread, wrapped if isinstance(wrapped, dict) else answer)


def _path(identity: Identity) -> str:
    if not identity.thread_id or identity.thread_id in (".", ".."):
        msg = "No thread: give its id, which is not empty and neither '.' nor '..'."
        raise BehestConfigError(msg)
    return f"{THREADS}/{quote(identity.thread_id, safe='')}"


def _pages(call: Call, name: str) -> Operation[list[Any]]:
    """Read a list in any of its forms (`ours`: Lists): bare, under its name, or under `data` in pages with a cursor."""
    items: list[Any] = []
    cursors: set[str] = set()
    for _ in range(MAX_PAGES):
        page = read_json((yield call))
        items += _items(page, name)
        cursor = _next_cursor(page)
        if cursor is None or cursor in cursors:
            break
        cursors.add(cursor)
        call = replace(call, params={"cursor": cursor})
    return items


def _call(method: str, path: str, identity: Identity) -> Call:
    """Return a call about a thread, which is not a call in it: it names none in its headers, and may be sent again."""
    return Call(method, path, identity.without_conversation(identity.session_id))


def _items(page: Any, name: str) -> list[Any]:
    if is_object(page):
        page = page.get(name, page.get("data"))
    if not is_array(page):
        msg = f"The gateway's answer is not a list of {name}, in none of the forms known."
        raise BehestServerError(msg, raw=page)
    return [*page]


def _next_cursor(page: Any) -> str | None:
    if not isinstance(page, Mapping):
        return None
    fields = cast("Mapping[str, Any]", page)
    cursor = fields.get("next_cursor")
    return str(cursor) if cursor and fields.get("has_more", True) else None


def _parsed(model: type[M], item: Any) -> M:
    try:
        return model.model_validate(item)
    except ValidationError as error:
        fields = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}))
        msg = f"The gateway's {model.__name__} can't be read: {fields or 'it is not an object'}."
        raise BehestServerError(msg, raw=item) from None
