"""How an owner's commands reach a running node on the same machine: a Unix socket that only the owner may open."""

from node.adapters.control.client import ask
from node.adapters.control.server import UnixControl

__all__ = ["UnixControl", "ask"]
