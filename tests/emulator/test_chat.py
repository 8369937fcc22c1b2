"""The chat endpoint: the OpenAI request, its answer whole and streamed, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from behest_base.emulator import Emulator, RawResponse, RawSSE
from emulator.wire import Caller, assistant_calling, content_of, data_of, system, tool_result, user

PETRELS = "Petrels nest on cliffs."


def test_answers_with_a_completion(gateway: Emulator, alice: Caller) -> None:
    """The answer is a chat completion with usage, and says which model answered."""
    gateway.script(PETRELS)
    completion = alice.post("Where do petrels nest?").json()
    assert completion["object"] == "chat.completion"
    assert completion["model"] == "behest-extractive"
    assert completion["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": PETRELS},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    usage = completion["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_every_answer_can_be_traced(alice: Caller, http: httpx.Client) -> None:
    """Answers and errors alike carry ids, each its own."""
    answers = [alice.post("Hello."), alice.post(), http.get("/nowhere")]
    for name in ("X-Trace-Id", "X-Request-Id"):
        assert len({answer.headers[name] for answer in answers}) == 3


def test_streams_as_openai_does(gateway: Emulator, alice: Caller) -> None:
    """First the role, then the text in pieces, the finish reason, the usage if asked for, and `[DONE]`."""
    gateway.script(PETRELS, PETRELS)
    chunks = alice.stream("Where?", stream_options={"include_usage": True})
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [delta["content"] for delta in deltas[1:-1]] == ["Petrels", " nest", " on", " cliffs."]
    assert (deltas[-1], chunks[-2]["choices"][0]["finish_reason"]) == ({}, "stop")
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert not any("usage" in chunk for chunk in alice.stream("Where?"))


def test_usage_is_the_same_plain_and_streamed(gateway: Emulator, alice: Caller) -> None:
    """A stream costs what the plain answer costs."""
    gateway.script(PETRELS, PETRELS)
    plain = alice.post("Where?", session="s1").json()["usage"]
    assert alice.stream("Where?", session="s2", stream_options={"include_usage": True})[-1]["usage"] == plain


def test_reasoning_comes_before_the_answer(gateway: Emulator, alice: Caller) -> None:
    """A scripted message may have more fields; reasoning is streamed first, wherever it stood."""
    gateway.script({"content": "Cliffs.", "reasoning_content": "Think of cliffs."})
    told = [name for chunk in alice.stream("Where?") for name in chunk["choices"][0]["delta"]]
    assert told == ["role", "content", "reasoning_content", "reasoning_content", "reasoning_content", "content"]


def test_tool_calls_are_streamed_in_pieces(gateway: Emulator, alice: Caller) -> None:
    """A call's id and name come first, its arguments piece by piece, calls one after the other."""
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": json.dumps({"place": "cliffs"})}}
        for name in ("c1", "c2")
    ]
    gateway.script({"content": None, "tool_calls": calls})
    chunks = alice.stream("Where?")
    pieces = [piece for chunk in chunks for piece in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [piece["id"] for piece in pieces if "id" in piece] == ["c1", "c2"]
    for index in (0, 1):
        arguments = "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == index)
        assert json.loads(arguments) == {"place": "cliffs"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices(gateway: Emulator, alice: Caller) -> None:
    """`n` choices come, plain and streamed, and one of them is remembered."""
    gateway.script(PETRELS, PETRELS)
    assert [one["index"] for one in alice.post("Where?", n=3).json()["choices"]] == [0, 1, 2]
    assert {chunk["choices"][0]["index"] for chunk in alice.stream("Where?", n=2, thread="t")} == {0, 1}
    assert gateway.thread("alice", "t")[1]["content"] == PETRELS


@pytest.mark.parametrize(
    ("limit", "text", "reason"),
    [
        ({"stop": " on"}, "Petrels nest", "stop"),
        ({"stop": ["cliffs", "nest"]}, "Petrels ", "stop"),
        ({"max_tokens": 2}, "Petrels nest", "length"),
        ({"max_completion_tokens": 1}, "Petrels", "length"),
        ({"max_tokens": 50}, PETRELS, "stop"),
    ],
)
def test_stops(gateway: Emulator, alice: Caller, limit: dict[str, Any], text: str, reason: str) -> None:
    """Stop sequences and token limits cut the answer, and the finish reason tells which it was."""
    gateway.script(PETRELS)
    choice = alice.post("Where?", **limit).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, reason)


@pytest.mark.parametrize("model", ["default", "behest-extractive", None])
def test_models_that_it_knows(alice: Caller, model: str | None) -> None:
    """The model may be left out, or named by one of the project's names."""
    assert alice.post("Hello.", model=model).status_code == 200


def test_unknown_model(gateway: Emulator, alice: Caller) -> None:
    """Another model is refused, until the project has it; the list tells which it has."""
    refused = alice.post("Hello.", model="other")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "model_not_found")
    gateway.models = ("other",)
    assert alice.post("Hello.", model="other").json()["model"] == "other"
    assert [one["id"] for one in alice.get("/v1/models").json()["data"]] == ["default", "other"]


