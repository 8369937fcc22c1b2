"""The chat stores where LlamaIndex's integrations are looked for; the package itself is `llamaindex_behest`."""

from llamaindex_behest import BehestAsyncChatStore, BehestChatStore

__all__ = ["BehestAsyncChatStore", "BehestChatStore"]
