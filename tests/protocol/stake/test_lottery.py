import hashlib
from itertools import permutations
from math import log2, sqrt
from time import process_time

import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from protocol.stake.field import Field
from protocol.stake.lottery import (
    LAST_OUTSIDE,
    award_at,
    clock,
    ignores_warmth,
    last_slot_ms,
    order,
    outside_place,
    place_behind,
    slot_ms,
    task_id,
    ticket,
)
from protocol.stake.table import StakeRow, StakeTable
from protocol.units import CAI, Address, Digest, Epoch, Role, StakingId, UnixMillis, Wei
from tests.support.networks import NETWORK, network_params

BEACON = Digest(b"\5" * 32)
CAROL = StakingId(1000)
PLAIN = network_params(field_dropout_permille=0, catalog_permille=0)
EPOCH = Epoch(5)
SIGNIFICANCE = 0.01  # seeds are fixed: these tests give the same figures on every run


def miners(*stakes_cai: int) -> tuple[StakeRow, ...]:
    """Active miners with ids 1, 2, … and these stakes, in address order."""
    addresses = [Address(hashlib.sha256(b"%d" % place).digest()[:20]) for place in range(len(stakes_cai))]
    rows = [
        StakeRow(StakingId(place + 1), address, Role.MINER, Wei(stake * CAI), active=True)
        for place, (address, stake) in enumerate(zip(addresses, stakes_cai, strict=True))
    ]
    return StakeTable.of(rows).miners


def tickets(count: int) -> list[Digest]:
    return [ticket(NETWORK, BEACON, CAROL, EPOCH, 1, number) for number in range(count)]


def everyone(rows: tuple[StakeRow, ...], code: int = 3) -> Field:
    return Field(bytes([code]) * len(rows))


stakes = st.lists(st.integers(20_001, 10**9), min_size=1, max_size=12)
any_ticket = st.binary(min_size=32, max_size=32).map(Digest)


def test_ticket__public_inputs__is_their_tagged_hash():
    tail = (1000).to_bytes(8, "big") + (5).to_bytes(8, "big") + (7).to_bytes(8, "big") + (9).to_bytes(8, "big")
    assert (
        ticket(NETWORK, BEACON, CAROL, EPOCH, 7, 9)
        == hashlib.sha256(b"cuckoo/1/ticket" + NETWORK + BEACON + tail).digest()
    )
    assert task_id(NETWORK, CAROL, EPOCH, 7, 9) == hashlib.sha256(b"cuckoo/1/task" + NETWORK + tail).digest()


def test_ticket__any_input_changed__is_another():
    base = (NETWORK, BEACON, CAROL, EPOCH, 1, 2)
    others = [
        (BEACON, BEACON, CAROL, EPOCH, 1, 2),
        (NETWORK, NETWORK, CAROL, EPOCH, 1, 2),
        (NETWORK, BEACON, StakingId(1001), EPOCH, 1, 2),
        (NETWORK, BEACON, CAROL, Epoch(6), 1, 2),
        (NETWORK, BEACON, CAROL, EPOCH, 2, 2),
        (NETWORK, BEACON, CAROL, EPOCH, 1, 3),
    ]
    assert len({ticket(*inputs) for inputs in (base, *others)}) == 7


def test_order__first_place__falls_by_share_of_stake():
    weights = (20_001, 30_000, 50_000, 80_000, 130_000, 210_000, 340_000, 550_000)
    rows = miners(*weights)
    draws = tickets(20_000)
    wins = [0] * len(weights)
    for draw in draws:
        wins[order(rows, everyone(rows), draw, PLAIN)[0] - 1] += 1
    expected = [len(draws) * weight / sum(weights) for weight in weights]
    assert scipy.stats.chisquare(wins, expected).pvalue > SIGNIFICANCE
    variation = sum(abs(won - due) for won, due in zip(wins, expected, strict=True)) / (2 * len(draws))
    assert variation <= 0.6 * sqrt(len(weights) / len(draws))


def test_clock__of_every_miner__is_what_the_order_sorts_by():
    rows = miners(20_000, 50_000, 7_000_000, 0, 90_000)
    for drawn in tickets(20):
        by_clock = sorted(rows, key=lambda row: clock(drawn, row))
        assert order(rows, everyone(rows), drawn, PLAIN) == tuple(row.id for row in by_clock)


