"""For whom a call goes out: every way to say it, in every form of call, in every setting, on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, Runnable, RunnableConfig, RunnableLambda, RunnableParallel
from langgraph.graph import END, START, StateGraph

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest
from support.langchain import WAYS as ASKS
from support.langchain import Ask, calling

pytestmark = pytest.mark.filterwarnings("ignore:.*in beta", "ignore:.*experimental")

WHO: dict[str, Any] = {"user_id": "bob", "thread_id": "t", "tier": "pro"}
CONFIGURED = {f"behest_{name}": value for name, value in WHO.items()}


# -- the forms of a call


async def batch(runnable: Any, given: Any, config: RunnableConfig | None = None) -> None:
    """Call it in a batch."""
    runnable.batch([given], config)


async def abatch(runnable: Any, given: Any, config: RunnableConfig | None = None) -> None:
    """Call it in a batch of tasks."""
    await runnable.abatch([given], config)


async def batch_as_completed(runnable: Any, given: Any, config: RunnableConfig | None = None) -> None:
    """Call it in a batch whose results come as they are ready."""
    list(runnable.batch_as_completed([given], config))


async def abatch_as_completed(runnable: Any, given: Any, config: RunnableConfig | None = None) -> None:
    """Do so in tasks."""
    _ = [each async for each in runnable.abatch_as_completed([given], config)]


async def transform(runnable: Any, given: Any, config: RunnableConfig | None = None) -> None:
    """Call it with a stream for its input."""
    list(runnable.transform(iter([given]), config))


async def aevents_2(runnable: Any, given: Any, config: RunnableConfig | None = None) -> None:
    """Read its events."""
    _ = [each async for each in runnable.astream_events(given, config, version="v2")]


async def events_3(runnable: Any, given: Any, config: RunnableConfig | None = None) -> None:
    """Read its typed stream."""
    list(runnable.stream_events(given, config, version="v3"))


async def aevents_3(runnable: Any, given: Any, config: RunnableConfig | None = None) -> None:
    """Read its typed stream in a task."""
    _ = [each async for each in await runnable.astream_events(given, config, version="v3")]


EVENTS_3: list[Ask] = [events_3, aevents_3]
FORMS: list[Ask] = [*ASKS, batch, abatch, batch_as_completed, abatch_as_completed, transform, aevents_2, *EVENTS_3]


# -- the settings of a call: each makes a runnable around a model, and says what it takes for a text

Given = Callable[[str], Any]
Setting = Callable[[Any], tuple[Any, Given]]


def plain(model: Any) -> tuple[Any, Given]:
    """Call the model itself."""
    return model, str


def chain(model: Any) -> tuple[Any, Given]:
    """Call it behind a prompt."""
    return ChatPromptTemplate.from_messages([("human", "{text}")]) | model, lambda text: {"text": text}


def parallel(model: Any) -> tuple[Any, Given]:
    """Call it beside something else, which moves it to another thread."""
    return RunnableParallel(said=model, length=RunnableLambda(len)), str


def fallback(model: Any) -> tuple[Any, Given]:
    """Call it after something else failed."""

    def fail(_: Any) -> Any:
        raise ValueError

    return RunnableLambda(fail).with_fallbacks([model]), str


def retry(model: Any) -> tuple[Any, Given]:
    """Call it where failures are tried again."""
    return model.with_retry(), str


class State(TypedDict):
    """The state of a graph."""

    text: str


def graph(model: Any) -> tuple[Any, Given]:
    """Call it in a node that doesn't pass its configuration on."""

    def node(state: State) -> State:
        return {"text": str(model.invoke(state["text"]).text)}

    async def anode(state: State) -> State:
        return {"text": str((await model.ainvoke(state["text"])).text)}

    builder = StateGraph(State)
    builder.add_node("say", RunnableLambda(node, anode))
    builder.add_edge(START, "say")
    builder.add_edge("say", END)
    return builder.compile(), lambda text: {"text": text}


