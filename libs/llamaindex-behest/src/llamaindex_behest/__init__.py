"""The Behest gateway in LlamaIndex: an LLM with a token per end user, chat stores and a memory on the gateway's threads."""

from llamaindex_behest.async_chat_store import BehestAsyncChatStore
from llamaindex_behest.chat_store import BehestChatStore
from llamaindex_behest.llm import BehestLLM
from llamaindex_behest.memory import BehestMemory

__all__ = ["BehestAsyncChatStore", "BehestChatStore", "BehestLLM", "BehestMemory"]

__version__ = "0.1.0"
