"""A coordinator of sealed tasks driven by hand: the test is its miners and its app."""

from collections.abc import Iterable

from protocol.crypto.keys import NodeKey
from protocol.effects import Deliver, Effect, Stage, Update
from protocol.events import Acceptance, KeyGiven, TaskSubmitted, TaskTaken
from protocol.records import TaskAccepted, TaskFailed
from protocol.task.acceptance import sign_acceptance
from protocol.units import Digest, TaskId
from protocol.wire.messages import Award
from tests.protocol.roles.frames import (
    NETWORK_ID,
    artifact_of,
    capability,
    result_of,
)
from tests.protocol.roles.sealing import SEALED, award_digest, sealed_picture
from tests.protocol.roles.seats import CoordinatorSeat, of_kind, persisted
from tests.support.networks import ALICE, BOB

APP = NodeKey(b"\x77" * 32)
SEALING_KEY = b"\x09" + bytes(31)
KEY = b"k" * 80


class SealedSeat(CoordinatorSeat):
    """Its miners name keys to which is sealed, but for those that are ``plain``."""

    plain: frozenset[NodeKey] = frozenset()

    def greet(self, miner: NodeKey) -> tuple[Effect, ...]:
        effects = super().greet(miner)
        if miner in self.plain:
            return effects
        number = self.number(miner)
        update = capability(miner, number, sequence=self.now + 1, expires_at=self.now + 60_000, sealing_key=SEALING_KEY)
        return effects + self.say(miner, update)


class HalfSealedSeat(SealedSeat):
    plain = frozenset({BOB})


def submitted(seat: CoordinatorSeat, key: str = "an order") -> tuple[TaskId, tuple[Effect, ...]]:
    effects = seat.hear(TaskSubmitted(1, SEALED, True, key, account="app", collected=True))
    (accepted,) = persisted(effects, TaskAccepted)
    return accepted.task, effects + seat.wait(20)


def awarded(seat: CoordinatorSeat, miner: NodeKey = ALICE, task: TaskId | None = None) -> tuple[Award, Update]:
    if task is None:
        task, _ = submitted(seat)
    effects = seat.say(miner, seat.claim(miner, task)) + seat.wait(300)
    (update,) = [one for one in told(effects) if one.stage is Stage.CLAIMED]
    return of_kind(effects, Award)[0], update


def told(effects: Iterable[Effect]) -> list[Update]:
    return [effect.update for effect in effects if isinstance(effect, Deliver)]


def stages(effects: Iterable[Effect]) -> list[Stage]:
    return [update.stage for update in told(effects)]


def failures(effects: Iterable[Effect]) -> list[str]:
    return [record.reason for record in persisted(effects, TaskFailed)]


def key_for(award: Award, key: bytes = KEY, *, of: Award | None = None) -> KeyGiven:
    statement = award.statement
    return KeyGiven(TaskId(statement.task), statement.attempt, award_digest(of or award), key)


def drawn(seat: CoordinatorSeat, award: Award, by: NodeKey = ALICE) -> tuple[Effect, ...]:
    data, miner = sealed_picture(award), award.statement.miner
    effects = seat.say(by, result_of(award, by=by, data=data, miner=miner))
    return effects + seat.hear(artifact_of(award, by=by, data=data))


def acceptance(award: Award, *, by: NodeKey = APP, of: Award | None = None, network: Digest = NETWORK_ID) -> TaskTaken:
    result = result_of(of or award, data=sealed_picture(of or award))
    signature = sign_acceptance(by, network, award_digest(award), result.commitment.artifact)
    return TaskTaken(TaskId(award.statement.task), Acceptance(APP.peer_id, award.statement.attempt, signature))


def ready() -> tuple[SealedSeat, Award]:
    seat = SealedSeat(miners=(ALICE, BOB))
    award, _ = awarded(seat)
    seat.hear(key_for(award))
    assert stages(drawn(seat, award)) == [Stage.READY]
    return seat, award
