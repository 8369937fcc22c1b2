"""Where credentials may go: addresses are parsed once, at construction, and compared by origin."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Protocol

import httpx

from behest_base.errors import BehestConfigError

__all__ = ["Origin", "origin_of", "parse_address", "slug_addresses"]

CONTROL_PLANE: Final = "https://api.behest.app"
_PORTS: Final = {"https": 443, "http": 80}
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Characters that parsers disagree about, and that no address of a gateway needs.
_SUSPECT: Final = re.compile(r"[\s\\\x00-\x1f\x7f]|[^\x00-\x7f]")


class _Url(Protocol):
    """The parts of a URL that both httpx and httpx2 have."""

    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what has to be equal for a credential to be sent."""

    scheme: str
    host: str
    port: int


def origin_of(url: _Url) -> Origin:
    """Return the origin of a parsed URL, the default port filled in."""
    return Origin(url.scheme, url.host, url.port or _PORTS.get(url.scheme, 0))


def parse_address(address: str, *, name: str, insecure_host: str | None) -> str:
    """Check an address and return it without a trailing slash or `/v1`.

    Args:
        address: `https://…`, or `http://` to a loopback host or to `insecure_host`.
        name: How the user gave it, for the error.
        insecure_host: A host in a network of one's own to which plain http is allowed.

    Raises:
        BehestConfigError: It isn't an address that credentials may be sent to.
    """
    problem = _problem(address, insecure_host)
    if problem:
        msg = f"{name} {problem}. Give an address such as https://my-project.behest.app, or http://127.0.0.1:8787."
        raise BehestConfigError(msg)
    return address.strip().rstrip("/").removesuffix("/v1").rstrip("/")


def _problem(address: str, insecure_host: str | None) -> str | None:
    address = address.strip()
    if not address or _SUSPECT.search(address):
        return "is empty, or has spaces, backslashes, control characters or characters outside ASCII"
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        return "is not a URL"
    if url.scheme not in _PORTS or not url.host:
        return "must begin with https:// (or http:// for a gateway on this machine) and name a host"
    if url.userinfo or url.query or url.fragment:
        return "must not have a user name, a query or a fragment"
    if url.scheme == "http" and not _is_loopback(url.host) and url.host != insecure_host:
        return (
            f"is plain http to {url.host}, which would send credentials in the clear; use https, or, inside a network "
            f"of your own, allow just this host with insecure_host={url.host!r} or BEHEST_INSECURE_HOST"
        )
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def slug_addresses(slug: str) -> tuple[str, str]:
    """Return the gateway's and the mint's address for a project's slug.

    Raises:
        BehestConfigError: The slug is not a host name's label.
    """
    if not _SLUG.fullmatch(slug):
        msg = (
            "slug (BEHEST_SLUG) must be the project's slug: lower-case letters, digits and hyphens, such as my-project."
        )
        raise BehestConfigError(msg)
    return f"https://{slug}.behest.app", CONTROL_PLANE
