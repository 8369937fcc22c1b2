"""Sentences and words, as far as an extractive model needs them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

__all__ = ["best_match", "is_question", "labelled_question", "numbers", "overlap", "quoted", "sentences", "stems"]

_STOP: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "been",
        "being",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "me",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "our",
        "s",
        "shall",
        "she",
        "should",
        "so",
        "some",
        "such",
        "t",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "too",
        "us",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "please",
        "tell",
        "about",
        "any",
        "all",
        "each",
        "give",
        "get",
        "let",
        "much",
        "many",
        "say",
        "just",
        "also",
    ]
)
_QUESTION_WORDS: Final = frozenset(
    [
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "how",
        "is",
        "are",
        "do",
        "does",
        "did",
        "can",
        "could",
        "will",
        "would",
        "should",
        "tell",
        "say",
        "list",
        "give",
        "name",
        "describe",
        "summarize",
        "summarise",
        "explain",
        "answer",
        "write",
        "find",
        "show",
        "translate",
        "count",
        "look",
        "search",
        "calculate",
        "compute",
    ]
)
_BREAK: Final = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n\s*\n|\n(?=\s*(?:[-*|#>]|\d+[.)]\s|```))|\n(?<=:\n)")
_SUFFIXES: Final = ("ingly", "edly", "ing", "edy", "ies", "ied", "ed", "es", "ly", "s", "e")
SHORTEST_STEM: Final = 3
# How prompts that carry context and question in one message mark them.
_LABEL: Final = re.compile(r"^(?:context|question|query|answer|input|response)\s*:\s*", re.IGNORECASE)
_LABELLED_QUESTION: Final = re.compile(
    r"^[ \t]*(?:[\w-]+ ){0,2}(?:question|query|input)[ \t]*:[ \t]*\n?[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE
)


def sentences(text: str) -> list[str]:
    """Split a text, Markdown included, into sentences, without labels such as `Context:` before them."""
    pieces = (_LABEL.sub("", re.sub(r"\s+", " ", piece).strip(" -*|#>`")) for piece in _BREAK.split(text))
    return [piece for piece in pieces if re.search(r"\w", piece)]


def stems(text: str) -> list[str]:
    """Return the words that mean something, without their endings."""
    return [_stem(word) for word in re.findall(r"[^\W_]+", text.lower()) if word not in _STOP]


def is_question(sentence: str) -> bool:
    """Say whether a sentence asks or demands something."""
    words = re.findall(r"\w+", sentence.lower())
    return sentence.rstrip(" \"')").endswith("?") or bool(words and words[0] in _QUESTION_WORDS)


def labelled_question(text: str) -> str | None:
    """Return the question of a prompt that marks it: "Context: … Question: … Answer:"."""
    found: list[str] = _LABELLED_QUESTION.findall(text)
    return found[-1].strip() if found else None


def numbers(text: str) -> list[float]:
    """Return the numbers in a text, in order."""
    return [float(found) for found in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", text)]


def quoted(text: str) -> list[str]:
    """Return what stands in quotation marks."""
    return [a or b or c for a, b, c in re.findall(r"\"([^\"]+)\"|“([^”]+)”|(?<!\w)'([^']+)'(?!\w)", text)]


def overlap(question: str, text: str) -> int:
    """Return how many meaningful words two texts share."""
    return len(set(stems(question)) & set(stems(text.replace("_", " "))))


def best_match(question: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that shares the rarest words with the question, of equal ones the last; None if none does."""
    asked = set(stems(question))
    split = [set(stems(candidate)) for candidate in candidates]
    frequency = Counter(word for words in split for word in words)
    best, best_score = None, 0.0
    for candidate, words in zip(candidates, split, strict=True):
        shared = asked & words
        score = sum(math.log(1 + len(candidates) / frequency[word]) for word in shared)
        # A long sentence shares words by chance.
        score /= 1 + len(words) / 100
        if score and score >= best_score:
            best, best_score = candidate, score
    return best


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= SHORTEST_STEM:
            return word[: -len(suffix)]
    return word
