"""A juror examines evidence, draws again behind paid work, is cautious, and signs one word. SPEC.md §12.10.

Alice (1) is the juror, bob (2) is accused, carol (3) reports.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import signer
from protocol.effects import CancelJob, ComparePictures, Effect, FetchBundle, FindProviders, Persist, StartJob, SubmitTx
from protocol.events import (
    ActivityChanged,
    BundleFetched,
    DisputesSeen,
    EngineChanged,
    JobFailed,
    JobFinished,
    ModelState,
    PeerDown,
    PeerUp,
    PicturesCompared,
    ProvidersFound,
    ServiceChanged,
    TimerFired,
)
from protocol.justice.bundle import Bundle, bundle_digest
from protocol.justice.dispute import DisputeSeen, Seat, Status, Verdict
from protocol.justice.steadiness import PARTS
from protocol.notes import NoteName
from protocol.records import ArtifactStored, Record, VerdictKept
from protocol.roles.disputing import DisputePolicy
from protocol.roles.judging import MAX_CASES, MAX_FETCHES, MAX_JOBS, TIMER
from protocol.roles.miner import MinerCore
from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS
from protocol.task.recheck import UNREADABLE
from protocol.units import BlockNumber, Digest, StakingId, UnixMillis, Wei
from protocol.wire.messages import Abandon, Claim
from protocol.wire.statements import VerdictStatement
from protocol.wire.topics import coordinator_key
from tests.protocol.roles.frames import ALICE_ID, CAROL_ID, DOMAIN, MODEL, NOTHING, PARAMS, award_of
from tests.protocol.roles.seats import MinerSeat, noted, of_kind, persisted
from tests.support import networks
from tests.support.disputed import SIGNERS, award_to_bob, bundle_of, dispute_about, disputed, result_by_bob, said_by_bob
from tests.support.networks import ALICE, CAROL, DAVE
from tests.support.pictures import png

WINDOW_S = 800
AT_S = 10_000
BUNDLE = disputed()
OWN = png(128, 128, 9)
"""What alice draws: it is not what bob delivered."""
FAR = ANOTHER_PICTURE + 1
OTHER_MODEL = Digest(b"m" * 32)


class JurorSeat(MinerSeat):
    """Alice, whom the contract has drawn."""

    def __init__(
        self,
        records: tuple[Record, ...] = (),
        *,
        policy: DisputePolicy = DisputePolicy(takes_part=True),  # noqa: B008 it is frozen
        refuses: bool = False,
        **state: Any,
    ) -> None:
        self._policy, self._refused = policy, refuses
        self._state = {"numerics": "float32-cpu"} | state
        self._records = records
        super().__init__(records)

    def start(self, records: tuple[Record, ...] = (), escrow: Any = None) -> None:
        self.core = MinerCore(
            self.identity, tuple, Wei(0), disputes=self._policy, refuses=lambda _specification: self._refused
        )
        super().start(records)

    def serve(self, **changes: Any) -> tuple[Effect, ...]:
        """The engine says what it draws, and how."""
        state = ModelState(MODEL.name, MODEL.digest, True, 10_000_000, 1, MODEL.sizes, MODEL.max_steps)
        return self.hear(EngineChanged((replace(state, **self._state | changes),), 1))

    def sees(self, *seen: DisputeSeen, at_s: int = AT_S) -> tuple[Effect, ...]:
        return self.hear(DisputesSeen(BlockNumber(200), at_s, Wei(10**9), seen))

    def fetched(self, bundle: Bundle | bytes | None, seen: DisputeSeen, **changes: Any) -> tuple[Effect, ...]:
        """What the reporter showed, signed by both parties' keys."""
        data = bundle.data() if isinstance(bundle, Bundle) else bundle
        answer = BundleFetched(seen.number, seen.round, data, "", SIGNERS)
        return self.hear(replace(answer, **changes))

    def drew(self, job: StartJob, picture: bytes = OWN) -> tuple[Effect, ...]:
        digest = Digest(hashlib.sha256(picture).digest())
        return self.hear(JobFinished(job.task, job.attempt, picture, digest, "image/png", MODEL.digest, NOTHING, 40))

    def compared(self, asked: ComparePictures, apart: int | None) -> tuple[Effect, ...]:
        return self.hear(PicturesCompared(asked.subject, asked.one, asked.other, apart))


