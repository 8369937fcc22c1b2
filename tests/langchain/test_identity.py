"""For whom a call goes out: each way to say it, in each form of call, on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import json
import pickle
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import LanguageModelInput
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.graph import END, START, StateGraph

import langchain_behest
from behest_base import Behest, BehestConfigError, Scope, scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest

pytestmark = pytest.mark.filterwarnings("ignore:.*in beta")

Model = Runnable[LanguageModelInput, Any]


# -- the forms of a call: each takes a runnable and a configuration, and makes one call


def invoke(model: Model, config: RunnableConfig) -> None:
    """Call it plainly."""
    model.invoke("Hello.", config)


def stream(model: Model, config: RunnableConfig) -> None:
    """Read its stream."""
    list(model.stream("Hello.", config))


def batch(model: Model, config: RunnableConfig) -> None:
    """Call it in a batch."""
    model.batch(["Hello."], config)


def events_3(model: Model, config: RunnableConfig) -> None:
    """Read its typed stream."""
    str(model.stream_events("Hello.", config, version="v3").text)  # type: ignore[attr-defined] # a Runnable is typed for the older versions


async def ainvoke(model: Model, config: RunnableConfig) -> None:
    """Call it in a task."""
    await model.ainvoke("Hello.", config)


async def astream(model: Model, config: RunnableConfig) -> None:
    """Read its stream in a task."""
    async for _ in model.astream("Hello.", config):
        pass


async def abatch(model: Model, config: RunnableConfig) -> None:
    """Call it in a batch of tasks."""
    await model.abatch(["Hello."], config)


async def aevents_2(model: Model, config: RunnableConfig) -> None:
    """Read its events."""
    async for _ in model.astream_events("Hello.", config, version="v2"):
        pass


async def aevents_3(model: Model, config: RunnableConfig) -> None:
    """Read its typed stream in a task."""
    stream = await model.astream_events("Hello.", config, version="v3")  # the older versions are iterators
    await stream.text


def chain(model: Model, config: RunnableConfig) -> None:
    """Call it behind a prompt."""
    (ChatPromptTemplate.from_messages([("human", "{input}")]) | model).invoke({"input": "Hello."}, config)


def chain_stream(model: Model, config: RunnableConfig) -> None:
    """Stream it behind a prompt."""
    list((ChatPromptTemplate.from_messages([("human", "{input}")]) | model).stream({"input": "Hello."}, config))


def parallel(model: Model, config: RunnableConfig) -> None:
    """Call it beside something else, which moves it to another thread."""
    RunnableParallel(said=model, length=RunnableLambda(len)).invoke("Hello.", config)


def fallback(model: Model, config: RunnableConfig) -> None:
    """Call it after something else failed."""

    def fail(_: Any) -> Any:
        raise ValueError

    RunnableLambda(fail).with_fallbacks([model]).invoke("Hello.", config)


class State(TypedDict):
    """The state of a graph."""

    said: str


def graph(model: Model, config: RunnableConfig) -> None:
    """Call it in a node that doesn't pass its configuration on."""

    def node(state: State) -> State:
        return {"said": model.invoke(state["said"]).text}

    builder = StateGraph(State)
    builder.add_node("say", node)
    builder.add_edge(START, "say")
    builder.add_edge("say", END)
    builder.compile().invoke({"said": "Hello."}, config)


async def agraph(model: Model, config: RunnableConfig) -> None:
    """Do so in a task."""

    async def node(state: State) -> State:
        return {"said": (await model.ainvoke(state["said"])).text}

    builder = StateGraph(State)
    builder.add_node("say", node)
    builder.add_edge(START, "say")
    builder.add_edge("say", END)
    await builder.compile().ainvoke({"said": "Hello."}, config)


def thread(model: Model, config: RunnableConfig) -> None:
    """Call it in another thread that runs in this context."""
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(context.run, model.invoke, "Hello.", config).result()


async def task(model: Model, config: RunnableConfig) -> None:
    """Call it in a task of its own."""
    await asyncio.create_task(model.ainvoke("Hello.", config))


Form = Callable[[Model, RunnableConfig], Coroutine[Any, Any, None] | None]

FORMS: list[Form] = [
    invoke,
    stream,
    batch,
    events_3,
    ainvoke,
    astream,
    abatch,
    aevents_2,
    aevents_3,
    chain,
    chain_stream,
]
FORMS += [parallel, fallback, graph, agraph, thread, task]


# -- the ways to say for whom: each gives the runnable, the configuration and a context to call it in

