"""The HTTP gateway of a coordinator."""

from node.adapters.http.gateway import Gateway
from node.adapters.http.settings import HttpSettings, hash_of_key

__all__ = ["Gateway", "HttpSettings", "hash_of_key"]
