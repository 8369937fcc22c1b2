"""Quotas, rate limits and fallbacks: what users are told, what is sent again, and what the report says."""

from __future__ import annotations

from pathlib import Path

import pytest

from behest_base import Behest, Clock
from behest_base.emulator import Emulator
from cookbook.conftest import Run, load

RECIPE = "quotas_and_fallbacks.py"


def test_it_runs_alone(run: Run, tmp_path: Path) -> None:
    """Carol gets a link and the fallback, the others an answer, after a wait; the plot is a PNG."""
    plot = tmp_path / "usage.png"
    out = run(RECIPE, "--plot", str(plot))
    assert "alice: Noted: Hello, I am alice. [1." in out
    assert "carol: Your plan is used up. https://shop.example/plans" in out
    assert "carol: (a small model of our own) Hello." in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line and line[0].isalpha()}
    assert rows["carol"] == ["0", "0"]
    assert [int(rows["alice"][n]) + int(rows["bob"][n]) for n in (0, 1)] == [int(n) for n in rows["project"][:2]]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("in_langchain", [False, True])
def test_a_used_up_tier_is_asked_once(gateway: Emulator, behest: Behest, *, in_langchain: bool) -> None:
    """402 is not sent again, and another error gets no fallback."""
    recipe = load(RECIPE)
    ask = recipe.answer_by_fallback if in_langchain else recipe.answer_or_link
    gateway.set_quota("carol", upgrade_url=recipe.UPGRADE_URL)
    said = ask(behest, "carol", "Hello.", recipe.UsageByUser())
    assert ("small model" if in_langchain else recipe.UPGRADE_URL) in said
    assert len(gateway.chats) == 1
    gateway.fail_next(status=400, path="chat")
    with pytest.raises(Exception, match="fault"):
        ask(behest, "alice", "Hello.", recipe.UsageByUser())


def test_a_short_wait_is_waited_and_a_long_one_told(gateway: Emulator) -> None:
    """`Retry-After` is waited for by the client up to a minute; beyond it the user hears of it."""
    recipe = load(RECIPE)
    waits: list[float] = []
    with Behest(gateway.api_key, base_url=gateway.base_url, clock=Clock(sleep=waits.append)) as behest:
        gateway.fail_next(status=429, retry_after=30, path="chat", times=2)
        assert recipe.answer_or_link(behest, "alice", "Hello.", recipe.UsageByUser()) == "Noted: Hello."
        gateway.fail_next(status=429, retry_after=90, path="chat")
        assert "in 90 seconds" in recipe.answer_or_link(behest, "alice", "Hello.", recipe.UsageByUser())
    assert waits == [30, 30]
