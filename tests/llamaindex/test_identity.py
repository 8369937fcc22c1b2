"""For whom each call is made: by argument, by light copy, and by the ambient scope, through all that stands between."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine, SimpleChatEngine
from llama_index.core.extractors import TitleExtractor
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined] # not in its __all__
from llama_index.core.instrumentation.span import SimpleSpan
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from pydantic import BaseModel

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestAsyncChatStore, BehestChatStore, BehestLLM, BehestMemory
from support.llamaindex import WAYS, Ask, Shelf, said

# llama-index-core's own agents and programs use what pydantic and its workflows have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

HELLO = [ChatMessage("Hello.")]
TEXT = "The museum is closed on Mondays."
QUESTION = "When is the museum closed?"


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sun in {city}."


class Name(BaseModel):
    """A name."""

    name: str


async def ended(given: Any) -> None:
    """Wait for what was called, and read it to its end if it is a stream."""
    if inspect.isawaitable(given):
        given = await given
    if hasattr(given, "__anext__"):
        async for _ in given:
            pass
    elif hasattr(given, "__next__"):
        list(given)


TOOLS: list[Any] = [FunctionTool.from_defaults(weather)]
PROMPT = PromptTemplate("Who is {who}?")
# How each method takes arguments of the call that are not its own.
BY_ARGUMENT: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    **{name: lambda method, who: method(HELLO, **who) for name in ("chat", "achat", "stream_chat", "astream_chat")},
    **{
        name: lambda method, who: method("Hello.", **who)
        for name in ("complete", "acomplete", "stream_complete", "astream_complete")
    },
    **{
        name: lambda method, who: method(TOOLS, user_msg="What is the weather in Oslo?", **who)
        for name in (
            "chat_with_tools",
            "achat_with_tools",
            "stream_chat_with_tools",
            "astream_chat_with_tools",
            "predict_and_call",
            "apredict_and_call",
        )
    },
    **{
        name: lambda method, who: method(Name, PROMPT, llm_kwargs=who, who="Ada")
        for name in (
            "structured_predict",
            "astructured_predict",
            "stream_structured_predict",
            "astream_structured_predict",
        )
    },
}


@pytest.mark.parametrize("name", BY_ARGUMENT)
async def test_by_argument(name: str, behest: Behest, gateway: Emulator) -> None:
    """Each method takes the call's identity, which goes before everything else and is no part of the request."""
    llm = BehestLLM(client=behest, user_id="model", thread_id="models")
    who = {"user_id": "alice", "session_id": "sitting", "thread_id": None, "tier": "pro"}
    with scope("ambient", thread_id="ambients"):
        await ended(BY_ARGUMENT[name](getattr(llm, name), who))
    assert gateway.chats
    for call in gateway.chats:
        assert (call.user_id, call.session_id, call.thread_id) == ("alice", "sitting", None)
        assert not who.keys() & call.json.keys()
    assert [mint.json["tier"] for mint in gateway.mints] == ["pro"]


@pytest.mark.parametrize("name", BY_ARGUMENT)
async def test_a_thread_by_argument(name: str, behest: Behest, gateway: Emulator) -> None:
    """A call that names its thread is made in it, whatever kind of call it is."""
    llm = BehestLLM(client=behest, user_id="alice")
    await ended(BY_ARGUMENT[name](getattr(llm, name), {"thread_id": "notes"}))
    assert {call.thread_id for call in gateway.chats} == {"notes"}
    assert [thread["id"] for thread in gateway.threads("alice")] == ["notes"]


def test_light_copies(behest: Behest, gateway: Emulator) -> None:
    """A copy has the client, its tokens and the settings; of the conversation only what it is given."""
    llm = BehestLLM(client=behest, user_id="alice", thread_id="trip", session_id="s", tier="pro", temperature=0.5)
    copies = [
        llm.for_user("bob"),
        llm.for_user("bob", thread_id=None),
        llm.for_user("alice", thread_id="work", session_id="t", tier="free"),
    ]
    for copy in [*copies, llm]:
        assert copy.client is behest
        copy.chat(HELLO)
    sessions = [call.session_id for call in gateway.chats]
    assert [(call.user_id, call.thread_id) for call in gateway.chats] == [
        ("bob", None),
        ("bob", None),
        ("alice", "work"),
        ("alice", "trip"),
    ]
    assert sessions[2:] == ["t", "s"]
    assert len(set(sessions)) == 4
    assert [(mint.json["user_id"], mint.json.get("tier")) for mint in gateway.mints] == [
        ("bob", None),
        ("alice", "free"),
        ("alice", "pro"),
    ]
    assert {call.json["temperature"] for call in gateway.chats} == {0.5}


