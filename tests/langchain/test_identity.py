"""For whom a call goes out: which way to say it wins, when it is decided, and what is an error."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig, RunnableLambda

from behest_base import Behest, BehestConfigError, scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest

pytestmark = pytest.mark.filterwarnings("ignore:.*in beta")


# The places that say for whom a call is, from the nearest to the farthest; sessions and threads have no environment.
PLACES = ("argument", "bind", "configurable", "outer configurable", "scope", "outer scope", "field", "environment")
NAMES = ("user_id", "session_id", "thread_id", "tier")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("nearest", range(len(PLACES)), ids=PLACES.__getitem__)
def test_the_nearest_place_wins(
    nearest: int, name: str, gateway: Emulator, environment: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all places that say it the nearest wins, for each of the fields by itself."""
    says = {place: f"by-{place.replace(' ', '-')}" for place in PLACES[nearest:]}
    monkeypatch.setenv("BEHEST_USER_ID", "someone" if name != "user_id" else says["environment"])
    if name == "tier":
        monkeypatch.setenv("BEHEST_TIER", says["environment"])

    def given(place: str, prefix: str = "") -> dict[str, Any]:
        return {f"{prefix}{name}": says[place]} if place in says else {}

    def call(_: Any) -> None:
        config: RunnableConfig = {"configurable": given("configurable", "behest_")}
        model = ChatBehest(**given("field"))
        with scope(**given("outer scope")), scope(**given("scope")):
            model.bind(**given("bind")).invoke("Hello.", config, **given("argument"))

    RunnableLambda(call).invoke(None, {"configurable": given("outer configurable", "behest_")})
    [chat] = gateway.chats
    found = {
        "user_id": chat.user_id,
        "session_id": chat.session_id,
        "thread_id": chat.thread_id,
        "tier": environment.mints[0].json.get("tier"),
    }
    nowhere = PLACES[nearest] == "environment" and name in ("session_id", "thread_id")
    if not nowhere:
        assert found[name] == f"by-{PLACES[nearest].replace(' ', '-')}"
    elif name == "thread_id":
        assert chat.thread_id is None
    else:
        assert chat.session_id not in (None, "default")


def test_none_means_none(behest: Behest, gateway: Emulator) -> None:
    """None ends the search: no thread although the model has one, no tier although the scope has, and no user is an error."""
    model = ChatBehest(client=behest, user_id="alice", thread_id="t")
    with scope(tier="pro"):
        model.invoke("Hello.", thread_id=None, tier=None)
    assert gateway.chats[0].thread_id is None
    assert [mint.json.get("tier") for mint in gateway.mints] == [None]
    with pytest.raises(BehestConfigError, match="user_id="):
        model.invoke("Hello.", user_id=None)
    assert len(gateway.chats) == 1


@pytest.mark.parametrize("name", ["invoke", "stream", "astream", "stream_events"])
def test_no_user_is_an_error_when_the_call_is_made(name: str, anyone: ChatBehest, gateway: Emulator) -> None:
    """Without a user nothing is sent, and it is said at the call, not at the first step of an iteration."""
    with pytest.raises(BehestConfigError, match="BEHEST_USER_ID"):
        getattr(anyone, name)("Hello.")
    assert gateway.requests == []


async def test_a_stream_is_its_callers(anyone: ChatBehest, gateway: Emulator) -> None:
    """A stream that is read in another scope is still for the user, and of the tier, that it was made for."""
    with scope("alice"):
        sync, tasks = anyone.stream("Hello."), anyone.astream("Hello.")
    with scope("mallory", thread_id="t", tier="pro"):
        list(sync)
        async for _ in tasks:
            pass
    assert [(call.user_id, call.thread_id) for call in gateway.chats] == [("alice", None)] * 2
    assert [(mint.json["user_id"], mint.json.get("tier")) for mint in gateway.mints] == [("alice", None)]


def test_a_users_own_token_is_carried(anyone: ChatBehest, gateway: Emulator) -> None:
    """A call in the scope of a token goes out with that token, also when a stream is read later; nothing is minted."""
    token = gateway.issue("alice")
    with scope(token=token):
        stream = anyone.stream("Hello.")
        anyone.invoke("Hello.")
    list(stream)
    assert [call.headers["Authorization"] for call in gateway.chats] == [f"Bearer {token}"] * 2
    assert gateway.mints == []


def test_a_session_is_named_or_fresh(model: ChatBehest, gateway: Emulator) -> None:
    """Calls that name a session share it, the others have one each."""
    for _ in range(2):
        model.invoke("Hello.")
        model.invoke("Hello.", session_id="sitting")
    fresh = [call.session_id for call in gateway.chats if call.session_id != "sitting"]
    assert len(set(fresh)) == 2


def test_copies_share_the_client(model: ChatBehest, gateway: Emulator) -> None:
    """A copied model calls with the same client and its tokens."""
    for each in (copy.copy(model), copy.deepcopy(model), model.model_copy()):
        each.invoke("Hello.")
    assert len(gateway.mints) == 1


async def test_many_users_at_once_never_mix(anyone: ChatBehest, gateway: Emulator) -> None:
    """Many users at once, in tasks and threads, through one agent: each call has its own user's token and thread."""
    shared: Any = create_agent(anyone, [])

    def turn(user: str) -> Any:
        with scope(user, thread_id=f"thread-of-{user}"):
            return shared.invoke({"messages": [("human", f"I am {user}.")]})

    async def aturn(user: str) -> Any:
        config = {"configurable": {"behest_user_id": user, "behest_thread_id": f"thread-of-{user}"}}
        return await shared.ainvoke({"messages": [("human", f"I am {user}.")]}, config)

    users = [f"user-{number}" for number in range(8)]
    await asyncio.gather(*(aturn(user) for user in users), *(asyncio.to_thread(turn, user) for user in users))
    assert len(gateway.chats) == 16
    for call in gateway.chats:
        assert call.json["messages"][-1]["content"] == f"I am {call.user_id}."
        assert call.thread_id == f"thread-of-{call.user_id}"
    assert len(gateway.mints) == 8