def agent(model: Any) -> tuple[Any, Given]:
    """Let an agent call it."""
    return create_agent(model, []), lambda text: {"messages": [("human", text)]}


def threads(model: Any) -> tuple[Any, Given]:
    """Call it in a thread of one's own, in a copy of the context."""

    def call(text: str) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(contextvars.copy_context().run, model.invoke, text).result()

    async def acall(text: str) -> Any:
        return await asyncio.to_thread(model.invoke, text)

    return RunnableLambda(call, acall), str


def tasks(model: Any) -> tuple[Any, Given]:
    """Call it in tasks of one's own."""

    def call(text: str) -> Any:
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:  # an event loop of its own, the caller's may be running
            return pool.submit(context.run, asyncio.run, acall(text)).result()

    async def acall(text: str) -> Any:
        return await asyncio.create_task(model.ainvoke(text))

    return RunnableLambda(call, acall), str


SETTINGS: list[Setting] = [plain, chain, parallel, fallback, retry, graph, agent, threads, tasks]

# langchain-core has version 3 of the events for chat models and graphs only.
HAVE_EVENTS_3: list[Setting] = [plain, graph, agent]


# -- the ways to say for whom


class Said(NamedTuple):
    """How a way says it: by the model that is called, the configuration of the call, the context around it."""

    model: Any
    config: RunnableConfig
    context: contextlib.AbstractContextManager[Any]


Way = Callable[[Behest], Said]


def by_argument(client: Behest) -> Said:
    """Give the call the arguments."""
    model = ChatBehest(client=client, user_id="nobody")

    def call(given: Any) -> Any:
        return model.invoke(given, **WHO)

    async def acall(given: Any) -> Any:
        return await model.ainvoke(given, **WHO)

    return Said(RunnableLambda(call, acall), {}, contextlib.nullcontext())


def by_bind(client: Behest) -> Said:
    """Bind the arguments."""
    return Said(ChatBehest(client=client, user_id="nobody").bind(**WHO), {}, contextlib.nullcontext())


def by_field(client: Behest) -> Said:
    """Give the model fields."""
    return Said(ChatBehest(client=client, **WHO), {}, contextlib.nullcontext())


def by_configurable(client: Behest) -> Said:
    """Say it in the call's configuration."""
    return Said(ChatBehest(client=client, user_id="nobody"), {"configurable": CONFIGURED}, contextlib.nullcontext())


def by_with_config(client: Behest) -> Said:
    """Attach a configuration to the model."""
    model = ChatBehest(client=client, user_id="nobody").with_config(configurable=CONFIGURED)
    return Said(model, {}, contextlib.nullcontext())


def by_configurable_fields(client: Behest) -> Said:
    """Leave fields to the call's configuration, under names of one's own."""
    ids = {"user_id": "who", "thread_id": "where", "tier": "how"}
    fields = {name: ConfigurableField(id=key) for name, key in ids.items()}
    model = ChatBehest(client=client, user_id="nobody").configurable_fields(**fields)
    config = {key: WHO[name] for name, key in ids.items()}
    return Said(model, {"configurable": config}, contextlib.nullcontext())


def by_ambient_scope(client: Behest) -> Said:
    """Make the call inside a scope."""
    return Said(ChatBehest(client=client, user_id="nobody"), {}, scope(**WHO))


WAYS: list[Way] = [
    by_argument,
    by_bind,
    by_field,
    by_configurable,
    by_with_config,
    by_configurable_fields,
    by_ambient_scope,
]

# create_agent takes a chat model, which what a model is wrapped in is not any more.
OF_AGENTS: list[Way] = [by_field, by_configurable, by_ambient_scope]
# A function that makes the call has no events of version 3; bound and configured models have.
OF_EVENTS_3: list[Way] = [by_bind, by_field, by_configurable, by_ambient_scope]


def fits(setting: Setting, form: Ask, way: Way) -> bool:
    """Say whether the frameworks know a combination."""
    if form in EVENTS_3 and (setting not in HAVE_EVENTS_3 or (setting is plain and way not in OF_EVENTS_3)):
        return False
    return setting is not agent or way in OF_AGENTS


