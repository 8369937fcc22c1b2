"""Keys made when the tests run, so that none stands in a file."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import secrets
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Form = Literal["pkcs1", "pkcs8"]


def api_key(prefix: str = "behest_sk_live_") -> str:
    """Make an API key of this kind."""
    return prefix + secrets.token_hex(16)


@functools.cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Make an RSA key, once for each size and number."""
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pem(form: Form = "pkcs8", bits: int = 2048, number: int = 0) -> str:
    """Return an RSA key as PEM."""
    private_format = PrivateFormat.PKCS8 if form == "pkcs8" else PrivateFormat.TraditionalOpenSSL
    return rsa_key(bits, number).private_bytes(Encoding.PEM, private_format, NoEncryption()).decode()


def public_pem(bits: int = 2048, number: int = 0) -> str:
    """Return the public half of an RSA key as PEM."""
    public = rsa_key(bits, number).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def ec_pem() -> str:
    """Return a key that isn't RSA."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def encoded(text: str) -> str:
    """Return base64 of a text."""
    return base64.b64encode(text.encode()).decode()


def self_signed() -> str:
    """Return a key, and a certificate for this machine that no authority has signed, as PEM."""
    key = rsa_key(2048, 0)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(hours=1))
        .sign(key, SHA256())
    )
    return pem() + certificate.public_bytes(Encoding.PEM).decode()
