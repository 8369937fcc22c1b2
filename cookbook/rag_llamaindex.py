"""Questions about a folder of texts, in LlamaIndex, with the conversation in a thread of the gateway.

    pip install "llamaindex-behest[emulator]" llama-index-retrievers-bm25
    python cookbook/rag_llamaindex.py                                # four questions, on the emulator
    python cookbook/rag_llamaindex.py "How high is the lighthouse?"  # your own; --user, --thread, --texts

`CondensePlusContextChatEngine` with a `BehestMemory`: each question is sent alone, the gateway supplies the earlier turns, and
the call that condenses a follow-up is made outside of the thread. So the thread holds what the user typed and the answers,
nothing else, and the next process that is given its name goes on with it (with BEHEST_KEY set; the emulator ends with this
process).

Passages are found by their words (BM25), with nothing to download. `--embedding MODULE:NAME` takes an embedding model of
yours instead, anything that makes a LlamaIndex `BaseEmbedding` when called without arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pkgutil
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import BaseNode
from llama_index.retrievers.bm25 import BM25Retriever  # type: ignore[import-untyped] # it has no py.typed

from behest_base import Behest, BehestError
from behest_base.emulator import Emulator
from llamaindex_behest import BehestLLM, BehestMemory

TEXTS = Path(__file__).parent / "texts"
QUESTIONS = [
    "When was the lighthouse on Skerry Point lit for the first time?",
    "How many steps does the tower have?",
    "What does a return ticket for the ferry cost?",
    "When is the museum closed?",
]


def read_passages(folder: Path) -> Sequence[BaseNode]:
    """Read a folder's texts and split them into passages."""
    texts = [
        Document(text=path.read_text(encoding="utf-8"), metadata={"source": path.name})
        for path in sorted(folder.glob("*.md"))
        if path.stat().st_size
    ]
    if not texts:
        sys.exit(f"There is no .md file with text in {folder}.")
    return TokenTextSplitter(chunk_size=160, chunk_overlap=20, separator="\n\n").get_nodes_from_documents(texts)


def make_retriever(passages: Sequence[BaseNode], embedding: str | None) -> BaseRetriever:
    """Return a retriever by words, or by an embedding model named `module:name`."""
    if embedding is None:
        words: BaseRetriever = BM25Retriever(nodes=list(passages), similarity_top_k=3)
        return words
    index = VectorStoreIndex(passages, embed_model=pkgutil.resolve_name(embedding)())
    return index.as_retriever(similarity_top_k=3)


def make_engine(retriever: BaseRetriever, behest: Behest, user: str, thread: str) -> BaseChatEngine:
    """Return an engine whose conversation is a thread of the user's."""
    return CondensePlusContextChatEngine.from_defaults(
        retriever,
        llm=BehestLLM(client=behest, user_id=user, thread_id=thread),
        memory=BehestMemory(client=behest, user_id=user, thread_id=thread),
    )


def ask(engine: BaseChatEngine, question: str) -> None:
    """Print an answer as it streams, and the sources it was given."""
    answer = engine.stream_chat(question)
    for token in answer.response_gen:
        print(token, end="", flush=True)
    print(f"\n   [{', '.join(dict.fromkeys(node.metadata['source'] for node in answer.source_nodes))}]")


@contextlib.contextmanager
def gateway() -> Generator[Behest]:
    """Give a client: of the real gateway with BEHEST_KEY in the environment, else of an emulator."""
    if os.environ.get("BEHEST_KEY"):
        with Behest() as behest:
            yield behest
        return
    with Emulator() as emulator, Behest(emulator.api_key, base_url=emulator.base_url) as behest:
        print("BEHEST_KEY is not set, so this runs on the emulator.")
        yield behest


def main() -> None:
    """Ask the questions one after the other."""
    parser = argparse.ArgumentParser(description="Ask questions about a folder of texts.")
    parser.add_argument("questions", nargs="*", default=QUESTIONS)
    parser.add_argument("--texts", type=Path, default=TEXTS, help="a folder of .md files")
    parser.add_argument("--user", default="alice")
    parser.add_argument("--thread", default="rag-llamaindex")
    parser.add_argument("--embedding", help="MODULE:NAME of an embedding model to search with")
    given = parser.parse_args()
    retriever = make_retriever(read_passages(given.texts), given.embedding)
    with gateway() as behest:
        engine = make_engine(retriever, behest, given.user, given.thread)
        for question in given.questions:
            print(f"\n{given.user}: {question}")
            ask(engine, question)


if __name__ == "__main__":
    try:
        main()
    except (BehestError, ImportError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
