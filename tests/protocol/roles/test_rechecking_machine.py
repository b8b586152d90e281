"""Rechecks and questions for steps whatever happens in whatever order: they stay within bounds, and all of them end.

SPEC.md §12.8. Alice (1), bob (2), dave (4), erin (5) and fred (6) mine, carol (3) coordinates.
"""

import hashlib
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from protocol.crypto.keys import NodeKey
from protocol.effects import ComparePictures, Effect
from protocol.events import BlockSeen, StakeChanged, StreamClosed, TaskCancelled, TaskSubmitted
from protocol.records import BootStarted, RecheckKept, Record, ReputationKept, TaskAccepted, TaskDone, TaskFailed
from protocol.roles.coordinator.rechecking import LONGEST_MS, MOST_OPEN
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.task.account import holders
from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS
from protocol.task.steps import OTHER_STEPS, show_steps
from protocol.units import BlockNumber, DurationMs, Epoch, StakingId, TaskId, UnixMillis
from protocol.wire.messages import Award, OpenedSteps, OpenSteps
from tests.protocol.roles import test_opening, test_rechecking
from tests.protocol.roles.frames import NOW, PARAMS, SPECIFICATION, artifact_of, result_of
from tests.protocol.roles.seats import of_kind
from tests.protocol.roles.test_opening import OpeningSeat, through
from tests.protocol.roles.test_rechecking import HEART, LAST_SLOT_MS, NOISE, OTHER_NOISE
from tests.support import networks
from tests.support.networks import ALICE, BOB, DAVE

ERIN, FRED = (NodeKey(hashlib.sha256(name).digest()) for name in (b"erin", b"fred"))
MINERS = (ALICE, BOB, DAVE, ERIN, FRED)
POLICY = RecheckPolicy(share=0.4, newcomer_share=0.4, earliest=DurationMs(1000), latest=DurationMs(2000))
PICTURES = (HEART, HEART, NOISE, OTHER_NOISE)
who = st.sampled_from(range(len(MINERS)))
pictures = st.sampled_from(range(len(PICTURES)))
distances = st.sampled_from((0, OTHER_NUMERICS + 1, ANOTHER_PICTURE + 1, ANOTHER_PICTURE + 1, None))


