"""The Behest gateway in LlamaIndex: an LLM with a token per end user, chat stores and a memory on the gateway's threads."""

from llamaindex_behest.llm import BehestLLM as BehestLLM

__version__ = "0.1.0"
