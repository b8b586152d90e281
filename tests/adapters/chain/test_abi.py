"""What contracts read, return and refuse with."""

import pytest

from contracts.bindings import load
from node.adapters.chain.abi import (
    MAX_REASON_CHARACTERS,
    BadCall,
    artifact_of,
    call_data,
    creation_data,
    is_revert,
    reason_in,
    reason_of,
    returned,
)
from node.adapters.chain.answers import CallRefused
from protocol.errors import Unavailable

NO = bytes.fromhex("08c379a0") + (32).to_bytes(32) + (2).to_bytes(32) + b"no".ljust(32, b"\0")
LONG = bytes.fromhex("08c379a0") + (32).to_bytes(32) + (4096).to_bytes(32) + b"x" * 4096
ALICE = b"\xaa" * 20


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the contract refuses without a reason"),
        (b"\x01\x02\x03\x04", "the contract refuses without a reason"),
        (bytes.fromhex("08c379a0"), "the contract refuses, and its reason cannot be read"),
        (
            bytes.fromhex("08c379a0") + (32).to_bytes(32) + (1).to_bytes(32) + b"\xff" * 32,
            "the contract refuses, and its reason cannot be read",
        ),
        (NO, "no"),
        (LONG, "x" * MAX_REASON_CHARACTERS),
    ],
)
def test_reason_in__any_bytes__is_a_sentence(data, reason):
    assert reason_in(data) == reason


@pytest.mark.parametrize(
    ("message", "data", "reason"),
    [
        ("execution reverted: yes", "0x" + NO.hex(), "no"),
        ("execution reverted: yes", {"data": "0x" + NO.hex()}, "no"),
        ("execution reverted: yes", "0x08c379a0z", "yes"),
        ("VM: execution reverted: yes", None, "yes"),
        ("execution reverted", None, "execution reverted"),
        ("insufficient funds", None, "insufficient funds"),
    ],
)
def test_reason_of__what_nodes_pass_on__is_the_contracts_sentence_if_there_is_one(message, data, reason):
    assert reason_of(CallRefused("eth_call", 3, message, data)) == reason


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [(3, "", True), (-32000, "VM Exception: Revert", True), (-32000, "insufficient funds", False)],
)
def test_is_revert__contract_or_node__is_told(code, message, expected):
    assert is_revert(CallRefused("eth_call", code, message)) is expected


def test_call_data__address_as_bytes_or_text__is_the_same_word():
    cai = load("CAI")
    text = call_data(cai, "transfer", ("0x" + ALICE.hex(), 5))
    assert text == call_data(cai, "transfer", (ALICE, 5))
    assert text.hex() == "a9059cbb" + ALICE.hex().rjust(64, "0") + f"{5:064x}"


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        ("fly", (), "CAI has no function fly with 0 arguments"),
        ("transfer", (ALICE,), "CAI has no function transfer with 1 arguments"),
        ("transfer", (ALICE, -1), "CAI.transfer: "),
        ("transfer", (b"short", 1), "CAI.transfer: "),
        ("transfer", (ALICE, "much"), "CAI.transfer: "),
    ],
)
def test_call_data__what_does_not_fit__is_a_bad_call(function, arguments, text):
    with pytest.raises(BadCall, match=text):
        call_data(load("CAI"), function, arguments)


def test_artifact_of__no_contract_of_the_set__is_a_bad_call():
    assert artifact_of("CAI") is load("CAI")
    with pytest.raises(BadCall, match="'Casino'"):
        artifact_of("Casino")


def test_creation_data__arguments__follow_the_code_or_do_not_fit():
    artifact = load("CAI")
    assert creation_data(artifact, (ALICE,)) == artifact.bytecode + ALICE.rjust(32, b"\0")
    with pytest.raises(BadCall, match=r"^CAI: "):
        creation_data(artifact, ())


def test_returned__value_or_something_else__is_decoded_or_unavailable_by_name():
    assert returned(load("CAI"), "0x12", "decimals", 0, (18).to_bytes(32)) == (18,)
    with pytest.raises(Unavailable, match="0x12 does not answer as a CAI contract does"):
        returned(load("CAI"), "0x12", "decimals", 0, b"")