async def test_a_copy_in_another_users_scope(behest: Behest, gateway: Emulator, environment: Emulator) -> None:  # noqa: ARG001
    """A copy for bob calls as bob, in nothing of alice's; in a scope of his own, the scope goes before the copy."""
    bob = BehestLLM(client=behest).for_user("bob", thread_id="work")
    again = pickle.loads(pickle.dumps(BehestLLM().for_user("bob", thread_id="work")))  # noqa: S301 - our own
    with scope("alice", thread_id="trip", session_id="s", tier="pro"):
        bob.chat(HELLO)
        await again.achat(HELLO)
        bob.chat(HELLO, user_id="carol", thread_id=None)
    with scope("bob", thread_id="trip", tier="free"):
        bob.chat(HELLO)
    with scope(thread_id="trip"):
        bob.chat(HELLO)
    assert [(call.user_id, call.thread_id) for call in gateway.chats] == [
        ("bob", "work"),
        ("bob", "work"),
        ("carol", None),
        ("bob", "trip"),
        ("bob", "trip"),
    ]
    assert "s" not in [call.session_id for call in gateway.chats]
    assert "pro" not in [mint.json.get("tier") for mint in gateway.mints]


def _simple(llm: BehestLLM, memory: BehestMemory) -> Any:
    return SimpleChatEngine.from_defaults(llm=llm, memory=memory)


def _context(llm: BehestLLM, memory: BehestMemory) -> Any:
    return ContextChatEngine.from_defaults(Shelf(TEXT), llm=llm, memory=memory)


def _condense_plus(llm: BehestLLM, memory: BehestMemory) -> Any:
    return CondensePlusContextChatEngine.from_defaults(Shelf(TEXT), llm=llm, memory=memory)


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("make_engine", [_simple, _context, _condense_plus])
async def test_ambient_through_chat_engines(
    make_engine: Callable[..., Any], ask: Ask, behest: Behest, gateway: Emulator
) -> None:
    """User, thread and tier of the scope reach every call and read, also in the writer threads of streams."""
    engine = make_engine(BehestLLM(client=behest), BehestMemory(client=behest))
    with scope("alice", thread_id="trip", tier="pro"):
        for text in (QUESTION, "And on Sundays?"):
            await ask(engine, text)
        assert len(engine.chat_history) == 4
    assert {request.user_id for request in gateway.requests} == {"alice"}
    assert {mint.json["tier"] for mint in gateway.mints} == {"pro"}
    assert said(gateway.thread("alice", "trip"), "user") == [("user", QUESTION), ("user", "And on Sundays?")]


class Asking(Workflow):
    """A workflow whose one step asks a model."""

    def __init__(self, llm: BehestLLM) -> None:
        """Have a model."""
        super().__init__(timeout=30)
        self._llm = llm

    @step
    async def ask(self, _: StartEvent) -> StopEvent:
        """Ask."""
        both = await asyncio.gather(self._llm.acomplete("Hello."), asyncio.to_thread(self._llm.complete, "Hello."))
        return StopEvent(result=both[0].text)


def _agent(llm: BehestLLM) -> FunctionAgent:
    return FunctionAgent(tools=TOOLS, llm=llm)


WORK: dict[str, Callable[[BehestLLM], Awaitable[Any]]] = {
    "function agent": lambda llm: _agent(llm).run("What is the weather in Oslo?"),
    "react agent": lambda llm: ReActAgent(tools=TOOLS, llm=llm).run("Thought: I can answer.\nAnswer: Hello."),
    "agent workflow": lambda llm: AgentWorkflow(agents=[_agent(llm)]).run("What is the weather in Oslo?"),
    "workflow": lambda llm: Asking(llm).run(),
    "query engine": lambda llm: RetrieverQueryEngine.from_args(Shelf(TEXT), llm=llm).aquery(QUESTION),
    "summaries": lambda llm: (
        SummaryIndex.from_documents([Document(text=TEXT)])
        .as_query_engine(llm=llm, response_mode="tree_summarize", use_async=True)
        .aquery(QUESTION)
    ),
    "ingestion": lambda llm: IngestionPipeline(transformations=[TokenTextSplitter(), TitleExtractor(llm=llm)]).arun(
        documents=[Document(text=TEXT)] * 3
    ),
    "blocking ingestion": lambda llm: asyncio.to_thread(
        IngestionPipeline(transformations=[TokenTextSplitter(), TitleExtractor(llm=llm)]).run,
        documents=[Document(text=TEXT)] * 3,
    ),
}


