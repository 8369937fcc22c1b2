"""A conformance suite for LLMs: what any `LLM` of llama-index-core must do for the engines that call it.

```python
class TestMyLLM(LLMTests):
    @pytest.fixture
    def llm(self) -> MyLLM:
        return MyLLM(...)
```

Beside it stand suites for what not every LLM has: `LLMLifeTests` for what becomes of it in threads, loops and pickles,
`StructuredTests`, and `FunctionCallingTests` in `function_calling`.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata, MessageRole
from llama_index.core.callbacks import CallbackManager, EventPayload, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined] # not in its __all__
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import LLM
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from pydantic import BaseModel, Field

__all__ = ["CHATS", "COMPLETIONS", "LLMLifeTests", "LLMTests", "Person", "StructuredTests"]

CHATS = ("chat", "achat", "stream_chat", "astream_chat")
COMPLETIONS = ("complete", "acomplete", "stream_complete", "astream_complete")

every_chat = pytest.mark.parametrize("way", CHATS)
every_completion = pytest.mark.parametrize("way", COMPLETIONS)
every_way = pytest.mark.parametrize("way", [*CHATS, *COMPLETIONS])


async def each(llm: LLM, way: str, *arguments: Any, **more: Any) -> list[Any]:
    """Call one of a model's methods, and return all that it gives: one thing, or what it streams."""
    given = getattr(llm, way)(*arguments, **more)
    if inspect.isawaitable(given):
        given = await given
    if hasattr(given, "__anext__"):
        return [piece async for piece in given]
    return list(given) if hasattr(given, "__next__") else [given]


def text_of(answer: ChatResponse | CompletionResponse) -> str:
    """Return the text of either kind of answer."""
    return answer.text if isinstance(answer, CompletionResponse) else answer.message.content or ""


