"""Evidence as plain values that JSON holds, so that it is kept, shown and handed on, and read back as it was signed.

Bytes are ``0x…``, whole numbers are decimal texts, since amounts fit no double. Spec: SPEC.md §11.4.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from protocol.errors import InvalidMessage
from protocol.justice.evidence import MAX_RISES, PAIRS, Evidence, Kind, PairEvidence, Rise, Signed, Understated
from protocol.wire.statements import Statement, VoucherStatement

_KINDS: Final = {kind.KIND.label: kind for kind in PAIRS}
_MEMBER: Final = re.compile(r"(\w+) \w+")
_MOST_DIGITS: Final = 78
"""Of a number that fits 256 bits."""
SIGNATURE_BYTES: Final = 65
Plain = dict[str, Any]
"""What JSON holds."""


def to_plain(evidence: Evidence) -> Plain:
    """Write evidence as plain values: its kind, and all statements in the order in which the contract takes them."""
    return {"kind": evidence.KIND.label, "statements": [_written(signed) for signed in evidence.statements]}


def of_plain(plain: object) -> Evidence:
    """Read evidence back. Whether it proves anything is for ``fault`` and the signatures.

    Raises:
        InvalidMessage: ``evidence.form``: it is not what ``to_plain`` writes.
    """
    if not isinstance(plain, Mapping) or not isinstance(parts := plain.get("statements"), Sequence):
        raise InvalidMessage("evidence.form", "no object with a kind and a list of statements")
    label = plain.get("kind")
    if label == Kind.UNDERSTATED.label:
        return _understated(parts)
    kind = _KINDS.get(label) if isinstance(label, str) else None
    if kind is None:
        raise InvalidMessage("evidence.form", f"no kind of evidence is called {str(label)[:40]!r}")
    if len(parts) != 2:
        raise InvalidMessage("evidence.form", "not two statements")
    first, second = (_read(kind.STATEMENT, part) for part in parts)
    found: PairEvidence = kind(first, second)
    return found


def _understated(parts: Sequence[object]) -> Understated:
    if len(parts) % 2 or not 2 <= len(parts) <= 2 + 2 * MAX_RISES:
        raise InvalidMessage("evidence.form", "not two vouchers, and two of each miner that is named")
    early, late, *others = (_read(VoucherStatement, part) for part in parts)
    rises = tuple(Rise(before, after) for before, after in zip(others[::2], others[1::2], strict=True))
    return Understated(early, late, rises)


def _written(signed: Signed[Statement]) -> Plain:
    values = {name: getattr(signed.statement, name) for name in type(signed.statement).model_fields}
    return {
        "statement": {
            name: "0x" + value.hex() if isinstance(value, bytes) else str(value) for name, value in values.items()
        },
        "signature": "0x" + signed.signature.hex(),
    }


def _read(kind: "type[Any]", part: object) -> "Signed[Any]":  # Any: one of the structs, as the caller knows
    if not isinstance(part, Mapping) or not isinstance(given := part.get("statement"), Mapping):
        raise InvalidMessage("evidence.form", "no statement with a signature")
    types = _MEMBER.findall(kind.TYPE.partition("(")[2])
    values = {
        name: _bytes(given.get(name), name) if of.startswith("bytes") else _number(given.get(name), name)
        for of, name in zip(types, kind.model_fields, strict=True)
    }
    signature = _bytes(part.get("signature"), "signature")
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidMessage("evidence.form", f"signature: not {SIGNATURE_BYTES} bytes")
    try:
        return Signed(kind.model_validate(values), signature)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidMessage("evidence.form", f"{first['loc'][0]}: {first['msg']}") from None


def _bytes(value: object, name: str) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise InvalidMessage("evidence.form", f"{name}: no text that begins with 0x")
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        raise InvalidMessage("evidence.form", f"{name}: not hexadecimal") from None


def _number(value: object, name: str) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > _MOST_DIGITS:
        raise InvalidMessage("evidence.form", f"{name}: no whole number in digits, as a text")
    return int(value)
