"""Steps that a coordinator asks to see of pictures that were drawn again: SPEC.md §12.8.

Alice (1), bob (2) and dave (4) mine, carol (3) coordinates. All draw the same picture, through steps of their own.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from protocol.crypto.keys import NodeKey
from protocol.effects import Effect, Send
from protocol.errors import IgnoredMessage
from protocol.events import StakeChanged, StreamClosed, StreamReceived
from protocol.notes import NoteName
from protocol.records import RecheckKept, Record, ReputationKept
from protocol.roles.coordinator import opening
from protocol.roles.coordinator.opening import MOST_QUESTIONS, MOST_UNASKED, UNASKED_MS
from protocol.roles.coordinator.reputation import GRAVE, SLIGHT
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.stake.epoch import beacon_cutoff, epoch_at, epoch_start
from protocol.task.fingerprint import fingerprint_root, packed, steps_to_open
from protocol.task.steps import OTHER_STEPS, SAME_STEPS, show_steps
from protocol.units import Digest, Epoch, StakingId, UnixMillis
from protocol.wire.messages import OpenedSteps, OpenSteps
from tests.protocol.roles.frames import BOB_ID, CAROL_ID, EPOCH, NOW, PARAMS, SPECIFICATION, capability
from tests.protocol.roles.seats import AMPLE, ignored, judged, noted
from tests.protocol.roles.test_rechecking import ALL, HEART, IDS, NOISE, ROWS, RecheckSeat, asked
from tests.support import networks
from tests.support.networks import ALICE, BOB, DAVE

COUNT = SPECIFICATION.steps
UNIT = 1024


def through(off_millionths: int = 0, count: int = COUNT) -> list[bytes]:
    """The fingerprints of honest steps, or of some that lie so far off."""
    off = off_millionths * UNIT / 1_000_000
    return [packed([round(50 * step + value + off) for value in range(64)]) for step in range(count)]


HONEST = through()
MINERS = (ALICE, BOB, DAVE)


class OpeningSeat(RecheckSeat):
    """Carol with three miners, who answer what they are asked as they are told to."""

    def __init__(
        self,
        records: tuple[Record, ...] = (),
        policy: RecheckPolicy = ALL,
        numerics: str = "bfloat16-cuda",
        miners: Iterable[NodeKey] = MINERS,
        count: int = COUNT,
        begun: UnixMillis = NOW,
    ) -> None:
        self._begun = begun
        self.steps: dict[NodeKey, list[bytes]] = dict.fromkeys(MINERS, through(count=count))
        self._work = SPECIFICATION.model_copy(update={"steps": count})
        self._numerics = numerics
        self.questions: list[tuple[NodeKey, OpenSteps]] = []
        super().__init__(records, policy, miners)

    def start(self, records: tuple[Record, ...] = (), escrow: object = AMPLE) -> None:
        self.now = self._begun
        super().start(records, escrow)

    def submit(self, **order: Any) -> bytes:  # Any: as the seat takes it
        return super().submit(work=self._work, **order)

    def greet(self, miner: NodeKey) -> tuple[Effect, ...]:
        effects = super().greet(miner)
        until = self.now + 3_600_000
        told = capability(miner, self.number(miner), sequence=self.now + 1, expires_at=until, numerics=self._numerics)
        return effects + self.say(miner, told)

    def committed(self, miner: NodeKey) -> dict[str, object]:
        steps = self.steps[miner]
        return {"fingerprint": fingerprint_root(steps) if steps else bytes(32)}

    def hear(self, event: object) -> tuple[Effect, ...]:
        effects = super().hear(event)
        keys = {key.peer_id: key for key in MINERS}
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, OpenSteps):
                self.questions.append((keys[effect.peer], effect.message))
        return effects

    def until_asked(self) -> tuple[Effect, ...]:
        """Let time pass up to the next question."""
        self.questions.clear()
        effects: tuple[Effect, ...] = ()
        for _ in range(400):
            effects += self.wait(1000)
            epoch = epoch_at(self.now, PARAMS) + 1
            if self.now >= beacon_cutoff(Epoch(epoch), PARAMS) and self.core.book.view(Epoch(epoch)) is None:
                self.hear(StakeChanged(networks.view(epoch, ROWS)))
            if self.questions:
                return effects
        raise AssertionError("nobody was asked")

    def answered(self, miner: NodeKey) -> OpenedSteps:
        """The answer to the latest question to a miner."""
        question = next(told for key, told in reversed(self.questions) if key is miner)
        return OpenedSteps(
            task=question.task,
            attempt=question.attempt,
            commitment=question.commitment,
            opened=show_steps(self.steps[miner], question.steps),
        )

    def answer(self, miner: NodeKey, **changes: object) -> tuple[Effect, ...]:
        """Answer the latest question to a miner."""
        return self.say(miner, self.answered(miner).model_copy(update=changes))

    def decline(self, miner: NodeKey) -> tuple[Effect, ...]:
        return self.answer(miner, opened=(), reason="not_kept")

    def standing(self, miner: NodeKey) -> tuple[float, float]:
        """What speaks for a miner, and what against it."""
        account = self.core.roster.conduct.reputation.of(IDS[miner.peer_id], self.now)
        return round(account.passed, 2), round(account.doubt, 2)

    def names(self) -> list[str]:
        return [drawing.steps for drawing in self.last().drawings]


def drawn(seat: OpeningSeat, *miners: NodeKey) -> None:
    """Have one task drawn by these, who all deliver one picture."""
    seat.rechecked(*((miner, HEART) for miner in miners))


# The question


def test_begin__two_pictures_agree__steps_are_asked_for_by_a_beacon_that_was_unknown_when_they_were_signed() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    assert not seat.last().outcome
    assert not seat.questions, "no beacon is late enough"
    signed_at = seat.now
    seat.until_asked()
    cutoff = beacon_cutoff(Epoch(EPOCH + 1), PARAMS)
    assert signed_at < cutoff <= seat.now
    heard = dict(seat.questions)
    assert heard.keys() == {ALICE, BOB}
    first = heard[ALICE]
    assert {question.steps for question in heard.values()} == {first.steps}
    assert [question.task for question in heard.values()] == [drawing.task for drawing in seat.last().drawings]


def test_begin__moments_before_a_beacon_is_fixed__waits_for_the_next_since_its_block_may_be_there() -> None:
    before = OpeningSeat()
    begun = before.now
    drawn(before, ALICE, BOB)
    seat, cutoff = OpeningSeat(), beacon_cutoff(Epoch(EPOCH + 1), PARAMS)
    seat.wait(cutoff - begun - (before.now - begun) - 3000)
    drawn(seat, ALICE, BOB)
    assert cutoff - 4000 < seat.now < cutoff, "the last block before it may be seconds old already"
    seat.until_asked()
    assert seat.now >= beacon_cutoff(Epoch(EPOCH + 2), PARAMS)


def test_begin__picture_of_many_steps__nobody_knows_by_those_asked_for_whose_drawing_was_the_first() -> None:
    seat = OpeningSeat(count=20)
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    beacon, (one, other) = networks.view(EPOCH + 1).beacon, [told for _, told in seat.questions]
    assert one.steps == other.steps
    assert len(one.steps) == 16
    known = [bytes(told.commitment) for told in (one, other)] + [bytes(told.task) for told in (one, other)]
    assert one.steps not in [steps_to_open(beacon, Digest(name), 20, 16) for name in known]


def test_begin__engines_that_see_no_latents__are_asked_nothing_and_pass() -> None:
    seat = OpeningSeat(numerics="any")
    seat.steps = {miner: [] for miner in MINERS}
    drawn(seat, ALICE, BOB)
    assert seat.last().outcome == "agreed"
    assert seat.standing(ALICE) == (1.0, 0.0)


def test_begin__pictures_differ__nobody_is_asked_before_some_agree() -> None:
    seat = OpeningSeat()
    seat.rechecked((ALICE, HEART), (BOB, NOISE))
    assert len(seat.core._rechecking.opening) == 0
    assert not seat.last().outcome


# The answers


def test_on_opened__both_went_through_the_same__both_pass_and_their_answers_are_kept() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    assert not seat.last().outcome
    effects = seat.answer(BOB)
    kept = seat.last()
    assert (kept.outcome, seat.names()) == ("agreed", ["agreed", "agreed"])
    assert all(HONEST[0] in drawing.opened for drawing in kept.drawings)
    assert seat.standing(ALICE) == seat.standing(BOB) == (1.0, 0.0)
    assert [note.fields["reason"] for note in noted(effects, NoteName.RECHECK_STEPS)] == ["agreed", "agreed"]
    assert not [key for key in seat.timers if key[0] == "opening"]


@pytest.mark.parametrize(
    ("numerics", "limit"), [("bfloat16-cuda", OTHER_STEPS), ("float32-cpu", SAME_STEPS)], ids=["16 bits", "same"]
)
def test_on_opened__within_what_may_honestly_differ__both_pass_and_beyond_a_third_is_asked_to_draw(
    numerics: str, limit: int
) -> None:
    for off, outcome in ((limit * 9 // 10, "agreed"), (limit * 12 // 10 + UNIT, "")):
        seat = OpeningSeat(numerics=numerics)
        seat.steps[BOB] = through(off)
        drawn(seat, ALICE, BOB)
        seat.until_asked()
        seat.answer(ALICE)
        seat.answer(BOB)
        assert seat.last().outcome == outcome
        assert seat.names() == (["agreed"] * 2 if outcome else ["opened"] * 2)
        assert seat.standing(BOB)[1] == 0, "one word against another blames nobody"
        if not outcome:
            seat.ordered()


def test_on_opened__third_agrees_with_one__the_other_is_the_odd_one() -> None:
    seat = OpeningSeat()
    seat.steps[BOB] = through(2 * OTHER_STEPS)
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    earlier = seat.questions[0][1].steps
    seat.answer(ALICE)
    seat.answer(BOB)
    seat.draw(seat.ordered(), DAVE)
    seat.until_asked()
    assert {key for key, _ in seat.questions} == set(MINERS)
    assert len(earlier) == COUNT
    for miner in MINERS:
        seat.answer(miner)
    assert not seat.last().outcome, "others may be on their way back"
    seat.until_asked()
    effects = tuple(effect for miner in MINERS for effect in seat.answer(miner))
    kept = seat.last()
    assert (kept.outcome, kept.odd) == ("odd_one_out", (BOB_ID,))
    assert seat.names() == ["agreed", "odd", "agreed"]
    assert seat.standing(BOB) == (0.0, SLIGHT)
    assert seat.standing(ALICE) == seat.standing(DAVE) == (1.0, 0.0)
    assert noted(effects, NoteName.RECHECK_ODD)[0].fields["steps"] == "odd"


def test_on_opened__what_does_not_lead_to_the_signed_root__speaks_against_its_miner_alone() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    seat.steps[BOB] = through(1000)
    effects = seat.answer(BOB)
    assert judged(effects) == ["fingerprint.opening"]
    kept = seat.last()
    assert (kept.outcome, kept.odd, seat.names()) == ("odd_one_out", (BOB_ID,), ["opened", "wrong"])
    assert seat.standing(BOB) == (0.0, GRAVE)
    assert seat.standing(ALICE) == (1.0, 0.0)


def test_on_opened__other_steps_than_are_asked_for__are_ignored_and_the_right_ones_heard() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    wanted = seat.questions[0][1].steps
    effects = seat.answer(BOB, opened=show_steps(HONEST, wanted[:-1]))
    assert (judged(effects), ignored(effects)) == ([], ["opened_steps.steps"])
    seat.answer(BOB)
    assert seat.names() == ["agreed", "agreed"]


def test_on_opened__late_answer_to_the_question_of_an_earlier_run__is_held_against_nobody() -> None:
    seat = OpeningSeat(count=20)
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    late = seat.answered(BOB)
    again = OpeningSeat((seat.last(),), count=20, begun=seat.now)
    again.until_asked()
    assert again.questions[0][1].steps != seat.questions[0][1].steps
    effects = again.say(BOB, late)
    assert (judged(effects), ignored(effects)) == ([], ["opened_steps.steps"])
    again.answer(ALICE)
    again.answer(BOB)
    assert (again.last().outcome, again.names()) == ("agreed", ["agreed", "agreed"])


def test_on_opened__word_on_the_question_of_an_earlier_run_before_this_one_asks__is_ignored() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    late = seat.answered(BOB).model_copy(update={"opened": (), "reason": "not_kept"})
    again = OpeningSeat((seat.last(),), begun=seat.now)
    again.wait(1)
    assert ignored(again.say(BOB, late)) == ["opened_steps.unasked"]
    again.until_asked()
    again.answer(ALICE)
    again.answer(BOB)
    assert (again.last().outcome, again.names()) == ("agreed", ["agreed", "agreed"])


LENIENT = replace(ALL, must_open=False)


def test_on_opened__miner_kept_none_and_need_not_show__passes_by_half_and_is_not_blamed() -> None:
    seat = OpeningSeat(policy=LENIENT)
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    assert not judged(seat.decline(BOB))
    assert (seat.last().outcome, seat.names()) == ("agreed", ["opened", "declined"])
    assert seat.standing(ALICE) == (1.0, 0.0)
    assert seat.standing(BOB) == (0.5, 0.0)


def test_on_timer__miner_says_nothing_and_need_not__is_asked_some_times_and_passes_by_half() -> None:
    seat = OpeningSeat(policy=LENIENT)
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    seat.wait(10_000)
    assert sum(key is BOB for key, _ in seat.questions) == MOST_QUESTIONS
    assert sum(key is ALICE for key, _ in seat.questions) == 1
    assert (seat.last().outcome, seat.names()) == ("agreed", ["opened", "silent"])
    assert seat.standing(BOB) == (0.5, 0.0)
    assert ignored(seat.answer(BOB)) == ["opened_steps.unasked"], "too late"


def test_on_timer__miner_is_gone__is_not_said_to_be_silent() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.hear(StreamClosed(BOB.peer_id))
    seat.until_asked()
    seat.answer(ALICE)
    seat.wait(10_000)
    assert seat.names() == ["opened", "away"]
    assert seat.standing(BOB) == (0.5, 0.0)


@pytest.mark.parametrize("missing", ["bob", "carol", "the table", "nobody"])
def test_end__no_new_table_lists_us_both__miner_that_says_nothing_is_not_said_to_be_silent(missing: str) -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    epoch = Epoch(max(seat.core.book.tables.views) + 1)
    seat.now = epoch_start(epoch, PARAMS)
    if missing != "the table":
        left = {"bob": BOB_ID, "carol": CAROL_ID}.get(missing)
        rows = tuple(replace(row, active=row.id != left) for row in ROWS)
        seat.hear(StakeChanged(networks.view(epoch, rows)))
    seat.wait(10_000)
    assert seat.names() == ["opened", "silent" if missing == "nobody" else "away"]
    assert seat.standing(BOB) == ((0.0, SLIGHT) if missing == "nobody" else (0.5, 0.0))


def test_on_timer__miner_comes_back_in_time__is_asked_again_and_passes() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.hear(StreamClosed(BOB.peer_id))
    seat.until_asked()
    seat.answer(ALICE)
    seat.greet(BOB)
    seat.wait(1100)
    seat.answer(BOB)
    assert seat.names() == ["agreed", "agreed"]


def test_on_miner_back__goes_whenever_questions_go_out__is_asked_all_the_same_and_never_away() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.hear(StreamClosed(BOB.peer_id))
    seat.until_asked()
    seat.answer(ALICE)
    for number in range(MOST_QUESTIONS):
        for _ in range(3):
            seat.greet(BOB)
            seat.hear(StreamClosed(BOB.peer_id))
        asked_of_bob = sum(key is BOB for key, _ in seat.questions)
        assert asked_of_bob == number + 1, "once for each time that others are asked, or he could make us ask for ever"
        seat.wait(1000)
    assert seat.names() == ["opened", "silent"]
    assert seat.standing(BOB) == (0.0, SLIGHT)


def test_on_miner_back__with_the_steps_it_was_not_there_to_show__answers_at_once_and_passes() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.hear(StreamClosed(BOB.peer_id))
    seat.until_asked()
    seat.answer(ALICE)
    effects = seat.greet(BOB)
    kinds = [effect.message.kind for effect in effects if isinstance(effect, Send)]
    assert kinds[:2] == ["hello", "open_steps"], "nobody hears a question before he is greeted"
    seat.answer(BOB)
    assert seat.names() == ["agreed", "agreed"]


@pytest.mark.parametrize("numerics", ["bfloat16-cuda", "any"])
def test_begin__no_root_beside_one_and_need_not__passes_by_half_whatever_numbers_it_names(numerics: str) -> None:
    seat = OpeningSeat(policy=LENIENT, numerics=numerics)
    seat.steps[BOB] = []
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    assert [key for key, _ in seat.questions] == [ALICE]
    seat.answer(ALICE)
    assert (seat.last().outcome, seat.names()) == ("agreed", ["opened", "rootless"])
    assert seat.standing(BOB) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("kind", "numerics"),
    [(kind, "bfloat16-cuda") for kind in ("declined", "silent", "rootless", "away")] + [("rootless", "any")],
)
def test_settle__where_steps_must_be_opened__speaks_against_who_could_and_did_not(kind: str, numerics: str) -> None:
    seat = OpeningSeat(numerics=numerics)
    if kind == "rootless":
        seat.steps[BOB] = []
    drawn(seat, ALICE, BOB)
    if kind == "away":
        seat.hear(StreamClosed(BOB.peer_id))
    seat.until_asked()
    if kind == "declined":
        seat.decline(BOB)
    seat.answer(ALICE)
    seat.wait(10_000)
    assert seat.names() == ["opened", kind]
    assert seat.standing(BOB)[1] == (0.0 if kind == "away" else SLIGHT)
    assert seat.standing(ALICE) == (1.0, 0.0)


def test_settle__where_steps_must_be_opened_and_nobody_does__speaks_against_nobody() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.decline(ALICE)
    seat.decline(BOB)
    assert seat.last().outcome == "agreed"
    assert seat.standing(ALICE) == seat.standing(BOB) == (0.5, 0.0)


def test_on_opened__of_another_miner_or_for_nothing__is_ignored() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    question = next(told for key, told in seat.questions if key is ALICE)
    opened = show_steps(HONEST, question.steps)
    stolen = OpenedSteps(task=question.task, attempt=0, commitment=question.commitment, opened=opened)
    assert ignored(seat.say(BOB, stolen)) == ["opened_steps.unasked"]
    unknown = stolen.model_copy(update={"commitment": b"x" * 32})
    assert ignored(seat.say(ALICE, unknown)) == ["opened_steps.unasked"]
    seat.answer(ALICE)
    assert ignored(seat.answer(ALICE)) == ["opened_steps.unasked"], "it has answered"
    assert not seat.last().outcome


def garbage(seat: OpeningSeat, count: int) -> tuple[Effect, ...]:
    """Frames of bob that cannot be read, which would be held against him if they were."""
    effects: tuple[Effect, ...] = ()
    for _ in range(count):
        effects += seat.hear(StreamReceived(BOB.peer_id, b"\xc1 opened_steps"))
    return effects


def test_admit__answer_for_which_nobody_waits__is_not_read() -> None:
    seat = OpeningSeat()
    effects = garbage(seat, 1)
    assert (ignored(effects), judged(effects)) == (["opened_steps.unasked"], [])
    drawn(seat, ALICE, BOB)
    assert judged(garbage(seat, 1)) == ["message.malformed"], "one is awaited"
    seat.until_asked()
    seat.answer(ALICE)
    seat.answer(BOB)
    assert seat.last().outcome
    assert judged(garbage(seat, 1)) == []
    assert not seat.core._rechecking.opening._awaited


def test_admit__flood_for_which_nobody_waits__is_held_against_its_sender() -> None:
    seat = OpeningSeat()
    assert judged(garbage(seat, MOST_UNASKED)) == [], "a restart leaves some that are late"
    effects = garbage(seat, 3)
    assert judged(effects) == ["opened_steps.flood"] * 3
    seat.wait(UNASKED_MS)
    seat.greet(BOB)
    assert judged(garbage(seat, 1)) == [], "it is counted anew"


def test_admit__flood_of_other_answers_while_one_is_awaited__is_read_no_more() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    for _ in range(MOST_UNASKED):
        assert ignored(seat.answer(BOB, commitment=b"x" * 32)) == ["opened_steps.unasked"]
    effects = garbage(seat, 1)
    assert (ignored(effects), judged(effects)) == (["opened_steps.unasked"], ["opened_steps.flood"])


def test_admit__of_more_miners_than_are_remembered__stays_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "REMEMBERED", 3)
    seat = OpeningSeat()
    counting = seat.core._rechecking.opening
    for number in range(5):
        with pytest.raises(IgnoredMessage):
            counting.admit(BOB.peer_id, StakingId(number), b"opened_steps")
    assert len(counting._unasked) == 3


def test_on_timer__no_beacon_comes__nobody_is_asked_and_both_pass() -> None:
    seat = OpeningSeat()
    seat.core.book.tables = replace(
        seat.core.book.tables, views={Epoch(epoch): networks.view(epoch) for epoch in (EPOCH - 1, EPOCH)}
    )
    drawn(seat, ALICE, BOB)
    seat.wait(400_000)
    assert not seat.questions
    assert (seat.last().outcome, seat.names()) == ("agreed", ["", ""])
    assert seat.standing(ALICE) == (1.0, 0.0)


def test_on_compared__of_two_equal_files_again_while_steps_are_asked_for__changes_nothing() -> None:
    seat = OpeningSeat()
    seat.steps[BOB] = through(2 * OTHER_STEPS)
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    seat.answer(BOB)
    questions = asked(seat.draw(seat.ordered(), DAVE, NOISE))
    assert len(questions) == 2
    assert questions[0] == questions[1]
    seat.compared(questions[0], 0)
    seat.compared(questions[1], None)
    assert not seat.last().outcome
    for _ in range(2):  # once more when nobody else has come
        seat.until_asked()
        for miner in MINERS:
            seat.answer(miner)
    assert seat.last().odd == (BOB_ID,)


def test_on_compared__of_two_equal_files_again_after_steps_were_shown__asks_for_them_no_more() -> None:
    seat = OpeningSeat()
    seat.steps[BOB], seat.steps[DAVE] = through(2 * OTHER_STEPS), through(4 * OTHER_STEPS)
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    seat.answer(BOB)
    questions = asked(seat.draw(seat.ordered(), DAVE, NOISE))
    seat.compared(questions[0], 0)
    seat.until_asked()
    for miner in MINERS:
        seat.answer(miner)
    known = seat.last()
    for apart in (0, None):
        seat.compared(questions[1], apart)
        assert len(seat.core._rechecking.opening) == 0, "all there is to ask was asked"
        assert seat.last() == known


# Over a restart


def test_restore__while_steps_are_asked_for__asks_again_and_ends() -> None:
    seat = OpeningSeat()
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    records = {record.subject: record for record in seat.kept if isinstance(record, RecheckKept)}
    thought = {record.miner: record for record in seat.kept if isinstance(record, ReputationKept)}
    again = OpeningSeat((*records.values(), *thought.values()))
    again.until_asked()
    again.answer(ALICE)
    again.answer(BOB)
    assert (again.last().outcome, again.names()) == ("agreed", ["agreed", "agreed"])


def test_restore__after_two_contradicted__orders_the_third() -> None:
    seat = OpeningSeat()
    seat.steps[BOB] = through(2 * OTHER_STEPS)
    drawn(seat, ALICE, BOB)
    seat.until_asked()
    seat.answer(ALICE)
    seat.answer(BOB)
    again = OpeningSeat((seat.last(),))
    again.steps[BOB] = through(2 * OTHER_STEPS)
    again.until_asked()
    again.answer(ALICE)
    again.answer(BOB)
    again.draw(again.ordered(), DAVE)
    for _ in range(2):  # once more when nobody else has come
        again.until_asked()
        for miner in MINERS:
            again.answer(miner)
    assert again.last().odd == (BOB_ID,)
