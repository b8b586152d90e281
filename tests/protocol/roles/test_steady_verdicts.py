"""Before a juror says "wrong" it draws beside the task, where arithmetic alone may decide. SPEC.md §12.10."""

from dataclasses import replace

import pytest

from protocol.effects import StartJob
from protocol.events import (
    JobFailed,
)
from protocol.justice.dispute import Verdict
from protocol.justice.steadiness import PARTS
from protocol.roles.miner.judging import MAX_JOBS
from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS
from tests.protocol.roles.juror_seat import (
    BUNDLE,
    FAR,
    WINDOW_S,
    JurorSeat,
    beside,
    comparisons,
    drawing,
    jobs,
    juror,
    said,
)
from tests.support.pictures import png


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


def test_juror__guidance_changes_nothing__cannot_judge() -> None:
    seat, job = doubting()
    for _ in range(2 * len(PARTS) - 1):
        (job,) = jobs(seat.drew(job))
    assert said(seat.drew(job)) == [(Verdict.CANNOT_JUDGE, "unguided")], "nothing tells whether arithmetic decides"


def test_juror__guidance_changes_what_a_file_says_and_nothing_of_the_picture__cannot_judge() -> None:
    seat = juror()
    (asked,) = comparisons(seat.drew(drawing(seat)))
    assert said(beside(seat, seat.compared(asked, FAR), near=0)) == [(Verdict.CANNOT_JUDGE, "unguided")]


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
