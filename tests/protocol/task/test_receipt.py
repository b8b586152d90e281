import hashlib

import pytest

from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from protocol.task.receipt import receipt_problems
from protocol.units import Address
from protocol.wire.messages import Receipt
from protocol.wire.statements import ReceiptStatement, VoucherStatement
from tests.support.networks import ALICE, CAROL

DOMAIN = Domain(31337, Address(b"\x11" * 20))
PICTURE = b"the bytes of a picture"


STATEMENT = ReceiptStatement(
    commitment=b"c" * 32,
    task=b"t" * 32,
    attempt=0,
    coordinator=3,
    miner=1,
    artifact=hashlib.sha256(PICTURE).digest(),
    price=700,
    accepted=1_700_000_000_000,
)
VOUCHER = VoucherStatement(coordinator=3, miner=1, cumulative=700, boot=1, sequence=1, issued_total=900)


def receipt(
    statement: ReceiptStatement = STATEMENT,
    voucher: VoucherStatement = VOUCHER,
    *,
    key: NodeKey = CAROL,
    voucher_key: NodeKey = CAROL,
    domain: Domain = DOMAIN,
) -> Receipt:
    return Receipt(
        statement=statement,
        signature=sign(key, domain, statement),
        voucher=voucher,
        voucher_signature=sign(voucher_key, domain, voucher),
    )


def rules_of(made: Receipt, artifact: bytes | None = None) -> list[str]:
    found = receipt_problems(made, domain=DOMAIN, coordinator=CAROL.address, artifact=artifact)
    return [problem.rule for problem in found]


def rule_of(made: Receipt, artifact: bytes | None = None) -> str:
    return rules_of(made, artifact)[0]


@pytest.mark.parametrize("artifact", [None, PICTURE])
def test_receipt_problems__signed_by_the_coordinator__passes(artifact):
    assert rules_of(receipt(), artifact) == []


def test_receipt_problems__signed_by_another__is_rejected():
    assert rule_of(receipt(key=ALICE)) == "receipt.signature"
    assert rule_of(receipt(voucher_key=ALICE)) == "receipt.voucher_signature"


def test_receipt_problems__of_another_chain__is_rejected():
    assert rule_of(receipt(domain=Domain(1, DOMAIN.contract))) == "receipt.signature"


@pytest.mark.parametrize("name", ["signature", "voucher_signature"])
def test_receipt_problems__malformed_signature__is_rejected(name):
    assert rule_of(receipt().model_copy(update={name: bytes(65)})) == f"receipt.{name}"


@pytest.mark.parametrize(
    "change", [{"miner": 2}, {"coordinator": 4}, {"cumulative": 699}, {"issued_total": 699}], ids=str
)
def test_receipt_problems__voucher_that_does_not_fit__is_rejected(change):
    assert rule_of(receipt(voucher=VOUCHER.model_copy(update=change))) == "receipt.mismatch"


def test_receipt_problems__other_bytes__is_rejected():
    assert rule_of(receipt(), PICTURE + b"!") == "receipt.artifact"


def test_receipt_problems__everything_wrong__all_in_order():
    forged = receipt(
        voucher=VOUCHER.model_copy(update={"miner": 2, "cumulative": 699, "issued_total": 0}),
        key=ALICE,
        voucher_key=ALICE,
    )
    assert rules_of(forged, b"other") == [
        "receipt.signature",
        "receipt.voucher_signature",
        *["receipt.mismatch"] * 3,
        "receipt.artifact",
    ]


def test_receipt_problems__nothing_known__only_the_voucher_is_compared():
    unsigned = receipt(key=ALICE, voucher_key=CAROL)
    assert list(receipt_problems(unsigned, domain=None, coordinator=None, artifact=None)) == []


def test_receipt_problems__key_not_known__both_signatures_must_be_of_one_key():
    rules = [
        problem.rule for problem in receipt_problems(receipt(key=ALICE), domain=DOMAIN, coordinator=None, artifact=None)
    ]
    assert rules == ["receipt.voucher_signature"]
