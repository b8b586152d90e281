"""What a coordinator holds against miners beyond one task: SPEC.md §7.6."""

from typing import Any

import pytest

from protocol.effects import Judge, Offence, Publish
from protocol.events import StreamClosed, TaskSubmitted
from protocol.notes import NoteName
from protocol.roles.coordinator.conduct import (
    BURST_MS,
    EARLY_FORGIVEN_MS,
    EARLY_FREE,
    FIRST_PAUSE_MS,
    LAST_PAUSE_MS,
    REMEMBERED,
    Conduct,
)
from protocol.stake.field import MEMBER, WARM, Field
from protocol.stake.lottery import last_slot_ms
from protocol.units import StakingId, UnixMillis
from protocol.wire.messages import Abandon, Alive, Award, Claim, Decline
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    CAROL_ID,
    EPOCH,
    NOW,
    PARAMS,
    SPECIFICATION,
    artifact_of,
    award_of,
    capability,
    result_of,
    signed,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, ignored, judged, noted, of_kind
from tests.protocol.roles.test_claiming import decline_of
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL

LAST_SLOT_MS = last_slot_ms(2, 2, PARAMS.slot_step_ms)
"""After so long no claim is early."""


def reasons(effects: Any) -> list[str]:
    return [decline.statement.reason for decline in of_kind(effects, Decline)]


def renew(seat: CoordinatorSeat) -> None:
    """Both say again what they serve: capabilities end after a minute."""
    for key, miner in ((ALICE, ALICE_ID), (BOB, BOB_ID)):
        seat.say(key, capability(key, miner, sequence=seat.now, expires_at=seat.now + 60_000, places=8))


def codes(seat: CoordinatorSeat) -> dict[StakingId, int]:
    """What the field of the next offer says of each miner."""
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None)) + seat.wait(100)
    message = next(effect.message for effect in effects if isinstance(effect, Publish) and effect.message.offers)
    rows = networks.view(EPOCH).table.miners
    return dict(zip((row.id for row in rows), Field.from_bytes(message.field, len(rows)).codes, strict=True))


def lose(seat: CoordinatorSeat, award: Award | None = None) -> tuple[Any, ...]:
    """Alice gives a task back that she was awarded."""
    named = (award or seat.award()).statement
    return seat.say(ALICE, Abandon(task=named.task, attempt=named.attempt, reason="out_of_memory"))


def early(seat: CoordinatorSeat, nonce: int) -> tuple[Any, ...]:
    """Bob claims a new task in which he is not drawn first, at once."""
    while True:
        task = seat.submit()
        known = seat.core.task(task)  # type: ignore[arg-type]
        assert known is not None
        while known.open is None:
            seat.wait(1)
        if known.open.order[0] != BOB_ID:
            return seat.say(BOB, seat.claim(BOB, task, nonce=bytes([nonce]) * 16))


# Leases that were lost


def test_take_back__any_lease__leaves_its_miner_out_of_the_field_for_a_pause() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    assert codes(seat)[ALICE_ID]
    effects = lose(seat)
    assert [note.fields["ms"] for note in noted(effects, NoteName.MINER_PAUSED)] == [FIRST_PAUSE_MS]
    renew(seat)
    assert (codes(seat)[ALICE_ID], bool(codes(seat)[BOB_ID])) == (0, True)
    seat.wait(FIRST_PAUSE_MS)
    renew(seat)
    assert codes(seat)[ALICE_ID] == MEMBER


def test_take_back__every_miner_is_paused__none_is_left_out() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    lose(seat)
    seat.say(ALICE, capability(ALICE, ALICE_ID, sequence=seat.now + 1, expires_at=seat.now + 60_000, places=8))
    assert codes(seat)[ALICE_ID]