class LLMTests:
    """What an `LLM` must do, in each of its eight ways to answer. Override the fixture `llm`."""

    facts: ClassVar[str] = "The office is in Oslo."
    """What the model is told."""

    question: ClassVar[str] = "Where is the office?"
    """What it is asked then."""

    answer: ClassVar[str] = "Oslo"
    """A word that each answer has."""

    repeats: ClassVar[bool] = True
    """Whether the same question has the same answer each time."""

    reports_once: ClassVar[bool] = True
    """Whether a call is reported once. A `CustomLLM`'s is reported again for the call that it is made of."""

    counts_tokens: ClassVar[Sequence[str]] = ()
    """The ways in which it tells how many tokens were used."""

    @pytest.fixture
    def llm(self) -> LLM:
        """Give a model; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def messages(self) -> list[ChatMessage]:
        """Give a conversation in which the answer was said."""
        return [
            ChatMessage(role=MessageRole.SYSTEM, content="Be brief."),
            ChatMessage(role=MessageRole.USER, content=self.facts),
            ChatMessage(role=MessageRole.ASSISTANT, content="Good to know."),
            ChatMessage(role=MessageRole.USER, content=self.question),
        ]

    async def ask(self, llm: LLM, way: str) -> list[Any]:
        """Ask the question in one of the eight ways."""
        prompt = f"{self.facts} {self.question}"
        return await each(llm, way, prompt if way in COMPLETIONS else [ChatMessage(prompt)])

    def test_metadata(self, llm: LLM) -> None:
        """Engines learn what the model holds, without a call."""
        metadata = llm.metadata
        assert isinstance(metadata, LLMMetadata)
        assert metadata.context_window > 0
        assert metadata.num_output < metadata.context_window
        assert llm.to_payload()["class_name"] == type(llm).class_name()

    @every_chat
    async def test_chat(self, way: str, llm: LLM, messages: list[ChatMessage]) -> None:
        """A conversation is answered, by the assistant, in one piece or in several that add up; it stays as it was."""
        before = copy.deepcopy(messages)
        answers = await each(llm, way, messages)
        assert all(isinstance(answer, ChatResponse) for answer in answers)
        assert answers[-1].message.role is MessageRole.ASSISTANT
        assert self.answer in answers[-1].message.content
        if "stream" in way:
            assert "".join(answer.delta or "" for answer in answers) == answers[-1].message.content
        else:
            assert len(answers) == 1
        assert messages == before

    @every_completion
    async def test_completion(self, way: str, llm: LLM) -> None:
        """A prompt is completed, in one piece or in several that add up."""
        answers = await self.ask(llm, way)
        assert all(isinstance(answer, CompletionResponse) for answer in answers)
        assert self.answer in answers[-1].text
        assert str(answers[-1]) == answers[-1].text
        if "stream" in way:
            assert "".join(answer.delta or "" for answer in answers) == answers[-1].text

    async def test_the_ways_agree(self, llm: LLM) -> None:
        """The four ways to chat have one answer, and the four to complete."""
        for ways in (CHATS, COMPLETIONS):
            texts = {text_of((await self.ask(llm, way))[-1]) for way in ways}
            assert len(texts) == 1 if self.repeats else "" not in texts

    @pytest.mark.parametrize("way", ["predict", "apredict", "stream", "astream"])
    async def test_prompts(self, way: str, llm: LLM) -> None:
        """A text prompt and a chat prompt are filled in and answered with text."""
        prompts = [
            PromptTemplate("{facts} {question}"),
            ChatPromptTemplate(
                [
                    ChatMessage(role=MessageRole.SYSTEM, content="{facts}"),
                    ChatMessage(role=MessageRole.USER, content="{question}"),
                ]
            ),
        ]
        for prompt in prompts:
            pieces = await each(llm, way, prompt, facts=self.facts, question=self.question)
            assert self.answer in "".join(pieces)

    @every_way
    async def test_callbacks(self, way: str, llm: LLM) -> None:
        """Each call is reported once to the callback handlers, with what was asked and answered."""
        handler = LlamaDebugHandler(print_trace_on_end=False)
        llm.callback_manager = CallbackManager([handler])
        answer = text_of((await self.ask(llm, way))[-1])
        pairs = handler.get_llm_inputs_outputs()
        assert len(pairs) == 1 or not self.reports_once
        for began, ended in pairs:
            assert self.question in str(began.payload)
            given = ended.payload or {}
            assert text_of(given.get(EventPayload.RESPONSE) or given[EventPayload.COMPLETION]) == answer

    @every_way
    async def test_events(self, way: str, llm: LLM) -> None:
        """Each call is reported once to instrumentation: a start, an end, and in between what is streamed."""
        with listening() as events:
            pieces = await self.ask(llm, way)
        kind = "Completion" if way in COMPLETIONS else "Chat"
        ours = [event.class_name() for event in events if event.class_name().startswith(f"LLM{kind}")]
        assert ours[0] == f"LLM{kind}StartEvent"
        assert ours[-1] == f"LLM{kind}EndEvent"
        if self.reports_once:
            assert set(ours[1:-1]) <= {f"LLM{kind}InProgressEvent"}
            assert len(ours) - 2 == (len(pieces) if "stream" in way else 0)

    @every_way
    async def test_tokens_are_counted(self, way: str, llm: LLM) -> None:
        """A call is counted with the numbers that it came with, and with an estimate where it came with none."""
        estimate = 1_000_003
        counter = TokenCountingHandler(tokenizer=lambda _: [0] * estimate)
        llm.callback_manager = CallbackManager([counter])
        await self.ask(llm, way)
        counts = counter.llm_token_counts
        assert len(counts) == 1 or not self.reports_once
        for count in counts:
            assert count.prompt_token_count > 0
            assert count.completion_token_count > 0
            is_estimate = count.total_token_count >= estimate
            assert is_estimate is (way not in self.counts_tokens)

    async def test_tasks(self, llm: LLM) -> None:
        """Many tasks share one model."""
        asked = (self.ask(llm, way) for way in ("achat", "astream_chat", "acomplete", "astream_complete") * 3)
        answers = await asyncio.gather(*asked)
        assert all(self.answer in text_of(pieces[-1]) for pieces in answers)

    def test_dicts(self, llm: LLM) -> None:
        """A dump names the class, is JSON, and makes an equal model."""
        dump = json.loads(json.dumps(llm.to_dict()))
        assert dump["class_name"] == type(llm).class_name()
        again = type(llm).from_dict(dict(dump))
        assert again.metadata == llm.metadata


class LLMLifeTests(LLMTests):
    """What becomes of a model that is used by threads, by several event loops, copied and sent away. It must be used first."""

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Give what must not be seen; to be overridden where the model has a key. Read after the model was used."""
        return []

    def test_threads(self, llm: LLM) -> None:
        """Many threads share one model."""
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda way: asyncio.run(self.ask(llm, way)), ("chat", "stream_chat") * 6))
        assert all(self.answer in text_of(pieces[-1]) for pieces in answers)

    def test_several_event_loops(self, llm: LLM) -> None:
        """One `asyncio.run` after another uses it, and blocking calls in between."""
        for way in ("achat", "astream_chat", "chat", "acomplete", "astream_complete", "stream_chat", "achat"):
            assert self.answer in text_of(asyncio.run(self.ask(llm, way))[-1])

    @pytest.mark.parametrize(
        "again",
        [copy.copy, copy.deepcopy, lambda llm: pickle.loads(pickle.dumps(llm))],  # noqa: S301
        ids=["copy", "deepcopy", "pickle"],
    )
    async def test_copies(self, again: Callable[[LLM], LLM], llm: LLM) -> None:
        """A model that was used can be copied and sent elsewhere; the copy answers, and so does the model."""
        for used in (llm, again(llm), llm):
            for way in ("chat", "achat"):
                assert self.answer in text_of((await self.ask(used, way))[-1])

    async def test_no_secrets(self, llm: LLM, secrets: list[str]) -> None:
        """No key is in what is printed, dumped, or reported."""
        handler = LlamaDebugHandler(print_trace_on_end=False)
        llm.callback_manager = CallbackManager([handler])
        with listening() as events:
            for way in (*CHATS, *COMPLETIONS):
                await self.ask(llm, way)
        reported = [repr(event) + event.model_dump_json(fallback=repr) for event in events]
        seen = [*reported, repr(handler.get_event_pairs()), repr(llm), str(llm), llm.to_json(), repr(llm.to_payload())]
        assert any(self.question in one for one in seen)
        assert not [secret for secret in secrets if any(secret in one for one in seen)]


