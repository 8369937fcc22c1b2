"""Settings: the environment and arguments, every kind of key, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from behest_base import Behest, BehestConfigError, BehestSettings, load_signing_key
from behest_base.keys import ApiKey, PresetToken, SigningKey
from support.keys import api_key, ec_pem, encoded, pem
from support.minters import made_up_token

SIGNING: dict[str, Any] = {"kid": "k1", "tenant_id": "t", "project_id": "p"}


@pytest.mark.parametrize("prefix", ["behest_sk_live_", "behest_sk_test_", "bh_live_"])
def test_api_keys(prefix: str) -> None:
    """API keys of every generation are read, whitespace around them dropped."""
    key = api_key(prefix)
    credential = BehestSettings(key=f"  {key}\n").credential()
    assert isinstance(credential, ApiKey)
    assert credential.secret.get_secret_value() == key


@pytest.mark.parametrize("form", ["pkcs1", "pkcs8"])
@pytest.mark.parametrize("prefix", ["", "behest_pk_"])
@pytest.mark.parametrize("wrap", ["raw", "base64", "escaped", "wrapped"])
def test_private_keys(form: Any, prefix: str, wrap: str) -> None:
    """RSA keys are read as PEM, as base64 of it, with the line breaks that environment files leave, with and without prefix."""
    text = pem(form)
    shown = {
        "raw": text,
        "base64": encoded(text),
        "escaped": text.replace("\n", "\\n"),
        "wrapped": "\n".join(encoded(text)[i : i + 60] for i in range(0, len(encoded(text)), 60)),
    }[wrap]
    assert isinstance(BehestSettings(key=prefix + shown, **SIGNING).credential(), SigningKey)


def test_a_ready_token() -> None:
    """Three base64url parts with dots are a ready JWT."""
    assert isinstance(BehestSettings(key=made_up_token("alice", 1)).credential(), PresetToken)


@pytest.mark.parametrize(
    "key",
    [
        "nonsense",
        "behest_sk_live_",
        "behest_sk_live_a b",
        "behest_sk_live_é",
        "behest_sk_live_a\x00",
        "behest_pk_rubbish",
        "a.b",
    ],
)
def test_malformed_keys_are_refused_without_being_repeated(key: str) -> None:
    """The error names the accepted forms and both ways to give the key, never the value."""
    with pytest.raises(BehestConfigError) as caught:
        BehestSettings(key=key).credential()
    assert "key=" in str(caught.value)
    assert "BEHEST_KEY" in str(caught.value)
    if key != "behest_sk_live_":
        assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (lambda: pem(bits=1024), "1024 bits"),
        (ec_pem, "not an RSA key"),
        (lambda: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "can't be read"),
    ],
)
def test_unfit_private_keys_are_refused(key: Any, says: str) -> None:
    """A private key that RS256 can't or shouldn't use is refused at once."""
    with pytest.raises(BehestConfigError, match=says):
        BehestSettings(key=key(), **SIGNING).credential()


@pytest.mark.parametrize(("missing", "variable"), [("kid", "BEHEST_KID"), ("tenant_id", "BEHEST_TENANT_ID")])
def test_local_signing_says_what_it_needs(missing: str, variable: str) -> None:
    """Without the key id, tenant or project the error names argument and variable."""
    given = {name: value for name, value in SIGNING.items() if name != missing}
    with pytest.raises(BehestConfigError, match=variable):
        BehestSettings(key=pem(), **given).credential()


def test_load_signing_key_takes_private_keys_only() -> None:
    """For key rotation an API key is of no use."""
    assert load_signing_key(pem(), kid="k").kid == "k"
    with pytest.raises(BehestConfigError, match="RSA private key"):
        load_signing_key(api_key(), kid="k")


def test_no_key_says_both_ways() -> None:
    """Without a key the error names the argument and the variable."""
    with pytest.raises(BehestConfigError, match=r"key= .*BEHEST_KEY"):
        Behest(base_url="http://127.0.0.1:1")


def test_no_address_says_how_to_try() -> None:
    """Without an address the error names both forms, and the emulator."""
    with pytest.raises(BehestConfigError, match=r"base_url= or slug=.*emulator"):
        Behest(api_key())


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field can come from the environment; an argument wins."""
    monkeypatch.setenv("BEHEST_KEY", api_key())
    monkeypatch.setenv("BEHEST_SLUG", "from-env")
    monkeypatch.setenv("BEHEST_TIER", "2")
    monkeypatch.setenv("BEHEST_TTL", "600")
    settings = BehestSettings(user_id="alice")
    assert settings.gateway_url == "https://from-env.behest.app"
    assert (settings.tier, settings.ttl, settings.user_id) == (2, 600, "alice")
    assert BehestSettings(slug="other").gateway_url == "https://other.behest.app"


def test_the_deprecated_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """BEHEST_API_KEY still works, with a warning."""
    monkeypatch.setenv("BEHEST_API_KEY", api_key())
    with pytest.warns(DeprecationWarning, match="BEHEST_KEY"):
        settings = BehestSettings()
    assert isinstance(settings.credential(), ApiKey)