def test_claim__of_a_paused_miner__is_declined_once_and_then_not_answered() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    lose(seat)
    heard = []
    for number in range(3):
        task = seat.submit()
        seat.wait(LAST_SLOT_MS)
        effects = seat.say(ALICE, seat.claim(ALICE, task, nonce=bytes([number]) * 16))
        heard.append((reasons(effects), ignored(effects), judged(effects)))
    assert heard == [(["paused"], [], []), ([], ["claim.paused"], []), ([], ["claim.paused"], [])]


def test_miner__told_that_it_is_paused__leaves_its_coordinator_alone_for_a_while() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    seat.say(CAROL, decline_of(claim, "paused"))
    effects = seat.offer()
    assert of_kind(effects, Claim) == []
    assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == ["paused"]
    seat.wait(1000)
    claims = of_kind(seat.offer(), Claim)
    assert len(claims) == 1
    seat.say(CAROL, award_of(claims[0]))
    assert seat.core._claiming._service.why_quiet(CAROL_ID) is None, "an award ends it"


def test_lost_lease__again_and_again__pauses_grow_until_it_delivers() -> None:
    conduct, now, pauses = Conduct(), NOW, []
    for _ in range(12):
        pauses.append(conduct.lost_lease(ALICE_ID, now, started=True, silent=False))
        assert conduct.lost_lease(ALICE_ID, now, started=True, silent=False) == 0, (
            "what it held when it died is one fault"
        )
        now = UnixMillis(now + pauses[-1])
        assert not conduct.is_paused(ALICE_ID, now)
        assert conduct.is_paused(ALICE_ID, UnixMillis(now - 1))
    assert pauses == [min(FIRST_PAUSE_MS * 2**times, LAST_PAUSE_MS) for times in range(12)]
    conduct.delivered(ALICE_ID)
    assert conduct.lost_lease(ALICE_ID, now, started=True, silent=False) == FIRST_PAUSE_MS


def test_deliver__after_a_lost_lease__ends_the_growth() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    lose(seat)
    seat.wait(FIRST_PAUSE_MS)
    renew(seat)
    task = seat.submit()
    seat.wait(LAST_SLOT_MS)
    award = of_kind(seat.say(ALICE, seat.claim(ALICE, task)), Award)[0]
    seat.say(ALICE, result_of(award))
    seat.hear(artifact_of(award))
    assert seat.core.roster.conduct.lost_lease(ALICE_ID, seat.now, started=True, silent=False) == FIRST_PAUSE_MS


def test_warm__miner_connects_anew__stays_cold() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    lose(seat)
    seat.hear(StreamClosed(ALICE.peer_id))
    seat.wait(FIRST_PAUSE_MS)
    seat.greet(ALICE)
    renew(seat)
    assert codes(seat) == {ALICE_ID: MEMBER, BOB_ID: MEMBER | WARM}


# Early claims


def test_claim__early_again_and_again__its_miner_is_paused() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    for number in range(EARLY_FREE):
        effects = early(seat, number)
        assert (reasons(effects), noted(effects, NoteName.MINER_PAUSED)) == (["early"], [])
        assert codes(seat)[BOB_ID], "it is out for that attempt only"
    effects = early(seat, 9)
    assert reasons(effects) == ["early"]
    assert [note.fields["reason"] for note in noted(effects, NoteName.MINER_PAUSED)] == ["early"]
    assert codes(seat)[BOB_ID] == 0


def test_claim__early_in_a_pause__is_not_answered_and_held_against_its_miner_once_no_clock_explains_it() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    for number in range(EARLY_FREE + 1):
        early(seat, number)
    effects = early(seat, 20)
    assert (reasons(effects), ignored(effects), judged(effects)) == ([], ["slot.early"], [])
    seat.wait(BURST_MS)
    effects = early(seat, 21)
    assert (reasons(effects), ignored(effects)) == ([], ["slot.early"])
    assert [effect.offence for effect in effects if isinstance(effect, Judge)] == [Offence.MINOR]


