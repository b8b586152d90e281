"""One round of a dispute that a miner judges: how far it is, and until when each part of it may last.

Of the time that is left, a day at most, half is for evidence to come; from five eighths on the disputed task waits
behind no other work, and from seven eighths on it is too late. Spec: SPEC.md §12.10.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from protocol.justice.dispute import DisputeSeen
from protocol.units import DAY_MS, Digest, TaskId, UnixMillis
from protocol.wire.specification import TaskSpecification

RETRY_MS: Final = 10_000
"""Longest pause (ms) before the reporter is asked again; less where little time is left."""
TRIES_IN_TIME: Final = 32
"""So many times it is asked at least in the time that there is."""


class Stage(Enum):
    """How far a case is."""

    FETCHING = "fetching"
    WAITING = "waiting"
    """For the engine, behind paid work."""
    DRAWING = "drawing"
    COMPARING = "comparing"
    CHECKING = "checking"
    """Whether the one file that no decoder reads is ours."""


@dataclass(slots=True)
class JurorCase:
    """One round of a dispute in which this miner has a seat and has not judged."""

    seen: DisputeSeen
    name: TaskId
    """Stands for it at engine and decoder."""
    fetch_until: UnixMillis
    """From then on missing evidence is no evidence."""
    start_by: UnixMillis
    """From then on it waits behind nothing."""
    end_by: UnixMillis
    """From then on it is too late to judge by what was drawn."""
    retry_ms: int
    stage: Stage = Stage.FETCHING
    is_fetching: bool = False
    lack: str = ""
    """Of our own, for which the last question failed or was not asked: a stable name; empty where the reporter has to
    answer for that."""
    fetch_at: UnixMillis = UnixMillis(0)
    asked_at: UnixMillis = UnixMillis(0)
    """When its reporter was asked last: who waited longest has the next turn."""
    specification: TaskSpecification | None = None
    """What is drawn now: the disputed task, or one beside it."""
    picture: Digest | None = None
    model: Digest | None = None
    numerics: str = ""
    """The class of arithmetic in which the accused says that it draws."""
    own: Digest | None = None
    apart: int = 0
    """How far (ppm) our own picture is from the disputed one, where that would be "wrong"."""
    beside: list[TaskSpecification] = field(default_factory=list)
    """What is still to be drawn beside it then."""
    drawing: int = 0
    """0 while the task itself is drawn, then the number of the drawing beside it."""
    draw_at: UnixMillis = UnixMillis(0)
    """Not before this: the engine's queue was full."""
    drawn_beside: Digest | None = None
    """The latest of these."""
    has_changed: bool = False
    """Whether any of these was another picture than our own, however little; else guidance changes nothing."""
    compared: tuple[Digest, Digest] | None = None
    """Which two pictures are compared, or were last."""
    jobs: int = 0
    """How often the present drawing was begun."""

    def moments(self) -> Iterable[UnixMillis]:
        """Give when something is to be done by itself."""
        if self.stage is Stage.FETCHING:
            yield self.fetch_until
            if not self.is_fetching:
                yield self.fetch_at
        elif self.stage is Stage.WAITING:
            yield self.start_by
            yield self.draw_at
        yield self.end_by


def new_case(seen: DisputeSeen, name: TaskId, left_ms: int, now: UnixMillis) -> JurorCase:
    """Begin with a dispute for which so much time is left (ms)."""
    left_ms = min(left_ms, DAY_MS)  # a store keeps pictures, the disputed one too, for a day
    return JurorCase(
        seen,
        name,
        fetch_until=UnixMillis(now + left_ms // 2),
        start_by=UnixMillis(now + left_ms * 5 // 8),
        end_by=UnixMillis(now + left_ms * 7 // 8),
        retry_ms=max(1, min(RETRY_MS, left_ms // 2 // TRIES_IN_TIME)),
    )


def dispute_name(seen: DisputeSeen) -> TaskId:
    """Give what stands for a round of a dispute at engine and decoder; no task has such a name."""
    parties = seen.accused.to_bytes(8, "big") + seen.reporter.to_bytes(8, "big")
    about = seen.number.to_bytes(32, "big") + seen.round.to_bytes(4, "big") + seen.evidence + parties
    return TaskId(hashlib.sha256(b"cuckoo/1/dispute/job" + about).digest())
