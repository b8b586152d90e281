"""The node key as a libp2p identity, and peer ids in both of their forms.

A peer id of this network is the identity multihash of a compressed secp256k1 key, so the Ethereum address follows
from it without a look-up. Other kinds of id (ed25519, RSA) belong to strangers that may listen. Spec: SPEC.md §5.
"""

from functools import lru_cache
from typing import Final

import base58
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.peer.id import ID

from protocol.units import PeerId

SECP256K1_PREFIX: Final = bytes((0x00, 0x25, 0x08, 0x02, 0x12, 0x21))
"""Identity multihash (0x00), 37 bytes, of a protobuf: key type 2 (secp256k1), 33 bytes of key."""
SECP256K1_ID_BYTES: Final = len(SECP256K1_PREFIX) + 33


def key_pair_of(secret: bytes) -> KeyPair:
    """Give the libp2p key pair of a 32-byte node key."""
    return create_new_key_pair(secret)


def is_node_id(peer: bytes) -> bool:
    """Say whether the bytes of a peer id name a secp256k1 key, as every node of this network has."""
    return len(peer) == SECP256K1_ID_BYTES and peer.startswith(SECP256K1_PREFIX) and peer[6] in (2, 3)


@lru_cache(maxsize=4096)
def to_libp2p(peer: PeerId) -> ID:
    """Turn the text form into libp2p's.

    Raises:
        ValueError: It is not base58.
    """
    return ID(base58.b58decode(peer))


@lru_cache(maxsize=4096)
def text_of(peer: bytes) -> PeerId:
    """Turn the bytes of a peer id into the text that stands at the end of a multiaddress."""
    return PeerId(base58.b58encode(peer).decode("ascii"))


def from_libp2p(peer: ID) -> PeerId:
    """Turn libp2p's form into the text form."""
    return text_of(peer.to_bytes())
