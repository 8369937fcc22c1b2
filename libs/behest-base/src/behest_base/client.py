"""Behest: the calls of a client. One serves threads, event loops and users alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from behest_base.chat import Timeout, completion, completion_call, plain_body, stream_body
from behest_base.core import Core
from behest_base.errors import BehestConfigError, BehestNotFoundError, BehestServerError
from behest_base.exchange import Call, Operation, read_json
from behest_base.jsons import is_array, is_object
from behest_base.scope import UNSET, Identity, Scope, Unset
from behest_base.settings import MAX_TTL_SECONDS, MIN_TTL_SECONDS
from behest_base.streams import AsyncChatStream, ChatStream
from behest_base.threads import thread_messages
from behest_base.tokens import MintedToken, Wanted, minted_token
from behest_base.turns import plan, with_pending
from behest_base.usage import Moment, Usage, read_usage
from behest_base.views import ThreadView

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

__all__ = ["Behest"]


class Behest(Core):
    """A client of the Behest gateway for any number of end users.

    Everything can come from the environment (`BEHEST_KEY`, `BEHEST_BASE_URL` or `BEHEST_SLUG`, `BEHEST_USER_ID` …, see
    `BehestSettings`). Tokens are minted, cached and renewed per user, without a background thread. It is safe to share
    between threads, event loops and users; methods with an `a` in front are for tasks. Nothing is sent at construction.

    Example:
        ```python
        behest = Behest()  # BEHEST_KEY and BEHEST_BASE_URL, or BEHEST_SLUG, are set
        answer = behest.complete({"messages": [{"role": "user", "content": "Hello"}]}, scope=Scope("alice"))
        print(answer["choices"][0]["message"]["content"])
        ```
    """

    # -- chat -------------------------------------------------------------------------------------------------------

    def complete(
        self,
        body: Mapping[str, Any],
        *,
        scope: Scope | Identity | None = None,
        timeout: Timeout = UNSET,
        max_retries: int | Unset = UNSET,
    ) -> dict[str, Any]:
        """Make a chat completion.

        Args:
            body: The OpenAI request. `model` may be left out: the project's own is used.
            scope: For whom, and in which session and thread. Without a session the call gets one of its own, so that it
                shares no memory with others.
            timeout: Seconds, or an `httpx.Timeout`, for this call.
            max_retries: Sends after the first one, for this call.

        Returns:
            The OpenAI completion as the gateway sent it, and under `behest` where it was made: `user_id`, `session_id`,
            and `thread_id`, `trace_id`, `request_id` if there are such.

        Raises:
            BehestError: As `behest_base.errors` draws it.
        """
        call = completion_call(plain_body(body), self.identify(scope), timeout, max_retries)
        return self._exchange.run(completion(call, self._view_of(call)))

    async def acomplete(
        self,
        body: Mapping[str, Any],
        *,
        scope: Scope | Identity | None = None,
        timeout: Timeout = UNSET,  # noqa: ASYNC109 - httpx's, per step of the request
        max_retries: int | Unset = UNSET,
    ) -> dict[str, Any]:
        """Make a chat completion; see `complete`."""
        call = completion_call(plain_body(body), self.identify(scope), timeout, max_retries)
        return await self._exchange.arun(completion(call, self._view_of(call)))

    def stream(
        self,
        body: Mapping[str, Any],
        *,
        scope: Scope | Identity | None = None,
        timeout: Timeout = UNSET,
        max_retries: int | Unset = UNSET,
    ) -> ChatStream:
        """Make a streamed chat completion; takes what `complete` takes.

        For whom is decided now; the request goes out with the first step of the iteration.

        Returns:
            An iterator of OpenAI chunks. Close it to stop the gateway.
        """
        call = completion_call(stream_body(body), self.identify(scope), timeout, max_retries)
        return ChatStream(self._exchange, call, self._view_of(call))

    def astream(
        self,
        body: Mapping[str, Any],
        *,
        scope: Scope | Identity | None = None,
        timeout: Timeout = UNSET,
        max_retries: int | Unset = UNSET,
    ) -> AsyncChatStream:
        """Make a streamed chat completion; see `stream`. Nothing to await here: iterate with `async for`."""
        call = completion_call(stream_body(body), self.identify(scope), timeout, max_retries)
        return AsyncChatStream(self._exchange, call, self._view_of(call))

    # -- threads ----------------------------------------------------------------------------------------------------

    def new_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        marks: Sequence[str | None],
        identity: Identity,
        *,
        store_tool_calls: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Return what of a list has to go out in a call: what the identity's thread doesn't hold (`behest_base.turns`).

        Args:
            messages: The whole list, as OpenAI messages.
            marks: For each message, the id of the thread it came out of, or None.
            identity: For whom, and in which thread; without a thread the list is returned as it is.
            store_tool_calls: Whether the project's tier keeps tool calls in threads; learned by reading the thread, once
                per client, if it matters and is None.
        """
        return self._exchange.run(self._new_messages(messages, marks, identity, store_tool_calls=store_tool_calls))

    async def anew_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        marks: Sequence[str | None],
        identity: Identity,
        *,
        store_tool_calls: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Return what of a list has to go out in a call; see `new_messages`."""
        return await self._exchange.arun(
            self._new_messages(messages, marks, identity, store_tool_calls=store_tool_calls)
        )

    def _view_of(self, call: Call) -> ThreadView | None:
        return self.view(call.identity) if call.identity.thread_id is not None else None

    def _wanted(
        self, user_id: str | Unset, session_id: str | None, tier: str | int | Unset | None, ttl: int | None
    ) -> Wanted:
        if ttl is not None and not MIN_TTL_SECONDS <= ttl <= MAX_TTL_SECONDS:
            msg = f"ttl= must be {MIN_TTL_SECONDS} to {MAX_TTL_SECONDS} seconds."
            raise BehestConfigError(msg)
        who = self.identify(Scope(user_id, session_id=UNSET if session_id is None else session_id, tier=tier))
        return Wanted(who.user_id, tier=who.tier, ttl=ttl, session_id=who.session_id)

    def _outside(self, user_id: str | Unset, scope: Scope | None) -> Identity:
        return self.identify(Scope(user_id, thread_id=None).over(scope or Scope()))

    def _new_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        marks: Sequence[str | None],
        identity: Identity,
        *,
        store_tool_calls: bool | None,
    ) -> Operation[list[dict[str, Any]]]:
        if identity.thread_id is None:
            return [dict(message) for message in messages]
        known = self._stores_tool_calls if store_tool_calls is None else store_tool_calls
        steps = plan(messages, marks, identity.thread_id, stores_tool_calls=known)
        thread: list[dict[str, Any]] | None = None
        try:
            next(steps)
            while True:
                thread = (yield from _read_thread(identity)) if thread is None else thread
                steps.send(thread)
        except StopIteration as stop:
            outcome = stop.value
        if store_tool_calls is None and outcome.stores_tool_calls is not None:
            self._stores_tool_calls = outcome.stores_tool_calls
        return with_pending(outcome.messages, self.view(identity).waiting)

    # -- tokens, usage, models --------------------------------------------------------------------------------------

    def mint(
        self,
        user_id: str | Unset = UNSET,
        *,
        session_id: str | None = None,
        tier: str | int | Unset | None = UNSET,
        ttl: int | None = None,
    ) -> MintedToken:
        """Mint a token to hand out, for example to a browser; it isn't cached, and calls of this client don't use it.

        Args:
            user_id: The end user, from your own verified session.
            session_id: The session to write into the token; if None the ambient scope's, else a fresh one.
            tier: The user's tier.
            ttl: Seconds, 60 to 86,400.

        Raises:
            BehestConfigError: No user is named anywhere, or an argument can't be sent.
            BehestError: The mint refused, or could not be reached.
        """
        wanted = self._wanted(user_id, session_id, tier, ttl)
        wall = self._clock.wall()
        return minted_token(wanted, self._minter.mint(wanted), wall=wall)

    async def amint(
        self,
        user_id: str | Unset = UNSET,
        *,
        session_id: str | None = None,
        tier: str | int | Unset | None = UNSET,
        ttl: int | None = None,
    ) -> MintedToken:
        """Mint a token to hand out; see `mint`."""
        wanted = self._wanted(user_id, session_id, tier, ttl)
        wall = self._clock.wall()
        return minted_token(wanted, await self._minter.amint(wanted), wall=wall)

    def usage(
        self, from_: Moment = None, to: Moment = None, *, user_id: str | Unset = UNSET, scope: Scope | None = None
    ) -> Usage:
        """Return the project's usage between two moments (dates, datetimes with a time zone, or ISO 8601 text).

        Raises:
            BehestNotFoundError: This environment has no usage endpoint.
            BehestServerError: The answer is no usage report.
        """
        return self._exchange.run(read_usage(self._outside(user_id, scope), from_, to))

    async def ausage(
        self, from_: Moment = None, to: Moment = None, *, user_id: str | Unset = UNSET, scope: Scope | None = None
    ) -> Usage:
        """Return the project's usage between two moments; see `usage`."""
        return await self._exchange.arun(read_usage(self._outside(user_id, scope), from_, to))

    def models(self, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> list[dict[str, Any]]:
        """Return the project's models, as the OpenAI list has them."""
        return self._exchange.run(_models(self._outside(user_id, scope)))

    async def amodels(self, *, user_id: str | Unset = UNSET, scope: Scope | None = None) -> list[dict[str, Any]]:
        """Return the project's models, as the OpenAI list has them."""
        return await self._exchange.arun(_models(self._outside(user_id, scope)))

    # -- everything else --------------------------------------------------------------------------------------------

    def openai(self) -> OpenAI:
        """Return an OpenAI client whose calls carry the ambient scope's user's token: embeddings, files, responses.

        It needs the extra `openai`. Retries are this client's; its own are off. Its calls are in no thread; name one with
        `extra_headers={"X-Thread-Id": …}`.
        """
        from behest_base.openai_clients import make_openai  # noqa: PLC0415 - an extra

        return make_openai(self.base_url, self._http.lend())

    def async_openai(self) -> AsyncOpenAI:
        """Return the same for tasks."""
        from behest_base.openai_clients import make_async_openai  # noqa: PLC0415 - an extra

        return make_async_openai(self.base_url, self._http.alend())


def _read_thread(identity: Identity) -> Operation[list[dict[str, Any]]]:
    try:
        return [message.wire() for message in (yield from thread_messages(identity))]
    except BehestNotFoundError:  # it comes to exist with the first call
        return []


def _models(identity: Identity) -> Operation[list[dict[str, Any]]]:
    answer = read_json((yield Call("GET", "/v1/models", identity)))
    models = answer.get("data") if is_object(answer) else answer
    if not is_array(models):
        msg = "The gateway's answer is not a list of models."
        raise BehestServerError(msg, raw=answer)
    return models
