"""Coming from ChatOpenAI, ChatOpenRouter, OpenAILike or the vendor's SDK: the same job before and after, both executed.

    pip install "langchain-behest[emulator]" llamaindex-behest                                     # after
    pip install langchain-openai langchain-openrouter llama-index-llms-openai-like behest-ai        # before
    python cookbook/coming_from.py

The job: two users, two turns each in a thread. An OpenAI client has one key; here every user has a token of their own that ends
after minutes. So the halves named `before` mint by hand, make a client per user, and would have to begin again when the token
ends. The halves named `after` name the user. What each half asked of the gateway is shown beside its answers.

It runs on the emulator, or with BEHEST_KEY and BEHEST_BASE_URL (or BEHEST_SLUG) set on a real gateway, which can't be looked into.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Generator
from typing import NamedTuple

import behest as vendor
import httpx
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langchain_openrouter import ChatOpenRouter
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped] # it has no py.typed

from behest_base import Behest, BehestError, Scope
from behest_base.emulator import Emulator
from langchain_behest import ChatBehest
from llamaindex_behest import BehestLLM

USERS = {"alice": "teal", "bob": "amber"}
ASKED = "What is my favourite colour?"


class Project(NamedTuple):
    """What both halves need: the address and the key, and a client for the halves after."""

    base_url: str
    key: str
    behest: Behest
    emulator: Emulator | None

    def asked(self) -> tuple[int, int]:
        """Return how many tokens were minted and calls made, where that can be seen."""
        return (len(self.emulator.mints), len(self.emulator.chats)) if self.emulator else (0, 0)


Half = Callable[[Project, str, str], str]


def mint_by_hand(project: Project, user: str) -> str:
    """Mint a token; whoever does this caches it, notices when it ends, and mints again."""
    headers = {"Authorization": f"Bearer {project.key}"}
    response = httpx.post(f"{project.base_url}/v1/auth/mint", headers=headers, json={"user_id": user})
    response.raise_for_status()
    return str(response.json()["jwt"])


def told(colour: str) -> str:
    """Say the first turn."""
    return f"My favourite colour is {colour}."


# -- ChatOpenAI ------------------------------------------------------------------------------------------------------------


def chat_openai_before(project: Project, user: str, thread: str) -> str:
    """Use ChatOpenAI, whose key is the user's token until it ends."""
    model = ChatOpenAI(
        model="default",
        base_url=f"{project.base_url}/v1",
        api_key=mint_by_hand(project, user),  # type: ignore[arg-type] # it takes a text, too
        default_headers={"X-Thread-Id": thread},
    )
    model.invoke(told(USERS[user]))
    return model.invoke(ASKED).text


def chat_openai_after(project: Project, user: str, thread: str) -> str:
    """Use ChatBehest."""
    model = ChatBehest(client=project.behest, user_id=user, thread_id=thread)
    model.invoke(told(USERS[user]))
    return model.invoke(ASKED).text


# -- ChatOpenRouter --------------------------------------------------------------------------------------------------------


def chat_openrouter_before(project: Project, user: str, thread: str) -> str:
    """Use ChatOpenRouter in the same way."""
    model = ChatOpenRouter(
        model="default",
        base_url=f"{project.base_url}/v1",
        api_key=mint_by_hand(project, user),  # type: ignore[arg-type] # it takes a text, too
        default_headers={"X-Thread-Id": thread},
    )
    model.invoke(told(USERS[user]))
    return model.invoke(ASKED).text


def chat_openrouter_after(project: Project, user: str, thread: str) -> str:
    """Use one ChatBehest for all users, who are named by the configuration of the call."""
    model = ChatBehest(client=project.behest)
    config: RunnableConfig = {"configurable": {"behest_user_id": user, "behest_thread_id": thread}}
    model.invoke(told(USERS[user]), config)
    return model.invoke(ASKED, config).text


# -- OpenAILike ------------------------------------------------------------------------------------------------------------


