"""Verifies a Behest JWT that a front end sends, so that a backend can go on as its user (`index`: JWKS)."""

from __future__ import annotations

import asyncio
import http.client
from typing import Any, Final

import jwt
from pydantic import SecretStr

from behest_base.errors import BehestAuthError, BehestConnectionError
from behest_base.hosts import parse_address, slug_addresses
from behest_base.scope import Scope
from behest_base.settings import AUDIENCE, ISSUER

__all__ = ["BehestVerifier"]

JWKS_PATH: Final = "/.well-known/jwks.json"
# The gateway itself caches its keys for about five minutes, so revoking a kid takes that long anyway.
JWKS_LIFETIME_SECONDS: Final = 300
JWKS_TIMEOUT_SECONDS: Final = 10
CLOCK_LEEWAY_SECONDS: Final = 30


class BehestVerifier:
    """Checks end users' tokens: signature against the tenant's JWKS (RS256 only), audience, issuer, lifetime, project.

    The keys are fetched once, kept for five minutes, and fetched again when a token names an unknown key id.

    Example:
        ```python
        verifier = BehestVerifier(slug="my-project", project_id="…")
        with scope(verifier.scope(token)):      # raises BehestAuthError if it isn't valid
            model.invoke("…")                   # as that user, with that very token
        ```
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        slug: str | None = None,
        jwks_url: str | None = None,
        project_id: str | None = None,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        leeway: float = CLOCK_LEEWAY_SECONDS,
        insecure_host: str | None = None,
    ) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            base_url: The gateway's address, whose `/.well-known/jwks.json` has the keys.
            slug: The project's slug, instead.
            jwks_url: The whole URL of the JWKS, instead of either; without all three, the control plane's.
            project_id: Accept tokens of this project (`pid`) only. Give it: one JWKS serves all projects of a tenant.
            issuer: The `iss` to demand.
            audience: The `aud` to demand.
            leeway: Seconds by which the clocks may differ.
            insecure_host: A host in a network of your own to which plain http is allowed.

        Raises:
            BehestConfigError: An address is not safe to trust keys from.
        """
        if jwks_url is not None:
            url = parse_address(jwks_url, name="jwks_url", insecure_host=insecure_host)
        elif base_url is not None:
            url = parse_address(base_url, name="base_url", insecure_host=insecure_host) + JWKS_PATH
        else:
            url = (slug_addresses(slug)[0] if slug else ISSUER) + JWKS_PATH
        self._keys = _Keys(url, lifespan=JWKS_LIFETIME_SECONDS, timeout=JWKS_TIMEOUT_SECONDS)
        self._project_id = project_id
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway

    def verify(self, token: str | SecretStr) -> dict[str, Any]:
        """Return the claims of a valid token.

        Raises:
            BehestAuthError: It is not valid; `.code` says why (`token_expired`, `invalid_token`, `wrong_project`).
            BehestConnectionError: The JWKS could not be fetched.
        """
        secret = token if isinstance(token, SecretStr) else SecretStr(token)
        del token  # no secret in the frame of an error
        outcome = self._check(secret)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def averify(self, token: str | SecretStr) -> dict[str, Any]:
        """Do the same without blocking the event loop: in a worker thread, since the keys may have to be fetched."""
        secret = token if isinstance(token, SecretStr) else SecretStr(token)
        del token
        return await asyncio.to_thread(self.verify, secret)

    def scope(self, token: str | SecretStr) -> Scope:
        """Verify a token and return the scope in which calls are made with it, as its user, until it expires.

        Raises:
            BehestAuthError: It is not valid.
        """
        secret = token if isinstance(token, SecretStr) else SecretStr(token)
        del token
        self.verify(secret)
        return Scope.from_token(secret)

    async def ascope(self, token: str | SecretStr) -> Scope:
        """Do the same without blocking the event loop."""
        secret = token if isinstance(token, SecretStr) else SecretStr(token)
        del token
        await self.averify(secret)
        return Scope.from_token(secret)

    def _check(self, secret: SecretStr) -> dict[str, Any] | BehestAuthError | BehestConnectionError:
        """Return the claims, or the error: it is raised where no frame below holds the token."""
        try:
            key = self._keys.get_signing_key_from_jwt(secret.get_secret_value())
            claims = jwt.decode(
                secret.get_secret_value(),
                key.key,
                algorithms=["RS256"],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iat", "aud", "iss", "uid"]},
            )
        except jwt.PyJWKClientConnectionError as error:
            why = f"The gateway's JWKS could not be fetched ({error}), so no token can be verified now."
            return BehestConnectionError(why)
        except jwt.ExpiredSignatureError:
            return BehestAuthError("The token has expired; the front end has to get a new one.", code="token_expired")
        except (jwt.PyJWTError, ValueError, TypeError) as error:  # a TypeError: the key named is of another kind
            why = f"The token is not valid ({type(error).__name__})."
            return BehestAuthError(why, code="invalid_token")
        if self._project_id is not None and claims.get("pid") != self._project_id:
            return BehestAuthError("The token belongs to another project.", code="wrong_project")
        return claims


class _Keys(jwt.PyJWKClient):
    """Says of everything that is wrong with the keys' endpoint that it is not the token's fault."""

    def fetch_data(self) -> Any:
        """Fetch the keys, and check that they are such."""
        try:
            keys = super().fetch_data()
            jwt.PyJWKSet.from_dict(keys)
        except (OSError, ValueError, AttributeError, http.client.HTTPException, jwt.PyJWTError) as error:
            raise jwt.PyJWKClientConnectionError(type(error.__cause__ or error).__name__) from None
        return keys
