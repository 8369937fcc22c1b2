"""Environment and arguments to one validated object (`sdk`: the variables' names)."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from behest_base.errors import BehestConfigError
from behest_base.hosts import parse_address, slug_addresses
from behest_base.keys import ACCEPTED, Credential, SigningKey, is_private_key, parse_key
from behest_base.redaction import redact

__all__ = ["BehestSettings"]

ISSUER: Final = "https://api.behest.app"
AUDIENCE: Final = "behest"
# The mint's bounds (`docs`, `sdk`); tokens signed here keep to them, too.
MIN_TTL_SECONDS: Final = 60
MAX_TTL_SECONDS: Final = 86_400
_DEPRECATED_VARIABLE: Final = "BEHEST_API_KEY"


class BehestSettings(BaseSettings):
    """How to reach a project on the gateway, and with which key.

    Every field can be given as an argument or as the environment variable `BEHEST_` plus its name in capitals; the
    argument wins. Nothing is sent here: whatever can't work is refused at once.

    Attributes:
        key: API key, RSA private key or ready JWT.
        key_file: A file that holds the key, instead of `key`.
        base_url: The address of a custom host, a self-hosted gateway or the emulator; minting goes there too.
        slug: The project's slug, instead of `base_url`: the project's host, and the control plane for minting.
        mint_url: Where to mint, if elsewhere; the host, or the whole URL of the mint.
        insecure_host: A host inside a network of your own to which plain http is allowed.
        kid: The key id of a private key.
        tenant_id: The tenant, for local signing.
        project_id: The project, for local signing.
        user_id: The default end user.
        ttl: Lifetime of the tokens in seconds, 60 to 86,400; the gateway's default if not given (900 when signing locally).
        tier: The default tier, by name or number.
        issuer: The `iss` of locally signed tokens.
        audience: The `aud` of locally signed tokens.

    Raises:
        BehestConfigError: Something is missing or malformed; names the argument and the variable.
    """

    model_config = SettingsConfigDict(
        env_prefix="BEHEST_", env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    key: SecretStr | None = Field(default=None, repr=False)
    key_file: Path | None = None
    base_url: str | None = None
    slug: str | None = None
    mint_url: str | None = None
    insecure_host: str | None = None
    kid: str | None = None
    tenant_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    ttl: int | None = Field(default=None, ge=MIN_TTL_SECONDS, le=MAX_TTL_SECONDS)
    tier: int | str | None = None
    issuer: str = ISSUER
    audience: str = AUDIENCE

    def __init__(self, **values: Any) -> None:
        """Take arguments, and the environment for what is not given."""
        for name, value in values.items():
            # Out of this frame and pydantic's: a traceback with captured locals shows no key.
            values[name] = SecretStr(value) if name == "key" and isinstance(value, str) else value
        _take_deprecated_key(values)
        if values.get("slug") is not None and values.get("base_url") is None:
            values["base_url"] = None  # an argument wins over BEHEST_BASE_URL
        if values.get("key_file") is not None and values.get("key") is None:
            values["key"] = None  # and over BEHEST_KEY
        problem = None
        try:
            super().__init__(**values)
        except ValidationError as error:
            problem = _describe(error)
        if problem is not None:
            # Outside the except: the frames below hold the environment's raw values.
            raise BehestConfigError(problem)

    @field_validator("tier", mode="after")
    @classmethod
    def _number_of_a_tier(cls, tier: int | str | None) -> int | str | None:
        """Read a numeric tier from the environment as the number it is."""
        return int(tier) if isinstance(tier, str) and tier.isdigit() else tier

    @property
    def gateway_url(self) -> str:
        """Where chat, threads and usage are.

        Raises:
            BehestConfigError: Neither `base_url` nor `slug` was given, or what was given is no safe address.
        """
        if self.base_url:
            return parse_address(self.base_url, name="base_url (BEHEST_BASE_URL)", insecure_host=self.insecure_host)
        if self.slug:
            return slug_addresses(self.slug)[0]
        msg = (
            "No gateway address: pass base_url= or slug=, or set BEHEST_BASE_URL or BEHEST_SLUG. To try without an account, "
            'pip install "behest-base[emulator]" and run python -m behest_base.emulator.'
        )
        raise BehestConfigError(msg, code="missing_env")

    @property
    def mint_endpoint(self) -> str:
        """The URL of the mint: the explicit one, else under the base URL, else at the control plane.

        Raises:
            BehestConfigError: As for `gateway_url`.
        """
        if self.mint_url:
            url = parse_address(self.mint_url, name="mint_url (BEHEST_MINT_URL)", insecure_host=self.insecure_host)
            return url if url.endswith("/auth/mint") else f"{url}/v1/auth/mint"
        base = self.gateway_url if self.base_url else slug_addresses(self.slug or "")[1]
        return f"{base}/v1/auth/mint"

    @property
    def key_takes_time(self) -> bool:
        """Whether reading the key would hold up an event loop: it is in a file, or a private key that has to be checked."""
        return is_private_key(self.key) if self.key is not None and _given(self.key) else self.key_file is not None

    def credential(self) -> Credential:
        """Read the key and say what it is.

        Raises:
            BehestConfigError: There is none, it is malformed, or what local signing needs besides it is missing.
        """
        credential = parse_key(self._key(), kid=self.kid)
        if isinstance(credential, SigningKey):
            self.require_signing_fields()
        return credential

    def require_signing_fields(self) -> None:
        """Check that the tenant and the project of locally signed tokens are known.

        Raises:
            BehestConfigError: One is missing.
        """
        needed = {"tenant_id= or BEHEST_TENANT_ID": self.tenant_id, "project_id= or BEHEST_PROJECT_ID": self.project_id}
        missing = [name for name, value in needed.items() if not value]
        if missing:
            msg = f"Signing tokens locally needs {' and '.join(missing)}."
            raise BehestConfigError(msg, code="missing_env")

    def _key(self) -> SecretStr:
        if self.key is not None and _given(self.key):
            return self.key
        if self.key_file is None:
            msg = f"No key: pass key= or set BEHEST_KEY (or BEHEST_KEY_FILE). {ACCEPTED}"
            raise BehestConfigError(msg, code="missing_env")
        try:
            return SecretStr(self.key_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            msg = f"The key file {self.key_file} (key_file= or BEHEST_KEY_FILE) can't be read: {type(error).__name__}."
            raise BehestConfigError(msg) from None


def _given(key: SecretStr) -> bool:
    return bool(key.get_secret_value().strip())


def _take_deprecated_key(values: dict[str, Any]) -> None:
    if any(values.get(name) is not None for name in ("key", "key_file")):
        return
    if os.environ.get("BEHEST_KEY") or os.environ.get("BEHEST_KEY_FILE") or not os.environ.get(_DEPRECATED_VARIABLE):
        return
    warnings.warn(f"{_DEPRECATED_VARIABLE} is deprecated: rename it to BEHEST_KEY.", DeprecationWarning, stacklevel=4)
    values["key"] = SecretStr(os.environ[_DEPRECATED_VARIABLE])


def _describe(error: ValidationError) -> str:
    lines: list[str] = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        lines.append(f"{name}= (BEHEST_{name.upper()}): {redact(problem['msg'])}")
    return "Unusable settings: " + "; ".join(lines) + "."
