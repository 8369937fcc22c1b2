"""`BehestLLM` where LlamaIndex's integrations are looked for; the package itself is `llamaindex_behest`."""

from llamaindex_behest import BehestLLM

__all__ = ["BehestLLM"]