Way = Callable[[Behest], tuple[Model, RunnableConfig, contextlib.AbstractContextManager[Any]]]


def by_bind(client: Behest) -> tuple[Model, RunnableConfig, contextlib.AbstractContextManager[Any]]:
    """Bind the arguments."""
    return ChatBehest(client=client).bind(user_id="bob", thread_id="t", tier="pro"), {}, contextlib.nullcontext()


def by_field(client: Behest) -> tuple[Model, RunnableConfig, contextlib.AbstractContextManager[Any]]:
    """Give the model fields."""
    return ChatBehest(client=client, user_id="bob", thread_id="t", tier="pro"), {}, contextlib.nullcontext()


def by_configurable(client: Behest) -> tuple[Model, RunnableConfig, contextlib.AbstractContextManager[Any]]:
    """Say it in the configuration."""
    config = {"behest_user_id": "bob", "behest_thread_id": "t", "behest_tier": "pro"}
    return ChatBehest(client=client, user_id="nobody"), {"configurable": config}, contextlib.nullcontext()


def by_ambient_scope(client: Behest) -> tuple[Model, RunnableConfig, contextlib.AbstractContextManager[Any]]:
    """Make the call inside a scope."""
    return ChatBehest(client=client, user_id="nobody"), {}, scope("bob", thread_id="t", tier="pro")


WAYS: list[Way] = [by_bind, by_field, by_configurable, by_ambient_scope]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
async def test_the_right_user_every_time(form: Form, way: Way, behest: Behest, gateway: Emulator) -> None:
    """Whatever way the user, thread and tier are said, and however the call is made, they are the token's and the header's."""
    model, config, context = way(behest)
    with context:
        if (pending := form(model, config)) is not None:
            await pending
    [call] = gateway.chats
    assert (call.user_id, call.thread_id) == ("bob", "t")
    assert [mint.json["tier"] for mint in gateway.mints] == ["pro"]


@pytest.mark.parametrize("way", [by_field, by_configurable, by_ambient_scope], ids=lambda way: way.__name__)
async def test_an_agent_calls_for_its_user(way: Way, behest: Behest, gateway: Emulator) -> None:
    """Every model call of an agent, before and after its tool, is for the user it was called for."""

    def clock() -> str:
        """Tell the time."""
        return "noon"

    call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    gateway.script({"content": None, "tool_calls": [call]}, "It is noon.")
    model, config, context = way(behest)
    with context:
        assert isinstance(model, ChatBehest)
        agent: Any = create_agent(model, [clock])
        await agent.ainvoke({"messages": [("human", "What time is it?")]}, config)
    assert [(call.user_id, call.thread_id) for call in gateway.chats] == [("bob", "t")] * 2


def test_a_call_argument_wins(model: ChatBehest, gateway: Emulator) -> None:
    """The call's argument comes before configuration, scope and field; each field for itself."""
    with scope("ambient", thread_id="ambient"):
        model.invoke("Hello.", {"configurable": {"behest_user_id": "configured"}}, user_id="argument")
    assert (gateway.chats[0].user_id, gateway.chats[0].thread_id) == ("argument", "ambient")


def test_configuration_comes_before_the_scope(model: ChatBehest, gateway: Emulator) -> None:
    """The configuration is nearer to the call than the ambient scope."""
    with scope("ambient"):
        model.invoke("Hello.", {"configurable": {"behest_user_id": "configured"}})
    assert gateway.chats[0].user_id == "configured"


def test_none_means_none(behest: Behest, gateway: Emulator) -> None:
    """None ends the search: no thread although the model has one, and no user is an error."""
    model = ChatBehest(client=behest, user_id="alice", thread_id="t")
    model.invoke("Hello.", thread_id=None)
    assert gateway.chats[0].thread_id is None
    with pytest.raises(BehestConfigError, match="user_id="):
        model.invoke("Hello.", user_id=None)
    assert len(gateway.chats) == 1


@pytest.mark.parametrize("name", ["invoke", "stream", "astream", "stream_events"])
def test_no_user_is_an_error_when_the_call_is_made(name: str, anyone: ChatBehest, gateway: Emulator) -> None:
    """Without a user nothing is sent, and it is said at the call, not at the first step of an iteration."""
    with pytest.raises(BehestConfigError, match="BEHEST_USER_ID"):
        getattr(anyone, name)("Hello.")
    assert gateway.requests == []


