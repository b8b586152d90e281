"""The fingerprints of a miner's latest pictures: kept for a while, and shown to the coordinator that ordered them.

JobFinished -> StepsKept, on disk with the commitment; open_steps -> opened_steps. Spec: SPEC.md §12.7, §12.8.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, final

from protocol.effects import Lane, Send
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.records import StepsKept
from protocol.roles.core import Core
from protocol.task.fingerprint import FINGERPRINT_BYTES, MAX_STEPS, fingerprint_root
from protocol.task.steps import show_steps
from protocol.units import Digest, DurationMs, PeerId, StakingId, TaskId
from protocol.wire.messages import OpenedSteps, OpenSteps

MOST_BYTES: Final = 64 * 2**20
"""Most that is kept (bytes): 26,000 pictures of 20 steps, so that who draws seven a second can show for an hour what it
is asked for, as it must (SPEC.md §12.8). 2,600 of the smallest pictures in 200 steps, as dear as nine of the usual
ones, take as much."""
MOST_PICTURES: Final = 32_768
"""Most whose steps are kept: each takes 600 bytes of memory more, which is most of it where pictures have few steps. On
disk they are some 85 MB of 20 steps each, and 840 MB of the most that a task may have."""
KEPT_MS: Final = DurationMs(24 * 3_600_000)
"""How long (ms): a recheck ends within half a day and the epoch after."""
MOST_ANSWERS: Final = 16
"""How often the steps of one picture are shown: in the course of a recheck they are asked for up to 20 times, where
answers are lost each time. An answer may be fifty times as long as its question."""
NOT_KEPT: Final = "not_kept"


@dataclass(slots=True)
class Kept:
    """The steps of one picture."""

    record: StepsKept
    answers: int = 0


@final
class KeptSteps:
    """Fingerprints by the digest of the commitment that binds them, the oldest first."""

    def __init__(self, core: Core) -> None:
        """Start with none."""
        self._core = core
        self._kept: OrderedDict[Digest, Kept] = OrderedDict()
        self._alike: dict[tuple[StakingId, int], OrderedDict[Digest, None]] = {}
        """The same by coordinator and number of bytes, the oldest first."""
        self._bytes = 0

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._kept)

    def restore(self, record: StepsKept) -> None:
        """Take up what an earlier run kept, the oldest first.

        Where there is no room, the oldest of the coordinator and number of steps that take most of it is forgotten: so
        that no small tasks of many steps, and no other coordinator's, take the steps of the usual ones away.
        """
        self._forget(record.commitment)
        self._kept[record.commitment] = Kept(record)
        self._alike.setdefault(_kind(record), OrderedDict())[record.commitment] = None
        self._bytes += len(record.fingerprints)
        while self._kept and next(iter(self._kept.values())).record.kept_at <= self._core.now - KEPT_MS:
            self._forget(next(iter(self._kept)))
        while self._bytes > MOST_BYTES or len(self._kept) > MOST_PICTURES:
            most = max(self._alike, key=lambda kind: len(self._alike[kind]) * kind[1])
            self._forget(next(iter(self._alike[most])))

    def _forget(self, commitment: Digest) -> None:
        """Forget the steps of a picture, if they are known."""
        known = self._kept.pop(commitment, None)
        if known is None:
            return
        kind = _kind(known.record)
        self._bytes -= len(known.record.fingerprints)
        del self._alike[kind][commitment]
        if not self._alike[kind]:
            del self._alike[kind]

    def keep(
        self, task: TaskId, attempt: int, coordinator: StakingId, commitment: Digest, root: Digest, fingerprints: bytes
    ) -> tuple[StepsKept, ...]:
        """Keep the steps of a picture; give what is to be on disk with its commitment.

        Args:
            task: Whose.
            attempt: Likewise.
            coordinator: Who may ask.
            commitment: Its digest.
            root: What it binds.
            fingerprints: Of all steps; empty where the engine sees none.
        """
        if not 0 < len(fingerprints) <= MAX_STEPS * FINGERPRINT_BYTES or len(fingerprints) % FINGERPRINT_BYTES:
            return ()
        record = StepsKept(task, attempt, coordinator, commitment, root, fingerprints, self._core.now)
        self.restore(record)
        return (record,)

    def on_open(self, peer: PeerId, coordinator: StakingId, message: OpenSteps) -> None:
        """Show steps to the coordinator that ordered the picture, or say that there are none.

        Raises:
            InvalidMessage: the steps are not in rising order.
            IgnoredMessage: it has seen them often enough.
        """
        if any(later <= earlier for earlier, later in zip(message.steps, message.steps[1:], strict=False)):
            raise InvalidMessage("open_steps.steps")
        kept = self._kept.get(Digest(message.commitment))
        answer = OpenedSteps(
            task=message.task, attempt=message.attempt, commitment=message.commitment, opened=(), reason=NOT_KEPT
        )
        if kept is not None and self._is_asked_for(kept.record, coordinator, message):
            if kept.answers >= MOST_ANSWERS:
                raise IgnoredMessage("open_steps.repeated")
            kept.answers += 1  # before the work: what the disk gave back changed is not hashed for ever either
            steps = _cut(kept.record.fingerprints)
            if fingerprint_root(steps) == kept.record.root:
                answer = answer.model_copy(update={"opened": show_steps(steps, message.steps), "reason": None})
        self._core.emit(Send(peer, answer, Lane.NORMAL))

    @staticmethod
    def _is_asked_for(record: StepsKept, coordinator: StakingId, message: OpenSteps) -> bool:
        """Say whether these are steps that it committed to, of that coordinator's task."""
        of_it = (record.task, record.attempt, record.coordinator) == (message.task, message.attempt, coordinator)
        return of_it and message.steps[-1] * FINGERPRINT_BYTES < len(record.fingerprints)


def _kind(record: StepsKept) -> tuple[StakingId, int]:
    return record.coordinator, len(record.fingerprints)


def _cut(fingerprints: bytes) -> list[bytes]:
    return [fingerprints[at : at + FINGERPRINT_BYTES] for at in range(0, len(fingerprints), FINGERPRINT_BYTES)]