def drawn_for(bundle: Bundle = BUNDLE, **changes: Any) -> DisputeSeen:
    """A dispute in which alice has a seat, and all seats are taken."""
    usual = {"status": Status.VOTING, "seat": Seat.DRAWN, "taken": 3, "deadline_s": AT_S + WINDOW_S}
    return dispute_about(bundle, **usual | changes)


SEEN = drawn_for()


def juror(**given: Any) -> JurorSeat:
    seat = JurorSeat(**given)
    seat.serve()
    return seat


def fetches(effects: Iterable[Effect]) -> list[FetchBundle]:
    return [effect for effect in effects if isinstance(effect, FetchBundle)]


def jobs(effects: Iterable[Effect]) -> list[StartJob]:
    return [effect for effect in effects if isinstance(effect, StartJob)]


def comparisons(effects: Iterable[Effect]) -> list[ComparePictures]:
    return [effect for effect in effects if isinstance(effect, ComparePictures)]


def said(effects: Iterable[Effect]) -> list[tuple[Verdict, str]]:
    """What was signed for good, and why; each is on disk and signed by alice's key."""
    found = []
    for kept in persisted(effects, VerdictKept):
        statement = VerdictStatement(dispute=kept.dispute, round=kept.round, juror=ALICE_ID, verdict=kept.verdict)
        assert signer(DOMAIN, statement, kept.signature) == ALICE.address
        found.append((Verdict(kept.verdict), kept.reason))
    return found


def beside(seat: JurorSeat, effects: Iterable[Effect], *, far: int = FAR, near: int = 0) -> tuple[Effect, ...]:
    """Draw what lies beside a task: so far from the disputed picture, and so near to alice's own."""
    done = tuple(effects)
    for number in range(1, 2 * len(PARTS) + 1):
        (job,) = jobs(done)
        assert job.attempt == number
        (asked,) = comparisons(seat.drew(job, png(128, 128, 20 + number)))
        assert asked.one == Digest(hashlib.sha256(BUNDLE.picture).digest())
        (asked,) = comparisons(seat.compared(asked, far))
        assert asked.one == Digest(hashlib.sha256(OWN).digest())
        done = seat.compared(asked, near)
    return done


def drawing(seat: JurorSeat, seen: DisputeSeen = SEEN, bundle: Bundle = BUNDLE) -> StartJob:
    """Have a seat examine good evidence and begin to draw."""
    seat.sees(seen)
    (job,) = jobs(seat.fetched(bundle, seen))
    return job


# The whole way


@pytest.mark.parametrize(
    ("apart", "verdict"), [(ANOTHER_PICTURE + 1, Verdict.WRONG), (ANOTHER_PICTURE, Verdict.RIGHT), (0, Verdict.RIGHT)]
)
def test_juror__good_evidence__is_drawn_again_compared_and_judged(apart: int, verdict: Verdict) -> None:
    seat = juror()
    (fetch,) = fetches(seat.sees(SEEN))
    assert (fetch.dispute, fetch.evidence, fetch.peer) == (SEEN.number, SEEN.evidence, CAROL.peer_id)
    effects = seat.fetched(BUNDLE, SEEN)
    (kept,) = persisted(effects, ArtifactStored)
    assert kept.data == BUNDLE.picture
    (job,) = jobs(effects)
    assert (job.specification, job.source) == (BUNDLE.specification, None)
    (asked,) = comparisons(seat.drew(job))
    assert (asked.one, asked.other) == (kept.digest, Digest(hashlib.sha256(OWN).digest()))
    effects = seat.compared(asked, apart)
    if verdict is Verdict.WRONG:
        assert said(effects) == [], "not before it is sure"
        effects = beside(seat, effects)
    assert said(effects) == [(verdict, f"apart_{apart}")]
    (note,) = noted(effects, NoteName.VERDICT_SIGNED)
    assert (note.fields["dispute"], note.fields["verdict"]) == (7, verdict.label)
    (wish,) = [effect for effect in seat.sees(SEEN) if isinstance(effect, SubmitTx)]
    assert (wish.call.function, wish.call.arguments[1]) == ("vote", ((7, 0, ALICE_ID, int(verdict)),))


