"""A receipt is believed only when it speaks of this task and picture and the registered coordinator signed it."""

import base64
import hashlib

import pytest

from node.receipts import check_receipt, decode_receipt
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from protocol.errors import ConfigError
from protocol.units import Address
from protocol.wire.codec import encode
from protocol.wire.messages import Cancel, Receipt
from protocol.wire.statements import ReceiptStatement, VoucherStatement

ALICE, MALLORY = NodeKey(bytes([1]) * 32), NodeKey(bytes([2]) * 32)
DOMAIN = Domain(31337, Address(bytes([9]) * 20))
TASK = bytes([7]) * 32
PICTURE = b"a picture"
BY_MALLORY = f"0x{MALLORY.address.hex()}, not by 0x{ALICE.address.hex()}"


def receipt(
    signer: NodeKey = ALICE,
    voucher_signer: NodeKey | None = None,
    *,
    voucher_miner: int = 2,
    cumulative: int = 10,
    issued_total: int = 10,
) -> Receipt:
    statement = ReceiptStatement(
        commitment=bytes(32),
        task=TASK,
        attempt=0,
        coordinator=1,
        miner=2,
        artifact=hashlib.sha256(PICTURE).digest(),
        price=10,
        accepted=1,
    )
    voucher = VoucherStatement(
        coordinator=1, miner=voucher_miner, cumulative=cumulative, boot=1, sequence=1, issued_total=issued_total
    )
    return Receipt(
        statement=statement,
        signature=sign(signer, DOMAIN, statement),
        voucher=voucher,
        voucher_signature=sign(voucher_signer or signer, DOMAIN, voucher),
    )


def problems_of(found: Receipt, **known) -> tuple[str, ...]:
    everything = {"task": TASK, "picture": PICTURE, "domain": DOMAIN, "registered_key": ALICE.address}
    return check_receipt(found, **(everything | known)).problems


def test_check_receipt__all_agrees__believed():
    findings = check_receipt(receipt(), task=TASK, picture=PICTURE, domain=DOMAIN, registered_key=ALICE.address)
    assert findings.problems == ()
    assert findings.signed_by == ALICE.address
    assert findings.signer_is_registered is True
    assert len(findings.lines()) == 3


def test_check_receipt__chain_unknown__says_that_no_signature_was_checked():
    findings = check_receipt(receipt(), task=TASK, picture=PICTURE)
    assert findings.problems == ()
    assert findings.signed_by is None
    assert findings.signer_is_registered is None


@pytest.mark.parametrize(
    ("found", "known", "problem"),
    [
        (receipt(), {"task": bytes(32)}, "receipt.task: it is the receipt of another task"),
        (receipt(), {"picture": b"another"}, "receipt.artifact: it is for another picture than this one"),
        (receipt(voucher_miner=3), {}, "receipt.mismatch: receipt and voucher name other parties"),
        (receipt(cumulative=9), {}, "receipt.mismatch: the voucher promises less than the receipt"),
        (receipt(issued_total=9), {}, "receipt.mismatch: the voucher promises more than was promised to all together"),
        (receipt(ALICE, MALLORY), {}, f"receipt.voucher_signature: signed by {BY_MALLORY}"),
        (receipt(ALICE, MALLORY), {"registered_key": None}, f"receipt.voucher_signature: signed by {BY_MALLORY}"),
    ],
)
def test_check_receipt__one_thing_wrong__named_as_the_protocol_does(found, known, problem):
    assert problems_of(found, **known) == (problem,)


def test_check_receipt__without_the_chain__the_voucher_is_still_compared():
    findings = check_receipt(receipt(cumulative=1000, issued_total=0))
    assert [problem.partition(":")[0] for problem in findings.problems] == ["receipt.mismatch"]


def test_check_receipt__several_things_wrong__all_named():
    found = receipt(MALLORY, voucher_miner=3, cumulative=9)
    problems = problems_of(found, task=bytes(32), picture=b"another")
    assert [problem.partition(":")[0] for problem in problems] == [
        "receipt.signature",
        "receipt.voucher_signature",
        "receipt.mismatch",
        "receipt.mismatch",
        "receipt.artifact",
        "receipt.task",
    ]


def test_check_receipt__signed_by_somebody_else__not_registered():
    findings = check_receipt(receipt(MALLORY), domain=DOMAIN, registered_key=ALICE.address)
    assert findings.problems[0] == f"receipt.signature: signed by {BY_MALLORY}"
    assert findings.signed_by == MALLORY.address
    assert findings.signer_is_registered is False


def test_check_receipt__signed_for_another_chain__not_registered():
    rules = {problem.partition(":")[0] for problem in problems_of(receipt(), domain=Domain(1, DOMAIN.contract))}
    assert rules == {"receipt.signature", "receipt.voucher_signature"}


def test_check_receipt__no_signature_at_all__signed_by_nobody():
    findings = check_receipt(receipt().model_copy(update={"signature": bytes(65)}), domain=DOMAIN)
    assert findings.problems[0].startswith("receipt.signature: ")
    assert findings.signed_by is None


def test_decode_receipt__as_the_api_gives_it__same_receipt():
    assert decode_receipt({"encoded": base64.b64encode(encode(receipt())).decode()}) == receipt()


def test_decode_receipt__readable_field_that_was_not_signed__is_named():
    signed = receipt()
    view = {"encoded": base64.b64encode(encode(signed)).decode(), "statement": {"price": str(signed.statement.price)}}
    assert decode_receipt(view) == signed
    view["statement"] = {"price": str(signed.statement.price + 1)}
    with pytest.raises(ConfigError, match=r"statement\.price"):
        decode_receipt(view)


@pytest.mark.parametrize(
    "encoded", [None, 3, "", "!", "AAAA", base64.b64encode(encode(Cancel(task=TASK, attempt=0, reason="x"))).decode()]
)
def test_decode_receipt__something_else__one_line(encoded):
    with pytest.raises(ConfigError, match=r"^receipt: [^\n]*$"):
        decode_receipt({"encoded": encoded})
