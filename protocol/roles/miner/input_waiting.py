"""The miner's half of the pictures that tasks begin from: it waits for them, asks again, and gives up in time.

They come on artifact streams once the miner has said that it waits for them. A repeated claim is answered with the same
award and its pictures again, so that what was lost on the way needs no message of its own. Spec: SPEC.md §9.8.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

from protocol.effects import Offence
from protocol.errors import InvalidMessage
from protocol.events import ArtifactReceived
from protocol.notes import NoteName
from protocol.params import MAX_INPUT_BYTES
from protocol.roles.abandon_reasons import NO_INPUT
from protocol.roles.core import Core
from protocol.roles.miner.job_waiting import Awaited, JobWaiting, Key, Patience
from protocol.task.inputs import check_inputs
from protocol.units import Digest, DurationMs, PeerId
from protocol.wire.messages import Claim
from protocol.wire.specification import TaskSpecification

WAIT_MS: Final = DurationMs(60_000)
"""How long (ms) they may take: two of the largest at 2.3 Mbit/s."""
ASK_AGAIN_MS: Final = DurationMs(5000)
"""Pause (ms) before they are asked for again."""
MAX_HELD_BYTES: Final = 256 * 1024 * 1024
"""Pictures in memory that wait for others of their task, or for a place at the engine; more is not taken until then."""


@dataclass(slots=True)
class AwaitedInputs(Awaited):
    """One awarded attempt whose pictures are on their way."""

    here: dict[Digest, bytes] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Count what is not here."""
        return len(self.specification.inputs) - len(self.here)


@final
class InputWaiting(JobWaiting[AwaitedInputs]):
    """Jobs that cannot begin yet."""

    def __init__(
        self,
        core: Core,
        begin: Callable[[Key, bytes | None, bytes | None], None],
        give_up: Callable[[Key, str], None],
    ) -> None:
        """Tell ``begin`` of each job whose pictures are here (source, mask), and ``give_up`` of the others, why."""
        super().__init__(core, Patience("input", WAIT_MS, ASK_AGAIN_MS, NO_INPUT), give_up)
        self._begin = begin

    def add(self, key: Key, peer: Callable[[], PeerId], claim: Claim, specification: TaskSpecification) -> None:
        """Wait for the pictures of an award; ``peer`` says where its coordinator is now."""
        now = self._core.now
        self._wait_for(key, AwaitedInputs(peer, claim, specification, now, now))

    def expects(self, peer: PeerId, key: Key, size: int) -> bool:
        """Say whether a picture of this size (bytes) is awaited from this peer."""
        if self._from(peer, key) is None or size > MAX_INPUT_BYTES:
            return False
        held = sum(len(data) for one in self._awaited.values() for data in one.here.values())
        return held + size <= MAX_HELD_BYTES

    def on_artifact(self, event: ArtifactReceived) -> None:
        """Take a picture; with the last one the job begins. What the task does not name is held against its sender."""
        key, core = (event.task, event.attempt), self._core
        awaited = self._from(event.peer, key)
        if awaited is None:
            core.note(NoteName.MESSAGE_IGNORED, rule="artifact.unexpected")
            return
        if event.digest not in awaited.specification.inputs:
            core.judge_peer(event.peer, Offence.GRAVE, "input.digest")
            return
        awaited.here[event.digest] = event.data
        if awaited.missing:
            return
        self.forget(key)
        specification, here = awaited.specification, awaited.here
        try:
            check_inputs(specification, here)
        except InvalidMessage as problem:
            core.judge_peer(event.peer, Offence.GRAVE, problem.rule)
            self._give_up(key, "not_as_offered")
            return
        source, mask = specification.source, specification.mask
        self._begin(key, None if source is None else here[source], None if mask is None else here[mask])