def doubting() -> tuple[JurorSeat, StartJob]:
    """A juror whose picture is another one, and what it draws beside the task."""
    seat = juror()
    (asked,) = comparisons(seat.drew(drawing(seat)))
    (job,) = jobs(seat.compared(asked, FAR))
    return seat, job


def test_juror__would_say_wrong__draws_beside_the_task_on_both_sides() -> None:
    seat, job = doubting()
    guidance, part = BUNDLE.specification.guidance, PARTS[0]
    assert job.specification == BUNDLE.specification.model_copy(update={"guidance": guidance - guidance / part})
    (asked,) = comparisons(seat.drew(job, png(128, 128, 21)))
    (asked,) = comparisons(seat.compared(asked, FAR))
    (job,) = jobs(seat.compared(asked, OTHER_NUMERICS))
    assert job.specification == BUNDLE.specification.model_copy(update={"guidance": guidance + guidance / part})


@pytest.mark.parametrize("which", [1, 2])
def test_juror__picture_of_a_task_beside_is_the_disputed_one__is_right(which: int) -> None:
    seat, job = doubting()
    if which == 2:
        (asked,) = comparisons(seat.drew(job, png(128, 128, 21)))
        (asked,) = comparisons(seat.compared(asked, FAR))
        (job,) = jobs(seat.compared(asked, 0))
    (asked,) = comparisons(seat.drew(job, png(128, 128, 22)))
    assert said(seat.compared(asked, ANOTHER_PICTURE)) == [(Verdict.RIGHT, "tipped_over")]


def test_juror__picture_of_a_task_beside_is_the_disputed_file__is_right_without_a_look() -> None:
    seat, job = doubting()
    assert said(seat.drew(job, BUNDLE.picture)) == [(Verdict.RIGHT, "tipped_over")]


def test_juror__own_picture_changes_beside_the_task__cannot_judge() -> None:
    seat, job = doubting()
    (asked,) = comparisons(seat.drew(job, png(128, 128, 21)))
    (asked,) = comparisons(seat.compared(asked, FAR))
    assert said(seat.compared(asked, OTHER_NUMERICS + 1)) == [(Verdict.CANNOT_JUDGE, "unsteady")]


def test_juror__guidance_changes_nothing__is_wrong_all_the_same() -> None:
    seat, job = doubting()
    for _ in range(2 * len(PARTS) - 1):
        (job,) = jobs(seat.drew(job))
    assert said(seat.drew(job)) == [(Verdict.WRONG, f"apart_{FAR}")]


def test_juror__what_lies_beside_is_not_drawn_in_time_or_at_all__cannot_judge() -> None:
    seat, job = doubting()
    assert said(seat.wait(WINDOW_S * 1000)) == [(Verdict.CANNOT_JUDGE, "too_late")]
    seat, job = doubting()
    for _ in range(MAX_JOBS - 1):
        (job,) = jobs(seat.hear(JobFailed(job.task, job.attempt, "nan_picture")))
    assert said(seat.hear(JobFailed(job.task, job.attempt, "nan_picture"))) == [(Verdict.CANNOT_JUDGE, "nan_picture")]


def test_juror__end_of_an_earlier_drawing_comes_late__is_not_taken_for_the_present_one() -> None:
    seat, job = doubting()
    late = replace(job, attempt=0)
    effects = seat.drew(late, BUNDLE.picture)
    assert (comparisons(effects), said(effects)) == ([], [])
    assert jobs(seat.hear(JobFailed(job.task, 0, "cancelled"))) == []


def test_juror__own_picture_is_the_very_same_file__is_right_without_a_look() -> None:
    seat = juror()
    effects = seat.drew(drawing(seat), BUNDLE.picture)
    assert (comparisons(effects), said(effects)) == ([], [(Verdict.RIGHT, "same_picture")])


