"""401s, and where tokens and identity may go."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from behest_base import Behest, BehestAuthError, BehestError, BehestServerError, Scope, scope
from behest_base.emulator import Emulator

BODY = {"messages": [{"role": "user", "content": "Hello."}]}


def test_a_rejected_token_is_renewed_and_the_request_sent_again(gateway: Emulator, behest: Behest) -> None:
    """One mint, one more send, with the body intact."""
    behest.complete(BODY, scope=Scope("alice"))
    gateway.reject_all_tokens()
    behest.complete(BODY, scope=Scope("alice", session_id="s", thread_id="t"))
    assert len(gateway.mints) == 2
    refused, again = gateway.chats[1:]
    assert (refused.status, again.status) == (401, 200)
    assert refused.json == again.json == BODY
    assert refused.headers["authorization"] != again.headers["authorization"]
    for name in ("x-session-id", "x-thread-id"):
        assert refused.headers[name] == again.headers[name]


async def test_the_same_in_tasks_and_streams(gateway: Emulator, behest: Behest) -> None:
    """The same, asynchronously and streamed."""
    with scope("alice"):
        await behest.acomplete(BODY)
        gateway.reject_all_tokens()
        chunks = [chunk async for chunk in behest.astream(BODY)]
    assert chunks
    assert [chat.status for chat in gateway.chats] == [200, 401, 200]


def test_a_second_401_surfaces(gateway: Emulator, behest: Behest) -> None:
    """There is no third try."""
    gateway.fail_next(status=401, code="token_expired", times=2, path="chat")
    with pytest.raises(BehestAuthError) as caught:
        behest.complete(BODY, scope=Scope("alice"))
    assert caught.value.code == "token_expired"
    assert len(gateway.chats) == 2
    assert len(gateway.mints) == 2


def test_fifty_late_401s_make_one_mint(gateway: Emulator, behest: Behest) -> None:
    """All that carried the old token share its successor."""
    with scope("alice"):
        behest.complete(BODY)
    gateway.reject_all_tokens()
    with ThreadPoolExecutor(50) as threads:
        list(threads.map(lambda _: behest.complete(BODY, scope=Scope("alice")), range(50)))
    assert len(gateway.mints) == 2


@pytest.mark.parametrize("status", [402, 403, 429])
def test_other_refusals_never_mint(gateway: Emulator, status: int) -> None:
    """Only a 401 is about the token."""
    with Behest(gateway.api_key, base_url=gateway.base_url, max_retries=0) as behest:
        gateway.fail_next(status=status, path="chat")
        with pytest.raises(BehestError):
            behest.complete(BODY, scope=Scope("alice"))
        behest.complete(BODY, scope=Scope("alice"))
    assert len(gateway.mints) == 1


def test_the_api_key_is_no_token(gateway: Emulator) -> None:
    """The gateway answers it 401 on the data plane, which is why it never goes there."""
    answer = httpx.post(
        f"{gateway.base_url}/v1/chat/completions", json=BODY, headers={"Authorization": f"Bearer {gateway.api_key}"}
    )
    assert answer.status_code == 401


def test_foreign_hosts_get_nothing(gateway: Emulator, behest: Behest) -> None:
    """An absolute foreign URL, or a redirect to one, through our clients carries no identity."""
    with Emulator() as foreign, scope("alice", session_id="s", thread_id="t"):
        with httpx.Client(auth=behest.auth, follow_redirects=True) as client:
            client.get(f"{gateway.base_url}/v1/models")
            client.get(f"{foreign.base_url}/v1/models")
            gateway.fail_next(status=302, path="models", headers={"Location": f"{foreign.base_url}/v1/models"})
            client.get(f"{gateway.base_url}/v1/models")
        gateway.fail_next(status=302, path="models", headers={"Location": f"{foreign.base_url}/v1/models"})
        ours = behest._http.sync
        ours.get(f"{gateway.base_url}/v1/models", follow_redirects=True)
        ours.get(f"{foreign.base_url}/v1/models", headers={"X-Thread-Id": "t", "Authorization": "Bearer x"})
        seen = [{name.lower() for name in request.headers} for request in foreign.requests]
    assert len(seen) == 4
    assert not any("authorization" in names for names in seen)
    for names in seen[2:]:
        assert not {"x-session-id", "x-thread-id"} & names
    assert all("authorization" in request.headers for request in gateway.requests)


async def test_auth_for_an_async_client_of_ones_own(gateway: Emulator, behest: Behest) -> None:
    """BehestAuth authenticates any httpx client as the ambient user."""
    async with httpx.AsyncClient(auth=behest.auth) as client:
        with scope("bob"):
            answer = await client.get(f"{gateway.base_url}/v1/models")
    assert answer.status_code == 200
    assert gateway.requests[-1].user_id == "bob"


def test_a_streamed_body_is_sent_again_whole(gateway: Emulator, behest: Behest) -> None:
    """A body that can be read once only is intact in the second send."""
    whole = json.dumps(BODY).encode()
    with httpx.Client(auth=behest.auth) as client, scope("alice"):
        client.get(f"{gateway.base_url}/v1/models")
        gateway.reject_all_tokens()
        pieces = iter([whole[:10], whole[10:]])
        answer = client.post(f"{gateway.base_url}/v1/chat/completions", content=pieces)
    assert answer.status_code == 200
    assert [chat.status for chat in gateway.chats] == [401, 200]
    assert gateway.chats[0].json == gateway.chats[1].json == BODY


async def test_a_streamed_body_of_a_task_is_sent_again_whole(gateway: Emulator, behest: Behest) -> None:
    """The same, asynchronously."""
    whole = json.dumps(BODY).encode()

    async def pieces() -> AsyncGenerator[bytes]:
        yield whole[:10]
        yield whole[10:]

    async with httpx.AsyncClient(auth=behest.auth) as client:
        with scope("alice"):
            await client.get(f"{gateway.base_url}/v1/models")
            gateway.reject_all_tokens()
            await client.post(f"{gateway.base_url}/v1/chat/completions", content=pieces())
    assert [chat.status for chat in gateway.chats] == [401, 200]
    assert gateway.chats[0].json == gateway.chats[1].json == BODY


async def test_a_mint_that_is_down_when_a_token_was_rejected(gateway: Emulator) -> None:
    """Its failure is what surfaces, sync and async, and nothing is sent a second time."""
    with Behest(gateway.api_key, base_url=gateway.base_url, max_retries=0) as behest:
        for user in ("alice", "bob"):
            behest.complete(BODY, scope=Scope(user))
        gateway.reject_all_tokens()
        gateway.fail_next(status=503, path="mint", times=2)
        with pytest.raises(BehestServerError, match="No token could be minted"):
            behest.complete(BODY, scope=Scope("alice"))
        with pytest.raises(BehestServerError, match="No token could be minted"):
            await behest.acomplete(BODY, scope=Scope("bob"))
        await behest.aclose()
    assert [chat.status for chat in gateway.chats] == [200, 200, 401, 401]
