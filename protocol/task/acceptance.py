"""An app's signed word that it takes a sealed picture, which nobody but itself has seen. Spec: SPEC.md §9.10."""

from typing import Final

from protocol.crypto.envelope import opened_by, seal
from protocol.crypto.keys import NodeKey
from protocol.errors import InvalidMessage
from protocol.units import Address, Digest

_TAG: Final = b"cuckoo/1/acceptance"


def sign_acceptance(key: NodeKey, network: Digest, award: Digest, artifact: Digest) -> bytes:
    """Sign that the picture with this SHA-256, sealed as it came, is taken for this award (§5.3)."""
    return seal(key, network, _TAG + award + artifact)


def check_acceptance(app: Address, network: Digest, award: Digest, artifact: Digest, signature: bytes) -> None:
    """Pass only the word of this app on this picture of this award.

    Raises:
        InvalidMessage: ``acceptance.signature``.
    """
    try:
        signed_by = opened_by(network, _TAG + award + artifact, signature)
    except InvalidMessage:
        signed_by = None
    if signed_by != app:
        raise InvalidMessage("acceptance.signature")