@pytest.mark.parametrize(
    ("messages", "wrong"),
    [
        ([], "at least one"),
        ("text", "must be a list"),
        (None, "must be a list"),
        ([1], "messages[0]"),
        ([{"content": "no role"}], "messages[0]"),
        ([{"role": "pirate", "content": "Arr."}], "messages[0]"),
        ([{"role": "user"}], "'content'"),
        ([user("Hi."), {"role": "assistant", "content": None}], "messages[1]"),
        ([user("Hi."), tool_result("c1", "4")], "messages[1]: a 'tool' message"),
        ([user("Hi."), assistant_calling("c1"), user("Well?")], "not answered: c1"),
        ([user("Hi."), assistant_calling("c1", "c2"), tool_result("c1", "4")], "not answered: c2"),
        ([user("Hi."), assistant_calling("c1"), tool_result("c2", "4")], "messages[2]: a 'tool' message"),
        ([user("Hi."), assistant_calling("c1"), tool_result("c1", "4"), tool_result("c1", "4")], "messages[3]"),
    ],
)
def test_malformed_messages(alice: Caller, messages: Any, wrong: str) -> None:
    """A list that OpenAI's endpoint would refuse is refused, and the envelope says what is wrong with it."""
    response = alice.http.post("/v1/chat/completions", json={"messages": messages}, headers=alice.headers)
    assert response.status_code == 400
    assert wrong in response.json()["error"]["message"]


