"""Key rotation while requests run: nothing fails, and both keys sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest

from behest_base import Behest, load_signing_key
from behest_base.emulator import Emulator
from cookbook.conftest import Run, load
from support.keys import pem, public_pem

RECIPE = "local_signing.py"


def test_it_runs_alone(run: Run) -> None:
    """Without a key it makes two, and the second one signs in the end."""
    out = run(RECIPE)
    assert "Tokens are signed with 'spring'." in out
    assert "60 calls for 40 users were answered" in out
    assert out.rstrip().endswith("Tokens are signed with 'autumn'.")


def test_both_keys_sign_and_no_call_fails(gateway: Emulator) -> None:
    """Users from before the change keep their token until it expires; new ones get the new key's; nobody calls the mint."""
    recipe = load(RECIPE)
    for number, kid in enumerate(("old", "new")):
        gateway.register_key(kid, public_pem(number=number))
    keys = recipe.KeyRing(load_signing_key(pem(), kid="old"))
    new = load_signing_key(pem(number=1), kid="new")
    where: dict[str, Any] = {
        "base_url": gateway.base_url,
        "tenant_id": gateway.tenant_id,
        "project_id": gateway.project_id,
    }
    with Behest(signing_key=keys, **where) as behest:
        recipe.call_for_many(behest, keys, new)
        assert recipe.kid_in_use(behest) == "new"
    kids = [
        jwt.get_unverified_header(call.headers["authorization"].removeprefix("Bearer "))["kid"]
        for call in gateway.chats
    ]
    assert {call.status for call in gateway.chats} == {200}
    assert len(kids) == 60
    assert set(kids) == {"old", "new"}
    assert kids.count("new") >= 20
    assert gateway.mints == []


def test_keys_from_files(spawn: Run, gateway: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With key files in the environment it runs on the project that the environment names."""
    for number, which in enumerate(("OLD", "NEW")):
        gateway.register_key(which.lower(), public_pem(number=number))
        file = tmp_path / which
        file.write_text(pem(number=number), encoding="utf-8")
        monkeypatch.setenv(f"{which}_KEY_FILE", str(file))
        monkeypatch.setenv(f"{which}_KID", which.lower())
    monkeypatch.setenv("BEHEST_BASE_URL", gateway.base_url)
    monkeypatch.setenv("BEHEST_TENANT_ID", gateway.tenant_id)
    monkeypatch.setenv("BEHEST_PROJECT_ID", gateway.project_id)
    assert "60 calls for 40 users were answered" in spawn(RECIPE)
    assert len(gateway.chats) == 60
    monkeypatch.delenv("NEW_KEY_FILE")
    assert "NEW_KEY_FILE" in spawn(RECIPE, code=1)
