"""No key and no token in anything that is printed, logged, raised, warned of or dumped."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import pprint
import warnings
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from behest_base import (
    Behest,
    BehestConfigError,
    BehestConnectionError,
    BehestError,
    BehestSettings,
    BehestVerifier,
    Scope,
    scope,
)
from behest_base.emulator import Emulator
from support.canaries import shown
from support.keys import api_key, encoded, pem, public_pem

BODY = {"messages": [{"role": "user", "content": "Hello."}]}
ALICE = Scope("alice")


class Canary:
    """Secrets that must not sing, and what was seen."""

    def __init__(self, *secrets: str) -> None:
        """Watch for these secrets, and for parts of them."""
        self.secrets = [secret for secret in secrets if secret]

    def add(self, secret: str) -> None:
        """Watch for one more."""
        self.secrets.append(secret)

    def check(self, text: str) -> None:
        """Fail if a secret is in a text."""
        for secret in self.secrets:
            body = secret.rsplit(".", 1)[-1] if secret.count(".") == 2 else secret  # a token's signature
            assert body not in text
            assert body[-24:] not in text


@pytest.fixture
def canary(gateway: Emulator) -> Canary:
    """Watch for the API key."""
    return Canary(gateway.api_key)


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Capture everything that anyone logs."""
    caplog.set_level(logging.DEBUG)
    for name in ("behest_base", "httpx", "httpcore", "openai", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def tokens_of(gateway: Emulator) -> list[str]:
    """Return the tokens that went over the wire."""
    sent = (request.headers.get("authorization", "") for request in gateway.requests if request.kind != "mint")
    return [one.removeprefix("Bearer ") for one in sent if one]


async def exercise(behest: Behest, gateway: Emulator) -> None:
    """Use everything, successes and renewals."""
    with scope("alice", thread_id="t"):
        behest.complete(BODY)
        list(behest.stream(BODY))
        gateway.reject_all_tokens()
        await behest.acomplete(BODY)
        behest.threads.list()
        behest.usage()
        behest.mint()
    await behest.aclose()


async def test_logs_and_objects(gateway: Emulator, canary: Canary, logs: pytest.LogCaptureFixture) -> None:
    """Nothing in DEBUG logs of ours, httpx and httpcore, nor in repr, str and vars of what users hold."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        behest = Behest(gateway.api_key, base_url=gateway.base_url)
        await exercise(behest, gateway)
    for token in tokens_of(gateway):
        canary.add(token)
    objects: list[Any] = [behest, behest.auth, behest.threads, behest.stats(), behest.mint("alice"), behest._settings]
    for one in objects:
        canary.check(repr(one) + str(one))
        if hasattr(one, "__dict__"):
            canary.check(pprint.pformat(vars(one)))
    for name, value in vars(behest).items():
        canary.check(f"{name} {value!r} {getattr(value, '__dict__', '')!r}")
    canary.check(repr(behest._pool._slots))
    canary.check(behest._settings.model_dump_json() + str(behest._settings.model_dump()))
    canary.check(logs.text + str([record.args for record in logs.records]))
    canary.check(" ".join(str(one.message) for one in warned))
    assert logs.text
    behest.close()


def failing(gateway: Emulator) -> dict[str, Callable[[Behest], object]]:
    """Return ways to fail, each of which raises."""
    foreign = {"messages": [{"role": "user", "content": float("nan")}]}

    def fault(**what: Any) -> Callable[[Behest], object]:
        def call(behest: Behest) -> object:
            gateway.fail_next(**what)
            return behest.complete(BODY, scope=ALICE)

        return call

    def stream(behest: Behest) -> object:
        gateway.fail_next(path="chat", after_chunks=1, close=True)
        return list(behest.stream(BODY, scope=ALICE))

    def bad_mint(behest: Behest) -> object:
        gateway.next_mint({"jwt": "a.b.c", "ttl": -1})
        return behest.complete(BODY, scope=Scope("bad-mint"))

    def bad_lifetime(behest: Behest) -> object:
        gateway.next_mint({"jwt": gateway.issue("carol", ttl=-60)})
        return behest.complete(BODY, scope=Scope("carol"))

    async def atimeout(behest: Behest) -> None:
        try:
            await behest.acomplete(BODY, scope=ALICE, timeout=0.01, max_retries=0)
        finally:
            await behest.aclose()

    def timeout(behest: Behest) -> object:
        gateway.chat_delay = 0.3
        return asyncio.run(atimeout(behest))

    return {
        "mint down": fault(path="mint", status=500, times=3),
        "mint refuses": fault(path="mint", status=401),
        "mint drops": fault(path="mint", close=True, times=3),
        "chat 400": fault(path="chat", status=400),
        "chat 401 twice": fault(path="chat", status=401, times=2),
        "chat drops": fault(path="chat", close=True, times=3),
        "chat answers a page": fault(path="chat", status=502, body="<html>", times=3),
        "chat answers no completion": fault(path="chat", status=200, body={"no": "choices"}),
        "stream breaks": stream,
        "bad mint": bad_mint,
        "bad lifetime": bad_lifetime,
        "timeout": timeout,
        "unencodable": lambda behest: behest.complete(foreign, scope=ALICE),
        "no user": lambda behest: behest.complete(BODY),
        "no thread": lambda behest: behest.threads.messages("none", scope=ALICE),
        "bad id": lambda behest: behest.complete(BODY, scope=Scope("alice", thread_id="a b")),
        "echo": fault(path="chat", status=400, body={"error": {"message": f"bad key {gateway.api_key}"}}),
    }


FAILURES = (
    "mint down",
    "mint refuses",
    "mint drops",
    "chat 400",
    "chat 401 twice",
    "chat drops",
    "chat answers a page",
    "chat answers no completion",
    "stream breaks",
    "bad mint",
    "bad lifetime",
    "timeout",
    "unencodable",
    "no user",
    "no thread",
    "bad id",
    "echo",
)


@pytest.mark.parametrize("name", FAILURES)
def test_errors(gateway: Emulator, canary: Canary, logs: pytest.LogCaptureFixture, instant: Any, name: str) -> None:
    """Nothing in an error's text, attributes, chain, or in any frame's locals."""
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest:
        for warm in (True, False):  # with a token in the cache, and without
            if warm and "mint" not in name:
                behest.complete(BODY, scope=ALICE)
            elif warm:
                continue
            with pytest.raises(BehestError) as caught:
                failing(gateway)[name](behest)
    for token in tokens_of(gateway):
        canary.add(token)
    canary.check(shown(caught.value))
    canary.check(logs.text)


@pytest.mark.parametrize(
    "make",
    [
        Behest,
        lambda key: Behest(SecretStr(key)),
        lambda key: Behest(key, base_url="http://evil.test"),
        lambda key: Behest(key, base_url="http://127.0.0.1:1", ttl=1),
        lambda key: Behest(key, base_url="http://127.0.0.1:1", nonsense=1),
        lambda key: Behest(key, base_url="http://127.0.0.1:1", cache_size=0),
        lambda key: Behest(key + " x", base_url="http://127.0.0.1:1"),
        lambda key: Behest(key + "\n.", base_url="http://127.0.0.1:1"),
        lambda key: Behest.shared(key, base_url="http://evil.test"),
        lambda key: BehestSettings(key=key, ttl="x"),
    ],
)
@pytest.mark.parametrize("kind", ["api key", "private key", "base64"])
def test_construction(make: Callable[[str], object], kind: str) -> None:
    """A key that was given to a client that can't be made isn't in the error's frames; ours, from the constructor down."""
    key = {"api key": api_key(), "private key": "behest_pk_" + pem(), "base64": encoded(pem())}[kind]
    canary = Canary(key, key.strip()[-60:])
    with pytest.raises(BehestConfigError) as caught:
        make(key)
    canary.check(shown(caught.value))


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A malformed key in the environment isn't in the error's frames either."""
    key = api_key() + " rest"
    monkeypatch.setenv("BEHEST_KEY", key)
    with pytest.raises(BehestConfigError) as caught:
        Behest(base_url="http://127.0.0.1:1")
    Canary(key).check(shown(caught.value))


def test_local_signing(gateway: Emulator, logs: pytest.LogCaptureFixture, canary: Canary) -> None:
    """Nothing of the private key, nor of what it signed, in a failing call."""
    key = pem()
    fields: dict[str, Any] = {"kid": "k1", "tenant_id": gateway.tenant_id, "project_id": gateway.project_id}
    with Behest(key, base_url=gateway.base_url, **fields) as behest, pytest.raises(BehestError) as caught:
        behest.complete(BODY, scope=ALICE)
    for secret in (*tokens_of(gateway), key, key.split("\n")[5]):
        canary.add(secret)
    canary.check(shown(caught.value) + logs.text + repr(vars(behest)))


def test_a_front_ends_token(gateway: Emulator, canary: Canary) -> None:
    """A user's own token is in no repr and in no error of verifying it or calling with it."""
    gateway.register_key("k1", public_pem())
    token = gateway.issue("carol", ttl=-60)
    canary.add(token)
    holder = SecretStr(token)
    del token
    verifier = BehestVerifier(base_url=gateway.base_url)
    with pytest.raises(BehestError) as caught:
        verifier.verify(holder.get_secret_value())
    canary.check(shown(caught.value))
    with Behest(gateway.api_key, base_url=gateway.base_url) as behest, scope(token=holder) as current:
        canary.check(repr(current) + repr(behest.identify()))
        with pytest.raises(BehestError) as caught:
            behest.complete(BODY)
    canary.check(shown(caught.value))


def test_clients_that_are_handed_out(gateway: Emulator, canary: Canary, logs: pytest.LogCaptureFixture) -> None:
    """Nothing in the logs of an httpx client of one's own that is authenticated by ours."""
    with Behest(gateway.api_key, base_url=gateway.base_url) as behest, scope("alice"):
        with httpx.Client(auth=behest.auth) as client:
            answer = client.get(f"{gateway.base_url}/v1/models")
        canary.add(tokens_of(gateway)[0])
        canary.check(logs.text + repr(answer) + repr(answer.request) + repr(answer.request.headers))
    gc.collect()
    assert json.loads(answer.content)


class Breaking(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Fails in the middle of a send, as h11 does: with the headers in the frame."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Fail."""
        headers = list(request.headers.raw)
        raise httpx.WriteError(f"broke after {len(headers)} headers")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Fail."""
        return self.handle_request(request)


@pytest.mark.parametrize("path", ["mint", "chat"])
async def test_a_connection_that_breaks_while_the_headers_are_sent(gateway: Emulator, instant: Any, path: str) -> None:
    """The frames below the transport, which hold the headers as bytes, are no part of the error."""
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=instant) as behest:
        canary = Canary(gateway.api_key)
        if path == "chat":
            await behest.acomplete(BODY, scope=ALICE)
            canary.add(tokens_of(gateway)[0])
        await behest.aclose()
        behest._http._threads._make = lambda _: Breaking()
        behest._http._loops._make = lambda _: Breaking()
        with pytest.raises(BehestConnectionError, match="WriteError") as caught:
            behest.complete(BODY, scope=ALICE)
        canary.check(shown(caught.value))
        if path == "mint":
            behest._pool._slots.clear()  # the failure is remembered for a second
        with pytest.raises(BehestConnectionError, match="WriteError") as caught:
            await behest.acomplete(BODY, scope=ALICE)
        canary.check(shown(caught.value))
        await behest.aclose()


@pytest.mark.parametrize("answer", [{"ttl": -1}, {"exp": 1}, {"after": "!"}])
def test_a_token_that_is_refused(gateway: Emulator, answer: dict[str, Any]) -> None:
    """A token that the mint gave, but that can't be used, is in no frame of the error either."""
    holder = SecretStr(gateway.issue("alice", **({"exp": 1} if "exp" in answer else {})))
    with Behest(gateway.api_key, base_url=gateway.base_url) as behest:
        gateway.next_mint({"jwt": holder.get_secret_value() + answer.get("after", ""), "ttl": answer.get("ttl", 900)})
        with pytest.raises(BehestError, match="mint's answer") as caught:
            behest.complete(BODY, scope=ALICE)
    Canary(gateway.api_key, holder.get_secret_value()).check(shown(caught.value))


def test_the_environments_key_beside_a_malformed_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frames that read the environment, the key included, are no part of the error."""
    key = api_key()
    monkeypatch.setenv("BEHEST_KEY", key)
    monkeypatch.setenv("BEHEST_TTL", "soon")
    with pytest.raises(BehestConfigError, match="BEHEST_TTL") as caught:
        Behest(base_url="http://127.0.0.1:1")
    Canary(key).check(shown(caught.value))