def test_claim__early_in_a_pause_where_nobody_else_serves__is_not_held_against_its_miner() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    for number in range(EARLY_FREE + 1):
        early(seat, number)
    seat.wait(BURST_MS + 1)
    known = seat.core.task(seat.submit())  # type: ignore[arg-type]
    assert known is not None
    while known.open is None or known.open.order[:1] == (BOB_ID,):
        seat.wait(1)
    claim = seat.claim(BOB, known.id)
    seat.hear(StreamClosed(ALICE.peer_id))
    effects = seat.say(BOB, claim)
    assert (reasons(effects), ignored(effects), judged(effects)) == ([], ["slot.early"], [])


def test_claim__early_in_a_pause_for_a_lost_lease__is_held_against_nobody() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    seat.core.roster.conduct.lost_lease(BOB_ID, UnixMillis(seat.now), started=True, silent=True)
    seat.wait(2 * BURST_MS)
    effects = early(seat, 1)
    assert (reasons(effects), ignored(effects), judged(effects)) == ([], ["slot.early"], []), "its clock may be wrong"


def test_claim__before_its_slot_of_an_attempt_that_another_won__is_early_too() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    late = seat.claim(BOB, task)
    assert of_kind(seat.say(ALICE, seat.claim(ALICE, task)), Award)
    assert reasons(seat.say(BOB, late)) == ["early"]
    seat.wait(LAST_SLOT_MS)
    again = seat.claim(BOB, task, nonce=b"o" * 16).statement.model_copy(update={"offer": late.statement.offer})
    assert reasons(seat.say(BOB, Claim(statement=again, signature=signed(BOB, again)))) == ["awarded"]


def test_claimed_early__long_ago__is_forgotten() -> None:
    conduct, now = Conduct(), NOW
    for _ in range(4):
        assert [conduct.claimed_early(BOB_ID, now) for _ in range(EARLY_FREE)] == [0] * EARLY_FREE
        now = UnixMillis(now + EARLY_FORGIVEN_MS + 1)
    pauses = []
    for _ in range(EARLY_FREE + 3):
        pauses.append(conduct.claimed_early(BOB_ID, now))
        now = UnixMillis(now + pauses[-1])
    assert pauses == [0] * EARLY_FREE + [FIRST_PAUSE_MS, 2 * FIRST_PAUSE_MS, 4 * FIRST_PAUSE_MS]


def test_accounts__of_more_miners_than_are_remembered__are_bounded() -> None:
    conduct = Conduct()
    for number in range(REMEMBERED + 5):
        conduct.lost_lease(StakingId(number + 1), NOW, started=False, silent=False)
    assert len(conduct) == REMEMBERED
    assert conduct.is_warm(StakingId(1), NOW)
    assert not conduct.is_warm(StakingId(REMEMBERED + 5), NOW)


def begin(seat: CoordinatorSeat, award: Award, state: str, wait_ms: int = 100) -> None:
    """Alice says how far she is."""
    named = award.statement
    step = int(state == "step")
    seat.say(ALICE, Alive(task=named.task, attempt=named.attempt, state=state, step=step, steps=10, wait_ms=wait_ms))


@pytest.mark.parametrize(("queued_ms", "beyond_ms", "warm"), [(0, 100, True), (0, 101, False), (5000, 100, True)])
def test_warm__first_step_later_than_the_stated_wait_and_a_lease__counts_as_cold(
    queued_ms: int, beyond_ms: int, warm: bool
) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    awarded_at = seat.core.task(award.statement.task).holder.awarded_at  # type: ignore[union-attr]
    begins_at = awarded_at + queued_ms + PARAMS.lease_ms + beyond_ms
    while seat.now < begins_at - 1000:
        begin(seat, award, "queued" if queued_ms else "loading", queued_ms)
        seat.wait(1000)
    seat.wait(begins_at - seat.now)
    begin(seat, award, "step", wait_ms=100)
    assert seat.core.roster.conduct.is_warm(ALICE_ID, seat.now) == warm
