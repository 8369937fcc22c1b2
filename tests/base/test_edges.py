"""What rarely happens."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest

from behest_base import (
    Behest,
    BehestAuthError,
    BehestBadRequestError,
    BehestConfigError,
    BehestConnectionError,
    BehestNotFoundError,
    BehestServerError,
    BehestSettings,
    BehestStreamError,
    Clock,
    Scope,
    ThreadMessage,
    ToolCallPieces,
    scope,
)
from behest_base.chat import StreamReader
from behest_base.emulator import Emulator, RawSSE
from behest_base.jwts import is_jwt, lifetime_of, read_claims
from behest_base.pool import TokenPool
from behest_base.redaction import redact_json
from behest_base.responses import read_envelope, server_time
from behest_base.scope import resolve
from behest_base.threads import thread_messages
from support.clocks import HandClock
from support.keys import api_key
from support.minters import HandMinter, made_up_token

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}
ALICE = Scope("alice")
KEY = ("alice", None)


async def test_a_mint_that_serves_the_refused_token_again(gateway: Emulator, behest: Behest) -> None:
    """It is not sent a second time: the 401 surfaces, sync and async."""
    gateway.reserve_same_token = True
    behest.complete(HELLO, scope=ALICE)
    gateway.reject_all_tokens()
    with pytest.raises(BehestAuthError):
        behest.complete(HELLO, scope=ALICE)
    with pytest.raises(BehestAuthError):
        await behest.acomplete(HELLO, scope=ALICE)
    assert [chat.status for chat in gateway.chats] == [200, 401, 401]
    await behest.aclose()


async def test_a_foreign_url_in_a_task(behest: Behest) -> None:
    """An absolute foreign URL through an async client of one's own gets nothing."""
    with Emulator() as foreign, scope("alice"):
        async with httpx.AsyncClient(auth=behest.auth) as client:
            await client.get(f"{foreign.base_url}/v1/models")
        assert "authorization" not in foreign.requests[0].headers


@pytest.mark.parametrize("again", [True, False])
async def test_a_connection_that_breaks_after_the_end(gateway: Emulator, behest: Behest, *, again: bool) -> None:
    """Once [DONE] was read the answer is whole, whatever happens to the connection."""
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'
    wire = [chunk, *([b"data: [DONE]\n\n"] if again else []), b": more\n\n", b": more\n\n"]
    for _ in range(2):
        gateway.script(RawSSE(wire))
        gateway.fail_next(path="chat", after_chunks=2, close=True)
    if again:
        assert len(list(behest.stream(HELLO, scope=ALICE))) == 1
        chunks = [chunk async for chunk in behest.astream(HELLO, scope=ALICE)]
        assert [chat.status for chat in gateway.chats] == [200, 200]
        assert len(chunks) == 1
        return
    with pytest.raises(BehestStreamError):
        list(behest.stream(HELLO, scope=ALICE))
    with pytest.raises(BehestStreamError):
        async for _ in behest.astream(HELLO, scope=ALICE):
            pass


def test_streams_without_content() -> None:
    """Empty events and choices are passed over, and a reply without anything is none."""
    reader = StreamReader({"content-type": "text/event-stream; charset=utf-8"}, resolve(ALICE))
    assert reader.read("") is None
    assert reader.reply() is None
    assert reader.read('{"choices":[{"index":1,"delta":{"content":"second"}}]}') is not None
    assert reader.read('{"choices":[{"delta":null,"finish_reason":"stop"}]}') is not None
    assert reader.partial == ""
    with pytest.raises(BehestStreamError):
        reader.finish()
    reader.read("[DONE]")
    assert reader.read('{"choices":[]}') is None


def test_new_messages_of_an_unknown_thread(gateway: Emulator, behest: Behest) -> None:
    """A thread that doesn't exist yet holds nothing; what is needed of it twice is read once."""
    identity = behest.identify(Scope("alice", thread_id="new"))
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "foreign"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "2"},
    ]
    sent = behest.new_messages(messages, [None, None, "new", None], identity)
    assert [one["role"] for one in sent] == ["assistant", "assistant", "tool"]
    assert len(gateway.requests) == 2  # the mint, and one read


