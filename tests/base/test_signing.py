"""Signing tokens here, with a key that may be rotated, off the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from behest_base import Behest, BehestConfigError, BehestConnectionError, Scope, SigningKey, load_signing_key
from behest_base.emulator import Emulator
from behest_base.signing import LocalSigner
from support.keys import pem, public_pem

BODY = {"messages": [{"role": "user", "content": "Hello."}]}


def ids(gateway: Emulator) -> dict[str, Any]:
    """Return whose tokens are signed."""
    return {"tenant_id": gateway.tenant_id, "project_id": gateway.project_id}


def signing(gateway: Emulator) -> dict[str, Any]:
    """Return the same, with the id of a key that the gateway knows."""
    gateway.register_key("k1", public_pem())
    return {"kid": "k1", **ids(gateway)}


def test_local_signing(gateway: Emulator) -> None:
    """A private key signs the claims in the contract's order, back-dated by 30 s, and the gateway takes the token."""
    gateway.register_key("k1", public_pem())
    identity: dict[str, Any] = {"kid": "k1", "tenant_id": gateway.tenant_id, "project_id": gateway.project_id}
    with Behest(pem(), base_url=gateway.base_url, tier="pro", **identity) as behest:
        behest.complete(BODY, scope=Scope("alice"))
        token = behest.mint("alice", session_id="s").token.get_secret_value()
    assert gateway.mints == []
    order = ["tid", "pid", "uid", "role", "scp", "iss", "aud", "iat", "nbf", "exp", "jti", "sid", "tier"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert list(claims) == order
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert claims["iat"] == claims["nbf"]
    assert claims["exp"] - claims["iat"] == 930
    assert gateway.chats[0].user_id == "alice"


def test_key_rotation(gateway: Emulator) -> None:
    """A callable supplies key and kid, so that the next token is signed with a new key, without a restart."""
    keys = [load_signing_key(pem(number=n), kid=f"k{n}") for n in range(2)]
    for n in range(2):
        gateway.register_key(f"k{n}", public_pem(number=n))
    current = [keys[0]]
    fields: dict[str, Any] = {"tenant_id": gateway.tenant_id, "project_id": gateway.project_id}
    with Behest(signing_key=lambda: current[0], base_url=gateway.base_url, **fields) as behest:
        behest.complete(BODY, scope=Scope("alice"))
        current[0] = keys[1]
        gateway.revoke_key("k0")
        behest.complete(BODY, scope=Scope("alice"))
    used = [jwt.get_unverified_header(chat.headers["authorization"][7:])["kid"] for chat in gateway.chats]
    assert used == ["k0", "k0", "k1"]
    assert gateway.chats[1].status == 401


@pytest.mark.parametrize("back", [5.0, 25.0, 35.0])
def test_back_dating(gateway: Emulator, back: float) -> None:
    """`iat` and `nbf` are 30 s back, so a gateway whose clock is as much behind takes the token at once."""
    gateway.clock_offset = -back
    with Behest(pem(), base_url=gateway.base_url, **signing(gateway)) as behest:
        behest.complete(BODY, scope=Scope("alice"))
    assert [chat.status for chat in gateway.chats] == ([401, 200] if back > 30 else [200])


def test_a_supplier_that_fails(gateway: Emulator) -> None:
    """All who wait get one failure, with the supplier's as its cause, and it passes as fast as a mint's."""
    asked: list[int] = []

    def supply() -> SigningKey:
        asked.append(1)
        raise OSError

    with Behest(signing_key=supply, base_url=gateway.base_url, **ids(gateway)) as behest:
        for _ in range(3):
            with pytest.raises(BehestConnectionError, match=r"signing_key= failed \(OSError\)") as caught:
                behest.complete(BODY, scope=Scope("alice"))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.is_retryable
    assert len(asked) == 1


def test_a_supplier_of_something_else(gateway: Emulator) -> None:
    """What is no loaded key is named by its type; a key that can't be loaded says so itself."""
    suppliers: dict[str, Callable[[], Any]] = {
        "not NoneType": lambda: None,
        "not str": pem,
        "RSA private key": lambda: load_signing_key("rubbish", kid="k"),
    }
    for says, supply in suppliers.items():
        with (
            Behest(signing_key=supply, base_url=gateway.base_url, **ids(gateway)) as behest,
            pytest.raises(BehestConfigError, match=says),
        ):
            behest.complete(BODY, scope=Scope("alice"))


async def test_a_supplier_is_asked_off_the_event_loop(gateway: Emulator) -> None:
    """It may read a file or ask a vault."""
    gateway.register_key("k1", public_pem())
    key, threads = load_signing_key(pem(), kid="k1"), []

    def supply() -> SigningKey:
        threads.append(threading.current_thread())
        return key

    async with Behest(signing_key=supply, base_url=gateway.base_url, **ids(gateway)) as behest:
        await behest.acomplete(BODY, scope=Scope("alice"))
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_what_signs_is_imported_off_the_event_loop(gateway: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client made on a loop imports cryptography, a tenth of a second, at its first mint, in a thread."""
    gateway.register_key("k1", public_pem())
    key, threads = load_signing_key(pem(), kid="k1"), []

    class Noted(LocalSigner):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            threads.append(threading.current_thread())
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("behest_base.signing.LocalSigner", Noted)
    async with Behest(signing_key=lambda: key, base_url=gateway.base_url, **ids(gateway)) as behest:
        assert threads == []
        await behest.acomplete(BODY, scope=Scope("alice"))
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


@pytest.mark.parametrize("where", ["argument", "file"])
async def test_a_key_is_checked_off_the_event_loop(
    gateway: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Reading a key's file and checking a private key wait for the first mint, which does it in a thread, once."""
    gateway.register_key("k1", public_pem())
    file = tmp_path / "key.pem"
    file.write_text(pem())
    loads: list[threading.Thread] = []
    load = serialization.load_pem_private_key

    def noted(*args: Any, **kwargs: Any) -> Any:
        loads.append(threading.current_thread())
        return load(*args, **kwargs)

    monkeypatch.setattr(serialization, "load_pem_private_key", noted)
    given: dict[str, Any] = {"key": pem()} if where == "argument" else {"key_file": file}
    async with Behest(**given, base_url=gateway.base_url, **signing(gateway)) as behest:
        assert loads == []
        await behest.acomplete(BODY, scope=Scope("alice"))
        await behest.acomplete(BODY, scope=Scope("bob"))
        gateway.clock_offset = -600
        gateway.reject_all_tokens()
        await behest.acomplete(BODY, scope=Scope("bob"))
        behest.complete(BODY, scope=Scope("carol"))
    assert len(loads) == 1
    assert loads[0] is not threading.current_thread()
    assert [chat.status for chat in gateway.chats] == [200, 200, 401, 200, 200]


async def test_a_file_with_a_ready_token_names_its_user(gateway: Emulator, tmp_path: Path) -> None:
    """On a running loop too."""
    file = tmp_path / "token"
    file.write_text(gateway.issue("alice"))
    async with Behest(key_file=file, base_url=gateway.base_url) as behest:
        await behest.acomplete(BODY)
    assert gateway.chats[0].user_id == "alice"


async def test_a_file_that_is_not_there_on_a_loop(tmp_path: Path) -> None:
    """The first call says so, and the next one finds the file."""
    async with Behest(key_file=tmp_path / "none", base_url="http://127.0.0.1:9") as behest:
        with pytest.raises(BehestConfigError, match="BEHEST_KEY_FILE"):
            await behest.acomplete(BODY, scope=Scope("alice"))


def test_a_key_is_checked_once(gateway: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left for each token is the signature."""
    load = Mock(wraps=serialization.load_pem_private_key)
    monkeypatch.setattr(serialization, "load_pem_private_key", load)
    with Behest(pem(), base_url=gateway.base_url, **signing(gateway)) as behest:
        tokens = {behest.mint("alice").token.get_secret_value() for _ in range(3)}
    assert len(tokens) == 3
    load.assert_called_once()
