"""The contracts on any EVM chain, over JSON-RPC under trio."""
