import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.gossip.reputation import BAN, FULL, RECOVERY, Ledger
from protocol.units import PeerId, UnixMillis

MALLORY, ALICE = PeerId("mallory"), PeerId("alice")


@pytest.mark.parametrize("occurrences", [1, 2, 5, 20])
def test_judge__as_many_as_said_within_half_a_minute__ends_in_a_ban(occurrences):
    ledger = Ledger()
    times = [UnixMillis(30_000 * place // occurrences) for place in range(occurrences)]
    assert [ledger.judge(MALLORY, occurrences, now) for now in times] == [False] * (occurrences - 1) + [True]
    assert ledger.banned(MALLORY, times[-1])


def test_judge__different_offences__add_up():
    ledger = Ledger()
    assert not any(ledger.judge(MALLORY, 20, UnixMillis(0)) for _ in range(12))
    assert [ledger.judge(MALLORY, 5, UnixMillis(0)) for _ in range(2)] == [False, True]


def test_banned__until_its_end__and_not_after():
    ledger = Ledger()
    ledger.judge(MALLORY, 1, UnixMillis(1000))
    assert ledger.banned(MALLORY, UnixMillis(1000 + BAN - 1))
    assert not ledger.banned(MALLORY, UnixMillis(1000 + BAN))
    assert not ledger.banned(ALICE, UnixMillis(1000))


def test_judge__after_a_ban__begins_with_full_credit():
    ledger = Ledger()
    ledger.judge(MALLORY, 1, UnixMillis(0))
    assert ledger.credit(MALLORY, UnixMillis(BAN)) == FULL
    assert not ledger.judge(MALLORY, 5, UnixMillis(BAN))


def test_judge__during_a_ban__stays_banned():
    ledger = Ledger()
    ledger.judge(MALLORY, 1, UnixMillis(0))
    assert ledger.judge(MALLORY, 20, UnixMillis(10))


def test_judge__rare_faults__never_end_in_a_ban():
    ledger = Ledger()
    assert not any(ledger.judge(ALICE, 5, UnixMillis(place * 150_000)) for place in range(200))


def test_credit__with_time__grows_back_to_full_and_no_further():
    ledger = Ledger()
    ledger.judge(ALICE, 2, UnixMillis(0))
    spent = FULL - ledger.credit(ALICE, UnixMillis(0))
    assert ledger.credit(ALICE, UnixMillis(RECOVERY // 4)) == FULL - spent + FULL // 4
    assert ledger.credit(ALICE, UnixMillis(10 * RECOVERY)) == FULL


def test_judge__more_peers_than_kept__forgets_free_ones_before_banned_ones():
    ledger = Ledger(capacity=3)
    ledger.judge(MALLORY, 1, UnixMillis(0))
    for number in range(10):
        ledger.judge(PeerId(f"stranger {number}"), 20, UnixMillis(1))
    assert len(ledger) == 3
    assert ledger.banned(MALLORY, UnixMillis(2))


def test_judge__all_kept_are_banned__still_stays_bounded():
    ledger = Ledger(capacity=3)
    for number in range(10):
        assert ledger.judge(PeerId(f"peer {number}"), 1, UnixMillis(0))
    assert len(ledger) == 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 20), st.integers(0, 90_000)), max_size=60))
def test_judge__any_history__keeps_credit_in_range_and_bans_only_the_judged(steps):
    ledger = Ledger()
    now, judged = UnixMillis(0), set()
    for name, occurrences, wait in steps:
        now = UnixMillis(now + wait)
        assert ledger.judge(PeerId(name), occurrences, now) == ledger.banned(PeerId(name), now)
        judged.add(name)
        for other in "abc":
            assert 0 <= ledger.credit(PeerId(other), now) <= FULL
            assert other in judged or not ledger.banned(PeerId(other), now)


def test_ledger__without_room__is_our_fault():
    with pytest.raises(ValueError, match="at least 1"):
        Ledger(0)
