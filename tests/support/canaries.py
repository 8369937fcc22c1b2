"""Shows all that a reporter of errors could show, for tests that look for secrets in it."""

from __future__ import annotations

import traceback
from pathlib import Path

__all__ = ["shown"]

TESTS = Path(__file__).parents[1]


def shown(error: BaseException) -> str:
    """Show an error as the most talkative reporter would: its chain, with every frame's locals, the tests' own aside."""
    frames = error.__traceback__
    while frames is not None and Path(frames.tb_frame.f_code.co_filename).is_relative_to(TESTS):
        frames = frames.tb_next
    error = error.with_traceback(frames)
    report = traceback.TracebackException.from_exception(error, capture_locals=True, compact=False)
    parts = ["".join(report.format(chain=True))]
    seen: BaseException | None = error
    while seen is not None:
        parts += [repr(seen), str(seen), repr(vars(seen)), repr(seen.args)]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)
