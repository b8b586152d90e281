"""Signing gossip messages, and whether one is signed by the node that it names. Spec: SPEC.md §4.5."""

from functools import lru_cache
from typing import Final

from libp2p.crypto.keys import PrivateKey
from libp2p.crypto.secp256k1 import Secp256k1PublicKey
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX

from node.adapters.libp2p.identity import SECP256K1_PREFIX

KEYS: Final = 1024
"""Publishers whose keys are remembered, ready for use: more coordinators than any node hears at once."""
_MULTIHASH_BYTES: Final = 2
"""What stands before the key in the id of a node."""
_PREFIX: Final = PUBSUB_SIGNING_PREFIX.encode()


def signed(message: rpc_pb2.Message, key: PrivateKey) -> rpc_pb2.Message:
    """Sign a message of the node whose key this is, as upstream's ``publish`` does."""
    message.signature = key.sign(_PREFIX + message.SerializeToString())
    message.key = message.from_id[_MULTIHASH_BYTES:]
    return message


def is_signed(message: rpc_pb2.Message) -> bool:
    """Say whether the publisher signed these bytes.

    Upstream's reads the key anew for each message, and writes it down again to compare it with the id that it came
    from, which takes half as long as the check itself.

    Args:
        message: Its ``from_id`` is the id of a node, of a point on the curve.
    """
    signed = rpc_pb2.Message(
        data=message.data, topicIDs=message.topicIDs, from_id=message.from_id, seqno=message.seqno
    ).SerializeToString()
    try:
        return _key_of(message.from_id).verify(_PREFIX + signed, message.signature)
    except ValueError:  # bytes that are no signature at all
        return False


@lru_cache(maxsize=KEYS)
def _key_of(publisher: bytes) -> Secp256k1PublicKey:
    return Secp256k1PublicKey.from_bytes(publisher[len(SECP256K1_PREFIX) :])