MATRIX = [
    pytest.param(setting, form, way, id=f"{setting.__name__}-{form.__name__}-{way.__name__}")
    for setting in SETTINGS
    for form in FORMS
    for way in WAYS
    if fits(setting, form, way)
]


@pytest.mark.parametrize(("setting", "form", "way"), MATRIX)
async def test_the_right_user_every_time(
    setting: Setting, form: Ask, way: Way, behest: Behest, gateway: Emulator
) -> None:
    """However user, thread and tier are said, and the call is made: they are the token's and the header's."""
    said = way(behest)
    runnable, given = setting(said.model)
    with said.context:
        await form(runnable, given("Hello."), said.config)
    [call] = gateway.chats
    assert (call.user_id, call.thread_id) == ("bob", "t")
    assert [mint.json["tier"] for mint in gateway.mints] == ["pro"]


def test_the_matrix_is_large() -> None:
    """Nothing was left out of it by mistake: all settings, forms and ways are in, and most combinations."""
    assert len(MATRIX) > 600
    for column, all_of_it in enumerate((SETTINGS, FORMS, WAYS)):
        assert {param.values[column] for param in MATRIX} == set(all_of_it)  # type: ignore[call-overload]


@pytest.mark.parametrize("form", [*ASKS, events_3, aevents_3], ids=lambda form: form.__name__)
async def test_an_argument_of_the_models_own_call(form: Ask, behest: Behest, gateway: Emulator) -> None:
    """What is given to the model's own methods comes before what it is bound to, configured with, or called in."""

    class Told(Runnable[Any, Any]):
        """Gives the arguments to whatever method is called."""

        def __getattribute__(self, name: str) -> Any:
            method = getattr(ChatBehest(client=behest, user_id="field"), name)
            return lambda given, config=None, **kwargs: method(given, config, **WHO, **kwargs)

        def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
            """Never called; what a Runnable has to have."""

    with scope("ambient", thread_id="ambient", tier="ambient"):
        await form(Told(), "Hello.", {"configurable": {"behest_user_id": "configured"}})
    [call] = gateway.chats
    assert (call.user_id, call.thread_id) == ("bob", "t")
    assert [mint.json["tier"] for mint in gateway.mints] == ["pro"]


@pytest.mark.parametrize("form", ["batch", "abatch"])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.__name__)
async def test_a_batch_has_a_user_per_item(setting: Setting, form: str, anyone: ChatBehest, gateway: Emulator) -> None:
    """Each item of a batch goes out for the user, the thread and the tier of its own configuration, in every setting."""
    runnable, given = setting(anyone)
    users = [f"user-{number}" for number in range(6)]
    configs: list[RunnableConfig] = [
        {"configurable": {"behest_user_id": user, "behest_thread_id": f"thread-of-{user}"}} for user in users
    ]
    inputs = [given(f"I am {user}.") for user in users]
    if form == "batch":
        runnable.batch(inputs, configs)
    else:
        await runnable.abatch(inputs, configs)
    sent = [(call.user_id, call.thread_id, call.json["messages"][0]["content"]) for call in gateway.chats]
    assert sorted(sent) == [(user, f"thread-of-{user}", f"I am {user}.") for user in users]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("way", OF_AGENTS, ids=lambda way: way.__name__)
async def test_an_agent_with_a_tool_calls_for_its_user(way: Way, form: Ask, behest: Behest, gateway: Emulator) -> None:
    """Every model call of an agent, before and after its tool, is for the user it was called for."""

    def clock() -> str:
        """Tell the time."""
        return "noon"

    gateway.script(calling(("clock", {})), "It is noon.")
    said = way(behest)
    with said.context:
        await form(create_agent(said.model, [clock]), {"messages": [("human", "What time is it?")]}, said.config)
    assert [(call.user_id, call.thread_id) for call in gateway.chats] == [("bob", "t")] * 2
