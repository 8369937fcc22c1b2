"""Tokens: minting them, and what the gateway accepts."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from behest_base.emulator import Emulator
from emulator.wire import Caller

CLAIMS = ["tid", "pid", "uid", "role", "scp", "iss", "aud", "iat", "nbf", "exp", "jti"]


def mint(gateway: Emulator, http: httpx.Client, key: str | None = None, **body: Any) -> httpx.Response:
    """Ask for a token."""
    headers = {"Authorization": f"Bearer {key or gateway.api_key}"}
    return http.post("/v1/auth/mint", json={"user_id": "alice", **body}, headers=headers)


def chat(http: httpx.Client, token: str | None) -> httpx.Response:
    """Make a chat call with a token."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hello"}]}, headers=headers)


def code(response: httpx.Response) -> tuple[int, str]:
    """Return the status and code of an error."""
    return response.status_code, response.json()["error"]["code"]


def signed(gateway: Emulator, **claims: Any) -> str:
    """Sign a token locally, with the tenant's key, as far as the claims given don't say otherwise."""
    now = int(time.time())
    whole = {
        "tid": gateway.tenant_id,
        "pid": gateway.project_id,
        "uid": "alice",
        "iss": "https://api.behest.app",
        "aud": "behest",
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        **claims,
    }
    return jwt.encode(whole, gateway.signing_key, algorithm="RS256", headers={"kid": gateway.signing_kid})


def test_mint_answers_with_a_token_of_the_user(gateway: Emulator, http: httpx.Client) -> None:
    """The answer has the token, its lifetime, session and project; the claims come in the vendor's order."""
    minted = mint(gateway, http, ttl=600, session_id="s1", tier="pro", role="editor").json()
    claims = jwt.decode(minted.pop("jwt"), options={"verify_signature": False})
    assert minted == {"ttl": 600, "session_id": "s1", "project_id": gateway.project_id}
    assert list(claims) == [*CLAIMS, "sid", "tier"]
    assert (claims["uid"], claims["sid"], claims["tier"], claims["role"]) == ("alice", "s1", "pro", "editor")
    assert claims["exp"] - claims["iat"] == 600


def test_mint_leaves_out_what_was_not_given(gateway: Emulator, http: httpx.Client) -> None:
    """Without a session and tier the token has neither claim; it lives a quarter of an hour."""
    minted = mint(gateway, http).json()
    assert list(jwt.decode(minted["jwt"], options={"verify_signature": False})) == CLAIMS
    assert minted["ttl"] == 900
    assert minted["session_id"]


def test_each_token_is_another(gateway: Emulator, http: httpx.Client) -> None:
    """Two mints give two tokens, unless the gateway is told to serve the same again."""
    assert mint(gateway, http).json()["jwt"] != mint(gateway, http).json()["jwt"]
    gateway.reserve_same_token = True
    assert mint(gateway, http).json()["jwt"] == mint(gateway, http).json()["jwt"]


def test_mint_of_the_older_path_and_form(gateway: Emulator, http: httpx.Client) -> None:
    """The older path mints, too, and the older answer can be had."""
    gateway.mint_shape = "legacy"
    headers = {"Authorization": f"Bearer {gateway.api_key}"}
    minted = http.post("/auth/v1/auth/mint", json={"user_id": "alice", "ttl": 60}, headers=headers).json()
    assert list(minted) == ["access_token", "expires_in"]
    assert chat(http, minted["access_token"]).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": ""},
        {"user_id": "x" * 256},
        {"user_id": 7},
        {"user_id": "admin"},
        {"user_id": "system"},
        {"user_id": "dashboard-service"},
        {"ttl": 59},
        {"ttl": 86_401},
        {"ttl": "900"},
        {"ttl": True},
    ],
)
def test_mint_checks_its_fields(gateway: Emulator, http: httpx.Client, body: dict[str, Any]) -> None:
    """User ids and lifetimes out of bounds, and reserved names, are refused."""
    assert mint(gateway, http, **body).status_code == 400


@pytest.mark.parametrize("ttl", [60, 86_400])
def test_mint_accepts_the_bounds(gateway: Emulator, http: httpx.Client, ttl: int) -> None:
    """The bounds themselves are allowed, and so is a name of 255 characters."""
    assert mint(gateway, http, ttl=ttl, user_id="x" * 255).status_code == 200


def test_mint_with_a_wrong_key_or_none(gateway: Emulator, http: httpx.Client) -> None:
    """Only the project's API key mints."""
    assert mint(gateway, http, key="behest_sk_test_wrong").status_code == 401
    assert http.post("/v1/auth/mint", json={"user_id": "alice"}).status_code == 401
    assert mint(gateway, http, key=gateway.issue("alice")).status_code == 401


def test_next_mint_is_answered_as_told(gateway: Emulator, http: httpx.Client) -> None:
    """A test can put words in the mint's mouth, once."""
    gateway.next_mint({"odd": 1}, status=201)
    odd = mint(gateway, http)
    assert (odd.status_code, odd.json()) == (201, {"odd": 1})
    assert mint(gateway, http).status_code == 200


