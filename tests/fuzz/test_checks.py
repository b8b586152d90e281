"""The other readers of remote bytes: a value or their named error, and never anything else."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.envelope import opened_by
from protocol.crypto.keys import address_of_peer_id
from protocol.crypto.typed_data import Domain, signer
from protocol.errors import InvalidMessage
from protocol.stake.field import Field
from protocol.task.artifact import check_png
from protocol.units import Address, PeerId
from protocol.wire.statements import VoucherStatement
from tests.support.networks import NETWORK

PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
VOUCHER = VoucherStatement(coordinator=3, miner=1, cumulative=5, boot=1, sequence=1, issued_total=5)


@settings(max_examples=300)
@given(st.sampled_from((b"", PNG_HEAD)), st.binary(max_size=200), st.integers(0, 5000), st.integers(0, 5000))
def test_check_png__any_bytes__pass_or_are_rejected(head, data, width, height):
    with contextlib.suppress(InvalidMessage):
        check_png(head + data, width, height)


@settings(max_examples=300)
@given(st.text(max_size=70))
def test_address_of_peer_id__any_text__is_an_address_or_rejected(text):
    with contextlib.suppress(InvalidMessage):
        assert len(address_of_peer_id(PeerId(text))) == 20


@given(st.binary(max_size=70))
def test_signer__any_signature__is_an_address_or_rejected(signature):
    with contextlib.suppress(InvalidMessage):
        assert len(signer(Domain(1, Address(bytes(20))), VOUCHER, signature)) == 20
    with contextlib.suppress(InvalidMessage):
        assert len(opened_by(NETWORK, signature, signature)) == 20


@given(st.binary(min_size=65, max_size=65))
def test_signer__any_65_bytes__is_an_address_or_rejected(signature):
    with contextlib.suppress(InvalidMessage):
        assert len(signer(Domain(1, Address(bytes(20))), VOUCHER, signature)) == 20


@given(st.binary(max_size=2600), st.integers(0, 11_000))
def test_field__any_bytes__are_a_field_or_rejected(data, count):
    with contextlib.suppress(InvalidMessage):
        assert len(Field.from_bytes(data, count).codes) == count
