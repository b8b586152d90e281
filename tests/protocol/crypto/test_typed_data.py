import re
from typing import ClassVar

import pytest
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.typed_data import Domain, digest, sign, signer
from protocol.errors import InvalidMessage
from protocol.units import Address
from protocol.wire.fields import AddressField
from protocol.wire.statements import ClaimStatement, Statement
from tests.support.messages import STATEMENTS, largest, messages
from tests.support.networks import ALICE, BOB

DOMAIN = Domain(31337, Address(b"\x11" * 20))
CLAIM = ClaimStatement(task=b"t" * 32, attempt=0, coordinator=3, miner=1, offer=b"o" * 32, nonce=b"n" * 16)

domains = st.builds(Domain, st.integers(0, 2**256 - 1), st.binary(min_size=20, max_size=20).map(Address))
any_statement = st.sampled_from(STATEMENTS).flatmap(messages)


def reference(domain: Domain, statement: Statement):
    """The same through eth_account, from nothing but ``TYPE``."""
    name, members = re.fullmatch(r"(\w+)\((.*)\)", statement.TYPE).groups()
    types = [dict(zip(("type", "name"), member.split(" "), strict=True)) for member in members.split(",")]
    values = dict(zip((entry["name"] for entry in types), statement.__dict__.values(), strict=True))
    return encode_typed_data(
        {"name": "Cuckoo", "version": "1", "chainId": domain.chain_id, "verifyingContract": domain.contract},
        {name: types},
        values,
    )


@given(domains, any_statement)
def test_digest__any_statement__is_what_eth_account_says(domain, statement):
    assert digest(domain, statement) == _hash_eip191_message(reference(domain, statement))


@pytest.mark.parametrize("model", STATEMENTS, ids=lambda model: model.__name__)
def test_digest__largest_values__is_what_eth_account_says(model):
    statement = largest(model)
    assert digest(DOMAIN, statement) == _hash_eip191_message(reference(DOMAIN, statement))


@given(any_statement)
def test_sign__any_statement__recovers_here_and_in_eth_account(statement):
    signature = sign(ALICE, DOMAIN, statement)
    assert signer(DOMAIN, statement, signature) == ALICE.address
    assert Account.recover_message(reference(DOMAIN, statement), signature=signature).lower() == (
        "0x" + ALICE.address.hex()
    )


@pytest.mark.parametrize(
    "domain", [Domain(1, DOMAIN.contract), Domain(31337, Address(b"\x12" * 20))], ids=["chain", "contract"]
)
def test_signer__of_another_domain__is_another_address(domain):
    assert signer(domain, CLAIM, sign(ALICE, DOMAIN, CLAIM)) != ALICE.address


@given(st.sampled_from(tuple(ClaimStatement.model_fields)))
def test_signer__of_another_statement__is_another_address(name):
    changed = CLAIM.model_copy(update={name: getattr(largest(ClaimStatement), name)})
    assert signer(DOMAIN, changed, sign(ALICE, DOMAIN, CLAIM)) != ALICE.address


def test_digest__two_statements_with_the_same_values__differ():
    class Twin(ClaimStatement):
        TYPE = ClaimStatement.TYPE.replace("Claim", "Twin")

    assert digest(DOMAIN, Twin(**CLAIM.model_dump())) != digest(DOMAIN, CLAIM)


@pytest.mark.parametrize("signature", [b"", bytes(65), b"\1" * 64, b"\1" * 66, b"\xff" * 65, bytes(64) + b"\x1b"])
def test_signer__malformed_signature__is_rejected(signature):
    with pytest.raises(InvalidMessage) as caught:
        signer(DOMAIN, CLAIM, signature)
    assert caught.value.rule == "statement.signature"


def test_signer__second_form_of_a_signature__is_rejected():
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    signature = sign(BOB, DOMAIN, CLAIM)
    high = (order - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    with pytest.raises(InvalidMessage, match="s is high"):
        signer(DOMAIN, CLAIM, signature[:32] + high + bytes([55 - signature[64]]))


def test_digest__type_and_fields_differ__is_our_fault():
    class Wrong(Statement):
        TYPE: ClassVar[str] = "Wrong(address owner,uint8 role)"
        owner: AddressField

    class Unknown(Statement):
        TYPE: ClassVar[str] = "Unknown(bool owner)"
        owner: bool

    with pytest.raises(TypeError, match="TYPE and fields differ"):
        digest(DOMAIN, Wrong(owner=bytes(20)))
    with pytest.raises(TypeError, match="no packer for bool"):
        digest(DOMAIN, Unknown(owner=True))
