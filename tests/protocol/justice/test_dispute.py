"""What is due in a dispute follows from what the contract says and from nothing else; a verdict from a distance."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.typed_data import digest
from protocol.justice.dispute import (
    KEEPER_TURN,
    MAX_TRIES,
    SEED_LASTS,
    DisputeSeen,
    Status,
    Step,
    Verdict,
    due_step,
    is_keepers_turn,
    state_name,
    step_call,
    verdict_of,
    vote_call,
)
from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS, RE_ENCODED
from protocol.task.recheck import UNREADABLE
from protocol.units import BlockNumber, StakingId
from protocol.wire.statements import VerdictStatement
from tests.protocol.roles.frames import DOMAIN
from tests.support.disputed import dispute_about, disputed

DRAWING = dispute_about(disputed())
VOTING = replace(DRAWING, status=Status.VOTING, taken=3, tries=9)
UPHELD = replace(VOTING, status=Status.UPHELD, wrong=3)
SEED, LATER, BEFORE, AFTER = DRAWING.seed_block, DRAWING.seed_block + 500, DRAWING.deadline_s - 1, DRAWING.deadline_s


@pytest.mark.parametrize(
    ("seen", "block", "now_s", "due"),
    [
        (DRAWING, SEED - 1, BEFORE, None),
        (DRAWING, SEED, BEFORE, Step.DRAW),
        (DRAWING, LATER, BEFORE, Step.DRAW),
        (DRAWING, SEED, AFTER, Step.CLOSE),
        (replace(DRAWING, tries=MAX_TRIES), SEED, BEFORE, Step.CLOSE),
        (VOTING, LATER, BEFORE, None),
        (replace(VOTING, wrong=1, right=1), LATER, BEFORE, None),
        (replace(VOTING, wrong=1, right=2), LATER, BEFORE, Step.CLOSE),
        (VOTING, LATER, AFTER, Step.CLOSE),
        (replace(VOTING, taken=2), LATER, BEFORE, Step.DRAW),
        (replace(VOTING, taken=2, tries=MAX_TRIES), LATER, BEFORE, None),
        (UPHELD, LATER, BEFORE, None),
        (UPHELD, LATER, AFTER, Step.EXECUTE),
        (replace(UPHELD, status=Status.CONFIRMED), LATER, AFTER, Step.EXECUTE),
    ],
)
def test_due_step__each_state__is_what_the_contract_takes(
    seen: DisputeSeen, block: int, now_s: int, due: Step | None
) -> None:
    assert due_step(seen, BlockNumber(block), now_s) is due


@pytest.mark.parametrize("status", [status for status in Status if not status.is_open])
def test_due_step__ended__is_nothing(status: Status) -> None:
    assert due_step(replace(VOTING, status=status), BlockNumber(LATER), AFTER) is None


def test_step_call__each_step__names_the_dispute() -> None:
    assert step_call(DRAWING, Step.DRAW).arguments == (DRAWING.number, 128)
    for step in (Step.CLOSE, Step.EXECUTE):
        call = step_call(DRAWING, step)
        assert (call.contract, call.function, call.arguments) == ("Disputes", step.label, (DRAWING.number,))


def test_vote_call__verdict__is_the_struct_that_was_signed() -> None:
    said = VerdictStatement(dispute=7, round=1, juror=StakingId(9), verdict=2)
    assert vote_call(said, b"s").arguments == (7, ((7, 1, 9, 2),), (b"s",))
    assert len(digest(DOMAIN, said)) == 32


@given(st.integers(0, 31), st.integers(0, 31), st.integers(0, MAX_TRIES), st.integers(0, 2**63), st.integers(0, 1))
def test_state_name__any_change__is_another_name_that_fits_a_key(
    taken: int, wrong: int, tries: int, seed: int, round_: int
) -> None:
    changed = replace(VOTING, taken=taken, wrong=wrong, tries=tries, seed_block=seed, round=round_, number=2**64)
    name = state_name(changed, Step.EXECUTE)
    assert len(name) <= 120, "a key has 128 characters, and how often it was tried comes behind"
    others = (
        replace(changed, taken=taken + 1),
        replace(changed, wrong=wrong + 1),
        replace(changed, tries=tries + 1),
        replace(changed, seed_block=seed + 1),
        replace(changed, round=round_ + 1),
        replace(changed, number=changed.number + 1),
        replace(changed, status=Status.UPHELD),
    )
    assert name not in {state_name(other, Step.EXECUTE) for other in others}
    assert name != state_name(changed, Step.CLOSE)


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [
        (0, Verdict.RIGHT),
        (OTHER_NUMERICS + 1, Verdict.RIGHT),
        (RE_ENCODED + 1, Verdict.RIGHT),
        (ANOTHER_PICTURE, Verdict.RIGHT),
        (ANOTHER_PICTURE + 1, Verdict.WRONG),
        (UNREADABLE, None),
    ],
)
def test_verdict_of__distance__is_wrong_only_beyond_what_any_honest_picture_was_seen_to_differ(
    apart: int, verdict: Verdict | None
) -> None:
    assert verdict_of(apart) is verdict


def test_is_keepers_turn__of_many_nodes__one_more_every_other_block_after_a_while() -> None:
    for number in (1, 7, 2**64):
        turns = [
            sum(is_keepers_turn(StakingId(own), number, 50, waited, is_stored=False) for own in range(1, 51))
            for waited in range(200)
        ]
        assert turns == [0] * KEEPER_TURN + [min(50, 1 + after // 2) for after in range(200 - KEEPER_TURN)]


@pytest.mark.parametrize("is_stored", [False, True])
def test_is_keepers_turn__seed_that_nobody_stored_in_time__is_drawn_from_no_more(is_stored: bool) -> None:
    turn = (StakingId(3), 3, 50)
    assert is_keepers_turn(*turn, SEED_LASTS - 1, is_stored=is_stored)
    assert is_keepers_turn(*turn, SEED_LASTS, is_stored=is_stored) is is_stored
