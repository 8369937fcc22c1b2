"""401s, and where tokens and identity may go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from behest_base import Behest, BehestAuthError, BehestError, BehestVerifier, Scope, scope
from behest_base.emulator import Emulator

BODY = {"messages": [{"role": "user", "content": "Hello."}]}


def test_a_rejected_token_is_renewed_and_the_request_sent_again(gateway: Emulator, behest: Behest) -> None:
    """Property 9: one mint, one more send, with the body intact."""
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
    """Property 9, asynchronously and streamed."""
    with scope("alice"):
        await behest.acomplete(BODY)
        gateway.reject_all_tokens()
        chunks = [chunk async for chunk in behest.astream(BODY)]
    assert chunks
    assert [chat.status for chat in gateway.chats] == [200, 401, 200]


def test_a_second_401_surfaces(gateway: Emulator, behest: Behest) -> None:
    """Property 9: there is no third try."""
    gateway.fail_next(status=401, code="token_expired", times=2, path="chat")
    with pytest.raises(BehestAuthError) as caught:
        behest.complete(BODY, scope=Scope("alice"))
    assert caught.value.code == "token_expired"
    assert len(gateway.chats) == 2
    assert len(gateway.mints) == 2


def test_fifty_late_401s_make_one_mint(gateway: Emulator, behest: Behest) -> None:
    """Property 9: all that carried the old token share its successor."""
    with scope("alice"):
        behest.complete(BODY)
    gateway.reject_all_tokens()
    with ThreadPoolExecutor(50) as threads:
        list(threads.map(lambda _: behest.complete(BODY, scope=Scope("alice")), range(50)))
    assert len(gateway.mints) == 2


@pytest.mark.parametrize("status", [402, 403, 429])
def test_other_refusals_never_mint(gateway: Emulator, status: int) -> None:
    """Property 9: only a 401 is about the token."""
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
    """Property 15: an absolute foreign URL, or a redirect to one, through our clients carries no identity."""
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


def test_a_front_ends_token(gateway: Emulator, behest: Behest) -> None:
    """Property 20: a verified token is used as it is, and no other is minted for its user."""
    token = gateway.issue("carol", sid="sit-1")
    verifier = BehestVerifier(base_url=gateway.base_url, project_id=gateway.project_id)
    with scope(verifier.scope(token)):
        behest.complete(BODY)
        gateway.reject_all_tokens()
        with pytest.raises(BehestAuthError):
            behest.complete(BODY)
    first = gateway.chats[0]
    assert first.headers["authorization"] == f"Bearer {token}"
    assert (first.user_id, first.session_id) == ("carol", "sit-1")
    assert gateway.mints == []


def test_a_front_ends_token_is_its_users_only(gateway: Emulator, behest: Behest) -> None:
    """Another user named inside the block gets a token of their own."""
    token = gateway.issue("carol")
    with scope(token=token):
        behest.complete(BODY, scope=Scope("dave"))
    assert gateway.chats[0].user_id == "dave"
    assert token not in gateway.chats[0].headers["authorization"]


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"ttl": -3600}, "token_expired"),
        ({"aud": "other"}, "invalid_token"),
        ({"iss": "https://evil.test"}, "invalid_token"),
        ({"pid": "another"}, "wrong_project"),
    ],
)
async def test_tokens_that_are_not_valid(gateway: Emulator, claims: dict[str, Any], code: str) -> None:
    """Property 20: signature, lifetime, audience, issuer and project are checked; the code says which."""
    verifier = BehestVerifier(base_url=gateway.base_url, project_id=gateway.project_id)
    token = gateway.issue("carol", **claims)
    with pytest.raises(BehestAuthError) as caught:
        await verifier.averify(token)
    assert caught.value.code == code
    assert token not in str(caught.value)


def test_only_rs256_signed_by_the_tenant(gateway: Emulator) -> None:
    """Property 20: an unsigned token, one signed with a secret, and rubbish are refused."""
    import jwt  # noqa: PLC0415 - used here only

    verifier = BehestVerifier(base_url=gateway.base_url)
    good = gateway.issue("carol")
    claims = jwt.decode(good, options={"verify_signature": False})
    kid = jwt.get_unverified_header(good)["kid"]
    for forged in (
        jwt.encode(claims, "", algorithm="none", headers={"kid": kid}),
        jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": kid}),
        jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": "unknown"}),
        "rubbish",
    ):
        with pytest.raises(BehestAuthError):
            verifier.verify(forged)
    assert verifier.verify(good)["uid"] == "carol"


def test_keys_are_fetched_once_and_again_for_an_unknown_kid(gateway: Emulator) -> None:
    """Property 20: the JWKS is cached, and refreshed when the tenant has added a key."""
    verifier = BehestVerifier(base_url=gateway.base_url)
    for _ in range(3):
        verifier.verify(gateway.issue("carol"))
    assert len([request for request in gateway.requests if request.kind == "jwks"]) == 1
