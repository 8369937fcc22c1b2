"""Who is calling: from the verified token of Supabase, Clerk, Auth0, NextAuth or Firebase to a `Scope`.

    pip install "langchain-behest[emulator]"
    python cookbook/sign_in.py

Copy the function of your provider. It checks signature, issuer, audience and lifetime, and takes the user's id and tier from what
was signed, never from the request's body or query, where anyone can write anything. Then

    with scope(from_supabase(bearer_token, project_url=…)):
        model.invoke(…)

Raises `jwt.PyJWTError`, which a web application answers with 401. Tiers are read from where only you can write: each function says
where that is. Run alone, it plays a provider with a key of its own, and signs two users in.
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
from cryptography.hazmat.primitives.asymmetric import rsa

from behest_base import Behest, BehestError, Scope, scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest

FIREBASE_KEYS = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
LEEWAY_SECONDS = 30


def from_supabase(token: str, *, project_url: str) -> Scope:
    """Read a Supabase access token; the project has to sign with an asymmetric key.

    The tier is `app_metadata.tier`, which only the service role can write (`user_metadata` is the user's own to edit).
    """
    issuer = f"{project_url}/auth/v1"
    claims = _verified(token, f"{issuer}/.well-known/jwks.json", issuer, "authenticated", ("ES256", "RS256"))
    return Scope(claims["sub"], tier=(claims.get("app_metadata") or {}).get("tier"))


def from_clerk(token: str, *, issuer: str, authorized_parties: Collection[str]) -> Scope:
    """Read a Clerk session token. It has no audience; `azp` names the origin that it was made for, which has to be yours.

    The tier is the claim `tier`; add it to the session token as `{"tier": "{{user.public_metadata.tier}}"}`.
    """
    claims = _verified(token, f"{issuer}/.well-known/jwks.json", issuer, None, ("RS256",))
    if claims.get("azp") not in authorized_parties:
        raise jwt.InvalidTokenError("The token was made for another origin.")
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


@contextlib.contextmanager
def provider(*keys: rsa.RSAPrivateKey) -> Generator[str]:
    """Publish the public halves of keys named key-0, key-1 … at every address of a server on this machine."""
    published = []
    for number, key in enumerate(keys):
        public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        published.append({**public, "kid": f"key-{number}", "use": "sig", "alg": "RS256"})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": published}).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def sign(key: rsa.RSAPrivateKey, kid: str = "key-0", **claims: Any) -> str:
    """Sign a token that holds for ten minutes, unless the claims say otherwise."""
    now = int(time.time())
    return jwt.encode({"iat": now, "exp": now + 600, **claims}, key, algorithm="RS256", headers={"kid": kid})


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
    key, stranger = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
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
