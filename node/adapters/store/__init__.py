"""Durable memory: SQLite and files named by digest."""

from node.adapters.store.errors import StoreConflict
from node.adapters.store.sqlite import SqliteStore

__all__ = ["SqliteStore", "StoreConflict"]