def test_a_batch_has_a_user_per_item(anyone: ChatBehest, gateway: Emulator) -> None:
    """Each item of a batch goes out for the user of its configuration."""
    users = [f"user-{number}" for number in range(6)]
    configs: list[RunnableConfig] = [{"configurable": {"behest_user_id": user}} for user in users]
    replies = anyone.batch([f"I am {user}." for user in users], configs)
    assert sorted((call.user_id, call.json["messages"][0]["content"]) for call in gateway.chats) == [
        (user, f"I am {user}.") for user in users
    ]
    assert [reply.response_metadata["behest"]["user_id"] for reply in replies] == users


async def test_a_stream_is_its_callers(anyone: ChatBehest, gateway: Emulator) -> None:
    """A stream that is read after its scope has ended is still for the user it was made for."""
    with scope("alice"):
        sync, tasks = anyone.stream("Hello."), anyone.astream("Hello.")
    with scope("mallory"):
        list(sync)
        async for _ in tasks:
            pass
    assert [call.user_id for call in gateway.chats] == ["alice", "alice"]


def test_a_users_own_token_is_carried(anyone: ChatBehest, gateway: Emulator) -> None:
    """A call in the scope of a token goes out with that token, also when a stream is read later; nothing is minted."""
    token = gateway.issue("alice")
    with scope(token=token):
        stream = anyone.stream("Hello.")
        anyone.invoke("Hello.")
    list(stream)
    assert [call.headers["Authorization"] for call in gateway.chats] == [f"Bearer {token}"] * 2
    assert gateway.mints == []


async def test_users_in_tasks_and_threads_never_mix(anyone: ChatBehest, gateway: Emulator) -> None:
    """Many users at once, in tasks and in threads: each call has its own user's token."""

    async def in_task(user: str) -> None:
        with scope(user):
            await anyone.ainvoke(f"I am {user}.")

    def in_thread(user: str) -> None:
        with scope(user):
            anyone.invoke(f"I am {user}.")

    users = [f"user-{number}" for number in range(8)]
    await asyncio.gather(*(in_task(user) for user in users), *(asyncio.to_thread(in_thread, user) for user in users))
    assert len(gateway.chats) == 16
    assert all(call.json["messages"][0]["content"] == f"I am {call.user_id}." for call in gateway.chats)
    assert len(gateway.mints) == 8


def test_a_session_is_named_or_fresh(model: ChatBehest, gateway: Emulator) -> None:
    """Calls that name a session share it, the others have one each."""
    for _ in range(2):
        model.invoke("Hello.")
        model.invoke("Hello.", session_id="sitting")
    fresh = [call.session_id for call in gateway.chats if call.session_id != "sitting"]
    assert len(set(fresh)) == 2


class Keeper(BaseTracer):
    """Keeps what a tracer is given to send away."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)


def test_traces_hold_no_secret(gateway: Emulator) -> None:
    """What goes to LangSmith names model and user, and holds neither key nor token."""
    token = gateway.issue("alice")
    keeper = Keeper()
    model = ChatBehest(api_key=gateway.api_key, base_url=gateway.base_url, temperature=0.5)  # type: ignore[arg-type]
    model.invoke("Hello.", {"callbacks": [keeper]}, user_id="alice")
    with scope(token=token):
        list(model.stream("Hello.", {"callbacks": [keeper]}))
    minted = gateway.chats[0].headers["Authorization"].removeprefix("Bearer ")
    for run in keeper.runs:
        sent = json.dumps([run.inputs, run.outputs, run.extra, run.serialized, run.metadata], default=repr)
        assert not any(secret in sent for secret in (gateway.api_key, token, minted))
        assert run.extra["invocation_params"]["user_id"] == "alice"
        assert run.metadata["ls_provider"] == "behest"
        assert run.metadata["ls_model_name"] == "default"
        assert run.metadata["ls_temperature"] == 0.5
        assert run.metadata["lc_versions"]["langchain-behest"] == langchain_behest.__version__


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


def test_copies_share_the_client(model: ChatBehest, gateway: Emulator) -> None:
    """A copied model calls with the same client and its tokens."""
    for each in (copy.copy(model), copy.deepcopy(model), model.model_copy()):
        each.invoke("Hello.")
    assert len(gateway.mints) == 1


def test_a_pickled_argument_is_a_plain_user(behest: Behest) -> None:
    """What is put into a call's arguments pickles and prints as the plain user id."""
    from langchain_behest.identity import addressed  # noqa: PLC0415

    addressee = addressed(behest.identify(Scope("alice")))["user_id"]
    assert type(pickle.loads(pickle.dumps(addressee))) is str  # noqa: S301 - made here
    assert json.dumps(addressee) == '"alice"'
    assert repr(addressee) == "'alice'"
