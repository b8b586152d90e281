import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidMessage
from protocol.task.fingerprint import (
    FINGERPRINT_BYTES,
    MAX_STEPS,
    Opening,
    _leaf,
    _root,
    check_opening,
    fingerprint_distance,
    fingerprint_root,
    opened,
    packed,
    steps_to_open,
)

STEPS = [bytes([step]) * FINGERPRINT_BYTES for step in range(MAX_STEPS)]
OTHER = b"\xff" * FINGERPRINT_BYTES


def refused(root, count, opening):
    with pytest.raises(InvalidMessage) as caught:
        check_opening(root, count, opening)
    return caught.value.rule == "fingerprint.opening"


@given(st.data())
def test_check_opening__any_step_of_any_picture__passes_and_only_as_it_was_committed(data):
    count = data.draw(st.integers(1, MAX_STEPS))
    step = data.draw(st.integers(0, count - 1))
    fingerprints = STEPS[:count]
    root, opening = fingerprint_root(fingerprints), opened(fingerprints, step)
    check_opening(root, count, opening)
    assert opening.fingerprint == fingerprints[step]
    assert len(opening.path) <= 8
    assert refused(root, count, dataclasses.replace(opening, fingerprint=OTHER))
    assert refused(root, count, dataclasses.replace(opening, path=(*opening.path, root)))
    assert refused(fingerprint_root([*fingerprints[:step], OTHER, *fingerprints[step + 1 :]]), count, opening)
    other = data.draw(st.integers(-1, MAX_STEPS))
    assert other == step or refused(root, count, dataclasses.replace(opening, step=other))


@given(st.integers(1, MAX_STEPS), st.integers(0, MAX_STEPS + 1))
def test_check_opening__of_a_picture_with_more_or_fewer_steps__is_refused(count, other):
    opening = opened(STEPS[:count], count - 1)
    assert other == count or refused(fingerprint_root(STEPS[:count]), other, opening)


@pytest.mark.parametrize("level", range(4))
def test_check_opening__any_hash_of_the_path_changed_or_left_out__is_refused(level):
    root, opening = fingerprint_root(STEPS[:15]), opened(STEPS[:15], 6)
    changed = [*opening.path]
    changed[level] = root
    assert refused(root, 15, dataclasses.replace(opening, path=tuple(changed)))
    assert refused(root, 15, dataclasses.replace(opening, path=opening.path[:level]))


def test_check_opening__fingerprint_of_another_length__is_refused():
    opening = opened(STEPS[:3], 0)
    assert refused(fingerprint_root(STEPS[:3]), 3, dataclasses.replace(opening, fingerprint=opening.fingerprint[1:]))


@pytest.mark.parametrize(("step", "fingerprint"), [(1, STEPS[1]), (0, STEPS[1][1:])], ids=["step", "length"])
def test_check_opening__root_over_what_no_picture_has__is_refused(step, fingerprint):
    """A miner may sign any root, also over a step behind the last, or over less than a fingerprint."""
    root = _root(1, _leaf(step, fingerprint))
    assert refused(root, 1, Opening(step, fingerprint, ()))


def test_fingerprint_root__inner_hash_given_for_a_step__does_not_pass():
    """A tree without tags lets two hashes side by side stand for a leaf."""
    root = fingerprint_root(STEPS[:4])
    assert refused(root, 2, opened(STEPS[:4], 0))
    assert fingerprint_root(STEPS[:1]) != fingerprint_root([STEPS[0]] * 2)


@pytest.mark.parametrize("wrong", [[], [b""], [*STEPS, OTHER], [STEPS[0], STEPS[1][1:]]])
def test_fingerprint_root__of_what_no_engine_draws__is_a_fault(wrong):
    with pytest.raises(ValueError, match="fingerprints"):
        fingerprint_root(wrong)


def test_packed__signed_numbers__stand_with_the_high_byte_first():
    assert packed([0, 1, -1, 32_767, -32_767] + [0] * 59).hex() == "00000001ffff7fff8001" + "0000" * 59


def test_fingerprint_distance__one_unit_of_latents_everywhere__is_a_million():
    assert fingerprint_distance(packed([1024] * 64), packed([0] * 64)) == 1_000_000
    assert fingerprint_distance(packed([0] * 64), packed([-1024] * 64)) == 1_000_000
    assert fingerprint_distance(packed([7] * 64), packed([7] * 64)) == 0
    assert fingerprint_distance(packed([1] + [0] * 63), packed([0] * 64)) == 15


def test_steps_to_open__from_a_beacon__are_as_many_as_wanted_and_differ_with_it():
    chosen = steps_to_open(b"b" * 32, b"c" * 32, 15, 4)
    assert chosen == tuple(sorted(set(chosen)))
    assert len(chosen) == 4
    assert set(chosen) <= set(range(15))
    assert steps_to_open(b"b" * 32, b"c" * 32, 15, 4) == chosen
    assert len({steps_to_open(bytes([one]) * 32, b"c" * 32, 15, 4) for one in range(20)}) > 15
    assert len({steps_to_open(b"b" * 32, bytes([one]) * 32, 15, 4) for one in range(20)}) > 15
    assert steps_to_open(b"b" * 32, b"c" * 32, 3, 4) == (0, 1, 2)


def test_steps_to_open__over_many_beacons__favours_no_step():
    counts = [0] * 15
    for one in range(1500):
        for step in steps_to_open(one.to_bytes(32, "big"), b"c" * 32, 15, 2):
            counts[step] += 1
    assert 150 < min(counts) <= max(counts) < 250