@pytest.mark.parametrize("name", WORK)
async def test_ambient_through_the_framework(name: str, behest: Behest, gateway: Emulator) -> None:
    """Two users do the same at once on one model: each of the calls is for the one who asked, two mints in all."""
    llm = BehestLLM(client=behest)

    async def work(user: str) -> None:
        with scope(user):
            await WORK[name](llm)

    await asyncio.gather(work("alice"), work("bob"))
    calls = [call.user_id for call in gateway.chats]
    assert calls.count("alice") == calls.count("bob") == len(calls) / 2 > 0
    assert sorted(mint.json["user_id"] for mint in gateway.mints) == ["alice", "bob"]


async def test_a_run_is_for_whom_it_was_started(behest: Behest, gateway: Emulator) -> None:
    """An agent that was started inside a scope and waited for outside of it is for the scope's user, events included."""
    agent, memory = _agent(BehestLLM(client=behest)), BehestMemory(client=behest)
    with scope("alice", thread_id="trip"):
        running = agent.run("What is the weather in Oslo?", memory=memory)
    with scope("bob", thread_id="other"):
        assert [event async for event in running.stream_events()]
        await running
    assert {request.user_id for request in gateway.requests} == {"alice"}
    assert said(gateway.thread("alice", "trip"), "user") == [("user", "What is the weather in Oslo?")]


def test_one_engine_for_many_threads_of_a_server(behest: Behest, gateway: Emulator) -> None:
    """One engine and one memory serve users in threads of a server at once, blocking and streamed."""
    engine = SimpleChatEngine.from_defaults(llm=BehestLLM(client=behest), memory=BehestMemory(client=behest))

    def talk(number: int) -> None:
        with scope(f"user-{number}", thread_id="t"):
            for turn in range(2):
                engine.chat(f"Fact {turn} of {number}.")
                list(engine.stream_chat(f"More {turn} of {number}.").response_gen)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(talk, range(5)))
    for number in range(5):
        users = [text for _, text in said(gateway.thread(f"user-{number}", "t"), "user")]
        assert users == [f"{word} {turn} of {number}." for turn in range(2) for word in ("Fact", "More")]


class _Spans(SimpleSpanHandler):
    """Keeps what spans are told."""

    told: list[str] = Field(default_factory=list)

    def new_span(self, id_: str, bound_args: Any, instance: Any = None, *args: Any, **kwargs: Any) -> SimpleSpan:
        """Keep what a span begins with."""
        self.told.append(f"{id_} {bound_args} {instance!r} {args} {kwargs}")
        return super().new_span(id_, bound_args, instance, *args, **kwargs)

    def prepare_to_exit_span(
        self, id_: str, bound_args: Any, instance: Any = None, result: Any = None, **kwargs: Any
    ) -> Any:
        """Keep what it ends with."""
        self.told.append(f"{id_} {bound_args} {instance!r} {result!r} {kwargs}")
        return super().prepare_to_exit_span(id_, bound_args, instance, result, **kwargs)


@pytest.fixture
def spans() -> Generator[list[str]]:
    """Give what spans are told during a test."""
    root, handler = get_dispatcher(), _Spans()
    root.add_span_handler(handler)
    yield handler.told
    root.span_handlers.remove(handler)


async def test_no_secret_in_spans_and_dumps(gateway: Emulator, spans: list[str]) -> None:
    """Neither key nor token is in spans, reprs and dumps of model, stores and memory that were given the key."""
    given: dict[str, Any] = {"api_key": gateway.api_key, "base_url": gateway.base_url}
    llm = BehestLLM(thread_id="trip", **given)
    memory = BehestMemory("trip", **given)
    stores = BehestChatStore(**given), BehestAsyncChatStore(**given)
    with scope("alice"):
        await SimpleChatEngine.from_defaults(llm=llm, memory=memory).achat("Hello.")
        await FunctionAgent(llm=llm).run("Hello.", memory=memory)
        await ended(llm.stream_complete("Hello."))
        stores[0].get_messages("trip")
        await stores[1].get_messages("trip")
    whole = [llm, memory, *stores]
    seen = "".join([*spans, *(f"{one!r} {one} {one.model_dump()} {vars(one)}" for one in whole)])
    assert "Hello." in seen
    tokens = [call.headers["authorization"].removeprefix("Bearer ") for call in gateway.chats]
    assert not [secret for secret in (gateway.api_key, *tokens) if secret in seen]
