"""A juror's work: evidence fetched and checked, the disputed task drawn again, both pictures compared, one word signed.

::

    drawn, all seats taken -> FetchBundle -> checked -> StartJob behind paid work -> ComparePictures
        -> Persist(VerdictKept) -> Disputing brings it to the chain

Where that word would be "wrong", what lies beside the task is drawn and compared first, twice.

No evidence in time, or such as proves nothing: right. Work that this miner does not serve in the accused's arithmetic,
or not in time: cannot judge. Wrong only where its own picture shows something else, and does so a little beside the
task as well. What it signed in a round is on disk before it leaves, and nothing else is ever signed there.
Spec: SPEC.md §12.10.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, final

from protocol.effects import CancelJob, ComparePictures, FetchBundle, FindProviders, Persist, StartJob
from protocol.errors import InvalidMessage
from protocol.events import BundleFetched, DisputesSeen, JobFailed, JobFinished, ModelState, PicturesCompared
from protocol.justice.bundle import Bundle, bundle_digest, check_bundle, check_signers, read_bundle
from protocol.justice.dispute import DisputeSeen, Seat, Status, Verdict, verdict_of
from protocol.justice.steadiness import beside, most_change
from protocol.notes import NoteName
from protocol.records import ArtifactStored, VerdictKept
from protocol.roles.abandon_reasons import CONTENT_POLICY
from protocol.roles.core import EMPTY, Core
from protocol.roles.disputing import Disputing
from protocol.roles.miner.juror_case import JurorCase, Stage, dispute_name, new_case
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.fields import ANY_NUMERICS
from protocol.wire.specification import TaskSpecification
from protocol.wire.topics import coordinator_key

TIMER: Final = "judge"
MAX_CASES: Final = 16
"""Disputes that are judged at once; those whose time ends first, and others as they end."""
MAX_FETCHES: Final = 4
"""Bundles that are fetched at once: each may be as large as a picture."""
SLEPT_MS: Final = 20_000
"""A moment that is heard of so late (ms) was slept over by this machine, which asked nobody meanwhile."""
ENGINE_BUSY: Final = "engine_busy"
"""Why an engine takes no job while its queue is full."""
MAX_JOBS: Final = 2
"""How often a disputed task is begun here: once more where the engine was lost."""


@final
class Judging:
    """All that one miner judges."""

    def __init__(
        self,
        core: Core,
        disputing: Disputing,
        connected: AbstractSet[PeerId],
        models: Callable[[], Mapping[str, ModelState]],
        is_idle: Callable[[], bool],
        refuses: Callable[[TaskSpecification], bool],
    ) -> None:
        """Judge nothing yet.

        Args:
            core: The miner.
            disputing: What the chain says of its disputes, and what it signed.
            connected: Peers with a connection.
            models: What the engine serves now; nothing while the owner keeps this miner closed.
            is_idle: Says whether nobody's paid work is here or claimed.
            refuses: The owner's rule of what is not drawn here.
        """
        self._core = core
        self._disputing = disputing
        self._connected = connected
        self._models = models
        self._is_idle = is_idle
        self._refuses = refuses
        self._cases: dict[TaskId, JurorCase] = {}
        self._found: dict[StakingId, PeerId] = {}
        """Where look-ups found the reporters of our cases."""

    def busy(self) -> int:
        """Count the jobs at the engine."""
        return sum(case.stage is Stage.DRAWING for case in self._cases.values()) if self._cases else 0

    # Which disputes

    def on_seen(self, event: DisputesSeen) -> None:
        """Take up what we are drawn for; let go of what is decided without us."""
        wanted = {dispute_name(seen): seen for seen in event.disputes if self._is_wanted(seen, event.at_s)}
        for name in [name for name in self._cases if name not in wanted]:
            self._drop(name)
        for name, seen in sorted(wanted.items(), key=lambda one: (one[1].deadline_s, one[1].number)):
            if name not in self._cases and len(self._cases) < MAX_CASES:
                self._take_up(name, seen, (seen.deadline_s - event.at_s) * 1000)

    def _is_wanted(self, seen: DisputeSeen, now_s: int) -> bool:
        """Say whether our word is missing: never in a dispute of our own owner's, nor twice in a round."""
        own = self._core.own_row()
        return (
            self._disputing.policy.takes_part
            and seen.status is Status.VOTING
            and seen.seat is Seat.DRAWN
            and now_s < seen.deadline_s
            and not seen.is_own_owners
            and own is not None
            and own.id not in {seen.accused, seen.reporter}
            and (seen.number, seen.round) not in self._disputing.verdicts
        )

    def _take_up(self, name: TaskId, seen: DisputeSeen, left_ms: int) -> None:
        self._cases[name] = new_case(seen, name, left_ms, self._core.now)
        self._look()

    def _drop(self, name: TaskId) -> None:
        case = self._cases.pop(name)
        if case.stage is Stage.DRAWING:
            self._core.emit(CancelJob(name, case.drawing))

    def _look(self) -> None:
        """Do what time brings about in each case, and be told of the next moment."""
        for case in sorted(self._cases.values(), key=lambda one: one.asked_at):
            self._pass_time(case)
        # What is past waits for something else to happen: asked for again, it would come every millisecond.
        moments = [moment for case in self._cases.values() for moment in case.moments() if moment > self._core.now]
        if moments:
            self._core.set_timer((TIMER, EMPTY, 0), min(moments))

    def on_timer(self) -> None:
        """A moment of some case has come."""
        self._look()

    def _pass_time(self, case: JurorCase) -> None:
        now = self._core.now
        if now >= case.end_by:
            self._say(case, Verdict.CANNOT_JUDGE, "too_late")
        elif case.stage is Stage.FETCHING:
            if now >= case.fetch_until + SLEPT_MS:
                case.fetch_until = UnixMillis(now + (case.end_by - now) // 2)
            if now >= case.fetch_until:
                self._say_without_evidence(case)
            elif not case.is_fetching and now >= case.fetch_at:
                self._fetch(case)
        else:
            self._consider(case)

    # Evidence

    def _fetch(self, case: JurorCase) -> None:
        """Ask the reporter, if we know where it is; else look for it."""
        core, reporter = self._core, case.seen.reporter
        asked = [one.seen.reporter for one in self._cases.values() if one.is_fetching]
        if len(asked) >= MAX_FETCHES or reporter in asked:  # a reporter judges who asks a second time meanwhile
            # Sooner than whoever has just had a place may have it again.
            case.fetch_at = UnixMillis(core.now + max(1, case.retry_ms // 2))
            return
        case.fetch_at = UnixMillis(core.now + case.retry_ms)
        if core.own_id() is None:  # a reporter shows nothing to whom the contract shuts out, and judges it for asking
            case.lack = "inactive"
            return
        peer = next((peer for peer in sorted(self._connected) if self._is(peer, reporter)), self._found.get(reporter))
        if peer is None:
            core.emit(FindProviders(coordinator_key(core.identity.network)))
            return
        case.is_fetching, case.asked_at = True, core.now
        core.emit(FetchBundle(case.seen.number, case.seen.round, case.seen.evidence, peer))

    def _is(self, peer: PeerId, node: StakingId) -> bool:
        row = self._core.row_of_peer(peer)
        return row is not None and row.id == node

    def on_providers(self, peers: Iterable[PeerId]) -> None:
        """Hear of coordinators: peer ids tell who they are, so that nobody else can stand for a reporter."""
        wanted = {case.seen.reporter for case in self._cases.values()}
        for peer in peers:
            row = self._core.row_of_peer(peer)
            if row is not None and row.id in wanted:
                self._found[row.id] = peer
        self._found = {node: peer for node, peer in self._found.items() if node in wanted}

    def on_fetched(self, event: BundleFetched) -> None:
        """Hear what the reporter showed."""
        case = self._case_of(event.dispute, event.round)
        if case is None or case.stage is not Stage.FETCHING or not case.is_fetching:
            return
        case.is_fetching = False
        case.lack = "own_chain_node" if event.is_ours else ""
        if event.data is None or bundle_digest(event.data) != case.seen.evidence:
            self._core.note(NoteName.BUNDLE_MISSING, dispute=event.dispute, reason=event.reason or "other_evidence")
            self._found.pop(case.seen.reporter, None)
            case.fetch_at = UnixMillis(self._core.now + case.retry_ms)
            self._look()
            return
        self._core.note(NoteName.BUNDLE_FETCHED, dispute=event.dispute, bytes=len(event.data))
        self._examine(case, event.data, event)
        self._look()

    def _say_without_evidence(self, case: JurorCase) -> None:
        """Nothing came in time: the reporter has to answer for that, unless it could not reach us."""
        lack = case.lack or ("" if self._connected else "not_connected")
        self._say(case, *((Verdict.CANNOT_JUDGE, lack) if lack else (Verdict.RIGHT, "no_evidence")))

    def _case_of(self, dispute: int, round_: int) -> JurorCase | None:
        found = (one for one in self._cases.values() if (one.seen.number, one.seen.round) == (dispute, round_))
        return next(found, None)

    def _examine(self, case: JurorCase, data: bytes, event: BundleFetched) -> None:
        """Check evidence, whose digest is that of the dispute: what proves nothing is the reporter's to answer for."""
        seen = case.seen
        try:
            bundle = read_bundle(data)
            check_bundle(bundle, self._core.identity.domain, seen.accused, seen.reporter)
            check_signers(event.signed_by, seen.accused, seen.reporter)
        except InvalidMessage as fault:
            self._core.note(NoteName.BUNDLE_REFUSED, dispute=seen.number, reason=fault.rule)
            self._say(case, Verdict.RIGHT, fault.rule)
            return
        if self._core.identity.catalog.refusal(bundle.specification) is not None:
            self._say(case, Verdict.CANNOT_JUDGE, "not_served")
        elif self._refuses(bundle.specification):
            self._say(case, Verdict.CANNOT_JUDGE, CONTENT_POLICY)
        else:
            self._accept(case, bundle)

    def _accept(self, case: JurorCase, bundle: Bundle) -> None:
        """Evidence is good: the picture is kept for the comparison, the prompt in memory alone unless files tell it."""
        commitment = bundle.result.commitment
        case.stage, case.specification = Stage.WAITING, bundle.specification
        case.picture, case.model, case.numerics = commitment.artifact, commitment.model, bundle.numerics
        self._core.emit(Persist((ArtifactStored(commitment.artifact, bundle.picture),)))

    # Drawing

    def look_for_work(self) -> None:
        """The engine may be free: after any event of the miner."""
        if self._cases:
            for case in list(self._cases.values()):
                if case.stage is Stage.WAITING:
                    self._consider(case)

    def _consider(self, case: JurorCase) -> None:
        """Begin to draw where nobody's paid work is here, or time presses; one after the other."""
        specification, now = case.specification, self._core.now
        if case.stage is not Stage.WAITING or specification is None:
            return
        is_late = now >= case.start_by
        lack = self._lack_of(case, specification, is_late=is_late)
        if lack:
            self._say(case, Verdict.CANNOT_JUDGE, lack)
        elif specification.model not in self._models() or self.busy() or now < case.draw_at:
            return
        elif self._is_idle() or is_late:
            case.stage, case.jobs = Stage.DRAWING, case.jobs + 1
            self._core.emit(StartJob(case.name, case.drawing, specification))
            self._core.note(NoteName.JOB_STARTED, case.name, attempt=case.drawing, model=specification.model)

    def _lack_of(self, case: JurorCase, specification: TaskSpecification, *, is_late: bool) -> str:
        """Say why this engine is none to judge by, if it is; the sooner, the more time has whoever is drawn instead."""
        models = self._models()
        served = models.get(specification.model)
        if served is None:  # an engine comes with all that it has: while it has nothing, it may be on the way
            return "not_served" if models or is_late else ""
        if served.digest != case.model:
            return "other_model"
        is_other = served.numerics == ANY_NUMERICS or case.numerics not in {ANY_NUMERICS, served.numerics}
        return "other_numerics" if is_other else ""

    def on_finished(self, event: JobFinished) -> None:
        """Compare what we drew with what is disputed."""
        case = self._drawn_for(event)
        if case is None or case.picture is None:
            return
        self._core.note(NoteName.JOB_FINISHED, case.name, ms=event.generation_ms, attempt=case.drawing)
        if event.model != case.model:  # the engine came back with other weights meanwhile
            self._say(case, Verdict.CANNOT_JUDGE, "other_model")
            return
        self._core.emit(Persist((ArtifactStored(event.digest, event.data),)))
        case.stage = Stage.COMPARING
        if event.digest == case.picture:
            self._say(case, Verdict.RIGHT, "tipped_over" if case.drawing else "same_picture")
        elif event.digest == case.own:
            self._draw_beside(case)
        else:
            if case.drawing:
                case.drawn_beside = event.digest
            else:
                case.own = event.digest
            self._compare(case, case.picture, event.digest)

    def _compare(self, case: JurorCase, one: Digest, other: Digest) -> None:
        case.compared = (one, other)
        self._core.emit(ComparePictures(case.name, one, other))

    def _drawn_for(self, event: JobFinished | JobFailed) -> JurorCase | None:
        case = self._cases.get(event.task)
        is_awaited = case is not None and case.stage is Stage.DRAWING and case.drawing == event.attempt
        return case if is_awaited else None

    def on_failed(self, event: JobFailed) -> None:
        """The engine could not draw it: once more where it was lost, else we cannot judge."""
        case = self._drawn_for(event)
        if case is None:
            return
        self._core.note(NoteName.JOB_FAILED, case.name, reason=event.reason, attempt=case.drawing)
        if event.reason == ENGINE_BUSY:
            # Paid work fills its queue, as it may when time presses: no fault of the task's, and over in a while.
            case.stage, case.jobs = Stage.WAITING, case.jobs - 1
            case.draw_at = UnixMillis(self._core.now + case.retry_ms)
            self._look()
        elif case.jobs >= MAX_JOBS:
            self._say(case, Verdict.CANNOT_JUDGE, event.reason)
        else:
            case.stage = Stage.WAITING
            self._look()

    def give_back(self) -> None:
        """The owner takes the device away: what is drawn here is begun anew once it is back."""
        for case in self._cases.values():
            if case.stage is Stage.DRAWING:
                case.stage, case.jobs = Stage.WAITING, case.jobs - 1
                self._core.emit(CancelJob(case.name, case.drawing))

    def on_compared(self, event: PicturesCompared) -> None:
        """Hear how far apart the pictures are; where one shows nothing, find out whether it is ours."""
        case = self._cases.get(event.subject)
        if case is None or case.own is None or case.compared != (event.one, event.other):
            return
        if event.apart is None:
            self._say(case, Verdict.CANNOT_JUDGE, "not_comparable")
        elif case.stage is Stage.CHECKING:
            found = (Verdict.WRONG, "no_picture") if event.apart == 0 else (Verdict.CANNOT_JUDGE, "own_picture")
            self._say(case, *found)
        elif case.stage is Stage.COMPARING and case.drawing:
            self._on_beside(case, event)
        elif case.stage is Stage.COMPARING:
            verdict = verdict_of(event.apart)
            if verdict is None:
                case.stage = Stage.CHECKING
                self._compare(case, case.own, case.own)
            elif verdict is Verdict.WRONG and case.specification is not None:
                most = self._core.identity.catalog.models[case.specification.model].max_guidance
                case.apart, case.beside = event.apart, list(beside(case.specification, most))
                self._draw_beside(case)
            else:
                self._say(case, verdict, f"apart_{event.apart}")

    # Whether arithmetic alone decides

    def _draw_beside(self, case: JurorCase) -> None:
        """Before "wrong" is said: draw what lies beside the task, whose picture an honest miner may have drawn too."""
        if not case.beside:
            found = (Verdict.WRONG, f"apart_{case.apart}") if case.has_changed else (Verdict.CANNOT_JUDGE, "unguided")
            self._say(case, *found)
            return
        case.specification, case.drawing, case.jobs = case.beside.pop(0), case.drawing + 1, 0
        case.stage = Stage.WAITING
        self._look()

    @staticmethod
    def _is_steady(case: JurorCase, apart: int | None) -> bool:
        return apart is not None and case.specification is not None and apart <= most_change(case.specification)

    def _on_beside(self, case: JurorCase, event: PicturesCompared) -> None:
        """Hear how far a picture from beside is from the disputed one, then from our own."""
        if case.own is None or case.drawn_beside is None:
            return
        verdict = verdict_of(event.apart) if event.apart is not None else None
        is_own = case.own in (event.one, event.other)
        if verdict is None:
            self._say(case, Verdict.CANNOT_JUDGE, "not_comparable")
        elif is_own and not self._is_steady(case, event.apart):
            self._say(case, Verdict.CANNOT_JUDGE, "unsteady")
        elif is_own:
            case.has_changed |= bool(event.apart)
            self._draw_beside(case)
        elif verdict is Verdict.RIGHT:
            self._say(case, Verdict.RIGHT, "tipped_over")
        else:
            self._compare(case, case.own, case.drawn_beside)

    # The verdict

    def _say(self, case: JurorCase, verdict: Verdict, reason: str) -> None:
        """Sign once, on disk first; ``Disputing`` brings it to the chain with the next block."""
        core, seen, own = self._core, case.seen, self._core.own_row()
        self._drop(case.name)
        if own is None or (seen.number, seen.round) in self._disputing.verdicts:
            return
        unsigned = VerdictKept(seen.number, seen.round, seen.evidence, int(verdict), b"", reason, core.now, own.id)
        kept = replace(unsigned, signature=core.sign(self._disputing.statement(own.id, unsigned)))
        self._disputing.verdicts[seen.number, seen.round] = kept
        core.emit(Persist((kept,)))
        core.note(NoteName.VERDICT_SIGNED, dispute=seen.number, round=seen.round, verdict=verdict.label, reason=reason)