def test_the_api_key_does_not_chat(gateway: Emulator, http: httpx.Client) -> None:
    """The API key authenticates the mint only."""
    assert chat(http, gateway.api_key).status_code == 401


def test_no_token(http: httpx.Client) -> None:
    """A call without a token is told so."""
    assert code(chat(http, None)) == (401, "missing_token")


@pytest.mark.parametrize("path", ["/v1/threads", "/v1/threads/t", "/v1/threads/t/messages", "/v1/models"])
def test_every_endpoint_of_the_data_plane_wants_a_token(http: httpx.Client, path: str) -> None:
    """Threads and models are not for strangers."""
    assert http.get(path).status_code == 401


def test_expired(gateway: Emulator, http: httpx.Client) -> None:
    """An expired token is refused as expired, however short ago that was."""
    assert code(chat(http, gateway.issue("alice", ttl=-1))) == (401, "token_expired")
    assert code(chat(http, gateway.issue("alice", ttl=-3600))) == (401, "token_expired")


def test_the_gateways_clock(gateway: Emulator, http: httpx.Client) -> None:
    """Its clock decides, and answers carry its date."""
    token = gateway.issue("alice", ttl=60)
    gateway.clock_offset = 3600
    refused = chat(http, token)
    assert code(refused) == (401, "token_expired")
    ahead = email.utils.parsedate_to_datetime(refused.headers["Date"]).timestamp() - time.time()
    assert ahead == pytest.approx(3600, abs=5)
    gateway.clock_offset = -3600
    assert code(chat(http, gateway.issue("alice", nbf=int(time.time())))) == (401, "invalid_token")


def test_rejected(gateway: Emulator, http: httpx.Client) -> None:
    """One token, or all so far, can be rejected; later ones are accepted."""
    first, second = gateway.issue("alice"), gateway.issue("alice")
    gateway.reject_token(first)
    assert [chat(http, first).status_code, chat(http, second).status_code] == [401, 200]
    own = signed(gateway)
    assert chat(http, own).status_code == 200
    gateway.reject_all_tokens()
    assert [chat(http, token).status_code for token in (second, own, gateway.issue("alice"))] == [401, 401, 200]


@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        ({}, None),
        ({"aud": "other"}, (401, "invalid_token")),
        ({"iss": "https://elsewhere.example"}, (401, "invalid_token")),
        ({"uid": None}, (401, "invalid_token")),
        ({"uid": ""}, (401, "invalid_token")),
        ({"exp": "soon"}, (401, "invalid_token")),
        ({"exp": None}, (401, "invalid_token")),
        ({"nbf": int(time.time()) + 600}, (401, "invalid_token")),
        ({"pid": "another"}, (403, "wrong_project")),
        ({"tid": "another"}, (403, "wrong_project")),
    ],
)
def test_claims_of_a_locally_signed_token(
    gateway: Emulator, http: httpx.Client, claims: dict[str, Any], refusal: tuple[int, str] | None
) -> None:
    """Audience, issuer, user, times and project are checked."""
    response = chat(http, signed(gateway, **claims))
    assert (response.status_code if refusal is None else code(response)) == (refusal or 200)


def test_keys_come_and_go(gateway: Emulator, http: httpx.Client) -> None:
    """A registered key's tokens are accepted until it is revoked; the JWKS shows it meanwhile."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    claims = jwt.decode(signed(gateway), options={"verify_signature": False})
    token = jwt.encode(claims, pem, algorithm="RS256", headers={"kid": "mine"})
    assert code(chat(http, token)) == (401, "invalid_token")
    gateway.register_key("mine", public)
    assert chat(http, token).status_code == 200
    assert "mine" in [key["kid"] for key in http.get("/.well-known/jwks.json").json()["keys"]]
    gateway.revoke_key("mine")
    assert code(chat(http, token)) == (401, "invalid_token")


def test_the_jwks_verifies_the_gateways_own_tokens(gateway: Emulator, http: httpx.Client) -> None:
    """Anyone can check a token with what the JWKS publishes."""
    token = gateway.issue("alice")
    published = jwt.PyJWKSet.from_dict(http.get("/.well-known/jwks.json").json())
    key = published[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["RS256"], audience="behest")["uid"] == "alice"


def test_forged_tokens(gateway: Emulator, http: httpx.Client) -> None:
    """Another key under a known kid, no signature, a shared secret, and nonsense are all refused."""
    claims = jwt.decode(signed(gateway), options={"verify_signature": False})
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    known = {"kid": gateway.signing_kid}
    forged = [
        jwt.encode(claims, other, algorithm="RS256", headers=known),
        jwt.encode(claims, "", algorithm="none", headers=known),
        jwt.encode(claims, "a secret that is at least as long as 32 bytes", algorithm="HS256", headers=known),
        "a.b.c",
        "nonsense",
    ]
    assert {code(chat(http, token)) for token in forged} == {(401, "invalid_token")}


def test_what_is_recorded_of_a_call(gateway: Emulator, alice: Caller) -> None:
    """A call's record has the token's claims and user."""
    alice.ask("Hello.")
    assert gateway.chats[0].user_id == "alice"
    assert (gateway.chats[0].claims or {})["pid"] == gateway.project_id
