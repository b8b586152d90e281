"""Node keys: one secp256k1 key is a node's hot key on the chain and its libp2p identity.

So peer id -> public key -> address is arithmetic: no look-up, no message, no trust. Together with ``typed_data``
and ``envelope`` this is all that may import a crypto backend. Nothing but those two calls ``sign``: the hot key
signs tagged structures and never a digest that somebody else chose. Spec: SPEC.md §5.1.
"""

from functools import lru_cache
from typing import Final, final

import base58
from coincurve import PrivateKey, PublicKey
from sha3 import keccak_256  # type: ignore[import-untyped]  # a C extension without stubs

from protocol.errors import InvalidMessage
from protocol.units import Address, Digest, PeerId

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Number of points of secp256k1; a secret is 1 … order - 1, a low s is at most half of it."""
SIGNATURE_BYTES: Final = 65
"""r ‖ s ‖ v."""
_IDENTITY_HEAD: Final = bytes([0x00, 37, 0x08, 0x02, 0x12, 33])
"""Multihash "identity" of 37 bytes, holding the protobuf PublicKey{type: Secp256k1, data: 33 bytes}."""
_PEER_ID_CHARACTERS: Final = 53
"""Length of such a peer id in base58; "16Uiu2HA…"."""
_CACHED_PEERS: Final = 16_384
"""Remembered peer ids: a network of 10,000 nodes fits, and an attacker who floods it costs 20 us a look-up."""


def keccak256(data: bytes) -> Digest:
    """Hash as Ethereum does."""
    return Digest(keccak_256(data).digest())


@final
class NodeKey:
    """A secret key of a node. Never shown: its text form is its address."""

    __slots__ = ("_private", "address", "peer_id", "public_key")

    def __init__(self, secret: bytes) -> None:
        """Take over a secret of 32 bytes.

        Raises:
            ValueError: The secret has another length, or is zero or not below the curve's order.
        """
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
            raise ValueError("a node key is 32 bytes, not zero and below the order of secp256k1")
        self._private = PrivateKey(secret)
        self.public_key: Final = self._private.public_key.format(compressed=True)
        self.address: Final = _address_of(self._private.public_key)
        self.peer_id: Final = PeerId(base58.b58encode(_IDENTITY_HEAD + self.public_key).decode("ascii"))

    def __repr__(self) -> str:
        """Show the address and nothing of the secret."""
        return f"NodeKey(0x{self.address.hex()})"

    def sign(self, digest: Digest) -> bytes:
        """Sign a digest: r ‖ s ‖ v with low s and v of 27 or 28; the same digest always gives the same bytes.

        For ``typed_data`` and ``envelope`` only, which tag what they hash.
        """
        signature = self._private.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([27 + signature[64]])


def recover(digest: Digest, signature: bytes) -> Address:
    """Give the address whose key made this signature.

    Raises:
        ValueError: Wrong length, v not 27 or 28, r or s out of range, s high, or no such point.
    """
    if len(signature) != SIGNATURE_BYTES or signature[64] not in {27, 28}:
        raise ValueError("a signature is r, s and v of 27 or 28")
    if int.from_bytes(signature[32:64], "big") > CURVE_ORDER // 2:
        raise ValueError("s is high: the same signature could be written twice")
    plain = signature[:64] + bytes([signature[64] - 27])
    return _address_of(PublicKey.from_signature_and_message(plain, digest, hasher=None))


@lru_cache(maxsize=_CACHED_PEERS)
def address_of_peer_id(peer: PeerId) -> Address:
    """Give the address of the key that a peer id holds.

    Raises:
        InvalidMessage: ``identity.peer_id``: not the one text form of a secp256k1 identity.
    """
    try:
        data = base58.b58decode(peer) if len(peer) == _PEER_ID_CHARACTERS else b""
        key = PublicKey(data.removeprefix(_IDENTITY_HEAD)) if data.startswith(_IDENTITY_HEAD) else None
    except ValueError:  # text that is not base58 or not ASCII, and points off the curve
        key = None
    if key is None:
        raise InvalidMessage("identity.peer_id", "not a secp256k1 identity")
    return _address_of(key)


def _address_of(public_key: PublicKey) -> Address:
    """Give the Ethereum address of a public key."""
    return Address(keccak256(public_key.format(compressed=False)[1:])[-20:])
