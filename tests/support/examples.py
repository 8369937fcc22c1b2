"""Python in Markdown: the examples of READMEs and docstrings, taken out and run as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["blocks", "run"]

_BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[str]:
    """Return the Python blocks of a text."""
    return ["\n".join(line.removeprefix(indent) for line in code.splitlines()) for indent, code in _BLOCK.findall(text)]


def run(code: Iterable[str], names: dict[str, Any]) -> None:
    """Run blocks one after the other."""
    for block in code:
        exec(compile(block, "example", "exec"), names)  # noqa: S102 - our own text
