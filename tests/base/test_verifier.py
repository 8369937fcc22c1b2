"""A front end's token is verified, and used as it is."""

from __future__ import annotations

import json
import time
import traceback
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from pydantic import SecretStr

from behest_base import Behest, BehestAuthError, BehestConfigError, BehestConnectionError, BehestVerifier, Scope, scope
from behest_base.emulator import Emulator
from support.keys import pem, public_pem

BODY = {"messages": [{"role": "user", "content": "Hello."}]}


def test_a_front_ends_token(gateway: Emulator, behest: Behest) -> None:
    """A verified token is used as it is, and no other is minted for its user."""
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


def test_a_token_of_another_user_than_is_named(gateway: Emulator, behest: Behest) -> None:
    """The two are not mixed: neither is one left aside. The user's own name may stand beside the token."""
    token = gateway.issue("carol")
    with pytest.raises(BehestConfigError, match="another user's token") as caught, scope("dave", token=token):
        behest.complete(BODY)
    assert token not in str(caught.value)
    assert gateway.requests == []
    with scope("carol", token=token):
        behest.complete(BODY)
    assert [request.headers["authorization"] for request in gateway.requests] == [f"Bearer {token}"]


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
    """Signature, lifetime, audience, issuer and project are checked; the code says which."""
    verifier = BehestVerifier(base_url=gateway.base_url, project_id=gateway.project_id)
    token = gateway.issue("carol", **claims)
    with pytest.raises(BehestAuthError) as caught:
        await verifier.averify(token)
    assert caught.value.code == code
    assert token not in str(caught.value)


def test_only_rs256_signed_by_the_tenant(gateway: Emulator) -> None:
    """An unsigned token, one signed with a secret, and rubbish are refused."""
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
    """The JWKS is cached, and refreshed when the tenant has added a key."""
    verifier = BehestVerifier(base_url=gateway.base_url)
    for _ in range(3):
        verifier.verify(gateway.issue("carol"))
    assert len([request for request in gateway.requests if request.kind == "jwks"]) == 1


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://api.behest.app/.well-known/jwks.json"),
        ({"slug": "acme"}, "https://acme.behest.app/.well-known/jwks.json"),
        ({"base_url": "https://gw.example/v1"}, "https://gw.example/.well-known/jwks.json"),
        ({"jwks_url": "https://gw.example/keys"}, "https://gw.example/keys"),
    ],
)
def test_where_the_keys_are(given: dict[str, str], url: str) -> None:
    """By address, slug, whole URL, or at the control plane; over https."""
    assert BehestVerifier(**given)._keys.uri == url  # type: ignore[arg-type] # the fields are text
    with pytest.raises(BehestConfigError):
        BehestVerifier(base_url="http://gw.example")


async def test_verifying_in_a_task(gateway: Emulator) -> None:
    """The scope of a valid token, without blocking."""
    verifier = BehestVerifier(base_url=gateway.base_url)
    assert (await verifier.ascope(gateway.issue("alice"))).user_id == "alice"


def test_keys_that_cannot_be_fetched(gateway: Emulator) -> None:
    """It isn't the token's fault."""
    token = gateway.issue("alice")
    with pytest.raises(BehestConnectionError, match="JWKS"):
        BehestVerifier(base_url="http://127.0.0.1:9").verify(token)


def test_a_key_that_the_tenant_added_is_fetched(gateway: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token with an unknown key id makes the JWKS be read again, but not one request for each forged token."""
    verifier = BehestVerifier(base_url=gateway.base_url)
    verifier.verify(gateway.issue("carol"))
    gateway.register_key("added", public_pem())
    claims = jwt.decode(gateway.issue("carol"), options={"verify_signature": False})
    token = jwt.encode(claims, pem(), algorithm="RS256", headers={"kid": "added"})
    in_a_minute = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)  # PyJWT's own cool-down is half a minute
    monkeypatch.setattr("jwt.jwks_client.time", in_a_minute)
    assert verifier.verify(token)["uid"] == "carol"
    for n in range(5):
        forged = jwt.encode(claims, pem(), algorithm="RS256", headers={"kid": f"made-up-{n}"})
        with pytest.raises(BehestAuthError):
            verifier.verify(forged)
    assert len([request for request in gateway.requests if request.kind == "jwks"]) == 2


@pytest.mark.parametrize("claim", ["exp", "iat", "aud", "iss", "uid"])
def test_claims_that_a_token_must_have(gateway: Emulator, claim: str) -> None:
    """A token without an end, an issue, an audience, an issuer or a user is none."""
    verifier = BehestVerifier(base_url=gateway.base_url)
    claims: dict[str, Any] = {claim: None}
    with pytest.raises(BehestAuthError) as caught:
        verifier.verify(gateway.issue("carol", **claims))
    assert caught.value.code == "invalid_token"


def test_leeway(gateway: Emulator) -> None:
    """The clocks may differ by 30 s, or by what is given."""
    token = gateway.issue("carol", ttl=-20)
    assert BehestVerifier(base_url=gateway.base_url).verify(token)["uid"] == "carol"
    with pytest.raises(BehestAuthError, match="expired"):
        BehestVerifier(base_url=gateway.base_url, leeway=0).verify(token)


def test_a_signature_that_is_not_the_tenants(gateway: Emulator) -> None:
    """A known key id with another key's signature."""
    token = gateway.issue("carol")
    kid = jwt.get_unverified_header(token)["kid"]
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = jwt.encode(claims, pem(number=1), algorithm="RS256", headers={"kid": kid})
    with pytest.raises(BehestAuthError) as caught:
        BehestVerifier(base_url=gateway.base_url).verify(forged)
    assert caught.value.code == "invalid_token"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 302, "headers": {"Location": "/elsewhere"}},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": []},
        {"status": 200, "body": {"keys": []}},
        {"status": 200, "body": {"keys": "none"}},
        {"close": True},
    ],
)
def test_an_endpoint_without_keys(gateway: Emulator, fault: dict[str, Any]) -> None:
    """It isn't the token's fault, and the token is in no frame of the error; afterwards it is verified."""
    holder = SecretStr(gateway.issue("carol"))
    verifier = BehestVerifier(base_url=gateway.base_url)
    gateway.fail_next(path="jwks", **fault)
    with pytest.raises(BehestConnectionError, match="JWKS could not be fetched") as caught:
        verifier.verify(holder.get_secret_value())
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert holder.get_secret_value() not in "".join(report.format(chain=True))
    assert verifier.verify(holder)["uid"] == "carol"


def test_a_key_of_another_kind(gateway: Emulator) -> None:
    """A token that says RS256 and names a key that is none for it is not valid, whatever else the tenant has."""
    curve = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    gateway.fail_next(path="jwks", status=200, body={"keys": [{**curve, "kid": "curve", "use": "sig"}]})
    claims = jwt.decode(gateway.issue("carol"), options={"verify_signature": False})
    with pytest.raises(BehestAuthError) as caught:
        BehestVerifier(base_url=gateway.base_url).verify(jwt.encode(claims, pem(), "RS256", headers={"kid": "curve"}))
    assert caught.value.code == "invalid_token"


@pytest.mark.parametrize("issuer", ["https://api.behest.ap", "api", ""])
def test_a_part_of_the_issuer(gateway: Emulator, issuer: str) -> None:
    """The issuer is compared whole."""
    with pytest.raises(BehestAuthError):
        BehestVerifier(base_url=gateway.base_url).verify(gateway.issue("carol", iss=issuer))
