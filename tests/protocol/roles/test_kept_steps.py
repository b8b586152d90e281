"""Fingerprints that a miner keeps, and shows to the coordinator that ordered the picture: SPEC.md §12.7."""

from dataclasses import replace

import pytest

from protocol.effects import Effect, Persist, Send
from protocol.events import JobFinished
from protocol.records import ArtifactStored, ResultCommitted, StepsKept
from protocol.roles.miner import kept_steps
from protocol.roles.miner.kept_steps import KEPT_MS, MOST_ANSWERS
from protocol.task.fingerprint import fingerprint_root, packed
from protocol.task.steps import check_shown
from protocol.units import Digest, StakingId, UnixMillis
from protocol.wire.messages import Award, OpenedSteps, OpenSteps, Result
from tests.protocol.roles.frames import MODEL, PICTURE, PICTURE_DIGEST, award_of
from tests.protocol.roles.seats import MinerSeat, ignored, judged, of_kind, persisted
from tests.support.networks import CAROL

STEPS = [packed([step * 100 + value for value in range(64)]) for step in range(10)]
ROOT = fingerprint_root(STEPS)


class KeepingSeat(MinerSeat):
    """Alice, whose engine sees latents."""

    def draw(self, award: Award, steps: list[bytes] = STEPS) -> tuple[Effect, ...]:
        named = award.statement
        return self.hear(
            JobFinished(
                named.task,
                named.attempt,
                PICTURE,
                PICTURE_DIGEST,
                "image/png",
                MODEL.digest,
                ROOT,
                40,
                b"".join(steps),
            )
        )

    def kept(self, steps: list[bytes] = STEPS) -> StepsKept:
        """Draw a picture; give what is kept of it."""
        award = award_of(self.claimed())
        self.say(CAROL, award)
        return persisted(self.draw(award, steps), StepsKept)[0]


def question(kept: StepsKept, *steps: int, **changes: object) -> OpenSteps:
    fields = {"task": kept.task, "attempt": kept.attempt, "commitment": kept.commitment, "steps": steps}
    return OpenSteps.model_validate(fields | changes)


def answer(effects: tuple[Effect, ...]) -> OpenedSteps:
    (found,) = of_kind(effects, OpenedSteps)
    return found


def test_on_finished__engine_saw_the_steps__they_are_on_disk_with_the_commitment() -> None:
    seat = KeepingSeat()
    award = award_of(seat.claimed())
    seat.say(CAROL, award)
    effects = seat.draw(award)
    (written,) = (effect.records for effect in effects if isinstance(effect, Persist))
    assert [type(record) for record in written] == [ArtifactStored, ResultCommitted, StepsKept]
    assert written[2].fingerprints == b"".join(STEPS)
    assert of_kind(effects, Result)[0].commitment.fingerprint == ROOT


def test_on_open__steps_that_were_committed_to__are_shown_and_lead_to_the_root() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    effects = seat.say(CAROL, question(kept, 0, 4, 9))
    shown = answer(effects)
    assert check_shown(shown, (0, 4, 9), ROOT, len(STEPS)) == (STEPS[0], STEPS[4], STEPS[9])
    (sent,) = (effect for effect in effects if isinstance(effect, Send))
    assert (sent.peer, shown.task, shown.commitment) == (CAROL.peer_id, kept.task, kept.commitment)


def test_on_open__picture_that_is_not_known__is_said_not_to_be_kept() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    for changes in ({"commitment": b"x" * 32}, {"task": b"x" * 32}, {"attempt": 7}, {"steps": (3, 10)}):
        said = answer(seat.say(CAROL, question(kept, 0, **changes)))
        assert (said.opened, said.reason) == ((), "not_kept")


def test_on_open__of_another_coordinators_picture__is_said_not_to_be_kept() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    other = replace(kept, commitment=Digest(b"o" * 32), coordinator=StakingId(99))
    seat.core._working.steps.restore(other)
    assert answer(seat.say(CAROL, question(other, 1))).reason == "not_kept"
    assert answer(seat.say(CAROL, question(kept, 1))).reason is None