def test_juror__verdict__is_durable_before_any_vote() -> None:
    seat = juror()
    effects = seat.drew(drawing(seat), BUNDLE.picture)
    assert not [effect for effect in effects if isinstance(effect, SubmitTx)]
    assert any(isinstance(effect, Persist) for effect in effects)


# Who judges


@pytest.mark.parametrize(
    "changes",
    [
        {"seat": Seat.NONE},
        {"seat": Seat.HAS_JUDGED},
        {"seat": Seat.COULD_NOT_JUDGE},
        {"status": Status.DRAWING},
        {"status": Status.UPHELD},
        {"deadline_s": AT_S},
        {"is_own_owners": True},
        {"accused": ALICE_ID},
        {"reporter": ALICE_ID},
    ],
)
def test_seen__not_drawn_or_not_to_judge__does_nothing(changes: dict[str, Any]) -> None:
    seat = juror()
    effects = seat.sees(replace(SEEN, **changes)) + seat.wait(WINDOW_S * 1000)
    assert (fetches(effects), said(effects)) == ([], [])


def test_seen__owner_takes_no_part__does_nothing() -> None:
    seat = juror(policy=DisputePolicy(takes_part=False))
    effects = seat.sees(SEEN) + seat.wait(WINDOW_S * 1000)
    assert (fetches(effects), said(effects)) == ([], [])


def test_seen__signed_before__never_signs_again_in_that_round() -> None:
    before = VerdictKept(SEEN.number, SEEN.round, SEEN.evidence, 2, b"s" * 65, "no_evidence", UnixMillis(1), ALICE_ID)
    seat = juror(records=(before,))
    effects = seat.sees(SEEN) + seat.wait(WINDOW_S * 1000)
    assert (fetches(effects), said(effects)) == ([], [])
    appealed = replace(SEEN, round=1)
    assert len(fetches(seat.sees(appealed))) == 1, "an appeal is another round"


# Evidence


def test_seen__no_evidence_in_half_of_the_time__is_right() -> None:
    seat = juror()
    began, tries, effects = seat.now, 0, seat.sees(SEEN)
    while not said(effects):
        if fetches(effects):
            tries += 1
            effects = seat.fetched(None, SEEN, reason="not_shown")
            assert said(effects) == []
        effects = seat.wait(1000)
    assert said(effects) == [(Verdict.RIGHT, "no_evidence")]
    assert seat.now - began <= WINDOW_S * 1000 // 2 + 1000
    assert 30 <= tries <= 50


def test_seen__reporter_never_answers__is_right() -> None:
    seat = juror()
    assert len(fetches(seat.sees(SEEN))) == 1
    effects = seat.wait(WINDOW_S * 1000 // 2)
    assert said(effects) == [(Verdict.RIGHT, "no_evidence")]
    assert fetches(effects) == [], "one question at a time"


def test_fetched__no_chain_node_of_ours_says_who_signed__is_no_fault_of_the_reporters() -> None:
    seat = juror()
    seat.sees(SEEN)
    assert said(seat.fetched(None, SEEN, reason="chain_unavailable", is_ours=True)) == []
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.CANNOT_JUDGE, "own_chain_node")]


def test_fetched__reporter_is_silent_after_our_chain_node_came_back__is_right() -> None:
    seat = juror()
    seat.sees(SEEN)
    seat.fetched(None, SEEN, reason="chain_unavailable", is_ours=True)
    assert len(fetches(seat.wait(10_100))) == 1
    seat.fetched(None, SEEN, reason="not_shown")
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.RIGHT, "no_evidence")]


def test_seen__inactive_since_it_was_drawn__asks_nobody_and_cannot_judge() -> None:
    seat = juror()
    seat.hear(ActivityChanged(frozenset({ALICE_ID})))
    assert fetches(seat.sees(SEEN)) == [], "the reporter judges whoever is not registered for asking"
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.CANNOT_JUDGE, "inactive")]


def test_seen__inactive_and_back_in_time__asks_and_the_reporter_has_to_answer() -> None:
    seat = juror()
    seat.hear(ActivityChanged(frozenset({ALICE_ID})))
    seat.sees(SEEN)
    seat.hear(ActivityChanged(frozenset()))
    assert len(fetches(seat.wait(10_100))) == 1
    seat.fetched(None, SEEN, reason="not_shown")
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.RIGHT, "no_evidence")]


