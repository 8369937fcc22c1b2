"""Keys and tokens: in no trace, dump, cache key, representation or pickle."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

import langchain_behest
from behest_base import Behest, BehestConfigError, Scope, scope
from behest_base.emulator import Emulator
from langchain_behest import BehestAuthError, ChatBehest


class Keeper(BaseTracer):
    """Keeps what a tracer is given to send away."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)


async def test_traces_hold_no_secret(gateway: Emulator) -> None:
    """What goes to LangSmith names model and user, and holds neither key nor token, whatever runs, and when it fails."""
    token = gateway.issue("alice")
    keeper = Keeper()
    model = ChatBehest(api_key=gateway.api_key, base_url=gateway.base_url, temperature=0.5)  # type: ignore[arg-type]
    config: RunnableConfig = {"callbacks": [keeper], "configurable": {"behest_thread_id": "t"}}
    agent: Any = create_agent(model, [])
    model.invoke("Hello.", config, user_id="alice")
    with scope(token=token):
        list(model.stream("Hello.", config))
        agent.invoke({"messages": [("human", "Hello.")]}, config)
        _ = [event async for event in model.astream_events("Hello.", config, version="v2")]
        await model.with_structured_output({"title": "Any", "type": "object"}).ainvoke("Hello.", config)
        gateway.reject_all_tokens()
        with pytest.raises(BehestAuthError):
            model.invoke("Hello.", config)
    minted = gateway.chats[0].headers["Authorization"].removeprefix("Bearer ")
    runs = [run for kept in keeper.runs for run in (kept, *descendants(kept))]
    calls = [run for run in runs if run.run_type == "llm"]
    assert (len(calls), [run.error for run in calls if run.error][1:]) == (6, [])
    for run in runs:
        sent = json.dumps([run.inputs, run.outputs, run.extra, run.serialized, run.metadata, run.error], default=repr)
        assert not any(secret in sent for secret in (gateway.api_key, token, minted))
    for run in calls:
        assert run.extra["invocation_params"]["user_id"] == "alice"
        assert run.metadata["ls_provider"] == "behest"
        assert run.metadata["ls_model_name"] == "default"
        assert run.metadata["ls_temperature"] == 0.5
        assert run.metadata["lc_versions"]["langchain-behest"] == langchain_behest.__version__


def descendants(run: Run) -> list[Run]:
    """Return the runs inside of a run."""
    return [each for child in run.child_runs for each in (child, *descendants(child))]


def test_cache_keys_hold_no_secret(gateway: Emulator) -> None:
    """What a cache is asked for says whose answer it is, and holds neither key nor token."""
    cache = InMemoryCache()
    token = gateway.issue("alice")
    model = ChatBehest(api_key=gateway.api_key, base_url=gateway.base_url, cache=cache)  # type: ignore[arg-type]
    with scope(token=token):
        model.invoke("Hello.")
    model.invoke("Hello.", user_id="bob")
    kept = [repr(key) for key in cache._cache]
    assert [("alice" in key, "bob" in key) for key in kept] == [(True, False), (False, True)]
    secrets = [gateway.api_key, token, gateway.chats[1].headers["Authorization"].removeprefix("Bearer ")]
    assert not any(
        secret in f"{key}{value}" for key, value in zip(kept, cache._cache.values(), strict=True) for secret in secrets
    )


def test_dumps_hold_no_secret(gateway: Emulator) -> None:
    """Neither a dump nor a representation of the model holds its key."""
    from langchain_core.load import dumps  # noqa: PLC0415

    model = ChatBehest(api_key=gateway.api_key, base_url=gateway.base_url, user_id="alice")  # type: ignore[arg-type]
    model.invoke("Hello.")
    shown = [repr(model), str(model), dumps(model), repr(model.bind(user_id="bob")), str(model.asdict())]
    shown += [model.model_dump_json(), str(model._get_llm_string(user_id="alice")), str(model._get_ls_params())]
    assert not any(gateway.api_key in text for text in shown)
    assert "BEHEST_KEY" in dumps(model)


def test_a_model_from_the_environment_pickles(environment: Emulator) -> None:
    """A model without a key of its own goes to another process by reference to the environment there."""
    model = ChatBehest(user_id="alice", temperature=0)
    model.invoke("Hello.")
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - made here
    assert again.invoke("Hello.").text
    assert again.temperature == 0
    assert environment.api_key.encode() not in pickle.dumps(model)


def test_a_model_with_a_key_does_not_pickle(gateway: Emulator) -> None:
    """A key that was an argument would leave the process; the error says what to do."""
    model = ChatBehest(api_key=gateway.api_key, base_url=gateway.base_url)  # type: ignore[arg-type]
    with pytest.raises(BehestConfigError, match="BEHEST_KEY"):
        pickle.dumps(model)


def test_a_pickled_argument_is_a_plain_user(behest: Behest) -> None:
    """What is put into a call's arguments pickles and prints as the plain user id."""
    from langchain_behest.identity import addressed  # noqa: PLC0415

    addressee = addressed(behest.identify(Scope("alice")))["user_id"]
    assert type(pickle.loads(pickle.dumps(addressee))) is str  # noqa: S301 - made here
    assert json.dumps(addressee) == '"alice"'
    assert repr(addressee) == "'alice'"
