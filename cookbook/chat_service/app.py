"""The service: who is signed in, their threads, and answers as they stream. `README.md` tells the rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from langchain_core.messages import BaseMessageChunk
from pydantic import BaseModel, Field
from starlette.middleware.sessions import SessionMiddleware

from behest_base import Behest, BehestAuthError, BehestError, BehestNotFoundError, BehestVerifier, scope
from langchain_behest import ChatBehest

STATIC = Path(__file__).parent / "static"
SYSTEM = "You are a friendly assistant. Answer briefly."
# A short wait is waited out by the client; a longer one is the browser's to count down.
MAX_RETRY_AFTER_SECONDS = 2.0
# What a user can do something about. Any other failure of the gateway is ours: 502, also where it refuses our key with 401.
TOLD_STATUSES = (402, 404, 429, 451)
# The page loads nothing from elsewhere, and stands in no other page's frame.
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'"}
# Nothing between us and the browser keeps an answer, or holds it back until it is whole.
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class SignIn(BaseModel):
    """A demo's sign-in: a name. A real one checks a password, or a provider's token (`../sign_in.py`)."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^\w+$")


class Said(BaseModel):
    """What a user types."""

    text: str = Field(min_length=1, max_length=4_000)


Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


async def signed_in(request: Request) -> AsyncGenerator[None]:
    """Make every call of a request the signed-in user's. The name comes from our own signed cookie, never from the body."""
    user = request.session.get("user")
    if user is None:
        raise HTTPException(401, "Please sign in.")
    with scope(user):
        yield


async def front_end(request: Request, bearer: Bearer) -> AsyncGenerator[None]:
    """Make every call of a request that of the user whose Behest token a front end sends, with that very token."""
    verifier: BehestVerifier = request.app.state.verifier
    try:
        with scope(await verifier.ascope(bearer.credentials)):
            yield
    except BehestAuthError as error:  # it is not valid, or the gateway takes it no longer
        raise HTTPException(error.status or 401, error.message) from error


async def client_of(request: Request) -> Behest:
    """Give the app's one client."""
    client: Behest = request.app.state.behest
    return client


async def model_of(request: Request) -> ChatBehest:
    """Give the app's one model."""
    model: ChatBehest = request.app.state.model
    return model


Client = Annotated[Behest, Depends(client_of)]
Model = Annotated[ChatBehest, Depends(model_of)]
ThreadId = Annotated[str, PathParameter(pattern=r"^[!-~]{1,255}$")]

open_to_all = APIRouter()
for_users = APIRouter(prefix="/api", dependencies=[Depends(signed_in)])
for_front_ends = APIRouter(prefix="/api", dependencies=[Depends(front_end)])


@open_to_all.get("/")
async def page() -> FileResponse:
    """Give the page."""
    return FileResponse(STATIC / "index.html", headers=PAGE_HEADERS)


@open_to_all.post("/api/sign-in")
async def sign_in(request: Request, given: SignIn) -> dict[str, str]:
    """Sign a user in: from now on the cookie says who it is."""
    request.session["user"] = given.name
    return {"name": given.name}


@open_to_all.post("/api/sign-out", status_code=204)
async def sign_out(request: Request) -> None:
    """Forget who it was."""
    request.session.clear()


@for_users.get("/user")
async def who(request: Request) -> dict[str, str]:
    """Tell the page who is signed in."""
    return {"name": request.session["user"]}


@for_users.get("/threads")
async def list_threads(behest: Client) -> list[dict[str, str]]:
    """List the user's threads."""
    return [{"id": thread.id, "title": thread.title or thread.id} for thread in await behest.threads.alist()]


@for_users.get("/threads/{thread_id}")
async def read_thread(thread_id: ThreadId, behest: Client) -> list[dict[str, str]]:
    """Read a thread of the user's."""
    messages = await behest.threads.amessages(thread_id)
    return [{"role": message.role, "text": message.text} for message in messages if message.text]


@for_users.delete("/threads/{thread_id}", status_code=204)
async def delete_thread(thread_id: ThreadId, behest: Client) -> None:
    """Delete a thread of the user's."""
    with contextlib.suppress(BehestNotFoundError):
        await behest.threads.adelete(thread_id)