def test_order__whole_order__is_weighted_drawing_without_replacement():
    weights = (30_000, 60_000, 100_000, 250_000)
    rows = miners(*weights)
    draws = tickets(12_000)
    counts = dict.fromkeys(permutations((1, 2, 3, 4)), 0)
    for draw in draws:
        counts[order(rows, everyone(rows), draw, PLAIN)] += 1
    expected = []
    for ranking in counts:
        chance, left = 1.0, sum(weights)
        for identity in ranking:
            chance *= weights[identity - 1] / left
            left -= weights[identity - 1]
        expected.append(len(draws) * chance)
    assert scipy.stats.chisquare(list(counts.values()), expected).pvalue > SIGNIFICANCE


def test_order__stake_split_over_three_nodes__wins_as_often_as_whole():
    whole, split = miners(90_000, 120_000), miners(30_000, 30_000, 30_000, 120_000)
    draws = tickets(10_000)
    won_split = sum(order(split, everyone(split), draw, PLAIN)[0] <= 3 for draw in draws)
    won_whole = sum(order(whole, everyone(whole), draw, PLAIN)[0] == 1 for draw in draws)
    for won in (won_split, won_whole):
        assert scipy.stats.binomtest(won, len(draws), 90 / 210).pvalue > SIGNIFICANCE


def test_order__warm_and_cold__are_two_blocks_each_by_stake():
    rows = miners(50_000, 100_000, 400_000, 800_000)
    cold = {3, 4}
    field = Field.of(rows, members={1, 2, 3, 4}, warm={1, 2})
    draws = tickets(4000)
    drawn = [order(rows, field, draw, PLAIN) for draw in draws]
    assert all(set(ranking[2:]) == cold for ranking in drawn)
    assert scipy.stats.binomtest(sum(ranking[0] == 1 for ranking in drawn), len(draws), 1 / 3).pvalue > SIGNIFICANCE
    assert scipy.stats.binomtest(sum(ranking[2] == 3 for ranking in drawn), len(draws), 1 / 3).pvalue > SIGNIFICANCE


def test_order__ticket_of_the_catalog_share__is_blind_to_warmth():
    params = network_params(field_dropout_permille=0, catalog_permille=50)
    rows = miners(50_000, 100_000, 400_000, 800_000)
    field = Field.of(rows, members={1, 2, 3, 4}, warm={1})
    draws = tickets(10_000)
    blind = [draw for draw in draws if ignores_warmth(draw, params)]
    assert scipy.stats.binomtest(len(blind), len(draws), 0.05).pvalue > SIGNIFICANCE
    for draw in draws[:500]:
        mixed = ignores_warmth(draw, params)
        assert order(rows, field, draw, params) == order(rows, everyone(rows) if mixed else field, draw, PLAIN)


def test_order__dropout__leaves_out_each_miner_equally_and_moves_nobody():
    params = network_params(field_dropout_permille=20, catalog_permille=0)
    rows = miners(20_001, 50_000, 10**9)
    dropped = dict.fromkeys((1, 2, 3), 0)
    draws = tickets(20_000)
    for draw in draws:
        kept = order(rows, everyone(rows), draw, params)
        for identity in set(dropped) - set(kept):
            dropped[identity] += 1
        assert kept == tuple(i for i in order(rows, everyone(rows), draw, PLAIN) if i in kept)
    for count in dropped.values():
        assert scipy.stats.binomtest(count, len(draws), 0.02).pvalue > SIGNIFICANCE


@given(stakes, any_ticket, st.data())
def test_order__smaller_field__is_the_same_order_without_the_others(stakes_cai, draw, data):
    rows = miners(*stakes_cai)
    members = data.draw(st.sets(st.sampled_from([miner.id for miner in rows])))
    full = order(rows, everyone(rows), draw, PLAIN)
    part = order(rows, Field.of(rows, members, warm=members), draw, PLAIN)
    assert sorted(full) == sorted(miner.id for miner in rows)
    assert part == tuple(identity for identity in full if identity in members)


@given(stakes, any_ticket)
def test_order__another_table_with_one_more_miner__keeps_the_order_of_the_rest(stakes_cai, draw):
    fewer, more = miners(*stakes_cai), miners(*stakes_cai, 77_777)
    added = len(stakes_cai) + 1
    ranking = order(more, everyone(more), draw, PLAIN)
    assert order(fewer, everyone(fewer), draw, PLAIN) == tuple(i for i in ranking if i != added)


def test_order__equal_clocks__go_by_address():
    rows = [
        StakeRow(StakingId(identity), Address(bytes([9 - identity]) * 20), Role.MINER, Wei(0), active=True)
        for identity in range(1, 6)
    ]
    table = StakeTable.of(rows).miners
    assert order(table, everyone(table), tickets(1)[0], PLAIN) == (5, 4, 3, 2, 1)


