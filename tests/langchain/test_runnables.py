"""What a chat model does as a runnable: retries, fallbacks, configuration, caches, rate limits, counting."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ModelRateLimitError
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField

from behest_base import Behest, scope
from behest_base.emulator import Emulator
from langchain_behest import BehestRateLimitError, BehestServerError, ChatBehest


@pytest.fixture
def impatient(gateway: Emulator) -> Any:
    """Give a model whose client doesn't retry."""
    with Behest(gateway.api_key, base_url=gateway.base_url, max_retries=0) as client:
        yield ChatBehest(client=client, user_id="alice")


async def test_with_retry_retries_our_errors(impatient: ChatBehest, gateway: Emulator) -> None:
    """`with_retry` makes the call again after an error of the kind it is told."""
    gateway.fail_next(status=429, path="chat")
    patient = impatient.with_retry(retry_if_exception_type=(ModelRateLimitError,), wait_exponential_jitter=False)
    assert patient.invoke("Hello.").text
    gateway.fail_next(status=429, path="chat")
    assert (await patient.ainvoke("Hello.")).text
    assert [chat.status for chat in gateway.chats] == [429, 200, 429, 200]


@pytest.mark.parametrize("kind", [BehestRateLimitError, ModelRateLimitError])
async def test_with_fallbacks_knows_both_kinds(kind: type[Exception], impatient: ChatBehest, gateway: Emulator) -> None:
    """A fallback takes over after our typed error or core's, plain and streamed, and after no other."""
    gateway.fail_next(status=429, path="chat", times=3)
    safe = impatient.with_fallbacks([FakeListChatModel(responses=["fallback"])], exceptions_to_handle=(kind,))
    assert safe.invoke("Hello.").text == "fallback"
    assert "".join([chunk.text for chunk in safe.stream("Hello.")]) == "fallback"
    assert (await safe.ainvoke("Hello.")).text == "fallback"
    gateway.fail_next(status=500, path="chat")
    with pytest.raises(BehestServerError):
        safe.invoke("Hello.")


def test_retries_are_one_layer(gateway: Emulator) -> None:
    """`max_retries` counts the sends of one call, whether the model or the call says it."""
    model = ChatBehest(api_key=gateway.api_key, base_url=gateway.base_url, user_id="alice", max_retries=1)  # type: ignore[arg-type]
    gateway.fail_next(status=429, retry_after=0, path="chat", times=9)
    with pytest.raises(BehestRateLimitError):
        model.invoke("Hello.")
    assert len(gateway.chats) == 2
    with pytest.raises(BehestRateLimitError):
        list(model.stream("Hello.", max_retries=0))
    assert len(gateway.chats) == 3


def test_configurable_fields(model: ChatBehest, gateway: Emulator) -> None:
    """Fields can be left to the configuration, the user too."""
    open_model = model.configurable_fields(
        temperature=ConfigurableField(id="heat"), user_id=ConfigurableField(id="who")
    )
    open_model.invoke("Hello.")
    open_model.with_config({"configurable": {"heat": 0.7, "who": "bob"}}).invoke("Hello.")
    first, second = gateway.chats
    assert (first.user_id, first.json.get("temperature")) == ("alice", None)
    assert (second.user_id, second.json["temperature"]) == ("bob", 0.7)


def test_configurable_alternatives(model: ChatBehest, gateway: Emulator) -> None:
    """Another model can be chosen by configuration."""
    either = model.configurable_alternatives(
        ConfigurableField(id="model"), default_key="behest", fake=FakeListChatModel(responses=["fake"])
    )
    assert either.invoke("Hello.", {"configurable": {"model": "fake"}}).text == "fake"
    either.invoke("Hello.")
    assert len(gateway.chats) == 1


def test_with_config_carries_the_identity(anyone: ChatBehest, gateway: Emulator) -> None:
    """A configuration that is attached says for whom."""
    anyone.with_config(configurable={"behest_user_id": "carol"}).invoke("Hello.")
    assert gateway.chats[0].user_id == "carol"


def test_the_model_may_be_another_for_a_call(model: ChatBehest, gateway: Emulator) -> None:
    """`model=` of a call goes out, and into the reply's metadata."""
    gateway.models = ("other",)
    model.bind(model="other").invoke("Hello.")
    assert gateway.chats[0].json["model"] == "other"


