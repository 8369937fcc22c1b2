"""The Behest gateway in LlamaIndex: an LLM with a token per end user, chat stores and a memory on the gateway's threads."""

from llamaindex_behest.async_chat_store import BehestAsyncChatStore as BehestAsyncChatStore
from llamaindex_behest.chat_store import BehestChatStore as BehestChatStore
from llamaindex_behest.llm import BehestLLM as BehestLLM
from llamaindex_behest.memory import BehestMemory as BehestMemory

__version__ = "0.1.0"
