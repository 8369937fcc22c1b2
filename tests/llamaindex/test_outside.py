"""What is no turn of a conversation stays out of its thread, whatever the ambient scope says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex, TreeIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.evaluation import FaithfulnessEvaluator
from llama_index.core.extractors import SummaryExtractor, TitleExtractor
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.memory import BaseMemory
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine, RouterQueryEngine
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.selectors import LLMSingleSelector, PydanticSingleSelector
from llama_index.core.tools import QueryEngineTool
from pydantic import BaseModel

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM, BehestMemory
from support.llamaindex import Shelf, said

TEXT = "The museum is closed on Mondays."
QUESTION = "When is the museum closed?"

Work = Callable[[BehestLLM], Any]


class Day(BaseModel):
    """A day."""

    name: str


def _router(llm: BehestLLM, selector: Any) -> RouterQueryEngine:
    tools = [
        QueryEngineTool.from_defaults(RetrieverQueryEngine.from_args(Shelf(TEXT), llm=llm), description=about)
        for about in ("About the museum.", "About the ferry.")
    ]
    return RouterQueryEngine(selector=selector, query_engine_tools=tools, llm=llm)


def _by_function(llm: Any) -> Any:
    return PydanticSingleSelector.from_defaults(llm=llm)  # any LLM that calls functions, though it asks for OpenAI's


def _ingest(extractor: Any) -> Any:
    return IngestionPipeline(transformations=[TokenTextSplitter(), extractor]).run(documents=[Document(text=TEXT)])


WORK: dict[str, Work] = {
    "query engine": lambda llm: RetrieverQueryEngine.from_args(Shelf(TEXT), llm=llm).query(QUESTION),
    "streaming query engine": lambda llm: str(
        RetrieverQueryEngine.from_args(Shelf(TEXT), llm=llm, streaming=True).query(QUESTION)
    ),
    "tree": lambda llm: (
        TreeIndex.from_documents([Document(text=TEXT)] * 3, llm=llm, num_children=2)
        .as_query_engine(llm=llm)
        .query(QUESTION)
    ),
    "refine": lambda llm: get_response_synthesizer(llm=llm, response_mode=ResponseMode.REFINE).get_response(
        QUESTION, [TEXT, "The ferry sails daily."]
    ),
    "tree summarize": lambda llm: (
        SummaryIndex.from_documents([Document(text=TEXT)])
        .as_query_engine(llm=llm, response_mode="tree_summarize")
        .query(QUESTION)
    ),
    "router by text": lambda llm: _router(llm, LLMSingleSelector.from_defaults(llm=llm)).query(QUESTION),
    "router by function": lambda llm: _router(llm, _by_function(llm)).query(QUESTION),
    "title extractor": lambda llm: _ingest(TitleExtractor(llm=llm)),
    "summary extractor": lambda llm: _ingest(SummaryExtractor(llm=llm)),
    "fusion retriever": lambda llm: QueryFusionRetriever([Shelf(TEXT)], llm=llm, num_queries=2).retrieve(QUESTION),
    "rerank": lambda llm: LLMRerank(llm=llm).postprocess_nodes(Shelf(TEXT).retrieve(QUESTION), query_str=QUESTION),
    "evaluator": lambda llm: FaithfulnessEvaluator(llm=llm).evaluate(QUESTION, "On Mondays.", [TEXT]),
    "structured predict": lambda llm: llm.structured_predict(Day, PromptTemplate("{q}"), q=QUESTION),
    "structured llm": lambda llm: llm.as_structured_llm(Day).complete(QUESTION),
    "predict": lambda llm: llm.predict(PromptTemplate("{q}"), q=QUESTION),
    "chat prompt": lambda llm: llm.predict(ChatPromptTemplate([ChatMessage("Condense: {q}")]), q=QUESTION),
    "complete": lambda llm: llm.complete(QUESTION),
    "stream complete": lambda llm: list(llm.stream_complete(QUESTION)),
    "stream": lambda llm: list(llm.stream(PromptTemplate("{q}"), q=QUESTION)),
}
# What llama-index-core does with a text that is not what its selectors and parsers hoped for, and its deprecations.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def loop_of_ones_own() -> Generator[None]:
    """Give llama-index-core's blocking methods an event loop, and end it as `asyncio.run` does."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("name", WORK)
def test_no_turn_no_thread(name: str, behest: Behest, gateway: Emulator) -> None:
    """Every call carries the ambient user's token; none names the ambient thread or session, and nothing is stored."""
    replies = {
        "router by text": ['[{"choice": 1, "reason": "It is about the museum."}]'],
        "rerank": ["Doc: 1, Relevance: 9"],
        "tree": ["Closed on Mondays.", "Closed on Mondays.", "ANSWER: 1"],
    }
    gateway.script(*replies.get(name, ()))
    with scope("alice", thread_id="trip", session_id="sitting"):
        WORK[name](BehestLLM(client=behest))
    assert gateway.chats
    assert {(call.user_id, call.thread_id) for call in gateway.chats} == {("alice", None)}
    assert "sitting" not in {call.session_id for call in gateway.chats}
    assert gateway.threads("alice") == []