def test_on_open__what_the_disk_gave_back_changed__is_said_not_to_be_kept() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    seat.core._working.steps.restore(replace(kept, fingerprints=kept.fingerprints[:-1] + b"\x00"))
    assert answer(seat.say(CAROL, question(kept, 1))).reason == "not_kept", "a fault of the disk is no lie"


def test_on_open__steps_not_in_order__are_held_against_who_asks() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    assert judged(seat.say(CAROL, question(kept, 4, 1))) == ["open_steps.steps"]
    assert judged(seat.say(CAROL, question(kept, 4, 4))) == ["open_steps.steps"]


def test_on_open__again_and_again__is_answered_so_often_and_then_ignored() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    for _ in range(MOST_ANSWERS):
        assert answer(seat.say(CAROL, question(kept, 1))).opened
    assert ignored(seat.say(CAROL, question(kept, 1))) == ["open_steps.repeated"]


def test_on_open__of_what_the_disk_gave_back_changed__is_looked_at_so_often_and_then_ignored() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    seat.core._working.steps.restore(replace(kept, fingerprints=kept.fingerprints[:-1] + b"\x00"))
    for _ in range(MOST_ANSWERS):
        assert answer(seat.say(CAROL, question(kept, 1))).reason == "not_kept"
    assert ignored(seat.say(CAROL, question(kept, 1))) == ["open_steps.repeated"], "each look hashes all steps"


def test_restore__after_a_restart__shows_what_was_kept() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    again = KeepingSeat((kept,))
    assert answer(again.say(CAROL, question(kept, 2))).opened[0].fingerprint == STEPS[2]


@pytest.mark.parametrize(("bound", "most"), [("MOST_BYTES", 3 * 128 * len(STEPS)), ("MOST_PICTURES", 3)])
def test_keep__more_than_there_is_room_for__forgets_the_oldest(
    monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    monkeypatch.setattr(kept_steps, bound, most)
    store, later = seat.core._working.steps, [replace(kept, commitment=Digest(bytes([n]) * 32)) for n in range(3)]
    for record in later:
        store.restore(record)
    assert len(store) == 3
    assert answer(seat.say(CAROL, question(kept, 1))).reason == "not_kept"
    assert answer(seat.say(CAROL, question(later[0], 1))).opened


def test_keep__small_tasks_of_many_steps_or_of_another_coordinator__take_no_other_steps_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for changes in ({"fingerprints": b"".join(STEPS * 20)}, {"coordinator": StakingId(99)}):
        seat = KeepingSeat()
        kept = seat.kept()
        store, flood = seat.core._working.steps, replace(kept, **changes)  # type: ignore[arg-type]
        monkeypatch.setattr(kept_steps, "MOST_BYTES", 3 * len(flood.fingerprints))
        for number in range(10):
            store.restore(replace(flood, commitment=Digest(bytes([number]) * 32)))
            assert store._bytes <= 3 * len(flood.fingerprints)
        assert answer(seat.say(CAROL, question(kept, 1))).opened
        assert len(store) == 3
        assert sum(map(len, store._alike.values())) == 3


def test_keep__older_than_a_day__is_forgotten() -> None:
    seat = KeepingSeat()
    kept = seat.kept()
    seat.core.now = UnixMillis(seat.core.now + KEPT_MS)
    store = seat.core._working.steps
    store.restore(replace(kept, commitment=Digest(b"n" * 32), kept_at=seat.core.now))
    assert len(store) == 1


@pytest.mark.parametrize("steps", [[], [b"x"], [bytes(128)] * 201])
def test_keep__engine_that_saw_none_or_nonsense__keeps_nothing(steps: list[bytes]) -> None:
    seat = KeepingSeat()
    award = award_of(seat.claimed())
    seat.say(CAROL, award)
    effects = seat.draw(award, steps)
    assert of_kind(effects, Result), "the picture goes out all the same"
    assert not persisted(effects, StepsKept)
    assert len(seat.core._working.steps) == 0