def test_results_in_any_order(alice: Caller) -> None:
    """Several calls may be answered in any order."""
    calls = assistant_calling("c1", "c2")
    assert alice.post(user("Hi."), calls, tool_result("c2", "4"), tool_result("c1", "5")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff"])
def test_bodies_that_are_no_object(alice: Caller, body: bytes) -> None:
    """A body that is no JSON object is refused."""
    assert alice.http.post("/v1/chat/completions", content=body, headers=alice.headers).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/embeddings"), ("GET", "/"), ("GET", "/v1/auth/mint")])
def test_unknown_endpoints(http: httpx.Client, method: str, path: str) -> None:
    """What isn't there is answered 404, in the envelope."""
    response = http.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_scripts_by_user(gateway: Emulator, alice: Caller, bob: Caller) -> None:
    """A user's own script goes before everyone's, each in order."""
    gateway.script("for anyone")
    gateway.script_for("bob", "first", "second")
    said = [bob.ask("Hi."), bob.ask("Hi."), alice.ask("Hi.")]
    assert said == ["first", "second", "for anyone"]


def test_scripts_that_look_at_the_request(gateway: Emulator, alice: Caller) -> None:
    """A function is given the effective request; a whole model can be replaced by one."""
    alice.ask("Remember: teal.")
    gateway.script(lambda asked: f"{len(asked['messages'])} messages")
    assert alice.ask("How many?") == "3 messages"
    gateway.model = lambda asked: str(asked["temperature"])
    assert [alice.ask("Hi.", temperature=0.5), alice.ask("Hi.", temperature=1)] == ["0.5", "1"]


def test_scripted_completions(gateway: Emulator, alice: Caller) -> None:
    """A whole completion is served as it is, also streamed."""
    whole = {"model": "m", "choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}]}
    gateway.script(whole, whole)
    assert alice.post("Hi.").json()["choices"] == whole["choices"]
    chunks = alice.stream("Hi.")
    assert chunks[0]["model"] == "m"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_raw_responses(gateway: Emulator, alice: Caller) -> None:
    """Raw bytes are an answer of their own, and nothing is remembered."""
    gateway.script(RawResponse(418, {"X-Tea": "yes"}, "short and stout"))
    answer = alice.post("Tea?", thread="t")
    assert (answer.status_code, answer.headers["X-Tea"], answer.text) == (418, "yes", "short and stout")
    assert gateway.thread("alice", "t") == []


@pytest.mark.parametrize("in_pieces", [False, True])
def test_raw_streams(gateway: Emulator, alice: Caller, in_pieces: bool) -> None:  # noqa: FBT001
    """Raw bytes of a stream are sent as they are, and what they say is stored."""
    words = [b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % word for word in (b"Pet", b"rels")]
    pieces = [b": hello\n\n", *words, b"data: {broken\n\n", b"data: [DONE]\n\n"]
    gateway.script(RawSSE(pieces if in_pieces else b"".join(pieces)))
    with alice.streaming("Who?", thread="t") as response:
        assert b"".join(response.iter_raw()) == b"".join(pieces)
    assert [one["content"] for one in gateway.thread("alice", "t")] == ["Who?", "Petrels"]


def test_text_that_looks_like_the_end(gateway: Emulator, alice: Caller) -> None:
    """A reply that speaks of `[DONE]` is stored whole."""
    gateway.script("Streams end with data: [DONE] and then nothing.")
    alice.stream("How?", thread="t")
    assert gateway.thread("alice", "t")[1]["content"] == "Streams end with data: [DONE] and then nothing."


def test_records_the_effective_prompt(gateway: Emulator, alice: Caller) -> None:
    """A chat's record shows what the model was given, and what it said."""
    gateway.script("One.", "Two.")
    alice.ask("First.", session="s")
    alice.ask(system("Be brief."), user("Second."), session="s")
    record = gateway.chats[1]
    said = [message["content"] for message in record.effective_prompt or []]
    assert said == ["Be brief.", "First.", "One.", "Second."]
    assert (record.reply or {})["content"] == "Two."
    assert (record.session_id, record.thread_id, record.status) == ("s", None, 200)
    assert record.headers["authorization"] == alice.headers["Authorization"]


def test_a_model_that_fails_is_told_apart(gateway: Emulator, alice: Caller) -> None:
    """An error event in the middle of a stream that began well has the envelope; nothing is stored."""
    gateway.fail_next(after_chunks=2, error_event=True, status=500, message="The model fell over.")
    with alice.streaming("Where?", thread="t") as response:
        events = data_of(response)
    assert json.loads(events[-1]) == {"error": {"message": "The model fell over.", "code": 500}}
    assert len(events) == 3
    assert gateway.thread("alice", "t") == []


def test_content_of_parts(gateway: Emulator, alice: Caller) -> None:
    """Content may be a list of parts, is stored as one, and its text is read."""
    parts = [{"type": "text", "text": PETRELS}, {"type": "text", "text": "Where do petrels nest?"}]
    answer = alice.post({"role": "user", "content": parts}, thread="t")
    assert content_of(answer) == PETRELS
    assert gateway.thread("alice", "t")[0]["content"] == parts
