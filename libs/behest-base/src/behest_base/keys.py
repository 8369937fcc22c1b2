"""What kind of key this is, and whether it can be one at all (`sdk`: mode detection, order and prefixes)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from behest_base.errors import BehestConfigError
from behest_base.jwts import is_jwt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["ApiKey", "Credential", "PresetToken", "SigningKey", "is_private_key", "load_signing_key", "parse_key"]

API_KEY_PREFIXES: Final = ("behest_sk_live_", "behest_sk_test_", "bh_live_")
PRIVATE_KEY_PREFIX: Final = "behest_pk_"
MIN_RSA_BITS: Final = 2048

ACCEPTED: Final = (
    "Accepted are: an API key (behest_sk_live_…, behest_sk_test_…, bh_live_…); an RSA private key as PEM, as base64 of a PEM, "
    "or either behind behest_pk_; a ready JWT. Pass it as key= or set BEHEST_KEY."
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that the mint exchanges for users' tokens."""

    secret: SecretStr


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA private key, parsed, with the id under which its public half stands in the tenant's JWKS."""

    private_key: RSAPrivateKey
    kid: str


@dataclass(frozen=True, slots=True)
class PresetToken:
    """A token minted elsewhere, used as it is until it expires."""

    secret: SecretStr


Credential = ApiKey | SigningKey | PresetToken


def parse_key(key: SecretStr, *, kid: str | None) -> Credential:
    """Return the credential that a `BEHEST_KEY` stands for.

    Args:
        key: The value as given; whitespace around it is ignored.
        kid: The key id, which a private key needs.

    Raises:
        BehestConfigError: It is none of the accepted forms, or a private key without a kid. The value is never repeated.
    """
    outcome = _parse(key.get_secret_value().strip(), kid)
    if isinstance(outcome, str):
        raise BehestConfigError(outcome, code="bad_key_format")
    return outcome


def is_private_key(key: SecretStr) -> bool:
    """Say whether a key looks like a private one, which takes tens of milliseconds to check."""
    return _pem_in(key.get_secret_value().strip()) is not None


def load_signing_key(pem: SecretStr | str, *, kid: str | None) -> SigningKey:
    """Parse a private key once, for local signing and for key rotation.

    Args:
        pem: RSA ≥ 2048 bits, PKCS#1 or PKCS#8 PEM, or base64 of it, or either behind `behest_pk_`.
        kid: Its key id in the tenant's JWKS.

    Raises:
        BehestConfigError: It isn't such a key, or there is no kid.
    """
    secret = pem if isinstance(pem, SecretStr) else SecretStr(pem)
    del pem  # no secret in the frame of an error
    credential = parse_key(secret, kid=kid)
    if not isinstance(credential, SigningKey):
        msg = "A signing key must be an RSA private key as PEM, as base64 of a PEM, or either behind behest_pk_."
        raise BehestConfigError(msg, code="bad_key_format")
    return credential


def _parse(text: str, kid: str | None) -> Credential | str:
    """Return the credential, or why it is none: errors are raised where no local holds the key."""
    if text.startswith(API_KEY_PREFIXES):
        if re.fullmatch(r"[\x21-\x7e]+", text) and text not in API_KEY_PREFIXES:
            return ApiKey(SecretStr(text))
        return f"The API key is cut off, or has spaces, line breaks, control or non-ASCII characters inside. {ACCEPTED}"
    pem = _pem_in(text)
    if pem is not None:
        return _load(pem, kid)
    if text.startswith(PRIVATE_KEY_PREFIX):
        return f"What follows behest_pk_ is neither a PEM nor base64 of one. {ACCEPTED}"
    if is_jwt(text):
        return PresetToken(SecretStr(text))
    return f"The key has none of the accepted forms. {ACCEPTED}"


def _pem_in(text: str) -> str | None:
    # Environment files and shells often keep a PEM's line breaks as the two characters \n.
    text = text.removeprefix(PRIVATE_KEY_PREFIX).strip().replace("\\n", "\n")
    if _is_pem(text):
        return text
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return decoded if _is_pem(decoded) else None


def _is_pem(text: str) -> bool:
    return "BEGIN PRIVATE KEY" in text or "BEGIN RSA PRIVATE KEY" in text


def _load(pem: str, kid: str | None) -> SigningKey | str:
    if not kid:
        return "A private key needs the id under which its public half stands in the tenant's JWKS: pass kid= or set BEHEST_KID."
    # Imported here: most have an API key, which needs none of it.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem.encode("ascii"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "The private key can't be read: it must be a whole, unencrypted RSA key in PEM form (PKCS#1 or PKCS#8)."
    if not isinstance(key, RSAPrivateKey):
        return "The private key is not an RSA key; tokens are signed with RS256."
    if key.key_size < MIN_RSA_BITS:
        return f"The private key has {key.key_size} bits; RS256 needs an RSA key of at least {MIN_RSA_BITS}."
    return SigningKey(key, kid)
