"""The digest that binds a task's work without showing it. Spec: SPEC.md §9.3."""

import hashlib

from protocol.units import Digest


def specification_digest(encoded: bytes, salt: bytes) -> Digest:
    """Hash an encoded ``TaskSpecification`` with the salt (16 bytes) of its task.

    The salt keeps a prompt from being guessed out of a published award or receipt.
    """
    return Digest(hashlib.sha256(b"cuckoo/1/specification" + salt + encoded).digest())
