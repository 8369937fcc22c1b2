"""Ready OpenAI clients on the gateway, with the SDK's 2.x and 3.x."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from behest_base import Behest, BehestAuthError, Clock, scope
from behest_base.emulator import Emulator
from support.canaries import shown
from support.retry_table import ROWS, Row, refuse

MESSAGES: list[Any] = [{"role": "user", "content": "Hello."}]


@pytest.fixture(autouse=True)
def foreign_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what must not reach the gateway."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL", "OPENAI_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "http://leak.invalid")


def test_chat(gateway: Emulator, behest: Behest) -> None:
    """A call carries the ambient user's token, a session, and nothing of OPENAI_*."""
    gateway.script("Good day.")
    client = behest.openai()
    with scope("alice"):
        answer = client.chat.completions.create(model="default", messages=MESSAGES)
    assert answer.choices[0].message.content == "Good day."
    chat = gateway.chats[0]
    assert chat.claims is not None
    assert chat.claims["uid"] == "alice"
    assert "leak" not in str(dict(chat.headers))
    assert "x-session-id" in chat.headers


def test_it_serves_every_user(gateway: Emulator, behest: Behest) -> None:
    """One client follows the ambient scope from call to call."""
    client = behest.openai()
    for user in ("alice", "bob"):
        with scope(user):
            client.chat.completions.create(model="default", messages=MESSAGES)
    assert [chat.user_id for chat in gateway.chats] == ["alice", "bob"]


def test_stream(gateway: Emulator, behest: Behest) -> None:
    """Streams work."""
    gateway.script("Good day to you.")
    with scope("alice"):
        chunks = list(behest.openai().chat.completions.create(model="default", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Good day to you."


async def test_in_tasks(gateway: Emulator, behest: Behest) -> None:
    """The async client chats and streams as the ambient user."""
    gateway.script("Good day.", "Good day.")
    client = behest.async_openai()
    with scope("bob"):
        answer = await client.chat.completions.create(model="default", messages=MESSAGES)
        stream = await client.chat.completions.create(model="default", messages=MESSAGES, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert answer.choices[0].message.content == text == "Good day."
    assert {chat.user_id for chat in gateway.chats} == {"bob"}
    await behest.aclose()


def test_embeddings_are_the_gateways_to_offer(behest: Behest) -> None:
    """What the gateway doesn't have is the SDK's own 404."""
    with scope("alice"), pytest.raises(openai.NotFoundError):
        behest.openai().embeddings.create(model="e", input="a")


def test_a_thread_is_named_explicitly(gateway: Emulator, behest: Behest) -> None:
    """The ambient thread isn't used: what a library sends through this client is no turn of the conversation."""
    client = behest.openai()
    with scope("alice", thread_id="t"):
        client.chat.completions.create(model="default", messages=MESSAGES)
        client.chat.completions.create(model="default", messages=MESSAGES, extra_headers={"X-Thread-Id": "t"})
    assert [chat.thread_id for chat in gateway.chats] == [None, "t"]


@pytest.mark.parametrize("row", ROWS)
def test_one_layer_of_retries(gateway: Emulator, instant: Clock, waits: list[float], row: Row) -> None:
    """The SDK's own retries are off; ours are the only ones, and the same as the client's own."""
    headers = {"X-Thread-Id": "t"} if row.in_thread else {}
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest:
        refuse(gateway, row)
        with scope("alice"), pytest.raises(openai.APIStatusError):
            behest.openai().chat.completions.create(model="default", messages=MESSAGES, extra_headers=headers)
    assert len(gateway.chats) == 1 + len(row.pauses)
    assert waits == pytest.approx(row.pauses, abs=row.tolerance)


def test_a_401_is_renewed(gateway: Emulator, behest: Behest) -> None:
    """The auth below the SDK renews the token."""
    client = behest.openai()
    with scope("alice"):
        client.chat.completions.create(model="default", messages=MESSAGES)
        gateway.reject_all_tokens()
        client.chat.completions.create(model="default", messages=MESSAGES)
    assert [chat.status for chat in gateway.chats] == [200, 401, 200]


def test_closing_it_leaves_the_client_alone(gateway: Emulator, behest: Behest) -> None:
    """Its connections are the client's, and stay open for others."""
    with behest.openai() as client, scope("alice"):
        client.chat.completions.create(model="default", messages=MESSAGES)
    with scope("alice"):
        behest.complete({"messages": MESSAGES})
    assert len(gateway.chats) == 2


def test_our_errors_come_through(gateway: Emulator) -> None:
    """A mint that refuses says what to do: as the error itself, or as the cause of the connection error of 2.x."""
    with (
        Behest("behest_sk_test_" + "0" * 32, base_url=gateway.base_url) as behest,
        scope("alice"),
        pytest.raises((BehestAuthError, openai.APIConnectionError)) as caught,
    ):
        behest.openai().chat.completions.create(model="default", messages=MESSAGES)
    error = caught.value if isinstance(caught.value, BehestAuthError) else caught.value.__cause__
    assert isinstance(error, BehestAuthError)
    assert "BEHEST_KEY" in str(error)
    assert gateway.chats == []


def test_no_secret_in_it(gateway: Emulator, behest: Behest) -> None:
    """Neither key nor token is in the client's attributes or in a copy of it."""
    client = behest.openai()
    with scope("alice"):
        client.chat.completions.create(model="default", messages=MESSAGES)
    token = gateway.chats[0].headers["authorization"].removeprefix("Bearer ")
    shown = repr(vars(client)) + repr(client.auth_headers) + repr(vars(client.with_options(timeout=1)))
    assert token not in shown
    assert gateway.api_key not in shown


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400},
        {"status": 401, "times": 2},
        {"status": 503, "times": 3},
        {"close": True, "times": 3},
        {"after_chunks": 1, "close": True},
        {"status": 200, "body": "no gzip", "headers": {"Content-Encoding": "gzip"}},
    ],
)
@pytest.mark.parametrize("in_a_task", [False, True])
async def test_no_secret_in_its_errors_and_logs(
    gateway: Emulator, instant: Clock, caplog: pytest.LogCaptureFixture, fault: dict[str, Any], *, in_a_task: bool
) -> None:
    """Neither in text, attributes, chain and frames of what the SDK raises, nor in any DEBUG log."""
    for name in ("behest_base", "httpx", "httpcore", "openai", "httpx2"):
        caplog.set_level("DEBUG", logger=name)
    streamed = "after_chunks" in fault
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest, scope("alice"):
        await behest.amodels()
        gateway.fail_next(path="chat", **fault)
        with pytest.raises((openai.OpenAIError, httpx.HTTPError)) as caught:
            await ask(behest, in_a_task=in_a_task, streamed=streamed)
        await behest.aclose()
    tokens = {request.headers["authorization"].removeprefix("Bearer ") for request in gateway.requests}
    assert len(tokens) >= 2
    for secret in tokens:
        assert secret[-24:] not in shown(caught.value)
        assert secret[-24:] not in caplog.text


async def ask(behest: Behest, *, in_a_task: bool, streamed: bool) -> None:
    """Make a call through a client that was handed out."""
    request: dict[str, Any] = {"model": "default", "messages": MESSAGES, "stream": streamed}
    if in_a_task:
        answer = await behest.async_openai().chat.completions.create(**request)
        _ = [chunk async for chunk in answer] if streamed else answer
    else:
        plain = behest.openai().chat.completions.create(**request)
        _ = list(plain) if streamed else plain
