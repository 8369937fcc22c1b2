"""A conformance suite for memories: what any `BaseMemory` must do for chat engines and agents, seen through its own interface.

```python
class TestMyMemory(MemoryTests):
    @pytest.fixture
    def memory(self) -> MyMemory:
        return MyMemory(...)
```
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemory

from llamaindex.conformance.messages import assistant, said, same, tool_turn, turn, user

__all__ = ["MemoryTests"]

Ask = Callable[..., Any]
Converse = Callable[..., Coroutine[Any, Any, None]]


class MemoryTests:
    """What a `BaseMemory` must do, by its blocking methods and by its native ones, which may take turns.

    Override the fixture `memory`; `converse` where turns come to be in another way than by putting them; `reopened` where another
    process can look at the same data; and what the memory can't do. What it can't do it must refuse, and lose nothing by it.
    """

    writes_replies: ClassVar[bool] = True
    """Whether it takes a reply from anywhere."""

    changes_history: ClassVar[bool] = True
    """Whether what was said can be replaced."""

    refusal: ClassVar[type[Exception]] = Exception
    """What it raises where it can't do something."""

    refusal_says: ClassVar[str] = "."
    """What the refusal's message must match, so that it is of help."""

    @pytest.fixture
    def memory(self) -> BaseMemory:
        """Give an empty memory; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def reopened(self, memory: BaseMemory) -> BaseMemory:
        """Give the memory as another process has it, if it keeps its data elsewhere."""
        return memory

    @pytest.fixture(params=["blocking", "native"])
    def ask(self, request: pytest.FixtureRequest) -> Ask:
        """Call a method of a memory by its name: the blocking one, in a running loop, and the native one."""

        async def call(memory: BaseMemory, name: str, *arguments: Any, **more: Any) -> Any:
            if request.param == "blocking":
                return getattr(memory, name)(*arguments, **more)
            return await getattr(memory, f"a{name}")(*arguments, **more)

        return call

    @pytest.fixture
    def converse(self) -> Converse:
        """Have a conversation of given messages."""

        async def add(memory: BaseMemory, messages: Sequence[ChatMessage]) -> None:
            for message in messages:
                await memory.aput(message)

        return add

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Expect the refusal."""
        with pytest.raises(self.refusal, match=self.refusal_says):
            yield

    async def test_a_new_memory_is_empty(self, memory: BaseMemory, ask: Ask) -> None:
        """There is nothing to get or to reset."""
        assert await ask(memory, "get") == []
        assert await ask(memory, "get_all") == []
        await ask(memory, "reset")
        assert await ask(memory, "get_all") == []

    async def test_turns_are_remembered(
        self, memory: BaseMemory, reopened: BaseMemory, ask: Ask, converse: Converse
    ) -> None:
        """Each message is there once, oldest first, here and for whoever looks next."""
        await converse(memory, [*turn(1), *turn(2)])
        for seen in (memory, reopened, memory):
            assert said(await ask(seen, "get")) == said([*turn(1), *turn(2)])
            assert said(await ask(seen, "get_all")) == said([*turn(1), *turn(2)])

    async def test_a_question_is_named_before_it_is_put(self, memory: BaseMemory, ask: Ask, converse: Converse) -> None:
        """`get(input=…)`, as context engines ask, shows what was said before, and not the question."""
        await converse(memory, turn(1))
        assert said(await ask(memory, "get", input="Question 2?")) == said(turn(1))
        await converse(memory, turn(2))
        assert said(await ask(memory, "get", input="Question 3?")) == said([*turn(1), *turn(2)])

    async def test_questions_are_put(self, memory: BaseMemory, ask: Ask, converse: Converse) -> None:
        """One by one and together: they are the last messages, and the caller's objects stay as they are."""
        await converse(memory, turn(1))
        questions = [user("One."), user("Two."), user("Three?")]
        before = copy.deepcopy(questions)
        await ask(memory, "put", questions[0])
        await ask(memory, "put_messages", questions[1:])
        assert questions == before
        assert said(await ask(memory, "get")) == said([*turn(1), *questions])
        await converse(memory, [assistant("Four.")])
        assert said(await ask(memory, "get_all")) == said([*turn(1), *questions, assistant("Four.")])

    async def test_tool_traffic_is_remembered(
        self, memory: BaseMemory, reopened: BaseMemory, ask: Ask, converse: Converse
    ) -> None:
        """Calls and their results are there in order, each result with the call that it answers."""
        await converse(memory, [*tool_turn(), *turn(1)])
        assert same(await ask(memory, "get_all"), [*tool_turn(), *turn(1)])
        assert same(await ask(reopened, "get_all"), [*tool_turn(), *turn(1)])

    async def test_a_reply_from_elsewhere(self, memory: BaseMemory, ask: Ask, converse: Converse) -> None:
        """It is remembered, or refused without a loss: the question still waits for its answer."""
        await converse(memory, turn(1))
        await ask(memory, "put", user("Question 2?"))
        if self.writes_replies:
            await ask(memory, "put", assistant("I was never asked."))
            assert (await ask(memory, "get_all"))[-1].content == "I was never asked."
            return
        with self.refused():
            await ask(memory, "put", assistant("I was never asked."))
        assert said(await ask(memory, "get_all")) == said([*turn(1), user("Question 2?")])
        await converse(memory, turn(2)[1:])
        assert said(await ask(memory, "get_all")) == said([*turn(1), *turn(2)])

    async def test_setting_what_is_there(self, memory: BaseMemory, ask: Ask, converse: Converse) -> None:
        """Setting what was said changes nothing; a new question at the end is added, once."""
        await converse(memory, turn(1))
        await ask(memory, "set", await ask(memory, "get_all"))
        await ask(memory, "set", turn(1))
        assert said(await ask(memory, "get_all")) == said(turn(1))
        for _ in range(2):
            await ask(memory, "set", [*turn(1), user("Question 2?")])
        await converse(memory, turn(2)[1:])
        assert said(await ask(memory, "get_all")) == said([*turn(1), *turn(2)])

    async def test_setting_something_else(self, memory: BaseMemory, ask: Ask, converse: Converse) -> None:
        """Other messages replace what was said, or are refused without a loss."""
        await converse(memory, turn(1))
        if self.changes_history:
            await ask(memory, "set", turn(2))
            assert said(await ask(memory, "get_all")) == said(turn(2))
            return
        with self.refused():
            await ask(memory, "set", turn(2))
        assert said(await ask(memory, "get_all")) == said(turn(1))

    async def test_a_reset(self, memory: BaseMemory, reopened: BaseMemory, ask: Ask, converse: Converse) -> None:
        """Everything is gone, also what was only put; and it can be begun anew."""
        await converse(memory, turn(1))
        await ask(memory, "put", user("Question 2?"))
        await ask(memory, "reset")
        for seen in (memory, reopened):
            assert await ask(seen, "get") == await ask(seen, "get_all") == []
        await converse(memory, turn(3))
        assert said(await ask(memory, "get_all")) == said(turn(3))

    def test_several_event_loops(self, memory: BaseMemory, converse: Converse) -> None:
        """One `asyncio.run` after another can use it, and blocking calls in between."""
        for number in range(3):
            asyncio.run(converse(memory, turn(number)))
            assert len(memory.get_all()) == 2 * (number + 1)
        assert said(asyncio.run(memory.aget_all())) == said([*turn(0), *turn(1), *turn(2)])

    def test_what_it_is_made_of(self, memory: BaseMemory) -> None:
        """It names its class, by which it is told apart in a dump, and can be made with no word."""
        assert memory.to_dict()["class_name"] == type(memory).class_name()
        assert isinstance(type(memory).from_defaults(), type(memory))