class RecheckingMachine(RuleBasedStateMachine):
    """Carol, and everything that apps, miners, decoder, chain and power may do to her."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        rows = (*test_rechecking.ROWS, networks.row(ERIN, 5), networks.row(FRED, 6))
        for module in (test_rechecking, test_opening):
            self._patch.setattr(module, "ROWS", rows)
        self._patch.setattr(test_opening, "MINERS", MINERS)
        self._patch.setitem(test_rechecking.IDS, ERIN.peer_id, StakingId(5))
        self._patch.setitem(test_rechecking.IDS, FRED.peer_id, StakingId(6))
        self._rows = rows
        self._compared: list[ComparePictures] = []
        self._asked: list[tuple[NodeKey, OpenSteps]] = []
        self._here = set(MINERS)
        self._ends: Counter[TaskId] = Counter()
        self._kept: list[Record] = []
        self._begin((), NOW)

    def _begin(self, records: tuple[Record, ...], now: UnixMillis) -> None:
        self.seat = OpeningSeat(records, POLICY, miners=MINERS, begun=now)
        self.seat.steps = {miner: through() for miner in MINERS} | {BOB: through(2 * OTHER_STEPS), DAVE: []}
        self._here, self._compared, self._asked = set(MINERS), [], []
        self._take(self.seat.began)
        self._see_tables()
        for miner in MINERS:
            self._take(self.seat.greet(miner))

    def _take(self, effects: tuple[Effect, ...]) -> None:
        self._compared += [effect for effect in effects if isinstance(effect, ComparePictures)]
        self._asked += self.seat.questions
        self.seat.questions.clear()

    @property
    def _unfinished(self) -> list[TaskId]:
        return sorted(self.seat.core._tasks)

    @rule(account=st.sampled_from(("", "one", "network/two", "network/three")), miner=who, picture=pictures)
    def order(self, account: str, miner: int, picture: int) -> None:
        before = set(self._unfinished)
        self._take(self.seat.hear(TaskSubmitted(1, SPECIFICATION, True, account=account)))
        for task in set(self._unfinished) - before:
            self._deliver(task, MINERS[miner], PICTURES[picture])

    @precondition(lambda self: self._unfinished)
    @rule(place=st.integers(0, 9), miner=who, picture=pictures)
    def draw(self, place: int, miner: int, picture: int) -> None:
        self._deliver(self._unfinished[place % len(self._unfinished)], MINERS[miner], PICTURES[picture])

    def _deliver(self, task: TaskId, miner: NodeKey, picture: bytes) -> None:
        """Let a miner claim a task until it is its, if it ever is, and deliver."""
        seat = self.seat
        for _ in range(8):
            known = seat.core.task(task)
            if miner not in self._here or known is None or known.holder is not None:
                return
            if known.open is None:  # between two offers
                self._take(seat.wait(50))
                continue
            self._take(seat.wait(max(known.open.published_at + LAST_SLOT_MS - seat.now, 0)))
            nonce = hashlib.sha256(task + bytes([known.attempt])).digest()[:16]
            told = seat.say(miner, seat.claim(miner, task, nonce=nonce)) + seat.wait(50)
            self._take(told)
            for award in of_kind(told, Award):
                if award.statement.task == task:
                    self._take(seat.say(miner, result_of(award, by=miner, data=picture, **seat.committed(miner))))
                    self._take(seat.hear(artifact_of(award, by=miner, data=picture)))

    @precondition(lambda self: self._unfinished)
    @rule(place=st.integers(0, 9))
    def cancel(self, place: int) -> None:
        self._take(self.seat.hear(TaskCancelled(self._unfinished[place % len(self._unfinished)])))

    @precondition(lambda self: self._compared)
    @rule(place=st.integers(0, 9), apart=distances)
    def compare(self, place: int, apart: int | None) -> None:
        asked = self._compared.pop(place % len(self._compared))
        self._take(self.seat.compared(asked, apart))

    @precondition(lambda self: self._asked)
    @rule(place=st.integers(0, 9), how=st.sampled_from(("right", "right", "declined", "wrong", "stale")))
    def answer(self, place: int, how: str) -> None:
        miner, question = self._asked.pop(place % len(self._asked))
        steps = through(1000) if how == "wrong" else self.seat.steps[miner]
        is_shown = how != "declined" and steps
        answer = OpenedSteps(
            task=question.task,
            attempt=question.attempt,
            commitment=question.commitment,
            opened=show_steps(steps, question.steps[how == "stale" :]) if is_shown else (),
            reason=None if is_shown else "not_kept",
        )
        self._take(self.seat.say(miner, answer))

    @rule(picture=pictures, apart=distances)
    def go_on(self, picture: int, apart: int | None) -> None:
        """Let time pass until a recheck's next drawing, by one that is here and has not drawn it, and compare."""
        self.wait(2100)
        for task, recheck in sorted(self.seat.core._rechecking._by_pending.items()):
            drew = set(recheck.miners())
            fresh = [
                place for place, key in enumerate(MINERS) if key in self._here and self.seat.number(key) not in drew
            ]
            if fresh:
                self._deliver(task, MINERS[fresh[0]], PICTURES[picture])
        while self._compared:
            self.compare(0, apart)

    @rule()
    def be_asked(self) -> None:
        """Let time pass until a beacon chooses steps, and have all answer as they can."""
        self.wait(70_000)
        while self._asked:
            self.answer(0, "right")

    @rule(miner=who)
    def go(self, miner: int) -> None:
        self._here.discard(MINERS[miner])
        self._take(self.seat.hear(StreamClosed(MINERS[miner].peer_id)))

    @rule(miner=who)
    def come(self, miner: int) -> None:
        if MINERS[miner] not in self._here:
            self._here.add(MINERS[miner])
            self._take(self.seat.greet(MINERS[miner]))

    @rule(milliseconds=st.sampled_from((100, 2100, 10_000, 70_000)))
    def wait(self, milliseconds: int) -> None:
        self._take(self.seat.wait(milliseconds))
        self._see_tables()

    def _see_tables(self) -> None:
        epoch = self.seat.now // (PARAMS.epoch_s * 1000)
        for known in (epoch - 1, epoch, epoch + 1):
            if self.seat.core.book.view(Epoch(known)) is None:
                self._take(self.seat.hear(StakeChanged(networks.view(known, self._rows))))
        self._take(self.seat.hear(BlockSeen(BlockNumber(known), self.seat.now)))

    @rule()
    def restart(self) -> None:
        self._kept += self.seat.kept
        ended = {record.task for record in self._kept if isinstance(record, TaskDone | TaskFailed)}
        last: dict[object, Record] = {}
        for record in self._kept:
            match record:
                case BootStarted():
                    last["boot"] = record
                case RecheckKept(subject=subject):
                    last["recheck", subject] = record
                case ReputationKept(miner=miner):
                    last["reputation", miner] = record
                case TaskAccepted(task=task) if task not in ended:
                    last["task", task] = record
                case _:
                    pass
        self._begin(tuple(last.values()), self.seat.now)

    @invariant()
    def stays_within_bounds(self) -> None:
        rechecking = self.seat.core._rechecking
        opening = rechecking.opening
        assert len(rechecking) <= MOST_OPEN
        assert len(opening) <= 2 * MOST_OPEN
        waited = Counter(
            one.drawing.miner
            for question in opening._open.values()
            for one in question.asked.values()
            if one.shown is None
        )
        assert opening._awaited == waited
        assert opening._by_commitment.keys() == {name for question in opening._open.values() for name in question.asked}
        assert rechecking._room._account.keys() <= rechecking._open.keys()
        assert opening._room._account.keys() == (opening._open.keys() | opening._later.keys()) - rechecking._open.keys()
        for room in (rechecking._room, opening._room):
            taken = Counter(holder for account in room._account.values() for holder, _ in holders(account))
            assert room._taken == taken

    def teardown(self) -> None:
        try:
            for miner in range(len(MINERS)):
                self.come(miner)
            for _ in range(20):
                while self._compared:
                    self.compare(0, 0)
                self._take(self.seat.wait(LONGEST_MS // 10))
            assert not self.seat.core._rechecking._open
            assert len(self.seat.core._rechecking.opening) == 0
            assert not self.seat.core._rechecking._by_pending
            kept = [record for record in self._kept + self.seat.kept if isinstance(record, RecheckKept)]
            ends = Counter(record.subject for record in kept if record.outcome)
            assert set(ends) == {record.subject for record in kept}
            assert all(times == 1 for times in ends.values())
            for record in kept:
                assert not record.odd or len(record.drawings) >= 2
        finally:
            self._patch.undo()


def test_rechecks__anything_in_any_order__stay_within_bounds_and_end() -> None:
    asked = settings(max_examples=20, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(RecheckingMachine, settings=asked)
