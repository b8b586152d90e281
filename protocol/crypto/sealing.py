"""Sealing: what an app tells the winner of a task alone, and what the winner gives back.

X25519, HKDF-SHA256 and ChaCha20-Poly1305. Every key here seals one thing once, so the nonce is always zero: that of a
body is of a content key that is drawn for one order, that of a sealed key of an ephemeral secret, that of a picture of
32 bytes that are drawn for it. Whoever calls brings what is drawn. Spec: SPEC.md §9.10.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import InvalidMessage
from protocol.units import Digest
from protocol.wire.fields import SEALED_KEY_BYTES

KEY_BYTES: Final = 32
"""Length of every key, and of whatever is drawn for one (bytes)."""
BODY_BLOCK: Final = 256
"""Bodies are filled up to a multiple of this (bytes), so that the length of a prompt shows in such steps only."""
_NONCE: Final = bytes(12)
_BODY: Final = b"cuckoo/1/sealed/body"
_KEY: Final = b"cuckoo/1/sealed/key"
_PICTURE: Final = b"cuckoo/1/sealed/picture"
_END: Final = b"\x80"


def sealing_key_of(secret: bytes) -> bytes:
    """Give the public sealing key of a secret (32 bytes)."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def seal_body(content_key: bytes, body: bytes) -> bytes:
    """Seal the body of an order, filled up; once for a content key."""
    filled = body + _END
    filled += bytes(-len(filled) % BODY_BLOCK)
    return ChaCha20Poly1305(_derived(content_key, b"", _BODY)).encrypt(_NONCE, filled, None)


def open_body(content_key: bytes, sealed: bytes) -> bytes:
    """Give the body of an order.

    Raises:
        InvalidMessage: ``sealed.body``: it was not sealed so under this key.
    """
    filled = _opened(_derived(content_key, b"", _BODY), sealed, None, "sealed.body").rstrip(b"\0")
    if not filled.endswith(_END):
        raise InvalidMessage("sealed.body", "not filled up")
    return filled[: -len(_END)]


def seal_key(content_key: bytes, to: bytes, award: Digest, ephemeral: bytes) -> bytes:
    """Seal the content key of an order to the winner of one award.

    Args:
        content_key: What opens the order.
        to: The winner's sealing key.
        award: Digest of the award, for which alone it is sealed.
        ephemeral: 32 bytes that are drawn for this call.

    Raises:
        InvalidMessage: ``sealed.recipient``: this is no key to which anything can be sealed.
    """
    secret = X25519PrivateKey.from_private_bytes(ephemeral)
    public = secret.public_key().public_bytes_raw()
    key = _agreed(secret, to, public + to, award, "sealed.recipient")
    return public + ChaCha20Poly1305(key).encrypt(_NONCE, content_key, award)


def open_key(sealed: bytes, secret: bytes, award: Digest) -> bytes:
    """Give the content key that was sealed to the key of ``secret`` for this award.

    Raises:
        InvalidMessage: ``sealed.key``: it was sealed to another, for another award, or not at all.
    """
    if len(sealed) != SEALED_KEY_BYTES:
        raise InvalidMessage("sealed.key", f"{len(sealed)} bytes")
    own = X25519PrivateKey.from_private_bytes(secret)
    public = sealed[:KEY_BYTES]
    key = _agreed(own, public, public + own.public_key().public_bytes_raw(), award, "sealed.key")
    return _opened(key, sealed[KEY_BYTES:], award, "sealed.key")


def seal_picture(content_key: bytes, award: Digest, picture: bytes, salt: bytes) -> bytes:
    """Seal what was drawn for one award; ``salt`` is 32 bytes that are drawn for this call."""
    key = _derived(content_key, salt, _PICTURE + award)
    return salt + ChaCha20Poly1305(key).encrypt(_NONCE, picture, award)


def open_picture(content_key: bytes, award: Digest, sealed: bytes) -> bytes:
    """Give what was drawn for an award.

    Raises:
        InvalidMessage: ``sealed.picture``: it was not sealed so under this key, for this award.
    """
    key = _derived(content_key, sealed[:KEY_BYTES], _PICTURE + award)
    return _opened(key, sealed[KEY_BYTES:], award, "sealed.picture")


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(key)


def _agreed(secret: X25519PrivateKey, public: bytes, both: bytes, award: Digest, rule: str) -> bytes:
    """Derive the key that two agree on for an award; ``both`` are the public keys, the drawn one first."""
    try:
        shared = secret.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # a point of small order, with which everybody agrees on the same
        raise InvalidMessage(rule, "no such key") from None
    return _derived(shared, both, _KEY + award)


def _opened(key: bytes, sealed: bytes, bound: bytes | None, rule: str) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed, bound)
    except (InvalidTag, ValueError):  # ValueError where it is shorter than a tag
        raise InvalidMessage(rule) from None