def test_a_cursor_that_goes_round_in_circles() -> None:
    """The same cursor again ends the list; a gateway that makes up new ones for ever is stopped."""
    operation = thread_messages(resolve(Scope("alice", thread_id="t")))
    next(operation)
    page = {"data": [{"role": "user", "content": "a"}], "next_cursor": "same"}
    operation.send(httpx.Response(200, json=page))
    with pytest.raises(StopIteration) as ended:
        operation.send(httpx.Response(200, json=page))
    assert len(ended.value.value) == 2


def test_pages_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a bound."""
    monkeypatch.setattr("behest_base.threads.MAX_PAGES", 3)
    operation = thread_messages(resolve(Scope("alice", thread_id="t")))
    next(operation)
    pages = (httpx.Response(200, json={"data": [{"role": "user"}], "next_cursor": str(n)}) for n in range(10))
    operation.send(next(pages))
    operation.send(next(pages))
    with pytest.raises(StopIteration) as ended:
        operation.send(next(pages))
    assert len(ended.value.value) == 3


def test_unpickling_gives_the_shared_client(environment: Emulator) -> None:
    """In one process a pickle comes back as the client that all models share."""
    behest = Behest()
    again = pickle.loads(pickle.dumps(behest))  # noqa: S301 - it was made here
    assert again is pickle.loads(pickle.dumps(behest))  # noqa: S301
    assert again.base_url == environment.base_url


@pytest.mark.parametrize("address", ["https://[::1", "https://a:b"])
def test_addresses_that_are_no_urls(address: str) -> None:
    """What can't be parsed is refused."""
    with pytest.raises(BehestConfigError):
        _ = BehestSettings(key=api_key(), base_url=address).gateway_url


def test_jwts_that_cannot_be_read() -> None:
    """Rubbish has no claims, and a token without `iat` lives from now."""
    assert read_claims("no") is None
    assert read_claims("a.b.c") is None
    assert read_claims("a." + "W10" + ".c") is None
    assert not is_jwt("a" * 20_000)
    assert lifetime_of({"exp": 100.0}, wall=40.0) == 60.0
    assert lifetime_of({"exp": True}, wall=40.0) is None
    assert lifetime_of({"exp": float("nan")}, wall=40.0) is None
    assert lifetime_of({"exp": float("inf")}, wall=40.0) is None


async def test_ready_tokens_in_tasks(gateway: Emulator) -> None:
    """A ready token and locally signed ones serve tasks too; one without `exp` is left to the gateway to judge."""
    async with Behest(gateway.issue("alice"), base_url=gateway.base_url) as behest:
        await behest.acomplete(HELLO)
    with Behest(gateway.issue("alice", exp=None), base_url=gateway.base_url) as behest, pytest.raises(BehestAuthError):
        behest.complete(HELLO)
    signing: dict[str, Any] = {
        "kid": gateway.signing_kid,
        "tenant_id": gateway.tenant_id,
        "project_id": gateway.project_id,
    }
    async with Behest(gateway.signing_key, base_url=gateway.base_url, **signing) as behest:
        await behest.acomplete(HELLO, scope=ALICE)


def test_dates_that_are_none() -> None:
    """A date that can't be read is none."""
    assert server_time(httpx.Headers({"date": "yesterday"})) is None
    assert server_time(httpx.Headers()) is None


def test_an_entry_evicted_while_it_is_served() -> None:
    """A token that another thread evicts in that very moment is good all the same."""
    tokens = TokenPool(HandMinter(), clock=HandClock().clock(), max_users=10)
    token = tokens.get(KEY)

    class Evicting(type(tokens._slots)):  # type: ignore[misc] # a dictionary in which a race is lost
        def move_to_end(self, key: Any, *_: Any) -> None:
            del self[key]
            super().move_to_end(key)

    tokens._slots = Evicting(tokens._slots)
    assert tokens.get(KEY) is token


def test_redaction_reaches_into_everything() -> None:
    """Keys, values and lists."""
    secret = made_up_token("alice", 1)
    cleaned = redact_json({secret: [secret, {"a": secret}, 5, None]})
    assert secret not in str(cleaned)
    assert cleaned["[redacted]"][2:] == [5, None]


def test_envelopes_that_are_no_objects() -> None:
    """A JSON text, list or null is read as far as it goes."""
    assert read_envelope(b'"no"').message == "no"
    assert read_envelope(b"null").message is None
    assert read_envelope(b"").raw is None


