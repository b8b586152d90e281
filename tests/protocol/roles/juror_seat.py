"""Alice (1) is a juror, bob (2) is accused, carol (3) reports: what tests of her judging share."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from protocol.crypto.typed_data import signer
from protocol.effects import ComparePictures, Effect, FetchBundle, StartJob
from protocol.events import (
    BundleFetched,
    DisputesSeen,
    EngineChanged,
    JobFinished,
    ModelState,
    PicturesCompared,
)
from protocol.justice.bundle import Bundle
from protocol.justice.dispute import DisputeSeen, Seat, Status, Verdict
from protocol.justice.steadiness import PARTS
from protocol.records import Record, VerdictKept
from protocol.roles.disputing import DisputePolicy
from protocol.roles.miner.miner import MinerCore
from protocol.task.distance import ANOTHER_PICTURE
from protocol.units import BlockNumber, Digest, Wei
from protocol.wire.statements import VerdictStatement
from tests.protocol.roles.frames import ALICE_ID, DOMAIN, MODEL, NOTHING
from tests.protocol.roles.seats import MinerSeat, persisted
from tests.support.disputed import SIGNERS, dispute_about, disputed
from tests.support.networks import ALICE
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


def beside(seat: JurorSeat, effects: Iterable[Effect], *, far: int = FAR, near: int = 1) -> tuple[Effect, ...]:
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
