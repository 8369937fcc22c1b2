"""Tokens signed in your own process, and the signing key changed while requests run.

    pip install "behest-base[emulator]"
    python cookbook/local_signing.py

With the project's RSA private key there is no mint to call: each user's token is signed here. `Behest(signing_key=…)` takes a
callable that supplies the key and its `kid` for every token that is signed, so a key can be changed without a restart: put the
new public key where the gateway finds it, switch the callable, and retire the old key when the last token signed with it has
expired. Tokens that are out stay valid, requests under way are not disturbed.

With OLD_KEY_FILE, OLD_KID, NEW_KEY_FILE, NEW_KID, BEHEST_TENANT_ID, BEHEST_PROJECT_ID and BEHEST_SLUG or BEHEST_BASE_URL set, it
runs on the real project, which has to know both public keys; without, it makes two keys and an emulator that knows them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from behest_base import Behest, BehestError, Scope, SigningKey, load_signing_key
from behest_base.emulator import Emulator

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}


class KeyRing:
    """Holds the key to sign with; a service would read it from its secret store."""

    def __init__(self, key: SigningKey) -> None:
        """Begin with a key."""
        self._key = key

    def __call__(self) -> SigningKey:
        """Supply the key for the next token."""
        return self._key

    def rotate(self, key: SigningKey) -> None:
        """Sign with another key from now on."""
        self._key = key


def call_for_many(behest: Behest, keys: KeyRing, new: SigningKey) -> None:
    """Make calls for forty users at once, and change the key in the middle of it."""
    users = [f"user-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(behest.complete, HELLO, scope=Scope(user)) for user in users[:20]]
        wait(first, return_when=FIRST_COMPLETED)
        keys.rotate(new)
        second = [pool.submit(behest.complete, HELLO, scope=Scope(user)) for user in users]
        answered = len([call.result() for call in first + second])
    print(f"{answered} calls for {len(users)} users were answered; {behest.stats().mints} tokens were signed.")


def kid_in_use(behest: Behest) -> str:
    """Return the id of the key that a token is signed with now."""
    token = behest.mint("someone-new").token.get_secret_value()
    return str(jwt.get_unverified_header(token)["kid"])


@contextlib.contextmanager
def project() -> Generator[tuple[SigningKey, SigningKey, dict[str, Any]]]:
    """Give the old key, the new key, and where the project is."""
    if os.environ.get("OLD_KEY_FILE"):
        yield _from_file("OLD"), _from_file("NEW"), {}
        return
    with Emulator() as emulator:
        print(f"OLD_KEY_FILE is not set, so this runs on the emulator at {emulator.base_url}.")
        old, new = (_made_up(emulator, kid) for kid in ("spring", "autumn"))
        yield (
            old,
            new,
            {
                "base_url": emulator.base_url,
                "tenant_id": emulator.tenant_id,
                "project_id": emulator.project_id,
            },
        )


def _from_file(which: str) -> SigningKey:
    pem = Path(os.environ[f"{which}_KEY_FILE"]).read_text(encoding="utf-8")
    return load_signing_key(pem, kid=os.environ[f"{which}_KID"])


def _made_up(emulator: Emulator, kid: str) -> SigningKey:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    emulator.register_key(
        kid, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )
    return load_signing_key(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), kid=kid)


def main() -> None:
    """Rotate while calls run."""
    with project() as (old, new, where):
        keys = KeyRing(old)
        with Behest(signing_key=keys, **where) as behest:
            print(f"Tokens are signed with {kid_in_use(behest)!r}.")
            call_for_many(behest, keys, new)
            print(f"Tokens are signed with {kid_in_use(behest)!r}.")


if __name__ == "__main__":
    try:
        main()
    except (BehestError, OSError, KeyError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
