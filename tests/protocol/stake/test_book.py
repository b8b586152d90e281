from hypothesis import given
from hypothesis import strategies as st

from protocol.stake.book import KEPT_EPOCHS, StakeBook
from protocol.stake.epoch import epoch_start
from protocol.stake.standing import Standing
from protocol.units import Epoch, PeerId, StakingId, UnixMillis
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, network_params, row, trio, view

PARAMS = network_params()  # epochs of 60 s, tolerance 10 s, head at most 30 s old
FOREIGN = PeerId("12D3KooWJ8XJzHqJ4RgkB8nYcGbJvNJr5w7t5kLzZ8F7M2xq9xQv")


def at(epoch: int, offset_s: float = 30) -> UnixMillis:
    return UnixMillis(epoch_start(Epoch(epoch), PARAMS) + round(offset_s * 1000))


def book(*epochs: int, bootstraps: frozenset[PeerId] = frozenset()) -> StakeBook:
    made = StakeBook(PARAMS, bootstraps)
    for epoch in epochs:
        made.add(view(epoch))
    return made


def test_view__added__is_found_and_never_replaced():
    made = book()
    first, second = view(5), view(5, [row(DAVE, 9)])
    made.add(first)
    made.add(second)
    assert made.view(Epoch(5)) is first
    assert made.view(Epoch(6)) is None


def test_add__more_than_kept__forgets_the_oldest():
    made = book(*range(1, KEPT_EPOCHS + 3))
    assert [epoch for epoch in range(KEPT_EPOCHS + 3) if made.view(Epoch(epoch))] == list(range(3, KEPT_EPOCHS + 3))


@given(st.lists(st.integers(0, 100), max_size=40))
def test_add__any_order__keeps_the_newest_epochs(epochs):
    made = book(*epochs)
    kept = {epoch for epoch in range(101) if made.view(Epoch(epoch))}
    assert kept == set(sorted(set(epochs))[-KEPT_EPOCHS:])


def test_current__epoch_known__is_its_view():
    made = book(4, 5, 6)
    assert made.current(at(5)) is made.view(Epoch(5))


def test_current__epoch_missing__is_the_newest_before_it():
    made = book(3, 4, 7)
    assert made.current(at(5)) is made.view(Epoch(4))


def test_current__only_later_epochs__is_none():
    assert book(7).current(at(5)) is None
    assert book().row(ALICE.address, at(5)) is None


def test_row__current_table__decides():
    made = StakeBook(PARAMS)
    made.add(view(5, [row(ALICE, 1)]))
    made.add(view(6, [row(BOB, 2)]))
    assert made.row(ALICE.address, at(5)) == row(ALICE, 1)
    assert made.row(BOB.address, at(5)) is None
    assert made.row(ALICE.address, at(6)) is None


def test_known__in_a_neighbouring_epoch__counts():
    made = StakeBook(PARAMS)
    for epoch, key in ((3, DAVE), (4, ALICE), (5, BOB), (6, CAROL)):
        made.add(view(epoch, [row(key, epoch, active=False)]))
    assert [made.known(key.address, at(5)) for key in (DAVE, ALICE, BOB, CAROL)] == [False, True, True, True]
    assert [one.id for one in made.rows_around(BOB.address, at(5))] == [5]


def test_healthy__head__must_be_seen_and_young():
    made = book(5)
    assert not made.healthy(at(5))
    made.head_seen(at(5))
    assert made.healthy(at(5, 60))
    assert not made.healthy(at(5, 60.001))
    made.head_seen(at(5, 45))
    assert made.healthy(at(5, 75))


def test_certain__lagging_or_table_missing__is_false():
    made = book(4, 5)
    assert not made.certain(at(5))
    made.head_seen(at(5))
    assert made.certain(at(5))
    assert not made.certain(at(5, 61))


def test_certain__neighbour_acceptable__needs_its_view_too():
    alone = book(5)
    for offset, certain in ((5, False), (30, True), (55, False)):
        alone.head_seen(at(5, offset))
        assert alone.certain(at(5, offset)) is certain
    with_next = book(5, 6)
    with_next.head_seen(at(5, 55))
    assert with_next.certain(at(5, 55))


def test_certain__next_beacon_not_fixed__does_not_need_it():
    short = network_params(epoch_s=4, boundary_tolerance_s=10)
    made = StakeBook(short)
    made.add(view(99))
    made.add(view(100))
    begun = epoch_start(Epoch(100), short)
    made.head_seen(begun)
    assert made.certain(UnixMillis(begun + 1999))
    assert not made.certain(UnixMillis(begun + 2000))


def test_standing__by_role__of_active_rows_only():
    made = StakeBook(PARAMS, frozenset({DAVE.peer_id, FOREIGN}))
    made.add(view(5, [*trio(), row(DAVE, 4, active=False)]))
    now = at(5)
    assert made.standing(ALICE.peer_id, now) is Standing.MINER
    assert made.standing(CAROL.peer_id, now) is Standing.COORDINATOR
    assert made.standing(DAVE.peer_id, now) is Standing.BOOTSTRAP
    assert made.standing(FOREIGN, now) is Standing.BOOTSTRAP
    assert StakeBook(PARAMS).standing(ALICE.peer_id, now) is Standing.STRANGER


def test_standing__pinned_and_registered__is_its_role():
    made = StakeBook(PARAMS, frozenset({CAROL.peer_id}))
    made.add(view(5))
    assert made.standing(CAROL.peer_id, at(5)) is Standing.COORDINATOR


def test_standing__inactive_coordinator__is_a_stranger():
    made = StakeBook(PARAMS)
    made.add(view(5, [coordinator(CAROL, 3, active=False)]))
    assert made.standing(CAROL.peer_id, at(5)) is Standing.STRANGER


@given(st.text(max_size=60))
def test_standing__any_text__never_raises(peer):
    assert book(5).standing(PeerId(peer), at(5)) is Standing.STRANGER


def test_standing__inactive_now__is_a_stranger_at_once_and_the_table_stays():
    made = book(5)
    root, now = view(5).table.root, at(5)
    made.inactive_now(frozenset({StakingId(1), StakingId(3)}))
    assert made.standing(ALICE.peer_id, now) is Standing.STRANGER
    assert made.standing(CAROL.peer_id, now) is Standing.STRANGER
    assert made.standing(BOB.peer_id, now) is Standing.MINER
    current = made.current(now)
    assert current is not None
    assert current.table.root == root
    assert [row.id for row in current.table.miners] == [row.id for row in view(5).table.miners]
    assert made.known(ALICE.address, now), "a jailed node is no stranger to others, who may not have seen it yet"
    made.inactive_now(frozenset())
    assert made.standing(ALICE.peer_id, now) is Standing.MINER


def test_standing__active_again_in_the_chain__waits_for_a_table_that_says_so():
    made = StakeBook(PARAMS)
    made.add(view(5, [row(ALICE, 1, active=False)]))
    made.inactive_now(frozenset())
    assert made.standing(ALICE.peer_id, at(5)) is Standing.STRANGER