def test_a_scope_from_rubbish() -> None:
    """What is no JWT, or names no user, is refused without being repeated."""
    for token in ("rubbish", jwt.encode({"a": 1}, "x" * 32, algorithm="HS256")):
        with pytest.raises(BehestConfigError, match="uid") as caught:
            Scope.from_token(token)
        assert token not in str(caught.value)


async def test_a_mint_that_cannot_be_reached_in_a_task() -> None:
    """The same error as in a thread."""
    async with Behest(api_key(), base_url="http://127.0.0.1:9", max_retries=0) as behest:
        with pytest.raises(BehestConnectionError, match="can't be reached"):
            await behest.amint("alice")


def test_messages_of_a_thread_as_openai_messages() -> None:
    """Only what a model takes; unknown fields stay with the message."""
    message = ThreadMessage.model_validate(
        {"role": "user", "content": [{"type": "text", "text": "Hi"}], "mood": "good"}
    )
    assert message.wire() == {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    assert message.text == "Hi"
    assert message.model_extra == {"mood": "good"}


def test_the_openai_extra_says_how_to_get_it() -> None:
    """Without the SDK the error names the extra."""
    code = (
        "import sys; sys.modules['openai'] = None\n"
        "from behest_base import Behest\n"
        "try: Behest('behest_sk_test_' + 'x' * 8, base_url='http://127.0.0.1:9').openai()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "behest-base[openai]" in done.stdout


def test_heavy_imports_are_left_to_those_who_need_them() -> None:
    """The package and a client with an API key import neither the SDK nor a server, nor httpx2, nor cryptography."""
    code = (
        "import sys; from behest_base import Behest\n"
        "Behest('behest_sk_test_' + 'x' * 8, base_url='http://127.0.0.1:9')\n"
        "heavy = ('openai', 'starlette', 'uvicorn', 'httpx2', 'jwt', 'cryptography')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("form", ["plain", "streamed"])
def test_a_thread_that_cannot_be_read_for_mending(gateway: Emulator, instant: Clock, form: str) -> None:
    """The call's own error is raised, not the one of reading the thread."""
    where = Scope("alice", thread_id="t")
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest:
        calls: dict[str, Callable[[], object]] = {
            "plain": lambda: behest.complete(HELLO, scope=where),
            "streamed": lambda: list(behest.stream(HELLO, scope=where)),
        }
        gateway.fail_next(status=400, path="chat", message="first")
        gateway.fail_next(status=500, path="threads", times=3)
        with pytest.raises(BehestBadRequestError, match="first"):
            calls[form]()


def test_not_found_says_where_to_look(behest: Behest) -> None:
    """A 404 names both ways to give the address."""
    with pytest.raises(BehestNotFoundError, match=r"base_url=.*BEHEST_BASE_URL"):
        behest.threads.get("none", user_id="alice")


def test_a_mint_that_answers_a_page(gateway: Emulator, behest: Behest) -> None:
    """Something else than JSON from the mint is an error."""
    gateway.next_mint("<html>")
    with pytest.raises(BehestServerError, match="not JSON"):
        behest.complete(HELLO, scope=ALICE)


def test_pieces_of_a_tool_call_that_say_nothing_new() -> None:
    """A name that is repeated with its id isn't written twice."""
    pieces = ToolCallPieces()
    pieces.add({"index": 0, "id": "1", "function": {"name": "look"}})
    assert pieces.add({"index": 0, "id": "1", "function": {"name": "look", "arguments": "{}"}}) == (0, True)
    assert pieces.calls == [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]


async def test_a_stream_where_a_whole_answer_is_asked_for(behest: Behest, gateway: Emulator) -> None:
    """It is refused before anything is sent, and the error names the call that streams."""
    body = {"messages": [{"role": "user", "content": "Hello."}], "stream": True}
    with pytest.raises(BehestConfigError, match=r"stream\(\)"):
        behest.complete(body, scope=Scope("alice"))
    with pytest.raises(BehestConfigError, match=r"astream\(\)"):
        await behest.acomplete(body, scope=Scope("alice"))
    assert gateway.requests == []
    assert list(behest.stream(body, scope=Scope("alice")))