def test_seen__connected_to_nobody_at_all__cannot_judge() -> None:
    seat = juror()
    for peer in (CAROL.peer_id, DAVE.peer_id):
        seat.hear(PeerDown(peer))
    seat.sees(SEEN)
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.CANNOT_JUDGE, "not_connected")]


def test_fetched__evidence_of_what_a_number_was_before__is_not_examined() -> None:
    seat = juror()
    seat.sees(replace(SEEN, evidence=Digest(b"x" * 32)))
    effects = seat.fetched(BUNDLE, SEEN)
    assert (jobs(effects), said(effects)) == ([], [])
    (note,) = noted(effects, NoteName.BUNDLE_MISSING)
    assert note.fields["reason"] == "other_evidence"


def test_seen__two_disputes_of_one_reporter__asks_it_one_question_at_a_time() -> None:
    seat = juror()
    others = [replace(SEEN, number=number) for number in (8, 9)]
    assert [fetch.dispute for fetch in fetches(seat.sees(SEEN, *others))] == [SEEN.number]
    seat.fetched(None, SEEN, reason="not_shown")
    asked = []
    for _ in range(60):
        now = [fetch.dispute for fetch in fetches(seat.wait(1000))]
        assert len(now) <= 1, "it judges whoever asks a second time meanwhile"
        for number in now:
            asked.append(number)
            seat.fetched(None, replace(SEEN, number=number), reason="not_shown")
    assert set(asked) == {SEEN.number, 8, 9}, "each has its turn"


def test_fetched__not_yet_shown__is_asked_again_after_a_pause_and_not_before() -> None:
    seat = juror()
    seat.sees(SEEN)
    assert fetches(seat.fetched(None, SEEN, reason="not_shown")) == []
    assert fetches(seat.wait(9_000)) == []
    assert len(fetches(seat.wait(1_500))) == 1


def test_seen__reporter_is_not_connected__is_looked_up_and_only_its_own_key_is_asked() -> None:
    seat = juror()
    seat.hear(PeerDown(CAROL.peer_id))
    effects = seat.sees(SEEN)
    assert (fetches(effects), [e for e in effects if isinstance(e, FindProviders)]) == (
        [],
        [FindProviders(coordinator_key(PARAMS.name))],
    )
    seat.hear(ProvidersFound(coordinator_key(PARAMS.name), (DAVE.peer_id,)))
    assert fetches(seat.wait(10_100)) == [], "dave is not carol, whatever the DHT says"
    seat.hear(ProvidersFound(coordinator_key(PARAMS.name), (DAVE.peer_id, CAROL.peer_id)))
    (fetch,) = fetches(seat.wait(10_100))
    assert fetch.peer == CAROL.peer_id


@pytest.mark.parametrize(
    ("bundle", "changes", "reason"),
    [
        (b"no bundle", {"signed_by": ()}, "bundle.form"),
        (disputed(shown=OWN), {}, "bundle.artifact"),
        (disputed(award={"miner": ALICE_ID}), {}, "bundle.parties"),
        (BUNDLE, {"signed_by": (CAROL_ID, *SIGNERS[1:])}, "bundle.signature"),
        (BUNDLE, {"signed_by": (*SIGNERS[:2], None)}, "bundle.signature"),
        (BUNDLE, {"signed_by": (SIGNERS[0], None, SIGNERS[2])}, "bundle.signature"),
    ],
)
def test_fetched__evidence_proves_nothing__is_right_and_costs_the_engine_nothing(
    bundle: Bundle | bytes, changes: dict[str, Any], reason: str
) -> None:
    data = bundle.data() if isinstance(bundle, Bundle) else bundle
    seat, seen = juror(), replace(SEEN, evidence=bundle_digest(data))
    seat.sees(seen)
    effects = seat.fetched(bundle, seen, **changes)
    assert (said(effects), jobs(effects)) == ([(Verdict.RIGHT, reason)], [])
    assert persisted(effects, ArtifactStored) == []
    (note,) = noted(effects, NoteName.BUNDLE_REFUSED)
    assert note.fields["reason"] == reason