@for_users.post("/threads/{thread_id}/messages")
async def say(thread_id: ThreadId, said: Said, model: Model, request: Request) -> Response:
    """Answer in a thread, as server-sent events."""
    pieces = model.astream([("system", SYSTEM), ("human", said.text)], thread_id=thread_id)
    # The first piece is waited for here, where a refusal can still become the status of our answer.
    first = await first_of(pieces, request)
    if first is None:
        return Response(status_code=204)  # nobody reads this
    return StreamingResponse(events(first, pieces), media_type="text/event-stream", headers=STREAM_HEADERS)


@for_users.post("/behest-token")
async def behest_token(behest: Client, response: Response) -> dict[str, str | int]:
    """Answer a front end that calls the gateway itself: a token of its user, for ten minutes."""
    response.headers["Cache-Control"] = "no-store"
    return (await behest.amint(ttl=600)).for_browser()


@for_front_ends.post("/ask")
async def ask(said: Said, model: Model) -> dict[str, str]:
    """Answer a front end that has a token of the gateway."""
    return {"text": (await model.ainvoke(said.text)).text}


async def first_of(pieces: AsyncIterator[BaseMessageChunk], request: Request) -> BaseMessageChunk | None:
    """Wait for the first piece of an answer, but no longer than the browser does: None if it went away before."""
    first = asyncio.ensure_future(anext(pieces))
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait({first, gone}, return_when=asyncio.FIRST_COMPLETED)
        return first.result() if first.done() else None
    finally:
        gone.cancel()
        first.cancel()  # which closes the gateway's stream


async def disconnected(request: Request) -> None:
    """Wait until the browser goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def events(first: BaseMessageChunk, rest: AsyncIterator[BaseMessageChunk]) -> AsyncGenerator[str]:
    """Write pieces of an answer as server-sent events.

    When the browser goes away, or its user presses stop, the server cancels this, which closes the gateway's stream.
    """
    async with contextlib.aclosing(rest):  # type: ignore[type-var] # an async generator, though it is not typed as one
        try:
            yield event("text", text=first.text)
            async for piece in rest:
                if piece.text:
                    yield event("text", text=piece.text)
            yield event("done")
        except BehestError as error:  # it broke off in the middle
            yield event("error", **described(error))


def event(kind: str, **data: Any) -> str:
    """Write one event."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def described(error: BehestError) -> dict[str, Any]:
    """Return what the page needs to tell of an error; the trace id is for whoever the user writes to."""
    fields = {
        "message": error.message,
        "code": error.code,
        "upgrade_url": error.upgrade_url,
        "retry_after": getattr(error, "retry_after", None),
        "trace_id": error.trace_id,
    }
    return {name: value for name, value in fields.items() if value is not None}


async def say_what_to_do(_: Request, error: Exception) -> Response:
    """Answer with the gateway's status, where it is one that the user can do something about."""
    if not isinstance(error, BehestError):
        raise error
    told = described(error)
    headers = {"Retry-After": f"{told['retry_after']:.0f}"} if "retry_after" in told else {}
    status = error.status if error.status in TOLD_STATUSES else 502
    return JSONResponse(told, status, headers)


def create_app(behest: Behest | None = None, session_secret: str | None = None) -> FastAPI:
    """Make the app.

    Args:
        behest: The client, which is closed with the app; else one from the environment.
        session_secret: What the session cookie is signed with; else SESSION_SECRET, else one that ends with the process.
    """
    client = behest or Behest(max_retry_after=MAX_RETRY_AFTER_SECONDS)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = FastAPI(title="Chat", lifespan=lifespan)
    app.state.behest = client
    app.state.model = ChatBehest(client=client)
    app.state.verifier = BehestVerifier(base_url=client.base_url, project_id=os.environ.get("BEHEST_PROJECT_ID"))
    app.add_middleware(
        SessionMiddleware,
        secret_key=session_secret or os.environ.get("SESSION_SECRET") or secrets.token_hex(32),
        same_site="strict",  # no other site's page can make a request as our user
        https_only=bool(os.environ.get("HTTPS_ONLY")),
    )
    app.add_exception_handler(BehestError, say_what_to_do)
    for router in (open_to_all, for_users, for_front_ends):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app
