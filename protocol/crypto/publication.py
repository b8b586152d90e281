"""Gossip messages as their publishers signed them: what a recorder keeps, and anybody can check later.

libp2p signs ``libp2p-pubsub:`` and the message as protobuf: publisher, data, sequence number, topic. The sequence
number goes up by one with each message of one run, whatever its topic: so a reader sees whether it heard them all.
Spec: SPEC.md §4.6.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import base58
from coincurve import PublicKey

from protocol.crypto.keys import address_of_peer_id
from protocol.errors import InvalidMessage
from protocol.units import Digest, PeerId

_PREFIX: Final = b"libp2p-pubsub:"
_FROM, _DATA, _SEQUENCE, _TOPIC = (bytes([number << 3 | 2]) for number in (1, 2, 3, 4))
"""Tags of the protobuf fields that are signed: each is bytes with a length before it."""
SIGNATURE_MAX_BYTES: Final = 80
"""A DER signature of secp256k1 has at most 72 bytes."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One gossip message with its publisher's signature."""

    publisher: PeerId
    sequence: int
    """Of the publisher's run, below 2^64; up by one with each message."""
    topic: str
    data: bytes
    signature: bytes
    """DER, over ``signed_bytes``."""

    @property
    def digest(self) -> Digest:
        """SHA-256 of the data: names the message in evidence."""
        return Digest(hashlib.sha256(self.data).digest())


def signed_bytes(publication: Publication) -> bytes:
    """Give what the publisher signed, as every libp2p implementation writes it.

    Raises:
        InvalidMessage: ``identity.peer_id``: the publisher is no id of a node.
    """
    address_of_peer_id(publication.publisher)
    parts = (
        (_FROM, base58.b58decode(publication.publisher)),
        (_DATA, publication.data),
        (_SEQUENCE, publication.sequence.to_bytes(8, "big")),
        (_TOPIC, publication.topic.encode()),
    )
    return _PREFIX + b"".join([tag + _varint(len(value)) + value for tag, value in parts])


def check_publication(publication: Publication) -> None:
    """Pass what its publisher signed.

    Raises:
        InvalidMessage: ``gossip.signature``: it did not; ``identity.peer_id``: no node can have this id.
    """
    signed = signed_bytes(publication)
    key = PublicKey(base58.b58decode(publication.publisher)[6:])
    try:
        good = len(publication.signature) <= SIGNATURE_MAX_BYTES and key.verify(publication.signature, signed)
    except ValueError:  # not DER
        good = False
    if not good:
        raise InvalidMessage("gossip.signature", "the publisher did not sign this")


def _varint(value: int) -> bytes:
    """Write a length as protobuf does."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
