"""A juror in any order of what chain, reporter, engine, decoder, owner and clock do. SPEC.md §12.10.

A chain goes back, answers come late, twice or for something else, the device is taken away, the node is killed.
"""

import hashlib
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from protocol.effects import CancelJob, ComparePictures, Effect, FetchBundle, StartJob
from protocol.events import BundleFetched, EngineChanged, JobFailed, JobFinished, PicturesCompared, ServiceChanged
from protocol.justice.bundle import bundle_digest
from protocol.justice.dispute import DisputeSeen, Seat, Verdict
from protocol.justice.steadiness import PARTS
from protocol.records import VerdictKept
from protocol.roles.miner.judging import Judging
from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS
from protocol.task.recheck import UNREADABLE
from protocol.units import Digest, StakingId, TaskId, UnixMillis
from tests.protocol.roles.frames import MODEL, NOTHING
from tests.protocol.roles.juror_seat import (
    AT_S,
    BUNDLE,
    FAR,
    OTHER_MODEL,
    OWN,
    WINDOW_S,
    JurorSeat,
    drawn_for,
    juror,
)
from tests.protocol.roles.seats import persisted
from tests.support.disputed import SIGNERS, disputed
from tests.support.pictures import png

OTHER = disputed(award={"task": b"u" * 32}, result={"task": b"u" * 32})
BUNDLES = (BUNDLE, OTHER)
EVIDENCE = {bundle_digest(bundle.data()): bundle for bundle in BUNDLES}
DRAWN = [BUNDLE.picture, OWN, png(128, 128, 21), png(128, 128, 22)]
"""What an engine may come out with: the disputed file, and three others."""
BESIDE = [png(128, 128, 30 + number) for number in range(2 * len(PARTS))]
"""What comes out beside a task, where nothing is odd."""
APART = [0, OTHER_NUMERICS, OTHER_NUMERICS + 1, ANOTHER_PICTURE, FAR, UNREADABLE, None]
SERVED = Digest(MODEL.digest or b"")
STEADY = {0, 1, OTHER_NUMERICS}
NUMBERS = (1, 2, 3)
Job = tuple[TaskId, int]
T = TypeVar("T")


def digest_of(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).digest())


