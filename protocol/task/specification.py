"""The digest that binds a task's work without showing it, and a sealed one that is open. Spec: SPEC.md §9.3, §9.10."""

import hashlib

from protocol.units import Digest
from protocol.wire.sealed_messages import SealedBody
from protocol.wire.specification import SECOND_VERSION_FIELDS, THIRD_VERSION_FIELDS, TaskSpecification


def specification_digest(encoded: bytes, salt: bytes) -> Digest:
    """Hash an encoded ``TaskSpecification`` with the salt (16 bytes) of its task.

    The salt keeps a prompt from being guessed out of a published award or receipt.
    """
    return Digest(hashlib.sha256(b"cuckoo/1/specification" + salt + encoded).digest())


def open_specification(sealed: TaskSpecification, body: SealedBody) -> TaskSpecification:
    """Put a sealed specification together with its body: what the same order says that is not sealed."""
    fields = sealed.model_dump() | body.model_dump(exclude={"kind", "version"})
    is_first = sealed.output == "png" and not body.embed_prompt
    left_out = THIRD_VERSION_FIELDS | SECOND_VERSION_FIELDS if is_first else THIRD_VERSION_FIELDS
    plain = {name: value for name, value in fields.items() if name not in left_out}
    return TaskSpecification.model_validate(plain | {"version": 1 if is_first else 2})
