"""Checks a receipt as anyone can who holds it: app, miner, or a person with the file. Spec: SPEC.md §9.6."""

import hashlib

from protocol.crypto.typed_data import Domain, signer
from protocol.errors import InvalidMessage
from protocol.units import Address
from protocol.wire.messages import Receipt
from protocol.wire.statements import Statement


def verify_receipt(domain: Domain, receipt: Receipt, *, coordinator: Address, artifact: bytes | None) -> None:
    """Pass only a receipt whose statement and voucher the coordinator signed, for the same two parties.

    Args:
        domain: Chain and contract for which it must hold.
        receipt: The receipt.
        coordinator: Address of the coordinator's hot key, from the stake table.
        artifact: The picture's bytes, or None to leave them unchecked.

    Raises:
        InvalidMessage: ``receipt.signature``, ``receipt.voucher_signature``: another key, or none, signed it.
            ``receipt.mismatch``: statement and voucher name other parties, or the voucher promises less than this
            task is worth. ``receipt.artifact``: these are not the bytes that were accepted.
    """
    statement, voucher = receipt.statement, receipt.voucher
    _require_signer(domain, statement, receipt.signature, coordinator, "receipt.signature")
    _require_signer(domain, voucher, receipt.voucher_signature, coordinator, "receipt.voucher_signature")
    if (statement.coordinator, statement.miner) != (voucher.coordinator, voucher.miner):
        raise InvalidMessage("receipt.mismatch", "receipt and voucher name other parties")
    if not statement.price <= voucher.cumulative <= voucher.issued_total:
        raise InvalidMessage("receipt.mismatch", "the voucher promises less than the receipt")
    if artifact is not None and hashlib.sha256(artifact).digest() != statement.artifact:
        raise InvalidMessage("receipt.artifact", "other bytes")


def _require_signer(domain: Domain, statement: Statement, signature: bytes, expected: Address, rule: str) -> None:
    """Pass only a statement that the expected address signed."""
    try:
        found = signer(domain, statement, signature)
    except InvalidMessage as error:
        raise InvalidMessage(rule, str(error)) from None
    if found != expected:
        raise InvalidMessage(rule, f"signed by 0x{found.hex()}")
