"""Signing users in: what each provider signs becomes the user and tier of the call, and nothing else gets through."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Generator
from types import ModuleType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from behest_base import Scope, scope
from behest_base.emulator import Emulator
from cookbook.conftest import Run, load
from langchain_behest import ChatBehest
from support.keys import public_pem, rsa_key

EC_KEY = ec.generate_private_key(ec.SECP256R1())
PROVIDERS = ("supabase", "clerk", "auth0", "nextauth", "firebase")
ORIGIN = "https://app.example"
TIER = "https://app.example/tier"

SignIn = Callable[[str], Scope]


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """Import the recipe."""
    return load("sign_in.py")


@pytest.fixture(scope="module")
def url(recipe: ModuleType) -> Generator[str]:
    """Publish two keys, as providers do while they change one for the other."""
    with recipe.provider(rsa_key(), EC_KEY) as address:
        yield address


def sign_in(recipe: ModuleType, provider: str, url: str) -> SignIn:
    """Return the function of a provider, set up."""
    ways: dict[str, SignIn] = {
        "supabase": lambda token: recipe.from_supabase(token, project_url=url),
        "clerk": lambda token: recipe.from_clerk(token, issuer=url, authorized_parties={ORIGIN}),
        "auth0": lambda token: recipe.from_auth0(token, issuer=f"{url}/", audience="api", tier_claim=TIER),
        "nextauth": lambda token: recipe.from_nextauth(token, jwks_url=f"{url}/keys", issuer=ORIGIN, audience="api"),
        "firebase": lambda token: recipe.from_firebase(token, project_id="shop", jwks_url=f"{url}/jwk"),
    }
    return ways[provider]


def claims(provider: str, url: str) -> dict[str, Any]:
    """Return what a provider signs of alice, whose tier is pro."""
    signed: dict[str, dict[str, Any]] = {
        "supabase": {"iss": f"{url}/auth/v1", "aud": "authenticated", "app_metadata": {"tier": "pro"}},
        "clerk": {"iss": url, "azp": ORIGIN, "tier": "pro"},
        "auth0": {"iss": f"{url}/", "aud": ["api", f"{url}/userinfo"], TIER: "pro"},
        "nextauth": {"iss": ORIGIN, "aud": "api", "tier": "pro"},
        "firebase": {"iss": "https://securetoken.google.com/shop", "aud": "shop", "tier": "pro"},
    }
    return {"sub": "alice", **signed[provider]}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_signed_user_calls(provider: str, recipe: ModuleType, url: str, environment: Emulator) -> None:
    """The call carries a token of the user and tier that the provider signed."""
    token = recipe.sign(rsa_key(), **claims(provider, url))
    with scope(sign_in(recipe, provider, url)(token)):
        ChatBehest().invoke("Hello.")
    assert environment.mints[0].json == {"user_id": "alice", "tier": "pro"}
    assert environment.chats[0].user_id == "alice"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://evil.example"},
        {"aud": "another", "azp": "https://evil.example"},
        {"exp": int(time.time()) - 3_600},
        {"iat": int(time.time()) + 3_600},
        {"sub": ""},
    ],
    ids=["issuer", "audience", "expired", "from-the-future", "nobody"],
)
def test_other_claims_are_refused(provider: str, wrong: dict[str, Any], recipe: ModuleType, url: str) -> None:
    """A token of another issuer or audience, out of its time, or of nobody, is none."""
    token = recipe.sign(rsa_key(), **{**claims(provider, url), **wrong})
    with pytest.raises(jwt.PyJWTError):
        sign_in(recipe, provider, url)(token)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_forged_tokens_are_refused(provider: str, recipe: ModuleType, url: str) -> None:
    """So is one that another key signed, that no key signed, whose algorithm is confused, or that names an unknown key."""
    about = {"iat": int(time.time()), "exp": int(time.time()) + 600, **claims(provider, url)}
    header = {"kid": "key-0"}
    forged = [
        recipe.sign(rsa_key(number=1), **about),
        jwt.encode(about, "", algorithm="none", headers=header),
        _signed_with_the_public_key(about),
        recipe.sign(rsa_key(), "key-9", **about),
        jwt.encode(
            about, "a secret that was never published, long enough", algorithm="HS256"
        ),  # Supabase's legacy form
        _encrypted(),  # NextAuth's own session cookie
        "nonsense",
    ]
    for token in forged:
        with pytest.raises(jwt.PyJWTError):
            sign_in(recipe, provider, url)(token)


def _signed_with_the_public_key(about: dict[str, Any]) -> str:
    """Take the published key for the secret of HS256, which PyJWT itself refuses to do."""
    head = {"alg": "HS256", "typ": "JWT", "kid": "key-0"}
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (head, about)]
    mac = hmac.new(public_pem().encode(), b".".join(parts), "sha256").digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def _encrypted() -> str:
    """Return what has the form of a JWE: a header, no key of its own, and three parts that nobody here can read."""
    header = base64.urlsafe_b64encode(b'{"alg":"dir","enc":"A256CBC-HS512","kid":"key-0"}').rstrip(b"=").decode()
    return f"{header}..AAAAAAAAAAAAAAAAAAAAAA.{'A' * 400}.{'A' * 43}"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_which_algorithms_are_accepted(provider: str, recipe: ModuleType, url: str) -> None:
    """Supabase and NextAuth sign with either kind of key; the others with RSA only."""
    token = recipe.sign(EC_KEY, "key-1", **claims(provider, url))
    if provider in ("supabase", "nextauth"):
        assert sign_in(recipe, provider, url)(token).user_id == "alice"
    else:
        with pytest.raises(jwt.InvalidAlgorithmError):
            sign_in(recipe, provider, url)(token)


@pytest.mark.parametrize(
    ("provider", "more"),
    [("clerk", {"sts": "pending"}), ("clerk", {"azp": None}), ("firebase", {"auth_time": int(time.time()) + 3_600})],
)
def test_who_is_not_signed_in_yet(provider: str, more: dict[str, Any], recipe: ModuleType, url: str) -> None:
    """What providers say beside the usual claims is heeded."""
    with pytest.raises(jwt.InvalidTokenError):
        sign_in(recipe, provider, url)(recipe.sign(rsa_key(), **{**claims(provider, url), **more}))


def test_keys_that_cannot_be_fetched(recipe: ModuleType, url: str) -> None:
    """It can be told from a token that is wrong."""
    token = recipe.sign(rsa_key(), **claims("supabase", url))
    with pytest.raises(jwt.PyJWKClientConnectionError):
        recipe.from_supabase(token, project_url="http://127.0.0.1:9")


def test_what_users_can_edit_is_no_tier(recipe: ModuleType, url: str) -> None:
    """Supabase's user_metadata is the user's own to write."""
    signed = {**claims("supabase", url), "app_metadata": {}, "user_metadata": {"tier": "enterprise"}}
    token = recipe.sign(rsa_key(), **signed)
    assert sign_in(recipe, "supabase", url)(token).tier is None


def test_it_runs_alone(run: Run) -> None:
    """Run alone, it signs two in and refuses a third."""
    out = run("sign_in.py")
    assert "alice (tier pro): Noted: I am alice." in out
    assert "bob (tier None): Noted: I am bob." in out
    assert "Made up: InvalidSignatureError" in out
