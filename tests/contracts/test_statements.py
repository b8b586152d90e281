"""The statements module and ``protocol.crypto.typed_data`` agree on every struct that a contract reads."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import CURVE_ORDER, NodeKey
from protocol.crypto.typed_data import Domain, digest, sign
from protocol.units import Address
from protocol.wire.statements import (
    AwardStatement,
    CommitmentStatement,
    ReceiptStatement,
    Statement,
    VerdictStatement,
    VoucherStatement,
)
from tests.contracts.hostile import compiled
from tests.support.anvil import Anvil, Contract, anvil_process  # noqa: F401 a fixture
from tests.support.messages import largest, messages

FUNCTIONS: dict[type[Statement], str] = {
    AwardStatement: "award",
    CommitmentStatement: "commitment",
    ReceiptStatement: "receipt",
    VoucherStatement: "voucher",
    VerdictStatement: "verdict",
}
OTHER = Address(b"\x5a" * 20)
"""Stands for the Staking contract: the domain names it, and not the contract that reads."""
DOMAIN = Domain(31_337, OTHER)
KEY = NodeKey(b"\x07" * 32)
ZERO = "0x" + "00" * 20


@pytest.fixture(scope="session")
def harness(anvil_process: Anvil) -> Contract:  # noqa: F811 the fixture
    return anvil_process.deploy(compiled("StatementsOpen"), "0x" + OTHER.hex())


def on_chain(anvil: Anvil, harness: Contract, statement: Statement) -> bytes:
    fields = tuple(statement.__dict__[name] for name in type(statement).model_fields)
    return anvil.read(harness, FUNCTIONS[type(statement)], fields)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(FUNCTIONS)).flatmap(messages))
def test_digest__any_statement_that_a_contract_reads__is_the_protocols(
    anvil_process: Anvil,  # noqa: F811 the fixture
    harness: Contract,
    statement: Statement,
):
    assert on_chain(anvil_process, harness, statement) == digest(DOMAIN, statement)


@pytest.mark.parametrize("model", FUNCTIONS, ids=lambda model: model.__name__)
def test_digest__largest_values__is_the_protocols(anvil_process: Anvil, harness: Contract, model: type[Statement]):  # noqa: F811
    statement = largest(model)
    assert isinstance(statement, Statement)
    assert on_chain(anvil_process, harness, statement) == digest(DOMAIN, statement)
    assert on_chain(anvil_process, harness, statement) != digest(Domain(1, OTHER), statement)


def test_signer__signature_of_the_protocol__is_the_key(anvil_process: Anvil, harness: Contract):  # noqa: F811
    statement = largest(VerdictStatement)
    assert isinstance(statement, Statement)
    signature = sign(KEY, DOMAIN, statement)
    arguments = (digest(DOMAIN, statement), signature)
    assert anvil_process.read(harness, "signer", *arguments) == "0x" + KEY.address.hex()


def other_forms(signature: bytes) -> dict[str, bytes]:
    """Give the second ways to write a valid signature, and what is none."""
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    high = (CURVE_ORDER - s).to_bytes(32, "big")
    compact = (s | ((v - 27) << 255)).to_bytes(32, "big")
    return {
        "high s": r + high + bytes([55 - v]),
        "64 bytes of EIP-2098": r + compact,
        "v of 0 or 1": signature[:64] + bytes([v - 27]),
        "v of 29": signature[:64] + bytes([29]),
        "nothing": b"",
        "zeros": bytes(65),
        "zeros with a v": bytes(64) + b"\x1b",
        "r above the order": b"\xff" * 32 + signature[32:],
    }


@pytest.mark.parametrize("form", other_forms(bytes(64) + b"\x1b"))
def test_signer__any_other_form__is_nobody(anvil_process: Anvil, harness: Contract, form: str):  # noqa: F811
    statement = largest(VerdictStatement)
    assert isinstance(statement, Statement)
    signature = other_forms(sign(KEY, DOMAIN, statement))[form]
    assert anvil_process.read(harness, "signer", digest(DOMAIN, statement), signature) == ZERO