def test_fetched__sealed_work__is_no_evidence() -> None:
    award = award_to_bob().model_copy(update={"sealed_key": b"k" * 32})
    bundle = bundle_of(award, result_by_bob(award_to_bob()), BUNDLE.picture)
    seat, seen = juror(), drawn_for(bundle)
    seat.sees(seen)
    assert said(seat.fetched(bundle, seen)) == [(Verdict.RIGHT, "bundle.sealed")]


# What it cannot judge


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        ({"digest": OTHER_MODEL}, "other_model"),
        ({"numerics": "any"}, "other_numerics"),
        ({"numerics": "half-cuda"}, "other_numerics"),
    ],
)
def test_fetched__engine_draws_something_else__cannot_judge(served: dict[str, Any], reason: str) -> None:
    seat = juror(**served)
    seat.sees(SEEN)
    effects = seat.fetched(BUNDLE, SEEN)
    assert (said(effects), jobs(effects)) == ([(Verdict.CANNOT_JUDGE, reason)], [])


def test_fetched__accused_says_nothing_of_its_class__is_judged_by_everybody() -> None:
    bundle = disputed(said=said_by_bob(numerics="any"))
    seat, seen = juror(numerics="half-cuda"), drawn_for(bundle)
    seat.sees(seen)
    assert len(jobs(seat.fetched(bundle, seen))) == 1, "to say nothing protects nobody"


def test_fetched__owner_refuses_such_work__cannot_judge() -> None:
    seat = juror(refuses=True)
    seat.sees(SEEN)
    assert said(seat.fetched(BUNDLE, SEEN)) == [(Verdict.CANNOT_JUDGE, "content_policy")]


