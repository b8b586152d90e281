"""A juror examines evidence, draws again behind paid work, is cautious, and signs one word. SPEC.md §12.10.

Alice (1) is the juror, bob (2) is accused, carol (3) reports.
"""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from node.upkeep import PICTURES_KEPT_MS
from protocol.effects import CancelJob, Persist, SubmitTx
from protocol.events import (
    EngineChanged,
    JobFailed,
    JobFinished,
    ServiceChanged,
    TimerFired,
)
from protocol.justice.dispute import Seat, Status, Verdict
from protocol.notes import NoteName
from protocol.records import ArtifactStored, VerdictKept
from protocol.roles.disputing import DisputePolicy
from protocol.roles.miner.judging import MAX_JOBS, TIMER
from protocol.task.distance import ANOTHER_PICTURE
from protocol.task.recheck import UNREADABLE
from protocol.units import Digest, UnixMillis
from protocol.wire.messages import Abandon, Claim
from tests.protocol.roles.frames import ALICE_ID, NOTHING, award_of
from tests.protocol.roles.juror_seat import (
    AT_S,
    BUNDLE,
    FAR,
    OTHER_MODEL,
    OWN,
    SEEN,
    WINDOW_S,
    beside,
    comparisons,
    drawing,
    drawn_for,
    fetches,
    jobs,
    juror,
    said,
)
from tests.protocol.roles.seats import noted, of_kind, persisted
from tests.support.disputed import disputed, said_by_bob
from tests.support.networks import CAROL

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


@pytest.mark.parametrize("numerics", ["any", "float32-mine", "half-cpu"])
def test_fetched__accused_says_nothing_of_its_class_or_makes_one_up__is_judged_by_everybody(numerics: str) -> None:
    bundle = disputed(said=said_by_bob(numerics=numerics))
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


@pytest.mark.parametrize("served", [{"model": "another-model"}, {"digest": OTHER_MODEL}, {"numerics": "half-cuda"}])
def test_fetched__engine_draws_something_else_and_is_busy__says_so_at_once_so_that_another_is_drawn(
    served: dict[str, Any],
) -> None:
    seat = juror()
    seat.say(CAROL, award_of(seat.claimed()))
    seat.serve(**served)
    seat.sees(SEEN)
    ((verdict, _),) = said(seat.fetched(BUNDLE, SEEN))
    assert verdict is Verdict.CANNOT_JUDGE


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


def test_waited__window_of_verdicts_is_many_days__judges_while_a_store_keeps_the_pictures() -> None:
    seat, seen = juror(), replace(SEEN, deadline_s=AT_S + 20 * 86_400)
    seat.say(CAROL, award_of(seat.claimed()))
    seat.sees(seen)
    seat.fetched(BUNDLE, seen)
    assert len(jobs(seat.wait(PICTURES_KEPT_MS * 2 // 3))) == 1
    assert said(seat.wait(PICTURES_KEPT_MS // 3)) == [(Verdict.CANNOT_JUDGE, "too_late")]


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
