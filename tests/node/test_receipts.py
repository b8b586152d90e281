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


def receipt(
    signer: NodeKey = ALICE, voucher_signer: NodeKey | None = None, *, voucher_miner: int = 2, cumulative: int = 10
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
    voucher = VoucherStatement(coordinator=1, miner=voucher_miner, cumulative=cumulative, sequence=1, issued_total=10)
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
        (receipt(), {"task": bytes(32)}, "it is the receipt of another task"),
        (receipt(), {"picture": b"another"}, "it is the receipt of another picture"),
        (receipt(voucher_miner=3), {}, "its voucher is between others"),
        (receipt(cumulative=9), {}, "its voucher promises less than the price"),
        (receipt(ALICE, MALLORY), {}, "receipt and voucher were signed by different keys"),
    ],
)
def test_check_receipt__one_thing_wrong__named(found, known, problem):
    assert problems_of(found, **known) == (problem,)


def test_check_receipt__signed_by_somebody_else__not_registered():
    (problem,) = problems_of(receipt(MALLORY))
    assert f"0x{MALLORY.address.hex()} signed it" in problem


def test_check_receipt__signed_for_another_chain__not_registered():
    (problem, *_) = problems_of(receipt(), domain=Domain(1, DOMAIN.contract))
    assert "different keys" in problem or "coordinator 1 is registered with" in problem


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
