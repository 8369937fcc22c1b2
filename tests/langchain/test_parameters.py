"""Parameters: from fields, from calls, under the names that users of other models know, on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from behest_base import Behest, BehestConfigError
from behest_base.emulator import Emulator
from langchain_behest import BehestTimeoutError, ChatBehest

PARAMETERS: dict[str, Any] = {
    "temperature": 0.0,
    "max_tokens": 17,
    "top_p": 0.5,
    "stop": ["END"],
    "seed": 7,
    "n": 1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "reasoning_effort": "low",
    "service_tier": "flex",
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_parameter_goes_out(name: str, behest: Behest, gateway: Emulator) -> None:
    """A parameter goes out whether the model or the call says it; the call wins, and None takes it back."""
    value = PARAMETERS[name]
    model = ChatBehest(client=behest, user_id="alice", **{name: value})
    model.invoke("Hello.")
    ChatBehest(client=behest, user_id="alice").bind(**{name: value}).invoke("Hello.")
    list(model.stream("Hello."))
    sent = [chat.json for chat in gateway.chats]
    assert [body[name] for body in sent] == [value] * 3
    assert {*sent[0]} == {"model", "messages", name}
    if name != "stop":
        model.invoke("Hello.", **{name: None})
        assert name not in gateway.chats[-1].json


def test_nothing_goes_out_unasked(model: ChatBehest, gateway: Emulator) -> None:
    """Without parameters the request is the model and the messages; the model may stay the project's own."""
    model.invoke("Hello.")
    assert gateway.chats[0].json.keys() == {"model", "messages"}
    assert gateway.chats[0].json["model"] == "default"


def test_names_of_other_models(behest: Behest, gateway: Emulator) -> None:
    """What is called otherwise elsewhere is understood."""
    gateway.models = ("other",)
    model = ChatBehest(
        client=behest,
        user_id="alice",
        model_name="other",  # type: ignore[call-arg] # typed under the one name
        max_completion_tokens=5,
        stop_sequences=["END"],
        request_timeout=9.0,
    )
    assert (model.model, model.model_name, model.max_tokens, model.timeout) == ("other", "other", 5, 9.0)
    model.invoke("Hello.")
    assert gateway.chats[0].json["model"] == "other"
    assert (gateway.chats[0].json["max_tokens"], gateway.chats[0].json["stop"]) == (5, ["END"])


def test_a_call_limits_once(behest: Behest, gateway: Emulator) -> None:
    """Of the two names of the token limit the call's alone goes out."""
    model = ChatBehest(client=behest, user_id="alice", max_tokens=5)
    model.invoke("Hello.", max_completion_tokens=7)
    assert gateway.chats[0].json["max_completion_tokens"] == 7
    assert "max_tokens" not in gateway.chats[0].json


def test_stop_of_a_call(behest: Behest, gateway: Emulator) -> None:
    """The call's stop sequences come before the model's."""
    gateway.script("one END two")
    ChatBehest(client=behest, user_id="alice", stop="NEVER").invoke("Hello.", stop=["END"])
    assert gateway.chats[0].json["stop"] == ["END"]


def test_model_kwargs_and_extra_body(behest: Behest, gateway: Emulator) -> None:
    """Further parameters go out, those of the body over all others, the call's over the model's."""
    model = ChatBehest(
        client=behest,
        user_id="alice",
        temperature=0.1,
        model_kwargs={"user": "u", "store": True},
        extra_body={"temperature": 0.9, "guardrails": ["pii"]},
    )
    model.invoke("Hello.", user="v", extra_body={"guardrails": []})
    sent = gateway.chats[0].json
    assert (sent["user"], sent["store"], sent["temperature"], sent["guardrails"]) == ("v", True, 0.9, [])
    assert not sent.keys() & {"extra_body", "model_kwargs"}


def test_unknown_arguments_become_model_kwargs(behest: Behest, gateway: Emulator) -> None:
    """An argument that isn't known goes out too, with a warning; a known one in model_kwargs is moved to its field."""
    with pytest.warns(UserWarning, match="verbosity"):
        model = ChatBehest(client=behest, user_id="alice", verbosity="low")  # type: ignore[call-arg] # what is tested
    model.invoke("Hello.")
    assert gateway.chats[0].json["verbosity"] == "low"
    with pytest.warns(UserWarning, match="temperature"):
        assert ChatBehest(client=behest, model_kwargs={"temperature": 0}).temperature == 0


def test_disabled_parameters(behest: Behest, gateway: Emulator) -> None:
    """Parameters can be kept from going out, all values of them or some."""
    model = ChatBehest(
        client=behest,
        user_id="alice",
        temperature=0.5,
        disabled_params={"temperature": None, "parallel_tool_calls": [False]},
    )
    model.invoke("Hello.", parallel_tool_calls=False)
    model.invoke("Hello.", parallel_tool_calls=True)
    first, second = (chat.json for chat in gateway.chats)
    assert not first.keys() & {"temperature", "parallel_tool_calls"}
    assert second["parallel_tool_calls"] is True


@pytest.mark.parametrize("name", ["extra_headers", "headers", "extra_query"])
def test_headers_are_the_identitys(name: str, model: ChatBehest, gateway: Emulator) -> None:
    """Headers of one's own are refused, with what to use instead."""
    with pytest.raises(BehestConfigError, match="thread_id="):
        model.bind(**{name: {"X-Thread-Id": "t"}}).invoke("Hello.")
    assert gateway.chats == []


async def test_a_timeout_of_the_model_or_the_call(behest: Behest, gateway: Emulator) -> None:
    """The call's timeout comes before the model's, which comes before the client's."""
    model = ChatBehest(client=behest, user_id="alice", timeout=0.05, max_retries=0)
    with gateway.holding("chat"):
        with pytest.raises(BehestTimeoutError):
            await model.ainvoke("Hello.")
        with pytest.raises(BehestTimeoutError):
            list(model.stream("Hello."))
    gateway.wait_for(lambda: all(chat.reply or chat.disconnected for chat in gateway.chats))
    gateway.chat_delay = 0.1
    assert (await model.ainvoke("Hello.", timeout=10)).text


def test_arguments_are_checked() -> None:
    """A value of the wrong kind is said at construction."""
    with pytest.raises(ValidationError, match="temperature"):
        ChatBehest(temperature="hot")  # type: ignore[arg-type] # what is tested


def test_a_missing_key_is_said_with_both_ways_to_give_it(gateway: Emulator) -> None:
    """Without a key the first call says how to give one."""
    with pytest.raises(BehestConfigError, match="BEHEST_KEY"):
        ChatBehest(base_url=gateway.base_url, user_id="alice").invoke("Hello.")
