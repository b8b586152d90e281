"""Signed envelopes: a node stands by bytes that no contract needs to read, such as its capability.

The signature is over the bytes as they are, with a tag and the network in front: it cannot be taken for a
transaction, for typed data (which begins with 0x19) or for a message of another network. Spec: SPEC.md §5.3.
"""

import hashlib

from protocol.crypto.keys import NodeKey, keccak256, recover
from protocol.errors import InvalidMessage
from protocol.units import Address, Digest

_TAG = b"cuckoo/1/envelope"


def seal(key: NodeKey, network: Digest, body: bytes) -> bytes:
    """Sign a body for one network: 65 bytes, r ‖ s ‖ v."""
    return key.sign(_digest(network, body))


def opened_by(network: Digest, body: bytes, signature: bytes) -> Address:
    """Give the address that sealed this body.

    Raises:
        InvalidMessage: ``envelope.signature``: no key made this, or it is not in its one valid form.
    """
    try:
        return recover(_digest(network, body), signature)
    except ValueError as error:
        raise InvalidMessage("envelope.signature", str(error)) from None


def _digest(network: Digest, body: bytes) -> Digest:
    return keccak256(_TAG + network + hashlib.sha256(body).digest())
