"""Addresses as others write them: in bytes, perhaps with the peer id at the end, perhaps nonsense."""

from functools import lru_cache

from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.peerstore import MAX_ADDRESS_BYTES


@lru_cache(maxsize=4096)
def bare(address: Multiaddr) -> Multiaddr:
    """Take the ``/p2p`` part of the peer itself off; that of a relay before it stays."""
    text, separator, rest = str(address).rpartition("/p2p/")
    return Multiaddr(text) if separator and "/" not in rest else address


@lru_cache(maxsize=4096)
def read_address(data: bytes) -> Multiaddr | None:
    """Read an address as it stands in messages, without its ``/p2p`` part; None where it is none, or too long."""
    if len(data) > MAX_ADDRESS_BYTES:
        return None
    try:
        return bare(Multiaddr(data))
    except ValueError:
        return None
