"""A juror of several disputes at once: which it takes up, and in which order. SPEC.md §12.10."""

import hashlib
from dataclasses import replace

from protocol.crypto.keys import NodeKey
from protocol.events import (
    PeerUp,
)
from protocol.justice.dispute import DisputeSeen
from protocol.roles.miner.judging import MAX_CASES, MAX_FETCHES
from protocol.units import StakingId
from tests.protocol.roles.juror_seat import (
    AT_S,
    BUNDLE,
    SEEN,
    WINDOW_S,
    JurorSeat,
    fetches,
    jobs,
    juror,
)
from tests.support import networks

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