class Person(BaseModel):
    """A person."""

    name: str
    age: int | None = None


class StructuredTests:
    """What an `LLM` must do that answers with objects. Override the fixtures `llm` and, if it needs preparing, `introduced`."""

    @pytest.fixture
    def llm(self) -> LLM:
        """Give a model; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def introduced(self) -> str:
        """Give a text from which the model makes the person Ada, 36 years old."""
        return "Ada is 36 years old."

    @pytest.mark.parametrize(
        "way",
        ["structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict"],
    )
    async def test_prediction(self, way: str, llm: LLM, introduced: str) -> None:
        """A prompt is answered with the object; a stream ends with the whole of it."""
        prompt = PromptTemplate("Who is this? {text}")
        objects = await each(llm, way, Person, prompt, text=introduced)
        assert objects[-1] == Person(name="Ada", age=36)

    @pytest.mark.filterwarnings("ignore:The `json` method")  # llama-index-core's own
    @pytest.mark.parametrize("way", [*CHATS, "complete", "acomplete"])  # it streams no completions
    async def test_structured_llm(self, way: str, llm: LLM, introduced: str) -> None:
        """As an LLM that answers with objects it has them in `raw`, and their JSON as text."""
        structured = llm.as_structured_llm(Person)
        asked = introduced if way in COMPLETIONS else [ChatMessage(introduced)]
        answer = (await each(structured, way, asked))[-1]
        assert answer.raw == Person(name="Ada", age=36)
        assert json.loads(text_of(answer)) == {"name": "Ada", "age": 36}


@contextmanager
def listening() -> Iterator[list[Any]]:
    """Keep the events that instrumentation reports inside the block."""
    root, listener = get_dispatcher(), _Listener()
    root.add_event_handler(listener)
    try:
        yield listener.events
    finally:
        root.event_handlers.remove(listener)


class _Listener(BaseEventHandler):
    """Keeps the events of instrumentation."""

    events: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        """Return the name."""
        return "_Listener"

    def handle(self, event: Any, **_: Any) -> None:
        """Keep one."""
        self.events.append(event)