async def _read(answer: Any) -> str:
    return "".join([token async for token in (await answer).async_response_gen()])


async def _all(pieces: Awaitable[AsyncIterator[Any]]) -> list[Any]:
    return [piece async for piece in await pieces]


NATIVE: dict[str, Callable[[BehestLLM], Awaitable[Any]]] = {
    "query engine": lambda llm: RetrieverQueryEngine.from_args(Shelf(TEXT), llm=llm).aquery(QUESTION),
    "streaming query engine": lambda llm: _read(
        RetrieverQueryEngine.from_args(Shelf(TEXT), llm=llm, streaming=True, use_async=True).aquery(QUESTION)
    ),
    "router by function": lambda llm: _router(llm, _by_function(llm)).aquery(QUESTION),
    "ingestion": lambda llm: IngestionPipeline(
        transformations=[TokenTextSplitter(), TitleExtractor(llm=llm), SummaryExtractor(llm=llm)]
    ).arun(documents=[Document(text=TEXT)] * 2),
    "structured llm": lambda llm: llm.as_structured_llm(Day).achat([ChatMessage(QUESTION)]),
    "chat prompt": lambda llm: llm.apredict(ChatPromptTemplate([ChatMessage("Condense: {q}")]), q=QUESTION),
    "complete": lambda llm: llm.acomplete(QUESTION),
    "stream complete": lambda llm: _all(llm.astream_complete(QUESTION)),
    "stream": lambda llm: _all(llm.astream(PromptTemplate("{q}"), q=QUESTION)),
}


@pytest.mark.parametrize("name", NATIVE)
async def test_no_turn_no_thread_in_tasks(name: str, behest: Behest, gateway: Emulator) -> None:
    """The same for what awaits and what streams."""
    with scope("alice", thread_id="trip", session_id="sitting"):
        await NATIVE[name](BehestLLM(client=behest))
    assert gateway.chats
    assert {(call.user_id, call.thread_id) for call in gateway.chats} == {("alice", None)}
    assert "sitting" not in {call.session_id for call in gateway.chats}
    assert gateway.threads("alice") == []


@pytest.mark.parametrize("name", ["query engine", "chat prompt", "title extractor", "structured llm"])
def test_nor_beside_a_conversation(
    name: str, make_memory: Callable[..., BaseMemory], behest: Behest, tier: Emulator
) -> None:
    """The same while a memory of that very thread is in use, between two turns."""
    llm, memory = BehestLLM(client=behest), make_memory("trip", None)
    with scope("alice", thread_id="trip"):
        for turn in ("My boat is called Petrel.", "What is my boat called?"):
            memory.put(ChatMessage(turn))
            answer = llm.chat(memory.get())
            memory.put(answer.message)
            WORK[name](llm)
        assert "Petrel" in (answer.message.content or "")
    assert said(tier.thread("alice", "trip"), "user") == [
        ("user", "My boat is called Petrel."),
        ("user", "What is my boat called?"),
    ]


@pytest.mark.parametrize("name", ["query engine", "structured llm", "complete", "router by function"])
def test_nor_in_the_middle_of_a_turn(
    name: str, make_memory: Callable[..., BaseMemory], behest: Behest, tier: Emulator
) -> None:
    """Nor between the question and its answer, though it asks what the user asked."""
    llm, memory = BehestLLM(client=behest), make_memory("trip", None)
    with scope("alice", thread_id="trip"):
        memory.put(ChatMessage(QUESTION))
        WORK[name](llm)
        memory.put(llm.chat(memory.get()).message)
    assert said(tier.thread("alice", "trip"), "user") == [("user", QUESTION)]
    assert [call.thread_id for call in tier.chats].count("trip") == 1


def test_only_the_question_that_a_read_names(behest: Behest, gateway: Emulator) -> None:
    """Once `get(input=…)` said what the user asks, a call with another list is made outside; the next turn has its own."""
    llm, memory = BehestLLM(client=behest, user_id="alice"), BehestMemory("trip", client=behest, user_id="alice")
    with scope(thread_id="trip"):
        for question in (QUESTION, "And on Sundays?"):
            memory.get(input=question)
            llm.chat([ChatMessage("What a tool asks.")])
            llm.chat([*memory.get(input=question), ChatMessage(question)])
    assert [call.thread_id for call in gateway.chats] == [None, "trip"] * 2
    assert said(gateway.thread("alice", "trip"), "user") == [("user", QUESTION), ("user", "And on Sundays?")]
