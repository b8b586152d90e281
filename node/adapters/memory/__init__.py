"""A whole network in memory, for tests of everything above the adapters."""

from node.adapters.memory.chain import MemoryChain
from node.adapters.memory.network import MemoryNetwork, MemoryTransport
from node.adapters.memory.store import MemoryStore

__all__ = ["MemoryChain", "MemoryNetwork", "MemoryStore", "MemoryTransport"]