def test_order__nobody_in_the_field__is_empty():
    rows = miners(50_000, 60_000)
    assert order(rows, Field(bytes(2)), tickets(1)[0], PLAIN) == ()
    assert order((), Field(b""), tickets(1)[0], PLAIN) == ()


def test_order__field_of_another_table__is_our_fault():
    with pytest.raises(ValueError, match="does not fit"):
        order(miners(50_000), Field(bytes(2)), tickets(1)[0], PLAIN)


def test_order__ten_thousand_miners__stays_within_its_budget():
    rows = miners(*range(20_001, 30_001))
    field = everyone(rows)
    times = []
    for draw in tickets(7):
        begun = process_time()
        assert len(order(rows, field, draw, PLAIN)) == 10_000
        times.append(process_time() - begun)
    assert min(times) < 0.060  # the budget is 15 ms of a quiet core; a shared one is slower


@given(st.integers(1, 10_000), st.integers(0, 100_000))
def test_slot_ms__any_rank__is_logarithmic_and_ordered(step, rank):
    assert abs(slot_ms(rank, step) - step * log2(1 + rank)) <= 0.5
    assert slot_ms(rank, step) <= slot_ms(rank + 1, step)


def test_outside_place__by_clock__is_how_many_are_expected_before_and_never_far_behind_all():
    table = StakeTable.of(miners(20_000, 50_000, 7_000_000, 90_000, 400_000))
    strays = []
    for drawn in tickets(2000):
        places = {row.id: outside_place(7, drawn, row.id, table) for row in table.miners}
        by_clock = sorted(table.miners, key=lambda row: clock(drawn, row))
        by_place = sorted(places, key=places.__getitem__)
        assert [places[one] for one in by_place] == [places[row.id] for row in by_clock], "the order of the clocks"
        assert 7 < min(places.values()) <= max(places.values()) <= place_behind(7, LAST_OUTSIDE * 5, 5)
        strays.append((1 + places[by_place[0]]) / 8 - 1)
    assert 0.9 < sum(strays) / len(strays) < 1.1, "before the first of them one in expectation"


def test_outside_place__miner_of_another_table__is_the_last():
    table = StakeTable.of(miners(20_000, 50_000))
    assert outside_place(3, tickets(1)[0], StakingId(99), table) == place_behind(3, LAST_OUTSIDE * 2, 2)
    assert last_slot_ms(3, 2, 100) == slot_ms(place_behind(3, LAST_OUTSIDE * 2, 2), 100)


@pytest.mark.parametrize(("miners", "first"), [(2, 1), (16, 1), (64, 4), (128, 8), (10_000, 8)])
def test_place_behind__network_of_any_size__has_a_share_of_it_in_the_first_step(miners, first):
    assert slot_ms(place_behind(0, first, miners), 100) == 100


@pytest.mark.parametrize("ranked", [0, 7, 1000])
def test_place_behind__order_of_any_size__has_slots_on_a_scale_of_their_own(ranked):
    last_ranked_ms = slot_ms(ranked, 100)
    after = [slot_ms(place_behind(ranked, before, 10_000), 100) - last_ranked_ms for before in (0, 8, 24, 56, 120)]
    assert after == pytest.approx([0, 100, 200, 300, 400], abs=1), "twice as many in each step as in the one before"


def test_slot_ms__ranks__are_the_stated_ones():
    assert [slot_ms(rank, 100) for rank in (0, 1, 2, 3, 7, 1023)] == [0, 100, 158, 200, 300, 1000]


@pytest.mark.parametrize(
    ("rank", "arrival", "expected"),
    [(0, 5, 5), (0, 9000, 9000), (1, 1001, 1050), (1, 1200, 1200), (2, 1100, 1150), (4, 1240, 1250), (4, 1260, 1260)],
)
def test_award_at__claim__waits_for_every_better_rank(rank, arrival, expected):
    assert award_at(rank, UnixMillis(arrival), UnixMillis(1000), 100, 50) == expected


@given(st.integers(1, 5000), st.integers(1, 1000), st.integers(0, 2**42))
def test_award_at__claim_in_its_slot__is_not_before_the_slot_of_the_rank_above_plus_allowance(rank, step, t0):
    arrival = UnixMillis(t0 + slot_ms(rank, step))
    assert award_at(rank, arrival, UnixMillis(t0), step, 40) >= t0 + slot_ms(rank - 1, step) + 40
