"""Questions about a folder of texts, in LangChain, with the conversation in a thread of the gateway.

    pip install "langchain-behest[emulator]" langchain-text-splitters bm25s
    python cookbook/rag_langchain.py                                # four questions, on the emulator
    python cookbook/rag_langchain.py "How high is the lighthouse?"  # your own; --user, --thread, --texts

Each question is sent alone: the gateway supplies the earlier turns. What is searched for is the question as it would stand
without them, which a call outside of the thread writes. So the thread holds what the user typed and the answers, nothing else,
and the next process that is given its name goes on with it (with BEHEST_KEY set; the emulator ends with this process).

Passages are found by their words (BM25), with nothing to download. `--embedding MODULE:NAME` takes an embedding model of
yours instead, anything that makes a LangChain `Embeddings` when called without arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pkgutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bm25s  # type: ignore[import-untyped] # it has no py.typed
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from behest_base import Behest, BehestError
from behest_base.emulator import Emulator
from langchain_behest import BehestChatHistory, ChatBehest

TEXTS = Path(__file__).parent / "texts"
QUESTIONS = [
    "When was the lighthouse on Skerry Point lit for the first time?",
    "How many steps does the tower have?",
    "What does a return ticket for the ferry cost?",
    "When is the museum closed?",
]
ANSWER = ChatPromptTemplate(
    [("system", "Answer from these passages; say so if they don't tell.\n\n{passages}"), ("human", "{question}")]
)
STANDALONE = ChatPromptTemplate(
    [
        MessagesPlaceholder("earlier"),
        (
            "human",
            "Write this follow-up so that it can be understood alone.\nQuestion: {question}\nStandalone question:",
        ),
    ]
)


class WordRetriever(BaseRetriever):
    """Finds passages by their words."""

    passages: list[Document]
    index: Any

    @classmethod
    def of(cls, passages: list[Document]) -> WordRetriever:
        """Index passages."""
        index = bm25s.BM25()
        index.index(_tokens([passage.page_content for passage in passages]), show_progress=False)
        return cls(passages=passages, index=index)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002
        found, _ = self.index.retrieve(_tokens([query]), k=min(3, len(self.passages)), show_progress=False)
        return [self.passages[number] for number in found[0]]


def _tokens(texts: list[str]) -> Any:
    return bm25s.tokenize(texts, stopwords="en", show_progress=False)


def read_passages(folder: Path) -> list[Document]:
    """Read a folder's texts and split them into passages."""
    texts = [
        Document(path.read_text(encoding="utf-8"), metadata={"source": path.name})
        for path in sorted(folder.glob("*.md"))
        if path.stat().st_size
    ]
    if not texts:
        sys.exit(f"There is no .md file with text in {folder}.")
    return RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=50).split_documents(texts)


def make_retriever(passages: list[Document], embedding: str | None) -> BaseRetriever:
    """Return a retriever by words, or by an embedding model named `module:name`."""
    if embedding is None:
        return WordRetriever.of(passages)
    return InMemoryVectorStore.from_documents(passages, pkgutil.resolve_name(embedding)()).as_retriever(
        search_kwargs={"k": 3}
    )


def make_chain(
    retriever: BaseRetriever, model: ChatBehest, history: BehestChatHistory
) -> Runnable[dict[str, Any], Any]:
    """Return a chain from `{"question"}` to the passages found and the answer, both of which stream."""
    standalone = STANDALONE | model.bind(thread_id=None) | StrOutputParser()

    def find(asked: dict[str, str]) -> list[Document]:
        earlier = history.messages
        query = standalone.invoke({**asked, "earlier": earlier}) if earlier else asked["question"]
        return retriever.invoke(query)

    def fill(found: dict[str, Any]) -> dict[str, str]:
        texts = "\n\n".join(passage.page_content for passage in found["passages"])
        return {"question": found["question"], "passages": texts}

    answer = fill | ANSWER | model | StrOutputParser()
    return RunnablePassthrough.assign(passages=find) | RunnablePassthrough.assign(answer=answer)


def ask(chain: Runnable[dict[str, Any], Any], question: str) -> None:
    """Print an answer as it streams, and the sources it was given."""
    sources: list[str] = []
    for piece in chain.stream({"question": question}):
        print(piece.get("answer", ""), end="", flush=True)
        sources += [passage.metadata["source"] for passage in piece.get("passages", ())]
    print(f"\n   [{', '.join(dict.fromkeys(sources))}]")


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
    parser.add_argument("--thread", default="rag-langchain")
    parser.add_argument("--embedding", help="MODULE:NAME of an embedding model to search with")
    given = parser.parse_args()
    retriever = make_retriever(read_passages(given.texts), given.embedding)
    with gateway() as behest:
        model = ChatBehest(client=behest, user_id=given.user, thread_id=given.thread)
        chain = make_chain(retriever, model, BehestChatHistory(given.thread, user_id=given.user, client=behest))
        for question in given.questions:
            print(f"\n{given.user}: {question}")
            ask(chain, question)


if __name__ == "__main__":
    try:
        main()
    except (BehestError, ImportError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
