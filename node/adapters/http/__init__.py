"""The HTTP gateway of a coordinator."""

from node.adapters.http.gateway import Gateway
from node.adapters.http.keys import KeyRing, hash_of_key
from node.adapters.http.portal import Portal
from node.adapters.http.settings import HttpSettings

__all__ = ["Gateway", "HttpSettings", "KeyRing", "Portal", "hash_of_key"]
