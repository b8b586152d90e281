import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.gossip.quota import Quota
from protocol.units import StakingId, UnixMillis

CAROL, DAVE = StakingId(3), StakingId(4)


def taken(quota: Quota, signer: StakingId, weight: int, now: int, tries: int = 1000) -> int:
    return sum(quota.take(signer, weight, UnixMillis(now)) for _ in range(tries))


def test_take__burst__is_bounded_and_grows_with_stake():
    quota = Quota(rate_per_s=10, burst_s=2, signers=8)
    assert taken(quota, CAROL, 1, 0) == 20
    assert taken(quota, DAVE, 4, 0) == 80


def test_take__after_a_burst__is_refilled_at_the_rate():
    quota = Quota(rate_per_s=10, burst_s=2, signers=8)
    taken(quota, CAROL, 1, 0)
    assert taken(quota, CAROL, 1, 99) == 0
    assert taken(quota, CAROL, 1, 100) == 1
    assert taken(quota, CAROL, 1, 1100) == 10
    assert taken(quota, CAROL, 1, 10**9) == 20


def test_take__one_signer_over_its_quota__costs_no_other():
    quota = Quota(rate_per_s=10, burst_s=1, signers=8)
    taken(quota, CAROL, 1, 0)
    assert quota.take(DAVE, 1, UnixMillis(0))


def test_take__clock_that_goes_back__gives_nothing_away():
    quota = Quota(rate_per_s=10, burst_s=1, signers=8)
    assert taken(quota, CAROL, 1, 1000) == 10
    assert taken(quota, CAROL, 1, 0) == 0
    assert taken(quota, CAROL, 1, 1100) == 1


def test_take__more_signers_than_kept__forgets_the_one_silent_longest():
    quota = Quota(rate_per_s=1, burst_s=1, signers=2)
    for moment, identity in enumerate((1, 2, 1, 3)):
        quota.take(StakingId(identity), 1, UnixMillis(moment))
    assert len(quota) == 2
    assert not quota.take(StakingId(1), 1, UnixMillis(4))  # kept, and empty
    assert quota.take(StakingId(2), 1, UnixMillis(4))  # forgotten, so full again


@given(st.integers(1, 200), st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(0, 500), max_size=200))
def test_take__any_history__never_exceeds_burst_plus_rate(rate, burst_s, weight, waits):
    quota = Quota(rate, burst_s, 4)
    now, allowed = 0, 0
    for wait in waits:
        now += wait
        allowed += quota.take(CAROL, weight, UnixMillis(now))
        assert allowed <= rate * weight * (burst_s + now / 1000)


@given(st.integers(1, 200), st.integers(1, 100))
def test_take__sender_that_keeps_the_rate__is_never_refused(rate, count):
    quota = Quota(rate, 1, 4)
    step = -(-1000 // rate)
    assert all(quota.take(CAROL, 1, UnixMillis(place * step)) for place in range(count))


@pytest.mark.parametrize("numbers", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_quota__without_bounds__is_our_fault(numbers):
    with pytest.raises(ValueError, match="at least 1"):
        Quota(*numbers)