def test_fetched__engine_is_not_there__waits_for_it_and_then_cannot_judge() -> None:
    seat = juror()
    seat.hear(EngineChanged((), 0))
    seat.sees(SEEN)
    effects = seat.fetched(BUNDLE, SEEN)
    assert (jobs(effects), said(effects)) == ([], [])
    back = juror()
    back.hear(EngineChanged((), 0))
    back.sees(SEEN)
    back.fetched(BUNDLE, SEEN)
    assert len(jobs(back.serve())) == 1, "it came back in time"
    assert said(seat.wait(WINDOW_S * 1000 * 5 // 8)) == [(Verdict.CANNOT_JUDGE, "not_served")]


def test_fetched__owner_keeps_it_closed__cannot_judge_unless_it_opens_in_time() -> None:
    seat = juror()
    seat.hear(ServiceChanged(False))
    seat.sees(SEEN)
    assert jobs(seat.fetched(BUNDLE, SEEN)) == []
    assert len(jobs(seat.hear(ServiceChanged(True)))) == 1


def test_failed__engine_was_lost__begins_once_more_and_then_cannot_judge() -> None:
    seat = juror()
    job = drawing(seat)
    for _ in range(MAX_JOBS - 1):
        (job,) = jobs(seat.hear(JobFailed(job.task, 0, "engine_down")))
    assert said(seat.hear(JobFailed(job.task, 0, "engine_down"))) == [(Verdict.CANNOT_JUDGE, "engine_down")]


def test_failed__queue_of_the_engine_is_full_when_time_presses__is_tried_again_until_it_is_too_late() -> None:
    seat = juror()
    job, tries = drawing(seat), 0
    effects = seat.hear(JobFailed(job.task, 0, "engine_busy"))
    assert (jobs(effects), said(effects)) == ([], []), "not at once: paid work fills it"
    while not said(effects):
        effects = seat.wait(5_000)
        for again in jobs(effects):
            tries += 1
            effects += seat.hear(JobFailed(again.task, again.attempt, "engine_busy"))
    assert said(effects) == [(Verdict.CANNOT_JUDGE, "too_late")]
    assert 30 <= tries <= 200


def test_finished__engine_came_back_with_other_weights__cannot_judge() -> None:
    seat = juror()
    job = drawing(seat)
    digest = Digest(hashlib.sha256(OWN).digest())
    drawn = JobFinished(job.task, job.attempt, OWN, digest, "image/png", OTHER_MODEL, NOTHING, 40)
    effects = seat.hear(drawn)
    assert (comparisons(effects), said(effects)) == ([], [(Verdict.CANNOT_JUDGE, "other_model")])


def test_waited__engine_takes_too_long__cannot_judge_and_stops_it() -> None:
    seat = juror()
    job = drawing(seat)
    effects = seat.wait(WINDOW_S * 1000)
    assert said(effects) == [(Verdict.CANNOT_JUDGE, "too_late")]
    assert [effect for effect in effects if isinstance(effect, CancelJob)] == [CancelJob(job.task, 0)]
    assert comparisons(seat.drew(job)) == [], "what comes later changes nothing"


def test_compared__child_could_not_say__cannot_judge() -> None:
    seat = juror()
    (asked,) = comparisons(seat.drew(drawing(seat)))
    assert said(seat.compared(asked, None)) == [(Verdict.CANNOT_JUDGE, "not_comparable")]


@pytest.mark.parametrize(
    ("own", "verdict"),
    [(0, (Verdict.WRONG, "no_picture")), (UNREADABLE, (Verdict.CANNOT_JUDGE, "own_picture"))],
)
def test_compared__one_file_shows_no_picture__is_wrong_only_if_ours_does(
    own: int, verdict: tuple[Verdict, str]
) -> None:
    seat = juror()
    (asked,) = comparisons(seat.drew(drawing(seat)))
    effects = seat.compared(asked, UNREADABLE)
    assert said(effects) == []
    (again,) = comparisons(effects)
    assert again.one == again.other == asked.other
    assert said(seat.compared(again, own)) == [verdict]


# Beside paid work


def test_fetched__paid_work_is_here__waits_behind_it() -> None:
    seat = juror()
    award = award_of(seat.claimed())
    seat.say(CAROL, award)
    seat.sees(SEEN)
    assert jobs(seat.fetched(BUNDLE, SEEN)) == []
    effects = seat.finish(award)
    assert len(jobs(effects)) == 1, "the place is free"


def test_fetched__claim_is_out__waits_for_its_answer_but_not_beyond_its_time() -> None:
    seat = juror()
    seat.claimed()
    seat.sees(SEEN)
    assert jobs(seat.fetched(BUNDLE, SEEN)) == []


def test_waited__paid_work_never_ends__begins_in_time_all_the_same() -> None:
    seat = juror()
    seat.say(CAROL, award_of(seat.claimed()))
    seat.sees(SEEN)
    effects = seat.fetched(BUNDLE, SEEN)
    effects += seat.wait(WINDOW_S * 1000 * 5 // 8)
    assert len(jobs(effects)) == 1


def test_drawing__disputed_task__takes_a_place_so_that_nothing_is_claimed_meanwhile() -> None:
    seat = juror()
    job = drawing(seat)
    assert of_kind(seat.offer(), Claim) == []
    assert seat.core.load().jobs == 1
    effects = seat.drew(job)
    assert len(comparisons(effects)) == 1
    assert len(of_kind(effects, Claim)) == 1, "the place is free again"


def test_drawing__device_is_taken_away__is_begun_anew_once_it_is_back() -> None:
    seat = juror()
    job = drawing(seat)
    effects = seat.hear(ServiceChanged(False, give_back=True))
    assert CancelJob(job.task, 0) in effects
    assert of_kind(effects, Abandon) == [], "it is nobody's award"
    assert len(jobs(seat.hear(ServiceChanged(True)))) == 1


def test_drawing__dispute_ends_without_us__stops() -> None:
    seat = juror()
    job = drawing(seat)
    effects = seat.sees(replace(SEEN, status=Status.DISMISSED))
    assert CancelJob(job.task, 0) in effects
    assert said(seat.wait(WINDOW_S * 1000)) == []


# Floods


REPORTERS = [NodeKey(hashlib.sha256(b"reporter %d" % number).digest()) for number in range(MAX_CASES + 5)]


def among_reporters() -> JurorSeat:
    """Alice, connected with many coordinators."""
    seat = juror()
    others = [networks.coordinator(key, 100 + place) for place, key in enumerate(REPORTERS)]
    seat.tables((*networks.trio(), *others))
    for key in REPORTERS:
        seat.hear(PeerUp(key.peer_id))
    return seat


def many(count: int) -> list[DisputeSeen]:
    """Disputes of so many reporters, the first of which ends first."""
    numbers = range(1, count + 1)
    return [
        replace(SEEN, number=number, deadline_s=AT_S + WINDOW_S + number, reporter=StakingId(99 + number))
        for number in numbers
    ]


def test_seen__drawn_in_more_disputes_than_are_judged_at_once__takes_those_that_end_first() -> None:
    seat = among_reporters()
    effects = seat.sees(*many(MAX_CASES + 5))
    assert [fetch.dispute for fetch in fetches(effects)] == list(range(1, MAX_FETCHES + 1))
    assert len(seat.core.jury._judging._cases) == MAX_CASES
    rest = many(MAX_CASES + 5)[3:]
    seat.sees(*rest)
    numbers = {case.seen.number for case in seat.core.jury._judging._cases.values()}
    assert numbers == set(range(4, MAX_CASES + 4)), "those that ended made room"


def test_fetched__reporters_that_take_their_time_for_nothing__hold_up_no_other_dispute() -> None:
    seat = among_reporters()
    *slow, other = many(MAX_FETCHES + 1)
    effects = seat.sees(*slow, other)
    for _ in range(3):
        effects += seat.wait(100_000)
        for seen in slow:
            effects += seat.fetched(None, seen, reason="broken_off")
        effects += seat.wait(10_000)
    assert other.number in [fetch.dispute for fetch in fetches(effects)]


def test_fetched__several_disputes__are_drawn_one_after_the_other() -> None:
    seat = juror()
    first, second = (replace(SEEN, number=number) for number in (1, 2))
    seat.sees(first, second)
    (job,) = jobs(seat.fetched(BUNDLE, first))
    assert len(fetches(seat.wait(10_000))) == 1
    assert jobs(seat.fetched(BUNDLE, second)) == []
    effects = seat.drew(job, BUNDLE.picture)
    (other,) = jobs(effects)
    assert other.task != job.task


# Killed at each step


@pytest.mark.parametrize("step", ["drawn", "fetched", "drawing", "compared"])
def test_restart__before_the_verdict__begins_anew_and_signs_once(step: str) -> None:
    seat = juror()
    seat.sees(SEEN)
    if step != "drawn":
        (job,) = jobs(seat.fetched(BUNDLE, SEEN))
        if step == "compared":
            seat.drew(job)
    again = juror()
    (asked,) = comparisons(again.drew(drawing(again)))
    assert said(beside(again, again.compared(asked, FAR))) == [(Verdict.WRONG, f"apart_{FAR}")]


def test_restart__after_the_verdict__votes_what_is_on_disk() -> None:
    seat = juror()
    effects = seat.drew(drawing(seat), BUNDLE.picture)
    (kept,) = persisted(effects, VerdictKept)
    again = juror(records=(kept,))
    effects = again.sees(SEEN)
    (wish,) = [effect for effect in effects if isinstance(effect, SubmitTx)]
    assert wish.call.arguments == (7, ((7, 0, ALICE_ID, 2),), (kept.signature,))
    assert (fetches(effects), said(effects)) == ([], [])


def test_timer__case_waits_for_another_beyond_its_time_to_begin__never_a_busy_loop() -> None:
    seat = juror()
    first, second = (replace(SEEN, number=number) for number in (1, 2))
    seat.sees(first, second)
    seat.fetched(BUNDLE, first)
    seat.wait(10_000)
    seat.fetched(BUNDLE, second)
    seat.wait(WINDOW_S * 1000 * 5 // 8)
    seat.hear(TimerFired((TIMER, b"", 0)))
    at = seat.timers[TIMER, b"", 0]
    assert at - seat.now > 1000, "the second waits behind the first, which may draw for long"


def test_timer__without_cases__sets_no_other() -> None:
    seat = juror()
    seat.sees(SEEN)
    seat.sees()
    seat.wait(WINDOW_S * 1000)
    assert not [key for key in seat.timers if key[0] == TIMER], "never a busy loop"
