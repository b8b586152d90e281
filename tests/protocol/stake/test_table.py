import hashlib

from hypothesis import given
from hypothesis import strategies as st

from protocol.stake.table import StakeRow, StakeTable
from protocol.units import Address, Role, StakingId, Wei
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, row, trio

rows = st.builds(
    StakeRow,
    st.integers(1, 2**64 - 1).map(StakingId),
    st.binary(min_size=20, max_size=20).map(Address),
    st.sampled_from(Role),
    st.integers(0, 2**256 - 1).map(Wei),
    st.booleans(),
)


@given(st.lists(rows, unique_by=lambda one: one.id, max_size=8), st.randoms(use_true_random=False))
def test_root__rows_in_any_order__is_the_same(some, random):
    shuffled = list(some)
    random.shuffle(shuffled)
    assert StakeTable.of(some).root == StakeTable.of(shuffled).root


@given(st.lists(rows, unique_by=lambda one: one.id, min_size=1, max_size=5), rows)
def test_root__one_row_changed__is_another(some, other):
    changed = [other, *(one for one in some[1:] if one.id != other.id)]
    same = sorted(changed, key=lambda one: one.id) == sorted(some, key=lambda one: one.id)
    assert (StakeTable.of(changed).root == StakeTable.of(some).root) == same


def test_root__one_row__is_the_tagged_hash_of_its_fields():
    one = coordinator(CAROL, 3)
    packed = (3).to_bytes(8, "big") + one.address + bytes([2, 1]) + one.stake.to_bytes(32, "big")
    assert StakeTable.of([one]).root == hashlib.sha256(b"cuckoo/1/table" + packed).digest()


def test_miners__coordinators_and_inactive__are_left_out():
    table = StakeTable.of([*trio(), row(DAVE, 4, active=False)])
    assert {miner.id for miner in table.miners} == {1, 2}
    assert [miner.address for miner in table.miners] == sorted((ALICE.address, BOB.address))


def test_lookups__by_id_and_address__find_every_row():
    table = StakeTable.of([*trio(), row(DAVE, 4, active=False)])
    assert all(table.by_id[one.id] is one and table.by_address[one.address] is one for one in table.rows)
