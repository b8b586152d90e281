import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidMessage
from protocol.stake.field import Field
from protocol.stake.table import StakeTable
from protocol.wire.messages import Bulletin
from tests.support.networks import ALICE, BOB, CAROL, DAVE, row, trio

codes = st.lists(st.sampled_from((0, 1, 3)), max_size=40).map(bytes)


@given(codes)
def test_from_bytes__what_to_bytes_gave__is_the_same_field(drawn):
    field = Field(drawn)
    assert Field.from_bytes(field.to_bytes(), len(drawn)) == field


@given(codes)
def test_is_member__any_field__follows_its_codes(drawn):
    field = Field(drawn)
    assert [field.is_member(index) for index in range(len(drawn))] == [code > 0 for code in drawn]
    assert [field.is_warm(index) for index in range(len(drawn))] == [code == 3 for code in drawn]
    assert field.members == sum(code > 0 for code in drawn)


@given(st.binary(max_size=40), st.integers(0, 160))
def test_from_bytes__any_bytes__have_one_form_or_are_rejected(data, count):
    try:
        field = Field.from_bytes(data, count)
    except InvalidMessage as error:
        assert error.rule in {"field.length", "field.padding", "field.warm"}  # noqa: PT017 - the other way is the point
    else:
        assert field.to_bytes() == data


def test_to_bytes__five_miners__stand_from_the_lowest_bits():
    assert Field(bytes([1, 0, 3, 0, 1])).to_bytes() == bytes([0b00_11_00_01, 0b01])


def test_of__miners_in_address_order__takes_members_and_their_warmth():
    rows = [row(key, identity) for identity, key in enumerate((ALICE, BOB, CAROL, DAVE), start=1)]
    miners = StakeTable.of(rows).miners
    ids = [miner.id for miner in miners]
    assert [miner.address for miner in miners] == sorted(miner.address for miner in rows)
    field = Field.of(miners, members={ids[0], ids[2]}, warm={ids[2], ids[3]})
    assert field.codes == bytes([1, 0, 3, 0])


def test_of__nobody_or_unknown__is_empty():
    miners = StakeTable.of(trio()).miners
    assert Field.of(miners, members=frozenset({99}), warm=frozenset({1})).codes == bytes(2)
    assert Field.of((), members=frozenset(), warm=frozenset()).to_bytes() == b""


@given(codes)
def test_digest__any_field__is_the_hash_of_its_bytes(drawn):
    assert Field(drawn).digest == hashlib.sha256(Field(drawn).to_bytes()).digest()


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0"])
def test_from_bytes__other_length__is_rejected(data):
    with pytest.raises(InvalidMessage, match=r"field\.length"):
        Field.from_bytes(data, 5)


@pytest.mark.parametrize("last", [0b100, 0b1100, 0b10000000])
def test_from_bytes__bits_after_the_last_miner__is_rejected(last):
    with pytest.raises(InvalidMessage, match=r"field\.padding"):
        Field.from_bytes(bytes([0, last]), 5)


def test_from_bytes__warm_outside_the_field__is_rejected():
    with pytest.raises(InvalidMessage, match=r"field\.warm"):
        Field.from_bytes(bytes([0b10]), 1)


def test_to_bytes__ten_thousand_miners__fit_into_a_bulletin():
    limit = next(entry.max_length for entry in Bulletin.model_fields["field"].metadata)
    assert len(Field(b"\3" * 10_000).to_bytes()) == limit
