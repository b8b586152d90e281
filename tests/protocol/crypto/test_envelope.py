import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.envelope import opened_by, seal
from protocol.crypto.keys import keccak256, recover
from protocol.errors import InvalidMessage
from protocol.units import Digest
from tests.support.networks import ALICE, NETWORK

OTHER = Digest(b"\2" * 32)


@given(st.binary(max_size=200))
def test_opened_by__any_sealed_body__is_the_sealer(body):
    assert opened_by(NETWORK, body, seal(ALICE, NETWORK, body)) == ALICE.address


def test_seal__body__signs_tag_network_and_hash():
    signature = seal(ALICE, NETWORK, b"body")
    signed = keccak256(b"cuckoo/1/envelope" + NETWORK + hashlib.sha256(b"body").digest())
    assert recover(signed, signature) == ALICE.address


@pytest.mark.parametrize(("network", "body"), [(OTHER, b"body"), (NETWORK, b"bodY"), (NETWORK, b"")])
def test_opened_by__another_network_or_body__is_another_address(network, body):
    assert opened_by(network, body, seal(ALICE, NETWORK, b"body")) != ALICE.address


@pytest.mark.parametrize("signature", [b"", bytes(65), b"\xff" * 65, bytes(64)])
def test_opened_by__malformed_signature__is_rejected(signature):
    with pytest.raises(InvalidMessage) as caught:
        opened_by(NETWORK, b"body", signature)
    assert caught.value.rule == "envelope.signature"
