"""The main job in a minute: two frameworks, two users, one gateway.

    pip install "langchain-behest[emulator]" llamaindex-behest
    python cookbook/quickstart.py [FILE] ["question"]

1. `ChatBehest` in a LangChain chain answers a question from a text, for the user alice.
2. `BehestLLM` answers the same in LlamaIndex, for the user bob.
3. A thread: alice says a fact in one turn and asks about it in the next, sending only the new message. Bob asks the same
   in his own thread of the same name, and the fact is not there.
4. What happened: tokens minted, the thread as the gateway holds it, the usage.

Without BEHEST_KEY in the environment it runs on the emulator, in this process; with it, on the real gateway.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from llama_index.core.llms import ChatMessage

from behest_base import Behest, BehestError, BehestNotFoundError
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest
from llamaindex_behest import BehestLLM

README = Path(__file__).parent.parent / "libs" / "behest-base" / "README.md"
QUESTION = "When is a token renewed?"
INSTRUCTION = "Answer from this text, briefly:\n\n{text}"
THREAD = "quickstart"


def main() -> None:
    """Run the four parts on the file and the question that were given."""
    parser = argparse.ArgumentParser(description="Ask about a text in both frameworks, and talk in a thread.")
    parser.add_argument("file", nargs="?", type=Path, default=README)
    parser.add_argument("question", nargs="?", default=QUESTION)
    given = parser.parse_args()
    text = given.file.read_text(encoding="utf-8")
    with gateway() as behest:
        answer_in_langchain(behest, text, given.question)
        answer_in_llamaindex(behest, text, given.question)
        talk_in_a_thread(behest)
        show_what_happened(behest)


@contextlib.contextmanager
def gateway() -> Generator[Behest, None, None]:
    """Give a client: of the real gateway with BEHEST_KEY in the environment, else of an emulator."""
    if os.environ.get("BEHEST_KEY"):
        with Behest() as behest:
            print(f"Gateway: {behest.base_url}")
            yield behest
        return
    with Emulator() as emulator, Behest(emulator.api_key, base_url=emulator.base_url) as behest:
        print(f"BEHEST_KEY is not set, so this runs on the emulator at {emulator.base_url}.")
        yield behest


def answer_in_langchain(behest: Behest, text: str, question: str) -> None:
    """Stream an answer through an LCEL chain, for alice."""
    prompt = ChatPromptTemplate([("system", INSTRUCTION), ("human", "{question}")])
    chain = prompt | ChatBehest(client=behest, user_id="alice") | StrOutputParser()
    print(f"\n1. LangChain, alice: {question}\n   ", end="")
    for token in chain.stream({"text": text, "question": question}):
        print(token, end="", flush=True)
    print()


def answer_in_llamaindex(behest: Behest, text: str, question: str) -> None:
    """Stream an answer from LlamaIndex, for bob."""
    llm = BehestLLM(client=behest, user_id="bob")
    messages = [
        ChatMessage(role="system", content=INSTRUCTION.format(text=text)),
        ChatMessage(role="user", content=question),
    ]
    print(f"\n2. LlamaIndex, bob: {question}\n   ", end="")
    for response in llm.stream_chat(messages):
        print(response.delta or "", end="", flush=True)
    print()


def talk_in_a_thread(behest: Behest) -> None:
    """Let alice tell a fact and ask about it, and bob ask about it in a thread of the same name."""
    for user in ("alice", "bob"):
        with contextlib.suppress(BehestNotFoundError):  # what an earlier run left behind
            behest.threads.delete(THREAD, user_id=user)
    alice = ChatBehest(client=behest, user_id="alice", thread_id=THREAD)
    bob = ChatBehest(client=behest, user_id="bob", thread_id=THREAD)
    turns = [
        ("alice", alice, "My boat is called Petrel."),
        ("alice", alice, "What is my boat called?"),
        ("bob", bob, "What is my boat called?"),
    ]
    print(f"\n3. The thread {THREAD!r}; only the new message is sent each time")
    for user, model, message in turns:
        print(f"   {user}: {message}\n   gateway: ", end="")
        for chunk in model.stream(message):
            print(chunk.text, end="", flush=True)
        print()


def show_what_happened(behest: Behest) -> None:
    """Show the tokens minted, the thread as the gateway holds it, and the usage."""
    stats = behest.stats()
    print(f"\n4. {stats.mints} tokens were minted for {stats.users} users. Alice's thread, as the gateway holds it:")
    for message in behest.threads.messages(THREAD, user_id="alice"):
        print(f"   {message.role}: {message.text}")
    try:
        used = behest.usage(user_id="alice").platform
    except BehestNotFoundError:
        print("   This gateway reports no usage.")
    else:
        print(f"   Usage: {used.requests} requests, {used.input_tokens} tokens in, {used.output_tokens} out.")


if __name__ == "__main__":
    try:
        main()
    except (BehestError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
