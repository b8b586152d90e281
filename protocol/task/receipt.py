"""Checks a receipt as anyone can who holds it: app, miner, or a person with the file. Spec: SPEC.md §9.6."""

import hashlib
from collections.abc import Iterator
from typing import Final

from protocol.crypto.typed_data import Domain, signer
from protocol.errors import InvalidMessage
from protocol.units import Address
from protocol.wire.messages import Receipt
from protocol.wire.statements import Statement, VoucherStatement

MAX_PROMISE_WEI: Final = 2**128
"""Highest promise (wei) that the Settlement contract takes, far more than all CAI. One above it pays nobody."""


def check_redeemable(voucher: VoucherStatement) -> None:
    """Pass only a voucher that the Settlement contract would take, whatever it holds in escrow.

    Raises:
        InvalidMessage: ``voucher.unredeemable``: it promises one miner more than all, or more than can be paid.
    """
    if not voucher.cumulative <= voucher.issued_total <= MAX_PROMISE_WEI:
        raise InvalidMessage("voucher.unredeemable")


def receipt_problems(
    receipt: Receipt, *, domain: Domain | None, coordinator: Address | None, artifact: bytes | None
) -> Iterator[InvalidMessage]:
    """Give everything that speaks against a receipt, the signatures first; what is None is left unchecked.

    Args:
        receipt: The receipt.
        domain: Chain and contract for which it must hold; without it no signature can be checked.
        coordinator: Address of the coordinator's hot key; without it both signatures must only be of one key.
        artifact: The picture's bytes.

    Yields:
        One fault each, not raised. ``receipt.signature``, ``receipt.voucher_signature``: another key, or none, signed
        it. ``receipt.mismatch``: statement and voucher name other parties, or the voucher promises less than this
        task is worth, or more than it says was promised to all. ``receipt.artifact``: these are not the bytes that
        were accepted.
    """
    statement, voucher = receipt.statement, receipt.voucher
    if domain is not None:
        found, problem = _signed_by(domain, statement, receipt.signature, coordinator, "receipt.signature")
        if problem is not None:
            yield problem
        expected = coordinator if coordinator is not None else found
        _, problem = _signed_by(domain, voucher, receipt.voucher_signature, expected, "receipt.voucher_signature")
        if problem is not None:
            yield problem
    if (statement.coordinator, statement.miner) != (voucher.coordinator, voucher.miner):
        yield InvalidMessage("receipt.mismatch", "receipt and voucher name other parties")
    if voucher.cumulative < statement.price:
        yield InvalidMessage("receipt.mismatch", "the voucher promises less than the receipt")
    if voucher.issued_total < voucher.cumulative:
        yield InvalidMessage("receipt.mismatch", "the voucher promises more than was promised to all together")
    if artifact is not None and hashlib.sha256(artifact).digest() != statement.artifact:
        yield InvalidMessage("receipt.artifact", "it is for another picture than this one")


def _signed_by(
    domain: Domain, statement: Statement, signature: bytes, expected: Address | None, rule: str
) -> tuple[Address | None, InvalidMessage | None]:
    """Give who signed a statement, None where nobody did, and what is wrong with that."""
    try:
        found = signer(domain, statement, signature)
    except InvalidMessage as error:
        return None, InvalidMessage(rule, str(error))
    if expected is not None and found != expected:
        return found, InvalidMessage(rule, f"signed by 0x{found.hex()}, not by 0x{expected.hex()}")
    return found, None