def test_a_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key may stand in a file."""
    file = tmp_path / "key.pem"
    file.write_text(pem())
    monkeypatch.setenv("BEHEST_KEY_FILE", str(file))
    assert isinstance(BehestSettings(**SIGNING).credential(), SigningKey)
    with pytest.raises(BehestConfigError, match="BEHEST_KEY_FILE"):
        BehestSettings(key_file=tmp_path / "none").credential()


def test_a_key_file_given_wins_over_a_key_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every argument does; of two arguments, and of two variables, the key is taken."""
    file, key, other = tmp_path / "key", api_key(), api_key()
    file.write_text(key)
    monkeypatch.setenv("BEHEST_KEY", other)
    assert BehestSettings(key_file=file).credential() == ApiKey(SecretStr(key))
    assert BehestSettings(key=SecretStr(other), key_file=file).credential() == ApiKey(SecretStr(other))
    monkeypatch.setenv("BEHEST_KEY_FILE", str(file))
    assert BehestSettings().credential() == ApiKey(SecretStr(other))


@pytest.mark.parametrize(
    ("fields", "mint"),
    [
        ({"slug": "acme"}, "https://api.behest.app/v1/auth/mint"),
        ({"base_url": "https://gw.example/"}, "https://gw.example/v1/auth/mint"),
        ({"base_url": "https://gw.example/v1"}, "https://gw.example/v1/auth/mint"),
        ({"slug": "acme", "mint_url": "https://m.example"}, "https://m.example/v1/auth/mint"),
        ({"slug": "acme", "mint_url": "https://m.example/auth/v1/auth/mint"}, "https://m.example/auth/v1/auth/mint"),
    ],
)
def test_where_to_mint(fields: dict[str, str], mint: str) -> None:
    """A slug mints at the control plane, a base URL at itself, and an explicit address wins."""
    assert BehestSettings(key=api_key(), **fields).mint_endpoint == mint


@pytest.mark.parametrize(
    "address",
    [
        "http://gw.example",
        "http://localhost.evil.test",
        "http://localhost@evil.test",
        "http://127.0.0.1@evil.test",
        "http://127.0.0.1.evil.test",
        "http://[::ffff:1.2.3.4]",
        "http://localhost\\@evil.test",
        "https://user@gw.example",
        "https://gw.example/?a=b",
        "https://gw.example/#a",
        "https://gw.exa\nmple",
        "ftp://gw.example",
        "gw.example",
        "https://",
        " ",
        "https://gẅ.example",
    ],
)
def test_addresses_that_credentials_must_not_go_to(address: str) -> None:
    """Https, or http to a parsed loopback host, and nothing that parsers disagree about."""
    with pytest.raises(BehestConfigError, match="base_url"):
        _ = BehestSettings(key=api_key(), base_url=address).gateway_url


@pytest.mark.parametrize("address", ["http://mint.example", "http://localhost@evil.test", "https://user@mint.example"])
def test_the_mint_is_no_other_matter(address: str) -> None:
    """An address of its own is held to the same, when the client is made."""
    with pytest.raises(BehestConfigError, match="mint_url"):
        Behest(api_key(), base_url="https://gw.example", mint_url=address)


@pytest.mark.parametrize("address", ["http://localhost:1", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:1"])
def test_loopback_may_be_plain_http(address: str) -> None:
    """The emulator needs no TLS."""
    assert BehestSettings(key=api_key(), base_url=address).gateway_url == address


def test_plain_http_inside_a_network_is_an_explicit_choice() -> None:
    """It names the host, and holds for that one only."""
    inside: dict[str, Any] = {"key": api_key(), "insecure_host": "gateway.internal"}
    assert BehestSettings(base_url="http://gateway.internal:80", **inside).gateway_url
    with pytest.raises(BehestConfigError, match="insecure_host"):
        _ = BehestSettings(base_url="http://other.internal", **inside).gateway_url


@pytest.mark.parametrize("slug", ["", "a.b", "a/b", "-a", "A", "a" * 64, "evil.test#"])
def test_slugs_are_host_labels(slug: str) -> None:
    """A slug can't lead to another host."""
    with pytest.raises(BehestConfigError):
        _ = BehestSettings(key=api_key(), slug=slug).gateway_url


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"ttl": 1}, r"ttl= \(BEHEST_TTL\)"), ({"ttl": "soon"}, "ttl="), ({"nonsense": 1}, "nonsense")],
)
def test_unusable_fields_are_named(fields: dict[str, Any], says: str) -> None:
    """A field out of range or unknown is named with its variable."""
    with pytest.raises(BehestConfigError, match=says):
        BehestSettings(key=SecretStr(api_key()), **fields)


def test_bounds_of_the_client() -> None:
    """Negative retries and a cache for nobody are refused."""
    for wrong in ({"max_retries": -1}, {"cache_size": 0}):
        with pytest.raises(BehestConfigError, match="max_retries= must"):
            Behest(api_key(), base_url="http://127.0.0.1:1", **wrong)  # type: ignore[arg-type] # on purpose


def test_nothing_given_is_ignored() -> None:
    """Arguments that others stand for are refused rather than left aside."""
    settings = BehestSettings(key=SecretStr(api_key()), base_url="http://127.0.0.1:1")
    with pytest.raises(BehestConfigError, match="key=, tier=, user_id= would be ignored"):
        Behest(api_key(), settings=settings, user_id="alice", tier="pro")
    with pytest.raises(BehestConfigError, match="key= would be ignored"):
        Behest(
            api_key(), signing_key=lambda: load_signing_key(pem(), kid="k"), base_url="http://127.0.0.1:1", **SIGNING
        )
