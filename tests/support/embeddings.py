"""Embedding models without weights: a text's words, each counted in one of a few hundred places."""

from __future__ import annotations

import re
import zlib

from langchain_core.embeddings import Embeddings
from llama_index.core.base.embeddings.base import BaseEmbedding

__all__ = ["LangChainWords", "LlamaIndexWords"]

PLACES = 512


def _counted(text: str) -> list[float]:
    counts = [0.0] * PLACES
    for word in re.findall(r"\w{4,}", text.lower()):
        counts[zlib.crc32(word.rstrip("s").encode()) % PLACES] += 1.0
    return counts


class LangChainWords(Embeddings):
    """For LangChain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages."""
        return [_counted(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        return _counted(text)


class LlamaIndexWords(BaseEmbedding):
    """For LlamaIndex."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return _counted(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return _counted(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return _counted(text)