class Limiter(BaseRateLimiter):
    """Counts how often it was asked."""

    def __init__(self) -> None:
        """Begin at none."""
        self.asked = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        """Let it pass."""
        self.asked += 1
        return blocking

    async def aacquire(self, *, blocking: bool = True) -> bool:
        """Let it pass."""
        return self.acquire(blocking=blocking)


async def test_a_rate_limiter_is_asked(behest: Behest) -> None:
    """Each call, of whatever form, asks the rate limiter once."""
    limiter = Limiter()
    model = ChatBehest(client=behest, user_id="alice", rate_limiter=limiter)
    model.invoke("Hello.")
    list(model.stream("Hello."))
    await model.ainvoke("Hello.")
    _ = [chunk async for chunk in model.astream("Hello.")]
    assert limiter.asked == 4


def test_a_cache_is_never_shared_between_users(behest: Behest, gateway: Emulator) -> None:
    """The same prompt of the same user is answered from the cache, another user's is not, however the user is said."""
    model = ChatBehest(client=behest, cache=InMemoryCache())
    for _ in range(2):
        model.invoke("Hello.", user_id="alice")
        model.invoke("Hello.", {"configurable": {"behest_user_id": "bob"}})
        with scope("carol"):
            model.invoke("Hello.")
    assert [chat.user_id for chat in gateway.chats] == ["alice", "bob", "carol"]
    ChatBehest(client=behest, cache=model.cache, user_id="dave").invoke("Hello.")
    ChatBehest(client=behest, cache=model.cache, user_id="erin").invoke("Hello.")
    assert [chat.user_id for chat in gateway.chats][3:] == ["dave", "erin"]


def test_a_conversation_is_never_cached(behest: Behest, gateway: Emulator) -> None:
    """In a thread or session the same words are another turn, whose answer depends on what the gateway remembers."""
    model = ChatBehest(client=behest, user_id="alice", cache=InMemoryCache())
    for _ in range(2):
        model.invoke("Go on.", thread_id="t")
        model.invoke("Go on.", session_id="sitting")
    assert len(gateway.chats) == 4
    assert len(gateway.thread("alice", "t")) == 4


async def test_a_global_cache_is_used(model: ChatBehest, gateway: Emulator) -> None:
    """The cache that LangChain has for all models serves this one, in tasks too."""
    from langchain_core.globals import set_llm_cache  # noqa: PLC0415

    set_llm_cache(InMemoryCache())
    try:
        first = await model.ainvoke("Hello.")
        second = await model.ainvoke("Hello.")
    finally:
        set_llm_cache(None)
    assert first.text == second.text
    assert len(gateway.chats) == 1


def test_counting_needs_no_network(model: ChatBehest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are estimated without a tokenizer that would have to be fetched."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(socket, "socket", refuse)
    text = "The quick brown fox jumps over the lazy dog."
    assert 9 <= model.get_num_tokens(text) <= 16
    assert len(model.get_token_ids(text)) == model.get_num_tokens(text)
    assert model.get_num_tokens("") == 0
    messages: list[BaseMessage] = [HumanMessage(text), AIMessage("Indeed.")]
    alone = model.get_num_tokens_from_messages(messages)
    assert alone > model.get_num_tokens(text)

    def look(where: str) -> str:
        """Look somewhere."""
        return where

    assert model.get_num_tokens_from_messages(messages, tools=[look]) > alone


def test_a_tokenizer_of_ones_own_counts(behest: Behest) -> None:
    """`custom_get_token_ids` is asked where it is given."""
    model = ChatBehest(client=behest, custom_get_token_ids=lambda text: [0] * len(text))
    assert model.get_num_tokens("four") == 4


def test_the_profile_says_what_the_gateway_promises(behest: Behest) -> None:
    """The model's profile has what is known of any, and takes what the user knows of theirs."""
    profile = ChatBehest(client=behest).profile
    assert profile is not None
    assert profile["tool_calling"] is True
    assert "max_input_tokens" not in profile
    assert ChatBehest(client=behest, profile={"max_input_tokens": 1000}).profile == {"max_input_tokens": 1000}


def test_langsmith_parameters(model: ChatBehest) -> None:
    """Traces name provider, model and parameters, those of the call before the model's."""
    params = model._get_ls_params(stop=["END"], temperature=0.1, max_tokens=5, model="other")
    assert params["ls_provider"] == "behest"
    assert params["ls_model_name"] == "other"
    assert (params["ls_temperature"], params["ls_max_tokens"], params["ls_stop"]) == (0.1, 5, ["END"])
