"""StakeHistory against a plain list, and when a cutoff has passed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.adapters.chain.tables import StakeHistory, has_passed
from protocol.stake.table import StakeRow, StakeTable
from protocol.units import Address, BlockNumber, Role, StakingId, UnixMillis, Wei


def row(node_id: int, stake: int) -> StakeRow:
    return StakeRow(StakingId(node_id), Address(bytes([node_id]) * 20), Role.MINER, Wei(stake), active=True)


def test_table_at__before_at_and_after_a_change():
    history = StakeHistory()
    history.apply(BlockNumber(5), row(1, 10))
    history.apply(BlockNumber(7), row(1, 20))
    stakes = [[r.stake for r in history.table_at(BlockNumber(number)).rows] for number in (4, 5, 6, 7, 8)]
    assert stakes == [[], [10], [10], [20], [20]]


def test_table_at__two_changes_in_one_block__gives_the_last():
    history = StakeHistory()
    history.apply(BlockNumber(5), row(1, 10))
    history.apply(BlockNumber(5), row(1, 20))
    assert history.table_at(BlockNumber(5)).rows == (row(1, 20),)


def test_roll_back__forgets_what_came_after_and_takes_the_other_fork():
    history = StakeHistory()
    history.apply(BlockNumber(5), row(1, 10))
    history.apply(BlockNumber(6), row(2, 10))
    history.roll_back(BlockNumber(5))
    history.apply(BlockNumber(6), row(3, 10))
    assert history.table_at(BlockNumber(9)) == StakeTable.of([row(1, 10), row(3, 10)])


def test_settle__past_is_given_up_and_what_it_left_stays():
    history = StakeHistory()
    history.apply(BlockNumber(5), row(1, 10))
    history.apply(BlockNumber(7), row(2, 10))
    history.settle(BlockNumber(6))
    assert history.table_at(BlockNumber(6)).rows == (row(1, 10),)
    with pytest.raises(ValueError, match="before the settled"):
        history.table_at(BlockNumber(5))
    with pytest.raises(ValueError, match="before the settled"):
        history.roll_back(BlockNumber(5))
    with pytest.raises(ValueError, match="not after"):
        history.apply(BlockNumber(6), row(3, 1))


def test_apply__older_than_the_last_change__is_our_own_fault():
    history = StakeHistory()
    history.apply(BlockNumber(5), row(1, 10))
    with pytest.raises(ValueError, match="not after"):
        history.apply(BlockNumber(4), row(1, 10))


STEP = st.one_of(
    st.tuples(st.just("apply"), st.integers(0, 3), st.integers(1, 3), st.integers(0, 9)),
    st.tuples(st.just("roll_back"), st.integers(0, 6)),
    st.tuples(st.just("settle"), st.integers(0, 6)),
)


@given(st.lists(STEP, max_size=30))
def test_history__any_sequence__equals_a_replay_of_what_is_canonical(steps: list[tuple]):
    history, canonical, block, settled = StakeHistory(), [], 0, -1
    for name, *arguments in steps:
        if name == "apply":
            gap, node_id, stake = arguments
            block = max(block + gap, settled + 1)
            history.apply(BlockNumber(block), row(node_id, stake))
            canonical.append((block, row(node_id, stake)))
        elif name == "roll_back":
            block = max(block - arguments[0], settled, 0)
            history.roll_back(BlockNumber(block))
            canonical = [change for change in canonical if change[0] <= block]
        else:
            settled = max(settled, block - arguments[0])
            history.settle(BlockNumber(settled))
    for number in range(max(settled, 0), block + 2):
        rows = {r.id: r for changed, r in canonical if changed <= number}
        assert history.table_at(BlockNumber(number)) == StakeTable.of(rows.values())


@pytest.mark.parametrize(
    ("head", "now", "passed"),
    [(1000, 0, True), (999, 1500, False), (999, 1501, True), (999, 999, False), (2000, 2000, True)],
)
def test_has_passed__by_chain_time_or_by_a_quiet_chain(head: int, now: int, passed: bool):
    moments = {"head": UnixMillis(head), "now": UnixMillis(now)}
    assert has_passed(UnixMillis(1000), **moments, quiet_ms=500) is passed
