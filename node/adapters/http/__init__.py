"""The HTTP gateway of a coordinator."""

from node.adapters.http.gateway import Gateway
from node.adapters.http.portal import Portal
from node.adapters.http.settings import HttpSettings, hash_of_key

__all__ = ["Gateway", "HttpSettings", "Portal", "hash_of_key"]
