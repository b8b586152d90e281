import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.stake.epoch import (
    acceptable_epochs,
    beacon,
    beacon_cutoff,
    epoch_at,
    epoch_start,
    is_acceptable,
    table_cutoff,
)
from protocol.units import Epoch, UnixMillis
from tests.support.networks import network_params

PARAMS = network_params(epoch_s=600, boundary_tolerance_s=180)
SHORT = network_params(epoch_s=5, boundary_tolerance_s=10)
lengths = st.integers(4, 86_400)
moments = st.integers(0, 2**52).map(UnixMillis)


@given(lengths, moments)
def test_epoch_at__any_moment__lies_between_two_starts(epoch_s, now):
    params = network_params(epoch_s=epoch_s)
    epoch = epoch_at(now, params)
    assert epoch_start(epoch, params) <= now < epoch_start(Epoch(epoch + 1), params)


@given(lengths, st.integers(1, 2**32 - 1).map(Epoch))
def test_cutoffs__any_epoch__table_first_then_beacon_then_the_epoch(epoch_s, epoch):
    params = network_params(epoch_s=epoch_s)
    assert table_cutoff(epoch, params) == epoch_start(Epoch(epoch - 1), params)
    assert table_cutoff(epoch, params) < beacon_cutoff(epoch, params) < epoch_start(epoch, params)
    assert beacon_cutoff(epoch, params) - table_cutoff(epoch, params) == epoch_s * 500


def test_beacon__block_hash_and_epoch__is_their_tagged_hash():
    block = b"\7" * 32
    expected = hashlib.sha256(b"cuckoo/1/beacon" + block + bytes([0, 0, 0, 0, 0, 0, 1, 2])).digest()
    assert beacon(block, Epoch(258)) == expected
    assert beacon(block, Epoch(259)) != expected


@pytest.mark.parametrize(
    ("offset_ms", "expected"),
    [
        (0, (9, 10)),
        (179_999, (9, 10)),
        (180_000, (10,)),
        (300_000, (10,)),
        (419_999, (10,)),
        (420_000, (10, 11)),
        (599_999, (10, 11)),
    ],
)
def test_acceptable_epochs__near_a_boundary__takes_the_neighbour(offset_ms, expected):
    now = UnixMillis(epoch_start(Epoch(10), PARAMS) + offset_ms)
    assert acceptable_epochs(now, PARAMS) == expected
    assert tuple(epoch for epoch in range(2 * max(expected)) if is_acceptable(Epoch(epoch), now, PARAMS)) == expected


@given(st.integers(20_000, 2**40).map(UnixMillis))
def test_acceptable_epochs__shorter_than_the_tolerance__are_always_three(now):
    epoch = epoch_at(now, SHORT)
    assert acceptable_epochs(now, SHORT) == (epoch - 1, epoch, epoch + 1)


@given(lengths, st.integers(1, 180), moments)
def test_acceptable_epochs__any_network__holds_the_present_one_and_neighbours_only(epoch_s, tolerance_s, now):
    params = network_params(epoch_s=epoch_s, boundary_tolerance_s=tolerance_s)
    epochs = acceptable_epochs(now, params)
    own = epoch_at(now, params)
    assert own in epochs
    assert set(epochs) <= {own - 1, own, own + 1}
    assert min(epochs) >= 0


@given(st.integers(10**9, 2**41), st.integers(-119_000, 119_000))
def test_acceptable_epochs__clock_wrong_by_two_minutes__still_takes_the_other_epoch(now, skew):
    assert epoch_at(UnixMillis(now + skew), PARAMS) in acceptable_epochs(UnixMillis(now), PARAMS)
