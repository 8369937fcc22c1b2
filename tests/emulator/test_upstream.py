"""A real OpenAI-compatible server behind the emulator: here, another emulator plays it."""

from __future__ import annotations

import json
from collections.abc import Generator

import httpx
import pytest

from behest_base import Behest, Scope
from behest_base.emulator import Emulator, RawResponse, RawSSE
from emulator.wire import Caller, data_of, system, user


@pytest.fixture
def behind() -> Generator[Emulator]:
    """Run a server that takes a token as its key."""
    with Emulator(models=("llama",)) as running:
        yield running


@pytest.fixture
def gateway(gateway: Emulator, behind: Emulator) -> Emulator:
    """Put it behind the emulator."""
    gateway.upstream, gateway.upstream_key = f"{behind.base_url}/v1", behind.issue("the gateway")
    return gateway


def test_passes_the_effective_prompt_on(gateway: Emulator, behind: Emulator, alice: Caller) -> None:
    """The server gets the whole prompt and the request's options, and its answer is stored in the thread."""
    behind.script("Hello Alice.", "Bye Alice.")
    alice.ask("Hello.", thread="t", temperature=0.5)
    assert alice.ask(system("Be brief."), user("Bye."), thread="t") == "Bye Alice."
    asked = behind.chats[1].json
    assert [message["content"] for message in asked["messages"]] == ["Be brief.", "Hello.", "Hello Alice.", "Bye."]
    assert behind.chats[0].json["temperature"] == 0.5
    assert len(gateway.thread("alice", "t")) == 4


@pytest.mark.parametrize(
    "named_told_asked",
    [(None, None, None), ("llama", None, "llama"), (None, "llama", "llama"), ("other", "llama", "llama")],
)
def test_the_model_to_ask_for(
    gateway: Emulator, behind: Emulator, alice: Caller, named_told_asked: tuple[str | None, ...]
) -> None:
    """The gateway's setting decides on the model, else the request; without either the server does."""
    named, told, asked = named_told_asked
    gateway.upstream_model = told
    assert alice.post("Hello.", model=named).status_code == 200
    assert behind.chats[0].json.get("model") == asked


def test_passes_streams_through(gateway: Emulator, behind: Emulator, alice: Caller) -> None:
    """A stream comes through in pieces, and is stored and counted."""
    behind.script("Petrels nest on cliffs.")
    chunks = alice.stream("Where?", thread="t", stream_options={"include_usage": True})
    pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
    assert pieces == ["", "Petrels", " nest", " on", " cliffs.", None]
    assert gateway.thread("alice", "t")[1]["content"] == "Petrels nest on cliffs."
    counted = alice.get("/v1/billing/usage").json()["platform"]
    assert (counted["requests"], counted["input_tokens"]) == (1, chunks[-1]["usage"]["prompt_tokens"])


def test_passes_on_what_only_python_takes_for_line_ends(gateway: Emulator, behind: Emulator, behest: Behest) -> None:
    """U+2028 and the like stay inside their event, where JSON may have them; what no line end follows comes through."""
    text = "one\u2028two\x85three"
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    whole = b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\r\n\r\ndata: [DONE]"
    behind.script(RawSSE([whole[:40], whole[40:]]))
    chunks = list(behest.stream({"messages": [user("Where?")]}, scope=Scope("alice", thread_id="t")))
    assert [one["choices"][0]["delta"]["content"] for one in chunks] == [text]
    assert gateway.thread("alice", "t")[1]["content"] == text


def test_counts_a_stream_that_does_not_tell(behind: Emulator, alice: Caller) -> None:
    """A stream without usage is estimated."""
    behind.script("Petrels nest on cliffs.")
    alice.stream("Where?")
    assert alice.get("/v1/billing/usage").json()["platform"]["output_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_server(gateway: Emulator, behind: Emulator, alice: Caller, stream: bool) -> None:  # noqa: FBT001
    """The server's error is the gateway's 502, also of a stream, and nothing is stored."""
    behind.fail_next(status=400, message="Too long.")
    answer = alice.post("Hello.", thread="t", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert "Too long." in answer.json()["error"]["message"]
    assert gateway.thread("alice", "t") == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_is_not_there(gateway: Emulator, alice: Caller, stream: bool) -> None:  # noqa: FBT001
    """A server that can't be reached is told apart."""
    gateway.upstream = "http://127.0.0.1:9"
    answer = alice.post("Hello.", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")


@pytest.mark.parametrize("body", ["<html>", "[]", "{}"])
def test_something_else_than_a_completion(behind: Emulator, alice: Caller, body: str) -> None:
    """A body that is no completion is an error, too."""
    behind.script(RawResponse(200, {}, body))
    answer = alice.post("Hello.")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")


def test_a_server_that_breaks_off(gateway: Emulator, behind: Emulator, alice: Caller) -> None:
    """A stream that breaks in the server ends with an error event, and is not stored."""
    behind.fail_next(after_chunks=2, close=True)
    with alice.streaming("Hello.", thread="t") as response:
        last = data_of(response)[-1]
    assert json.loads(last)["error"]["code"] == "upstream_unreachable"
    assert gateway.thread("alice", "t") == []


def test_a_client_that_goes_away(gateway: Emulator, behind: Emulator, alice: Caller) -> None:
    """The gateway hangs up, too, and keeps what was sent."""
    behind.chunk_delay = 0.02
    behind.script(" ".join(f"word{n}" for n in range(500)))
    with alice.streaming("Talk.", thread="t") as response:
        next(line for line in response.iter_lines() if "word1" in line)
    gateway.wait_for(lambda: gateway.chats[0].disconnected)
    behind.wait_for(lambda: behind.chats[0].disconnected)
    assert gateway.thread("alice", "t")[1]["content"].startswith("word0 word1")


def test_a_wrong_key_is_the_gateways_fault(gateway: Emulator, http: httpx.Client) -> None:
    """A server that doesn't accept the gateway's key is no reason for a client to mint anew."""
    gateway.upstream_key = None
    assert Caller(gateway, http).post("Hello.").status_code == 502
