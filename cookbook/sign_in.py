"""Who is calling: from the verified token of Supabase, Clerk, Auth0, NextAuth or Firebase to a `Scope`.

    pip install "langchain-behest[emulator]"
    python cookbook/sign_in.py

Copy the function of your provider. It checks signature, issuer, audience and lifetime, and takes the user's id and tier from what
was signed, never from the request's body or query, where anyone can write anything. Then

    with scope(from_supabase(bearer_token, project_url=…)):
        model.invoke(…)

Raises `jwt.PyJWTError`, which a web application answers with 401, or `jwt.PyJWKClientConnectionError` among them, where the
provider's keys can't be fetched: 503. Fetching them blocks, so an async application calls these with `asyncio.to_thread`.

Tiers are read from where only you can write: each function says where that is. Run alone, it plays a provider with a key of its
own, and signs two users in.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import threading
import time
from collections.abc import Collection, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from behest_base import Behest, BehestError, Scope, scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest

FIREBASE_KEYS = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
LEEWAY_SECONDS = 30


def from_supabase(token: str, *, project_url: str) -> Scope:
    """Read a Supabase access token. The project has to sign with a JWT signing key; the legacy secret (HS256) has no public half.

    The tier is `app_metadata.tier`, which only the service role can write (`user_metadata` is the user's own to edit).
    """
    issuer = f"{project_url}/auth/v1"
    claims = _verified(token, f"{issuer}/.well-known/jwks.json", issuer, "authenticated", ("ES256", "RS256"))
    return Scope(claims["sub"], tier=(claims.get("app_metadata") or {}).get("tier"))


def from_clerk(token: str, *, issuer: str, authorized_parties: Collection[str]) -> Scope:
    """Read a Clerk session token; the issuer is your Frontend API URL.

    It has no audience; `azp` names the origin that it was made for, which has to be yours. A native app's has no `azp`: add None
    to the authorized parties if you have one. A user who has still to choose an organization is pending, and not yet signed in.

    The tier is the claim `tier`; add it to the session token as `{"tier": "{{user.public_metadata.tier}}"}`.
    """
    claims = _verified(token, f"{issuer}/.well-known/jwks.json", issuer, None, ("RS256",))
    if claims.get("azp") not in authorized_parties:
        raise jwt.InvalidTokenError("The token was made for another origin.")
    if claims.get("sts") == "pending":
        raise jwt.InvalidTokenError("The user is not signed in yet.")
    return Scope(claims["sub"], tier=claims.get("tier") or None)


def from_auth0(token: str, *, issuer: str, audience: str, tier_claim: str) -> Scope:
    """Read an Auth0 access token for your API. The issuer ends in a slash.

    The tier is a claim that an Action sets from `app_metadata`; its name has to be an address of yours.
    """
    claims = _verified(token, f"{issuer}.well-known/jwks.json", issuer, audience, ("RS256",))
    return Scope(claims["sub"], tier=claims.get(tier_claim))


def from_nextauth(token: str, *, jwks_url: str, issuer: str, audience: str) -> Scope:
    """Read a token that a NextAuth (Auth.js) application has signed for this backend.

    Its session cookie is encrypted for the application itself and can't be checked elsewhere. So let the application sign a
    token of a few minutes from its session, in a route of its own, with the claims `sub`, `tier`, `iss` and `aud`, and
    publish the public key: `new SignJWT(…).setProtectedHeader({alg: "RS256", kid: …})` of the package `jose`.
    """
    claims = _verified(token, jwks_url, issuer, audience, ("RS256", "ES256"))
    return Scope(claims["sub"], tier=claims.get("tier"))


def from_firebase(token: str, *, project_id: str, jwks_url: str = FIREBASE_KEYS) -> Scope:
    """Read a Firebase id token.

    The tier is the custom claim `tier`, which the Admin SDK sets.
    """
    claims = _verified(token, jwks_url, f"https://securetoken.google.com/{project_id}", project_id, ("RS256",))
    if claims.get("auth_time", 0) > time.time() + LEEWAY_SECONDS:
        raise jwt.InvalidTokenError("The user has not signed in yet.")
    return Scope(claims["sub"], tier=claims.get("tier"))


def _verified(
    token: str, jwks_url: str, issuer: str, audience: str | None, algorithms: Collection[str]
) -> dict[str, Any]:
    key = _keys(jwks_url).get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=list(algorithms),  # never the one that the token's own header asks for
        issuer=issuer,
        audience=audience,
        leeway=LEEWAY_SECONDS,
        options={"require": ["exp", "iat", "iss", "sub"], "verify_aud": audience is not None},
    )
    if not claims["sub"]:
        raise jwt.InvalidTokenError("The token names nobody.")
    return claims


@functools.cache
def _keys(jwks_url: str) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(jwks_url, lifespan=300, timeout=10)


# -- below: a provider to try it with --------------------------------------------------------------------------------------


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def published(key: Key, kid: str) -> dict[str, Any]:
    """Return the public half of a key, as a JWKS has it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": "RS256"}
    return {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": "ES256"}


@contextlib.contextmanager
def provider(*keys: Key) -> Generator[str]:
    """Publish the public halves of keys named key-0, key-1 … at every address of a server on this machine."""
    jwks = {"keys": [published(key, f"key-{number}") for number, key in enumerate(keys)]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(jwks).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def sign(key: Key, kid: str = "key-0", **claims: Any) -> str:
    """Sign a token that holds for ten minutes, unless the claims say otherwise."""
    now, algorithm = int(time.time()), "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return jwt.encode({"iat": now, "exp": now + 600, **claims}, key, algorithm, headers={"kid": kid})


@contextlib.contextmanager
def gateway() -> Generator[Behest]:
    """Give a client: of the real gateway with BEHEST_KEY in the environment, else of an emulator."""
    if os.environ.get("BEHEST_KEY"):
        with Behest() as behest:
            yield behest
        return
    with Emulator() as emulator, Behest(emulator.api_key, base_url=emulator.base_url) as behest:
        print("BEHEST_KEY is not set, so this runs on the emulator.")
        yield behest


def main() -> None:
    """Sign two users in as Supabase would, and somebody who made a token up."""
    key, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    with provider(key) as project_url, gateway() as behest:
        model = ChatBehest(client=behest)
        for user, tier in (("alice", "pro"), ("bob", None)):
            about: dict[str, Any] = {
                "iss": f"{project_url}/auth/v1",
                "aud": "authenticated",
                "app_metadata": {"tier": tier},
            }
            bearer = sign(key, sub=user, **about)
            with scope(from_supabase(bearer, project_url=project_url)):
                reply = model.invoke(f"I am {user}.")
            print(f"{user} (tier {tier}): {reply.text}")
        try:
            from_supabase(sign(stranger, sub="alice", **about), project_url=project_url)
        except jwt.PyJWTError as error:
            print(f"Made up: {type(error).__name__}: {error}")


if __name__ == "__main__":
    try:
        main()
    except BehestError as error:
        sys.exit(f"{type(error).__name__}: {error}")
