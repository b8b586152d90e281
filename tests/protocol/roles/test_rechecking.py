"""Finished tasks that are drawn again by other miners: SPEC.md §12.8.

Alice (1), bob (2) and dave (4) mine, carol (3) coordinates; what each draws is a colour.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import pytest

from protocol.crypto.envelope import opened_by
from protocol.crypto.keys import NodeKey
from protocol.effects import ComparePictures, Effect, Persist, SendInput, SetTimer
from protocol.events import (
    BlockSeen,
    PicturesCompared,
    Restored,
    StakeChanged,
    StreamClosed,
    TaskCancelled,
    TaskSubmitted,
)
from protocol.notes import NoteName
from protocol.records import (
    Drawing,
    InputsShared,
    InputStored,
    RecheckKept,
    Record,
    ReputationKept,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
)
from protocol.roles.coordinator import rechecking, sampling
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.coordinator.recheck import Recheck
from protocol.roles.coordinator.rechecking import LONGEST_MS, MOST_TRIES
from protocol.roles.coordinator.reputation import GRAVE, SLIGHT
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.stake.lottery import last_slot_ms
from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS
from protocol.units import DAY_MS, BlockNumber, Digest, DurationMs, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import WORK_PLACE, decode
from protocol.wire.messages import Alive, Award, CapabilityUpdate, Decline
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    EPOCH,
    NOW,
    PARAMS,
    PRICE,
    SPECIFICATION,
    artifact_of,
    capability,
    result_of,
)
from tests.protocol.roles.seats import AMPLE, CoordinatorSeat, noted, of_kind, persisted
from tests.support import networks
from tests.support.networks import ALICE, BOB, DAVE
from tests.support.pictures import png

DAVE_ID = StakingId(4)
IDS = {ALICE.peer_id: ALICE_ID, BOB.peer_id: BOB_ID, DAVE.peer_id: DAVE_ID}
SOURCE = png(128, 128, 3)
EDIT_FROM = Digest(hashlib.sha256(SOURCE).digest())
EDIT = SPECIFICATION.model_copy(update={"work": "image_to_image", "source": EDIT_FROM, "strength": 0.5})
ROWS = (*networks.trio(), networks.row(DAVE, 4, stake=50_000 * 10**18))
ALL = RecheckPolicy(share=1.0, newcomer_share=1.0, earliest=DurationMs(1000), latest=DurationMs(2000))
"""Every task is drawn again, and soon."""
HEART, NOISE, OTHER_NOISE = (png(128, 128, seed) for seed in (7, 8, 9))
LAST_SLOT_MS = last_slot_ms(3, 3, PARAMS.slot_step_ms)
"""After so long no claim is early, and nobody is waited for."""


class RecheckSeat(CoordinatorSeat):
    """Carol with three miners."""

    def __init__(
        self,
        records: tuple[Record, ...] = (),
        policy: RecheckPolicy | None = ALL,
        miners: Iterable[NodeKey] = (ALICE, BOB, DAVE),
    ) -> None:
        self._policy = policy
        self.kept: list[Record] = []
        self._present = tuple(miners)
        super().__init__(records, ())

    def start(self, records: tuple[Record, ...] = (), escrow: object = AMPLE) -> None:
        self.core = CoordinatorCore(self.identity, tuple, rechecks=self._policy)
        self.began = self.hear(Restored(records))
        for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
            self.hear(StakeChanged(networks.view(epoch, ROWS)))
        self.hear(BlockSeen(BlockNumber(1), self.now))
        self.escrows(AMPLE)
        for miner in self._present:
            self.greet(miner)

    @staticmethod
    def number(key: NodeKey) -> StakingId:
        return IDS.get(key.peer_id, StakingId(3))

    def hear(self, event: object) -> tuple[Effect, ...]:
        effects = super().hear(event)  # type: ignore[arg-type]
        self.kept.extend(record for effect in effects if isinstance(effect, Persist) for record in effect.records)
        return effects

    def awarded(self, task: bytes, miner: NodeKey) -> Award:
        """Let a miner win a task."""
        told: tuple[Effect, ...] = ()
        while not of_kind(told, Award):
            known = self.core.task(task)  # type: ignore[arg-type]
            assert known is not None
            if known.open is None:  # between two offers
                self.wait(50)
                continue
            self.wait(max(known.open.published_at + LAST_SLOT_MS - self.now, 0))
            nonce = hashlib.sha256(task + bytes([known.attempt])).digest()[:16]
            told = self.say(miner, self.claim(miner, task, nonce=nonce)) + self.wait(50)
        return of_kind(told, Award)[0]

    def draw(self, task: bytes, miner: NodeKey, picture: bytes = HEART) -> tuple[Effect, ...]:
        """Let a miner win a task and deliver."""
        award = self.awarded(task, miner)
        effects = self.say(miner, result_of(award, by=miner, data=picture, **self.committed(miner)))
        return effects + self.hear(artifact_of(award, by=miner, data=picture))

    def committed(self, miner: NodeKey) -> dict[str, object]:
        """What a commitment says of the steps: by default that the engine sees none."""
        del miner
        return {}

    def ordered(self) -> bytes:
        """Wait until the next drawing is ordered."""
        before = len(self.kept)
        self.wait(2100)
        accepted = [record for record in self.kept[before:] if isinstance(record, TaskAccepted)]
        assert len(accepted) == 1
        return accepted[0].task

    def last(self) -> RecheckKept:
        """What was kept last of a recheck."""
        return [record for record in self.kept if isinstance(record, RecheckKept)][-1]

    def compared(self, asked: ComparePictures, apart: int | None) -> tuple[Effect, ...]:
        return self.hear(PicturesCompared(asked.subject, asked.one, asked.other, apart))

    def rechecked(self, *drawn: tuple[NodeKey, bytes], apart: int = ANOTHER_PICTURE + 1) -> tuple[Effect, ...]:
        """Have one task drawn by these, one after the other; whatever differs is so far apart."""
        task, all_effects = self.submit(), tuple[Effect, ...]()
        for place, (miner, picture) in enumerate(drawn):
            effects = self.draw(task if place == 0 else self.ordered(), miner, picture)
            for asked in [effect for effect in effects if isinstance(effect, ComparePictures)]:
                effects += self.compared(asked, apart)
            all_effects += effects
        if len(drawn) == len(self._present) > 2 and not self.last().outcome:
            all_effects += self.alone()
        return all_effects

    def alone(self) -> tuple[Effect, ...]:
        """Let two looks show that nobody else is here."""
        return self.wait(2 * 2100)


def asked(effects: Iterable[Effect]) -> list[ComparePictures]:
    return [effect for effect in effects if isinstance(effect, ComparePictures)]


# The drawing


def test_on_end__task_is_drawn_by_lot__is_ordered_again_within_its_time_and_as_any_task() -> None:
    seat = RecheckSeat()
    task = seat.submit()
    effects = seat.draw(task, ALICE)
    planned = persisted(effects, RecheckKept)[0]
    assert planned.subject == task
    assert 1000 <= planned.due_at - seat.now <= 2000
    again = seat.ordered()
    first, second = (record for record in seat.kept if isinstance(record, TaskAccepted))
    assert second == replace(
        first,
        task=TaskId(again),
        number=1,
        salt=second.salt,
        accepted_at=second.accepted_at,
        deadline=second.deadline,
    )
    assert second.deadline - second.accepted_at == first.deadline - first.accepted_at
    known = seat.core.task(again)  # type: ignore[arg-type]
    assert known is not None
    assert not known.excluded, "whoever drew it first may draw it again"
    assert seat.last().pending == again
    assert seat.last().spent == PRICE


def test_on_end__lot_falls_on_no_task__nothing_is_drawn_again() -> None:
    seat = RecheckSeat(policy=replace(ALL, share=0.0, newcomer_share=0.0))
    effects = seat.draw(seat.submit(), ALICE)
    assert not persisted(effects, RecheckKept)


def test_on_end__without_a_policy__nothing_is_drawn_again() -> None:
    seat = RecheckSeat(policy=None)
    effects = seat.draw(seat.submit(), ALICE)
    assert not persisted(effects, RecheckKept)


def test_on_end__nobody_else_serves_the_model__nothing_is_planned() -> None:
    seat = RecheckSeat(miners=(ALICE,))
    effects = seat.draw(seat.submit(), ALICE)
    assert not persisted(effects, RecheckKept)


def test_on_end__drawn_by_the_same_miner_again__is_paid_and_tried_again() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    seat.draw(seat.ordered(), ALICE)
    assert len(seat.last().drawings) == 1
    effects = seat.draw(seat.ordered(), BOB)
    assert seat.last().outcome == "agreed"
    assert seat.last().spent == 2 * PRICE
    assert not asked(effects), "equal files need no look"


def test_on_end__the_same_miner_each_time__has_each_drawing_counted_once() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    for _ in range(MOST_TRIES):
        assert not seat.last().outcome
        seat.draw(seat.ordered(), ALICE)
    seat.wait(3000)
    assert (seat.last().outcome, seat.last().tries, seat.last().spent) == ("undecided", MOST_TRIES, MOST_TRIES * PRICE)


def test_on_end__drawn_task_fails__is_tried_again_and_held_against_nobody() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    seat.hear(TaskCancelled(TaskId(seat.ordered())))
    seat.draw(seat.ordered(), BOB)
    assert (seat.last().outcome, seat.last().tries) == ("agreed", 2)


def test_on_end__of_a_recheck__is_not_drawn_again_itself() -> None:
    seat = RecheckSeat()
    seat.rechecked((ALICE, HEART), (BOB, HEART))
    before = len(seat.kept)
    seat.wait(3000)
    assert not [record for record in seat.kept[before:] if isinstance(record, TaskAccepted)]


def test_on_end__many_tasks_of_one_account__leave_room_for_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rechecking, "MOST_OPEN", 4)
    seat = RecheckSeat(policy=replace(ALL, earliest=DurationMs(600_000), latest=DurationMs(600_000)))

    def planned(account: str) -> bool:
        (accepted,) = persisted(seat.hear(TaskSubmitted(1, SPECIFICATION, True, None, account=account)), TaskAccepted)
        seat.wait(20)
        return bool(persisted(seat.draw(accepted.task, ALICE), RecheckKept))

    assert [planned("many") for _ in range(3)] == [True, True, False]
    assert [planned("few") for _ in range(2)] == [True, False]
    assert planned("another")
    assert not planned("one more"), "all places are taken"


def test_on_timer__limit_of_the_day_is_reached__waits_and_ends_undecided() -> None:
    seat = RecheckSeat(policy=replace(ALL, daily_limit=Wei(PRICE - 1)))
    seat.draw(seat.submit(), ALICE)
    effects = seat.wait(2100 * (MOST_TRIES + 1))
    assert {note.fields["reason"] for note in noted(effects, NoteName.RECHECK_PUT_OFF)} == {"daily_limit"}
    assert seat.last().outcome == "undecided"
    assert len([record for record in seat.kept if isinstance(record, TaskAccepted)]) == 1


def test_on_timer__many_tasks_and_no_limit_named__looks_at_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "DAILY_LIMIT", Wei(PRICE - 1))
    for is_much, named in ((True, None), (False, None), (True, Wei(PRICE - 1))):
        monkeypatch.setattr(sampling, "PART_OF_PRICES", 1 if is_much else 20)
        seat = RecheckSeat(policy=replace(ALL, daily_limit=named))
        seat.draw(seat.submit(), ALICE)
        reasons = [note.fields["reason"] for note in noted(seat.wait(2100), NoteName.RECHECK_PUT_OFF)]
        is_looked_at = is_much and named is None
        assert reasons[:1] == ([] if is_looked_at else ["daily_limit"])
        assert len([record for record in seat.kept if isinstance(record, TaskAccepted)]) == 1 + is_looked_at


def test_on_timer__what_was_ordered_today_leaves_no_room__waits() -> None:
    seat = RecheckSeat(policy=replace(ALL, daily_limit=PRICE))
    seat.rechecked((ALICE, HEART), (BOB, HEART))
    seat.draw(seat.submit(), ALICE)
    due = seat.last().due_at
    effects = seat.wait(2100)
    assert [note.fields["reason"] for note in noted(effects, NoteName.RECHECK_PUT_OFF)][:1] == ["daily_limit"]
    put_off = persisted(effects, RecheckKept)[0]
    assert (put_off.tries, put_off.pending) == (1, None)
    assert 1000 <= put_off.due_at - due <= 2000


def test_on_timer__nobody_else_is_here_any_more__waits() -> None:
    seat = RecheckSeat(miners=(ALICE, BOB))
    seat.draw(seat.submit(), ALICE)
    seat.hear(StreamClosed(BOB.peer_id))
    effects = seat.wait(2100)
    assert {note.fields["reason"] for note in noted(effects, NoteName.RECHECK_PUT_OFF)} == {"nobody_else"}


def test_on_timer__cannot_be_ordered_now__waits() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    seat.escrows(replace(AMPLE, deposited=Wei(0)), block=2)
    effects = seat.wait(2100)
    assert {note.fields["reason"] for note in noted(effects, NoteName.RECHECK_PUT_OFF)} == {"escrow_short"}
    assert seat.last().pending is None


# What the pictures say


def test_on_compared__within_what_may_honestly_differ__both_pass() -> None:
    seat = RecheckSeat()
    effects = seat.rechecked((ALICE, HEART), (BOB, NOISE), apart=OTHER_NUMERICS)
    assert seat.last().outcome == "agreed"
    assert {record.miner: record.passed for record in persisted(effects, ReputationKept)} == {ALICE_ID: 1, BOB_ID: 1}


@pytest.mark.parametrize("cheat", [ALICE, BOB], ids=["first", "second"])
def test_on_compared__one_of_three_shows_something_else__loses_standing_and_the_others_pass(cheat: NodeKey) -> None:
    seat = RecheckSeat()
    drawn = [(miner, NOISE if miner is cheat else HEART) for miner in (ALICE, BOB, DAVE)]
    effects = seat.rechecked(*drawn)
    reputation = seat.core.roster.conduct.reputation
    assert seat.last().outcome == "odd_one_out"
    assert seat.last().odd == (IDS[cheat.peer_id],)
    assert [note.fields["miner"] for note in noted(effects, NoteName.RECHECK_ODD)] == [IDS[cheat.peer_id]]
    for miner in (ALICE, BOB, DAVE):
        account = reputation.of(IDS[miner.peer_id], seat.now)
        assert (account.doubt > 0) == (miner is cheat)
        assert (account.passed > 0) == (miner is not cheat)
    assert not seat.core.roster.conduct.is_paused(IDS[cheat.peer_id], seat.now), "once is no reason"


@pytest.mark.parametrize(("apart", "doubt"), [(ANOTHER_PICTURE, SLIGHT), (ANOTHER_PICTURE + 1, GRAVE)])
def test_on_compared__odd_one__is_doubted_the_more_the_further_it_is_off(apart: int, doubt: float) -> None:
    seat = RecheckSeat()
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART), apart=apart)
    assert seat.core.roster.conduct.reputation.of(ALICE_ID, seat.now).doubt == pytest.approx(doubt, rel=1e-4)
    assert seat.last().odd == (ALICE_ID,)
    assert seat.last().far == (), "two that agree are too few for a report"


def test_on_compared__odd_one_again__is_left_out_while_others_serve_and_told_why() -> None:
    seat = RecheckSeat()
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    effects = seat.rechecked((ALICE, OTHER_NOISE), (DAVE, HEART), (BOB, HEART))
    pause = noted(effects, NoteName.MINER_PAUSED)[0]
    assert pause.fields == {"miner": ALICE_ID, "reason": "recheck", "ms": ALL.pause}
    assert seat.core.roster.left_out(SPECIFICATION.model, seat.now) == {ALICE_ID}
    task = seat.submit()
    told: tuple[Effect, ...] = ()
    for nonce in range(20):  # her slot lies behind all others now
        told += seat.say(ALICE, seat.claim(ALICE, task, nonce=bytes([nonce]) * 16)) + seat.wait(50)
    declined = of_kind(told, Decline)
    assert [one.statement.reason for one in declined] == ["paused"]
    assert seat.core.roster.conduct.is_paused(ALICE_ID, UnixMillis(seat.now + 6 * DAY_MS))
    assert not seat.core.roster.conduct.is_paused(ALICE_ID, UnixMillis(seat.now + 7 * DAY_MS))


def test_on_compared__half_of_those_who_serve_are_left_out__nobody_more_is() -> None:
    seat = RecheckSeat()
    conduct = seat.core.roster.conduct
    conduct.reputation.delivered(BOB_ID, seat.now)
    conduct.reputation.leave_out(BOB_ID, UnixMillis(seat.now + DAY_MS))
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    seat.rechecked((ALICE, OTHER_NOISE), (DAVE, HEART), (BOB, HEART))
    assert not conduct.is_paused(ALICE_ID, seat.now)
    assert conduct.reputation.of(ALICE_ID, seat.now).doubt > 8


def test_on_compared__three_that_all_differ__a_fourth_is_asked_and_nobody_blamed_before() -> None:
    seat = RecheckSeat()
    effects = seat.rechecked((ALICE, HEART), (BOB, NOISE), (DAVE, OTHER_NOISE))
    assert not seat.last().outcome
    assert len(asked(effects)) == 3, "no two are compared twice"
    assert not noted(effects, NoteName.RECHECK_ODD)
    assert seat.core.roster.conduct.reputation.of(BOB_ID, seat.now).doubt == 0


def test_on_compared__pictures_that_could_not_be_compared__end_it_and_blame_nobody() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    question = asked(seat.draw(seat.ordered(), BOB, NOISE))[0]
    effects = seat.compared(question, None)
    assert seat.last().outcome == "not_comparable"
    assert not persisted(effects, ReputationKept)
    assert not seat.compared(question, 0), "an answer that comes twice says nothing"


def test_on_end__picture_with_signed_commitment__is_kept_as_evidence() -> None:
    seat = RecheckSeat()
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    kept = seat.last()
    assert [drawing.miner for drawing in kept.drawings] == [ALICE_ID, BOB_ID, DAVE_ID]
    assert [drawing.artifact for drawing in kept.drawings] == [
        Digest(hashlib.sha256(picture).digest()) for picture in (NOISE, HEART, HEART)
    ]
    assert all(bytes(drawing.artifact) in drawing.result for drawing in kept.drawings)


# Over a restart


def restarted(seat: RecheckSeat, *more: Record) -> RecheckSeat:
    """Begin again on what is on disk of rechecks, and these."""
    latest: dict[object, Record] = {}
    for record in seat.kept:
        if isinstance(record, RecheckKept):
            latest[record.subject] = record
        elif isinstance(record, ReputationKept):
            latest[record.miner] = record
    again = RecheckSeat.__new__(RecheckSeat)
    again.now = seat.now
    now = again.now
    RecheckSeat.__init__(again, (*more, *latest.values()))
    assert again.now <= now
    return again


def test_restore__before_the_next_drawing__orders_it_when_it_is_due() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    again = restarted(seat)
    timers = {effect.key: effect.at for effect in again.began if isinstance(effect, SetTimer)}
    assert timers["recheck", seat.last().subject, 0] == seat.last().due_at
    again.wait(5000)
    assert again.last().pending is not None


def test_restore__while_it_is_drawn__goes_on_with_that_task() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    task = seat.ordered()
    accepted = next(record for record in seat.kept if isinstance(record, TaskAccepted) and record.task == task)
    assert not [record for record in seat.kept if isinstance(record, TaskAwarded) and record.task == task]
    again = restarted(seat, accepted)
    again.wait(3000)
    again.draw(task, BOB)
    assert again.last().outcome == "agreed"


def test_restore__while_pictures_are_compared__has_them_compared_again() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    question = asked(seat.draw(seat.ordered(), BOB, NOISE))[0]
    again = restarted(seat)
    assert asked(again.began) == [question]
    again.compared(question, 5)
    assert again.last().outcome == "agreed"


def test_restore__miner_that_is_left_out__still_is_and_the_day_is_counted_on() -> None:
    seat = RecheckSeat()
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    seat.rechecked((ALICE, OTHER_NOISE), (DAVE, HEART), (BOB, HEART))
    again = restarted(seat)
    assert again.core.roster.conduct.is_paused(ALICE_ID, again.now)
    known, before = again.core.roster.conduct.reputation, seat.core.roster.conduct.reputation
    assert known.is_left_out(ALICE_ID, again.now)
    assert known.of(ALICE_ID, again.now).doubt == pytest.approx(before.of(ALICE_ID, seat.now).doubt)
    assert again.core._rechecking._spending.since_yesterday(again.now) == 4 * PRICE
    assert len(again.core._rechecking) == 0


def test_restore__drawing_that_an_old_copy_of_the_store_does_not_know__is_ordered_again() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    lost = seat.ordered()
    again = restarted(seat)
    again.wait(5000)
    assert again.last().pending not in {None, lost}


def test_restore__older_than_half_a_day__ends_undecided() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    old = replace(seat.last(), planned_at=UnixMillis(seat.now - LONGEST_MS))
    again = RecheckSeat((old,))
    again.wait(5000)
    assert again.last().outcome == "undecided"
    assert not [record for record in again.kept if isinstance(record, TaskAccepted)]


def test_restore__where_nothing_is_drawn_again_any_more__ends_what_was_under_way() -> None:
    seat = RecheckSeat()
    seat.draw(seat.submit(), ALICE)
    again = RecheckSeat((seat.last(),), policy=None)
    assert again.last() == replace(seat.last(), outcome="undecided")
    assert not [key for key in again.timers if key[0] == "recheck"]


# Which tasks


class EditSeat(RecheckSeat):
    """Carol, and tasks that begin from a picture, which these miners can do."""

    def __init__(self, policy: RecheckPolicy = ALL, able: Iterable[NodeKey] = (ALICE, BOB, DAVE)) -> None:
        super().__init__(policy=policy)
        for miner in able:
            works = ("text_to_image", "image_to_image")
            until = UnixMillis(self.now + 60_000)
            self.say(miner, capability(miner, IDS[miner.peer_id], sequence=self.now + 2, expires_at=until, works=works))

    def edited(self) -> tuple[Effect, ...]:
        """Have alice draw a picture from another one."""
        self.hear(TaskSubmitted(1, EDIT, True, inputs={EDIT_FROM: SOURCE}, may_be_disputed=True))
        task = [record for record in self.kept if isinstance(record, TaskAccepted)][-1].task
        effects = self.draw(task, ALICE)
        assert noted(effects, NoteName.TASK_DONE)
        return effects


def test_plan__task_that_began_from_a_picture__is_drawn_again_from_the_same() -> None:
    seat = EditSeat()
    effects = seat.edited()
    (end,) = [effect.records for effect in effects if isinstance(effect, Persist) and len(effect.records) > 2]
    kinds = [type(record) for record in end]
    assert kinds.index(RecheckKept) < kinds.index(TaskDone), "in one transaction, before the end frees the pictures"
    again = seat.ordered()
    assert [one for one in seat.kept if isinstance(one, InputsShared)] == [
        InputsShared(TaskId(again), seat.last().subject)
    ]
    assert len([one for one in seat.kept if isinstance(one, InputStored)]) == 1, "their bytes are not carried about"
    attempt = seat.awarded(again, BOB).statement.attempt
    told = seat.say(BOB, Alive(task=again, attempt=attempt, state="queued", step=0, steps=5, wait_ms=60_000))
    assert [effect.digest for effect in told if isinstance(effect, SendInput)] == [EDIT_FROM]
    assert not seat.last().may_be_disputed, "no juror takes it"


def test_plan__where_pictures_go_to_nobody_else__is_not_drawn_again() -> None:
    assert not persisted(EditSeat(replace(ALL, with_inputs=False)).edited(), RecheckKept)


def test_restore__pictures_go_to_nobody_else_any_more__ends_what_was_under_way() -> None:
    seat = EditSeat()
    seat.edited()
    again = RecheckSeat((seat.last(),), policy=replace(ALL, with_inputs=False))
    assert again.last() == replace(seat.last(), outcome="undecided")


def test_plan__nobody_else_does_such_work__is_not_drawn_again() -> None:
    assert not persisted(EditSeat(able=(ALICE,)).edited(), RecheckKept)


def test_plan__as_many_as_may_wait_with_pictures__no_more_of_these_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rechecking, "MOST_WITH_INPUTS", 1)
    seat = EditSeat(replace(ALL, earliest=DurationMs(600_000), latest=DurationMs(600_000)))
    assert [bool(persisted(seat.edited(), RecheckKept)) for _ in range(2)] == [True, False]
    assert persisted(seat.draw(seat.submit(), ALICE), RecheckKept), "those from text alone have their own"


def test_numerics__of_a_task_that_began_from_a_picture__are_not_known() -> None:
    drawing = Drawing(TaskId(bytes(32)), 0, ALICE_ID, EDIT_FROM, b"", "float32-cpu")
    both = [Recheck(drawing.task, b"", work, NOW, NOW, [drawing]) for work in (SPECIFICATION, EDIT)]
    assert [one.numerics(0) for one in both] == ["float32-cpu", "any"]


def test_on_end__as_many_as_may_be_are_under_way__no_more_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.MOST_OPEN", 1)
    seat = RecheckSeat(policy=replace(ALL, earliest=DurationMs(60_000), latest=DurationMs(60_000)))
    assert persisted(seat.draw(seat.submit(), ALICE), RecheckKept)
    assert not persisted(seat.draw(seat.submit(), BOB), RecheckKept)


def test_on_end__any_picture__speaks_for_its_miner_and_a_failure_for_nobody() -> None:
    seat = RecheckSeat(policy=None)
    seat.draw(seat.submit(), ALICE)
    seat.hear(TaskCancelled(TaskId(seat.submit())))
    reputation = seat.core.roster.conduct.reputation
    assert reputation.of(ALICE_ID, seat.now).delivered > 0.99
    assert len(reputation) == 1


@pytest.mark.parametrize(
    ("app_agrees", "all_agree", "is_kept"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_on_end__app_or_owner_for_all_apps_agreed__is_kept_with_the_recheck(
    app_agrees: bool, all_agree: bool, is_kept: bool
) -> None:
    seat = RecheckSeat(policy=replace(ALL, all_may_be_disputed=all_agree))
    seat.hear(TaskSubmitted(1, SPECIFICATION, True, may_be_disputed=app_agrees))
    (accepted,) = [record for record in seat.kept if isinstance(record, TaskAccepted)]
    assert accepted.may_be_disputed is app_agrees
    seat.wait(20)
    seat.draw(accepted.task, ALICE)
    planned = seat.last()
    assert planned.may_be_disputed is is_kept
    again = RecheckSeat((planned,), policy=ALL)
    again.wait(20_000)
    assert again.last().may_be_disputed is is_kept, "also over a restart, whatever the owner says now"


def test_on_end__miner_that_said_what_it_draws_in__is_kept_with_its_own_signed_word() -> None:
    seat = RecheckSeat()
    task = seat.submit()
    seat.draw(task, ALICE)
    (drawn,) = seat.last().drawings
    said = decode(drawn.capability, WORK_PLACE)
    assert isinstance(said, CapabilityUpdate)
    assert opened_by(seat.identity.network_id, said.body, said.signature) == ALICE.address