class AnyOrder(RuleBasedStateMachine):
    """One juror, three numbers of disputes, and all that was ever asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seat: JurorSeat = juror()
        self.at_s = AT_S
        self.chain: dict[int, DisputeSeen] = {}
        self.fetches: list[FetchBundle] = []
        self.jobs: list[StartJob] = []
        self.asked: list[ComparePictures] = []
        self.running: set[Job] = set()
        self.drew: dict[Job, set[Digest]] = {}
        self.apart: dict[tuple[TaskId, frozenset[Digest]], set[int | None]] = {}
        self.verdicts: dict[tuple[int, int], VerdictKept] = {}
        self.unanswered: list[FetchBundle | StartJob | ComparePictures] = []

    @property
    def judging(self) -> Judging:
        return self.seat.core.jury._judging

    def take(self, effects: tuple[Effect, ...]) -> None:
        """Do what a node would do, and look at what it signs."""
        for effect in effects:
            if isinstance(effect, FetchBundle | StartJob | ComparePictures):
                self.unanswered.append(effect)
            match effect:
                case FetchBundle():
                    self.fetches.append(effect)
                case StartJob():
                    assert (effect.task, effect.attempt) not in self.running, "begun twice"
                    self.running.add((effect.task, effect.attempt))
                    self.jobs.append(effect)
                case CancelJob(task=task, attempt=attempt):
                    self.running.discard((task, attempt))
                case ComparePictures():
                    self.asked.append(effect)
                case _:
                    pass
        for kept in persisted(effects, VerdictKept):
            assert (kept.dispute, kept.round) not in self.verdicts, "one word in a round"
            self.verdicts[kept.dispute, kept.round] = kept
            if kept.verdict == Verdict.WRONG:
                self.look_at(kept)

    def look_at(self, kept: VerdictKept) -> None:
        """ "Wrong" comes after an own drawing, and four beside it that are like it and not like the disputed one."""
        disputed_picture = digest_of(EVIDENCE[kept.evidence].picture)
        names = {job.task for job in self.jobs if self.drew.get((job.task, 0))}
        assert any(self.is_proven(name, disputed_picture, kept.reason) for name in names), kept

    def is_proven(self, name: TaskId, picture: Digest, reason: str) -> bool:
        own = [one for one in self.drew[name, 0] if UNREADABLE in self.heard(name, picture, one)]
        if reason == "no_picture":
            return any(0 in self.heard(name, one, one) for one in own)
        return any(
            FAR in self.heard(name, picture, one)
            and all(
                any(
                    found == one or (FAR in self.heard(name, picture, found) and self.heard(name, one, found) & STEADY)
                    for found in self.drew.get((name, number), ())
                )
                for number in range(1, 2 * len(PARTS) + 1)
            )
            for one in self.drew[name, 0]
        )

    def heard(self, name: TaskId, one: Digest, other: Digest) -> set[int | None]:
        return self.apart.get((name, frozenset((one, other))), set())

    # What the chain tells

    @rule(
        number=st.sampled_from(NUMBERS),
        bundle=st.integers(0, 1),
        round_=st.integers(0, 1),
        seat=st.sampled_from([Seat.DRAWN, Seat.DRAWN, Seat.HAS_JUDGED, Seat.NONE]),
        accused=st.sampled_from([2, 2, 2, 2, 4]),
    )
    def appears(self, number: int, bundle: int, round_: int, seat: Seat, accused: int) -> None:
        changes = {"number": number, "round": round_, "seat": seat, "accused": StakingId(accused)}
        seen = drawn_for(BUNDLES[bundle], deadline_s=self.at_s + WINDOW_S, **changes)
        self.chain[number] = seen
        self.block()

    @rule(number=st.sampled_from(NUMBERS))
    def vanishes(self, number: int) -> None:
        self.chain.pop(number, None)
        self.block()

    @rule(after_s=st.sampled_from([0, 10, WINDOW_S // 4]))
    def passes(self, after_s: int) -> None:
        self.at_s += after_s
        self.take(self.seat.wait(after_s * 1000))
        self.block()

    @rule(for_s=st.sampled_from([1, WINDOW_S // 2, WINDOW_S]))
    def sleeps(self, for_s: int) -> None:
        self.at_s += for_s
        self.seat.now = UnixMillis(self.seat.now + for_s * 1000)
        self.take(self.seat.wait(0))

    @initialize(bundle=st.integers(0, 1))
    def begins(self, bundle: int) -> None:
        self.appears(1, bundle, 0, Seat.DRAWN, 2)

    def block(self) -> None:
        self.take(self.seat.sees(*self.chain.values(), at_s=self.at_s))

    # What others answer: once, late, twice, or for what is over

    @precondition(lambda self: self.unanswered)
    @rule(
        times=st.sampled_from([1, 1, 2, 3, 13]),
        picture=st.sampled_from(DRAWN[1:]),
        apart=st.sampled_from([FAR, FAR, FAR, UNREADABLE, 0]),
        near=st.sampled_from([*sorted(STEADY), OTHER_NUMERICS + 1]),
    )
    def goes_on(self, times: int, picture: bytes, apart: int, near: int) -> None:
        """Everybody does as asked, so many times; pictures are so far from the disputed one, and from each other."""
        for _ in range(times):
            self.answer(picture, apart, near)

    def answer(self, picture: bytes, apart: int, near: int) -> None:
        match self.unanswered.pop() if self.unanswered else None:
            case FetchBundle() as fetch:
                self.show(fetch, EVIDENCE[fetch.evidence].data())
            case StartJob() as job:
                self.finish(job, BESIDE[job.attempt - 1] if job.attempt else picture, SERVED)
            case ComparePictures() as asked:
                is_disputed = asked.one in {digest_of(bundle.picture) for bundle in BUNDLES}
                self.compare(asked, apart if is_disputed else near)
            case None:
                pass

    @precondition(lambda self: self.fetches)
    @rule(data=st.data(), content=st.sampled_from([0, 0, 1, None, None]), is_ours=st.booleans())
    def shown(self, data: st.DataObject, content: int | None, is_ours: bool) -> None:
        self.show(self.any_of(data, self.fetches), None if content is None else BUNDLES[content].data(), is_ours)

    def show(self, asked: FetchBundle, content: bytes | None, is_ours: bool = False) -> None:
        is_ours = is_ours and content is None
        self.take(self.seat.hear(BundleFetched(asked.dispute, asked.round, content, "", SIGNERS, is_ours=is_ours)))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), picture=st.sampled_from(DRAWN), is_same_model=st.sampled_from([True] * 9 + [False]))
    def finishes(self, data: st.DataObject, picture: bytes, is_same_model: bool) -> None:
        self.finish(self.any_of(data, self.jobs), picture, SERVED if is_same_model else OTHER_MODEL)

    def finish(self, job: StartJob, picture: bytes, model: Digest) -> None:
        digest = digest_of(picture)
        self.running.discard((job.task, job.attempt))
        self.drew.setdefault((job.task, job.attempt), set()).add(digest)
        done = JobFinished(job.task, job.attempt, picture, digest, "image/png", model, NOTHING, 40)
        self.take(self.seat.hear(done))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), reason=st.sampled_from(["engine_down", "engine_busy", "cancelled", "nan_picture"]))
    def fails(self, data: st.DataObject, reason: str) -> None:
        job = self.any_of(data, self.jobs)
        self.running.discard((job.task, job.attempt))
        self.take(self.seat.hear(JobFailed(job.task, job.attempt, reason)))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), apart=st.sampled_from(APART))
    def compared(self, data: st.DataObject, apart: int | None) -> None:
        self.compare(self.any_of(data, self.asked), apart)

    def compare(self, asked: ComparePictures, apart: int | None) -> None:
        pair = asked.subject, frozenset((asked.one, asked.other))
        self.apart.setdefault(pair, set()).add(apart)
        self.take(self.seat.hear(PicturesCompared(asked.subject, asked.one, asked.other, apart)))

    @staticmethod
    def any_of(data: st.DataObject, asked: list[T]) -> T:
        """Most often the latest."""
        return asked[-1] if data.draw(st.booleans()) else data.draw(st.sampled_from(asked))

    # What happens here

    @rule(is_open=st.booleans())
    def owner(self, is_open: bool) -> None:
        self.take(self.seat.hear(ServiceChanged(is_open, give_back=not is_open)))

    @rule(served=st.sampled_from([{}, {}, {}, {"digest": OTHER_MODEL}, {"numerics": "half-cuda"}]))
    def engine(self, served: dict[str, object]) -> None:
        self.take(self.seat.serve(**served))

    @rule()
    def engine_goes(self) -> None:
        self.take(self.seat.hear(EngineChanged((), 0)))

    @precondition(lambda self: self.fetches)
    @rule()
    def killed(self) -> None:
        self.running.clear()
        self.fetches, self.jobs, self.asked, self.unanswered, self.drew, self.apart = [], [], [], [], {}, {}
        self.seat = juror(records=tuple(self.verdicts.values()))

    # What always holds

    @invariant()
    def jobs_are_of_cases_that_are_drawn(self) -> None:
        drawing = {(case.name, case.drawing) for case in self.judging._cases.values() if case.stage.value == "drawing"}
        assert self.running <= drawing, "no job of a case that is over"
        assert self.judging.busy() == len(drawing) <= 1

    @invariant()
    def cases_are_of_the_chain(self) -> None:
        for case in self.judging._cases.values():
            seen = self.chain.get(case.seen.number)
            assert seen is not None
            assert (seen.round, seen.evidence, seen.accused) == (case.seen.round, case.seen.evidence, case.seen.accused)
            assert (seen.number, seen.round) not in self.verdicts

    def teardown(self) -> None:
        self.take(self.seat.wait(WINDOW_S * 1000))
        assert not self.judging._cases, "each ends in time"
        assert not self.running


def test_juror__anything_in_any_order__signs_one_word_that_follows_from_what_it_drew() -> None:
    run_state_machine_as_test(AnyOrder, settings=settings(max_examples=80, stateful_step_count=50, deadline=None))