def openai_like_before(project: Project, user: str, thread: str) -> str:
    """Use OpenAILike, which has to be told what the model can do."""
    llm = OpenAILike(
        model="default",
        api_base=f"{project.base_url}/v1",
        api_key=mint_by_hand(project, user),
        default_headers={"X-Thread-Id": thread},
        is_chat_model=True,
        is_function_calling_model=True,
        context_window=128_000,
    )
    llm.chat([ChatMessage(told(USERS[user]))])
    return llm.chat([ChatMessage(ASKED)]).message.content or ""


def openai_like_after(project: Project, user: str, thread: str) -> str:
    """Use BehestLLM."""
    llm = BehestLLM(client=project.behest).for_user(user, thread_id=thread)
    llm.chat([ChatMessage(told(USERS[user]))])
    return llm.chat([ChatMessage(ASKED)]).message.content or ""


# -- the vendor's SDK ------------------------------------------------------------------------------------------------------


def vendor_before(project: Project, user: str, thread: str) -> str:
    """Use the vendor's SDK, which mints for every call, and has no place for a thread but its HTTP client."""
    with httpx.Client(headers={"X-Thread-Id": thread}) as http:
        client = vendor.Behest(key=project.key, base_url=project.base_url, http_client=http)
        create = client.chat.completions.create
        create(messages=[{"role": "user", "content": told(USERS[user])}], user_id=user)
        answer = create(messages=[{"role": "user", "content": ASKED}], user_id=user)
    return str(answer["choices"][0]["message"]["content"])


def vendor_after(project: Project, user: str, thread: str) -> str:
    """Use the client of behest-base; a token serves all of a user's calls."""
    scope = Scope(user, thread_id=thread)
    project.behest.complete({"messages": [{"role": "user", "content": told(USERS[user])}]}, scope=scope)
    answer = project.behest.complete({"messages": [{"role": "user", "content": ASKED}]}, scope=scope)
    return str(answer["choices"][0]["message"]["content"])


PAIRS: dict[str, tuple[Half, Half]] = {
    "ChatOpenAI → ChatBehest": (chat_openai_before, chat_openai_after),
    "ChatOpenRouter → ChatBehest": (chat_openrouter_before, chat_openrouter_after),
    "OpenAILike → BehestLLM": (openai_like_before, openai_like_after),
    "behest-ai → behest-base": (vendor_before, vendor_after),
}


def compare(project: Project, name: str, halves: tuple[Half, Half]) -> None:
    """Do the job both ways, and show what came of it."""
    print(f"\n{name}")
    places: list[tuple[str, str]] = []
    for when, half in zip(("before", "after"), halves, strict=True):
        mints, chats = project.asked()
        for user in USERS:
            thread = f"{half.__name__}-{secrets.token_hex(4)}"
            print(f"   {when:7} {user}: {half(project, user, thread)}")
            places.append((user, thread))
        if project.emulator:
            minted, called = project.asked()
            print(f"   {when:7} {minted - mints} tokens minted for {called - chats} calls")
    for user, thread in places:
        project.behest.threads.delete(thread, user_id=user)


@contextlib.contextmanager
def gateway() -> Generator[tuple[str, str, Emulator | None]]:
    """Give address and key: of the real gateway with BEHEST_KEY in the environment, else of an emulator."""
    if os.environ.get("BEHEST_KEY"):
        with Behest() as behest:
            yield behest.base_url, os.environ["BEHEST_KEY"].strip(), None
        return
    # The vendor's SDK knows no test keys.
    with Emulator(api_key=f"behest_sk_live_{secrets.token_hex(16)}") as emulator:
        print("BEHEST_KEY is not set, so this runs on the emulator.")
        yield emulator.base_url, emulator.api_key, emulator


def main() -> None:
    """Compare each pair, each with a client that has no tokens yet."""
    with gateway() as (base_url, key, emulator):
        for name, halves in PAIRS.items():
            with Behest(key, base_url=base_url) as behest:
                compare(Project(base_url, key, behest, emulator), name, halves)


if __name__ == "__main__":
    try:
        main()
    except (BehestError, httpx.HTTPError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
