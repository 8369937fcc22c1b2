"""What to do when a tier is used up or the gateway is busy, and a report of what each user has used.

    pip install "langchain-behest[emulator]" llamaindex-behest matplotlib
    python cookbook/quotas_and_fallbacks.py [--plot usage.png]

- 402, or a budget that is spent: never retried. It becomes a message with the gateway's link, or the answer comes from another
  model by `with_fallbacks`.
- 429 with `Retry-After`: waited out by the client, up to a minute and twice; beyond that it is raised with `.retry_after`.
- Each answer says what it used and for whom: a callback adds it up per user, for a table and a plot. `behest.usage()` has the sums of
  the project.

Without BEHEST_KEY in the environment it runs on the emulator, where carol's tier is used up and the gateway is busy for a moment.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from llama_index.core.llms import ChatMessage
from matplotlib.figure import Figure

from behest_base import Behest, BehestError, BehestNotFoundError, BehestQuotaError, BehestRateLimitError
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest
from llamaindex_behest import BehestLLM

USERS = ("alice", "bob", "carol")
UPGRADE_URL = "https://shop.example/plans"


class UsageByUser(BaseCallbackHandler):
    """Counts what each user's calls have used; the gateway itself reports sums of the project."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.tokens: dict[str, tuple[int, int]] = dict.fromkeys(USERS, (0, 0))

    def add(self, user: str, tokens_in: int, tokens_out: int) -> None:
        """Add a call's tokens."""
        before = self.tokens.get(user, (0, 0))
        self.tokens[user] = (before[0] + tokens_in, before[1] + tokens_out)

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Add a LangChain call, which says itself for whom it was."""
        for generation in itertools.chain.from_iterable(response.generations):
            message = generation.message if isinstance(generation, ChatGeneration) else None
            if isinstance(message, AIMessage) and message.usage_metadata and "behest" in message.response_metadata:
                used = message.usage_metadata
                self.add(message.response_metadata["behest"]["user_id"], used["input_tokens"], used["output_tokens"])


def answer_or_link(behest: Behest, user: str, text: str, used: UsageByUser) -> str:
    """Answer a user, or say where there is more to get; in LlamaIndex."""
    try:
        answer = BehestLLM(client=behest, user_id=user).chat([ChatMessage(text)])
    except BehestQuotaError as error:
        return f"Your plan is used up. {error.upgrade_url or 'Please write to us.'}"
    except BehestRateLimitError as error:
        return f"Too many questions at once. Please try again in {error.retry_after or 60:.0f} seconds."
    counts = answer.additional_kwargs
    used.add(user, counts.get("prompt_tokens", 0), counts.get("completion_tokens", 0))
    return answer.message.content or ""


def answer_by_fallback(behest: Behest, user: str, text: str, used: UsageByUser) -> str:
    """Answer a user, from a model of one's own if the tier is used up; in LangChain."""
    own = FakeListChatModel(responses=["(a small model of our own) Hello."])
    model = ChatBehest(client=behest, user_id=user).with_fallbacks([own], exceptions_to_handle=(BehestQuotaError,))
    return model.invoke(text, {"callbacks": [used]}).text


def show_usage(behest: Behest, used: UsageByUser, plot: Path) -> None:
    """Print what each user has used as a table, and draw it."""
    print(f"\n{'user':10}{'tokens in':>12}{'tokens out':>12}")
    for user, (tokens_in, tokens_out) in used.tokens.items():
        print(f"{user:10}{tokens_in:12}{tokens_out:12}")
    try:
        sums = behest.usage(user_id=USERS[0]).platform
        print(f"{'project':10}{sums.input_tokens:12}{sums.output_tokens:12}   this month, in {sums.requests} requests")
    except BehestNotFoundError:
        print("This gateway reports no usage.")
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    read, written = zip(*used.tokens.values(), strict=True)
    axes.bar(list(used.tokens), read, label="tokens in")
    axes.bar(list(used.tokens), written, bottom=read, label="tokens out")
    axes.set_ylabel("tokens")
    axes.legend()
    figure.savefig(plot, dpi=120)
    print(f"The plot is in {plot}.")


@contextlib.contextmanager
def gateway() -> Generator[Behest]:
    """Give a client: of the real gateway with BEHEST_KEY in the environment, else of an emulator in trouble."""
    if os.environ.get("BEHEST_KEY"):
        with Behest() as behest:
            yield behest
        return
    with Emulator() as emulator, Behest(emulator.api_key, base_url=emulator.base_url) as behest:
        print("BEHEST_KEY is not set, so this runs on the emulator: carol's tier is used up, and the gateway is busy.")
        emulator.set_quota("carol", upgrade_url=UPGRADE_URL)
        emulator.fail_next(status=429, code="rate_limited", retry_after=1, path="chat")
        yield behest


def main() -> None:
    """Ask for each user in both ways, then report."""
    parser = argparse.ArgumentParser(description="Quotas, rate limits, fallbacks and usage.")
    parser.add_argument("--plot", type=Path, default=Path("usage.png"))
    plot = parser.parse_args().plot
    used = UsageByUser()
    with gateway() as behest:
        for user in USERS:
            begin = time.monotonic()
            answer = answer_or_link(behest, user, f"Hello, I am {user}.", used)
            print(f"{user}: {answer} [{time.monotonic() - begin:.1f} s]")
            print(f"{user}: {answer_by_fallback(behest, user, 'Hello again.', used)}")
        show_usage(behest, used, plot)


if __name__ == "__main__":
    try:
        main()
    except (BehestError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
