"""Machines that cheat: real cores whose ears and hands are tampered with."""

from typing import Final

from protocol.effects import Effect, OpenStream, Publish, Send, SendArtifact, SendEncoded, StartJob
from protocol.events import Event, GossipReceived, StreamReceived, TaskSubmitted, TimerFired
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.miner.miner import MinerCore
from protocol.units import PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.codec import RECEIPT_PLACE, WORK_PLACE, decode
from protocol.wire.messages import Award, CapabilityUpdate, Claim, Decline, Objection, Reject, Result
from protocol.wire.statements import ClaimStatement
from tests.sim.machine import Machine

FLOOD: Final = 100
"""Messages of a flooder for each that its core asks for."""
RUN_UP: Final = 20
"""Small tasks that one pays which means to take others for nothing."""
REMEMBERED: Final = 64
"""Old frames of a replayer."""
EVERYTHING: Final = 1000
"""Places that a miner which claims everything says to itself that it has."""
LOADING_MS: Final = 4000
"""What a model takes that was said to be warm."""


class Behaviour:
    """An honest machine; adversaries override what they do otherwise."""

    role = "miner"
    meddles = False
    """Whether gossip does not reach everybody because of it."""

    def prepare(self, machine: Machine) -> None:
        """Change a machine before it starts."""

    def hears(self, machine: Machine, event: Event) -> bool:
        """Say whether the core hears an event."""
        del machine, event
        return True

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Give what is done, of what the core asks for."""
        del machine, event
        return effects

    def forwards(self, machine: Machine, publisher: Machine) -> bool:
        """Say whether gossip is handed on."""
        del machine, publisher
        return True


class Vanishing(Behaviour):
    """Claims, is awarded, and is never heard of again."""

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Do no work."""
        return tuple(effect for effect in effects if not isinstance(effect, StartJob))


class Early(Behaviour):
    """Claims at once, whatever its rank."""

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Move every slot to now."""
        core = machine.core
        if not isinstance(event, GossipReceived) or not isinstance(core, MinerCore):
            return effects
        for offer in core._claiming._offers.values():
            offer.slot_at = offer.second_slot_at = core.now
        core._claiming._fresh_from = core._claiming._ahead_from = 0
        return effects + core.handle(TimerFired(("slot", b"", 0)), core.now)


class ClaimingAll(Early):
    """Claims all that it hears of, whatever it can do."""

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Say to itself that it has a thousand places."""
        if isinstance(machine.core, MinerCore):
            machine.core._serving._places = EVERYTHING
        return super().acts(machine, event, effects)


class FalselyWarm(Behaviour):
    """Says that its model is loaded, and loads it when it has the award."""

    def prepare(self, machine: Machine) -> None:
        """Load slowly."""
        machine.loading_ms = LOADING_MS


class Replaying(Behaviour):
    """Sends again what it sent before, and results of others as its own."""

    stolen: list[bytes] = []  # noqa: RUF012  # what all thieves of a run know of each other

    def __init__(self) -> None:
        """Start without loot."""
        self._old: list[SendEncoded | Send] = []

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Add an old frame, and another thief's result, to every frame."""
        sent = [effect for effect in effects if isinstance(effect, Send | SendEncoded)]
        more: list[Effect] = []
        for effect in sent:
            if self._old:
                more.append(self._old[len(self._old) // 2])
            if isinstance(effect, SendEncoded):
                more.extend(SendEncoded(effect.peer, result) for result in self.stolen[-2:])
                self.stolen.append(effect.data)
            self._old.append(effect)
        del self._old[:-REMEMBERED], self.stolen[:-REMEMBERED]
        return effects + tuple(more)


class Impostor(Behaviour):
    """Is registered nowhere; claims in the name of others and publishes what others published."""

    role = "stranger"
    meddles = True

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Forge a claim for each offer and a bulletin for each bulletin."""
        core = machine.core
        if not isinstance(event, GossipReceived) or core is None or isinstance(event.message, Objection):
            return effects
        message = event.message
        forged: list[Effect] = [Publish(event.topic, message.model_copy(update={"sent_at": UnixMillis(core.now)}))]
        if event.signer in machine.connected and event.signer not in machine.streams:
            forged.append(OpenStream(event.signer))
        for offer in message.offers:
            statement = ClaimStatement(
                task=offer.task,
                attempt=offer.attempt,
                coordinator=message.coordinator,
                miner=StakingId(message.coordinator + 3),
                offer=bytes(32),
                nonce=core.identity.entropy(16),
            )
            forged.append(Send(event.signer, Claim(statement=statement, signature=core.sign(statement))))
        return effects + tuple(forged)


class Silent(Behaviour):
    """Hears gossip and hands none on: many of them around one miner eclipse it."""

    meddles = True

    def forwards(self, machine: Machine, publisher: Machine) -> bool:
        """Keep it."""
        return False


class Flooding(Behaviour):
    """Publishes each bulletin a hundred times, each a little different."""

    role = "coordinator"
    meddles = True

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Multiply what is published."""
        return effects + tuple(
            Publish(
                effect.topic, effect.message.model_copy(update={"sent_at": UnixMillis(effect.message.sent_at + one)})
            )
            for effect in effects
            if isinstance(effect, Publish)
            for one in range(1, FLOOD)
        )


class NeverAwarding(Behaviour):
    """Offers, and answers no claim."""

    role = "coordinator"

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Keep awards and declines."""
        return tuple(e for e in effects if not (isinstance(e, Send) and isinstance(e.message, Award | Decline)))


class NeverPaying(Behaviour):
    """Takes pictures and gives no receipt."""

    role = "coordinator"

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Keep receipts."""
        return tuple(effect for effect in effects if not isinstance(effect, SendEncoded))


class PayingSmallOnes(Behaviour):
    """Gives receipts for some small tasks, then after each takes a dearer one, of which it rejects what comes."""

    role = "coordinator"

    def __init__(self, most: int) -> None:
        """Pay what costs ``most`` (wei) or less."""
        self._most = most
        self._may_take = -RUN_UP
        self.paid: dict[StakingId, int] = {}
        self.taken: dict[StakingId, dict[TaskId, int]] = {}
        """Prices (wei) of what each miner drew for nothing."""

    def hears(self, machine: Machine, event: Event) -> bool:
        """Take no more dear orders than it has paid small ones."""
        core = machine.core
        if not isinstance(event, TaskSubmitted) or core is None:
            return True
        if event.specification.pixel_steps * core.params.price_per_pixel_step_wei <= self._most:
            return True
        if self._may_take <= 0:
            return False
        self._may_take -= 1
        return True

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Say that another was first."""
        return tuple(self._instead(effect) for effect in effects)

    def _instead(self, effect: Effect) -> Effect:
        if not isinstance(effect, SendEncoded):
            return effect
        receipt = decode(effect.data, RECEIPT_PLACE).statement
        if receipt.price <= self._most:
            self.paid[receipt.miner] = self.paid.get(receipt.miner, 0) + receipt.price
            self._may_take += 1
            return effect
        self.taken.setdefault(receipt.miner, {})[TaskId(receipt.task)] = receipt.price
        return Send(effect.peer, Reject(task=receipt.task, attempt=receipt.attempt, reason="superseded"))


class Omitting(Behaviour):
    """Leaves every third miner out of its fields."""

    role = "coordinator"

    def hears(self, machine: Machine, event: Event) -> bool:
        """Be deaf to what they serve."""
        return not (
            isinstance(event, StreamReceived)
            and _victim(machine, event.peer)
            and isinstance(decode(event.data, WORK_PLACE), CapabilityUpdate)
        )


class Steering(Behaviour):
    """Ignores claims of all but its friends, every third miner, so that these get its tasks."""

    role = "coordinator"

    def hears(self, machine: Machine, event: Event) -> bool:
        """Be deaf to the claims of strangers."""
        return not (
            isinstance(event, StreamReceived)
            and not _victim(machine, event.peer)
            and isinstance(decode(event.data, WORK_PLACE), Claim)
        )


def _victim(machine: Machine, peer: PeerId) -> bool:
    """Say whether a peer is one of every third miners, as a coordinator knows it."""
    known = machine.core.roster.peer(peer) if isinstance(machine.core, CoordinatorCore) else None
    return known is not None and known.id % 3 == 0


class CommittingTwice(Behaviour):
    """Signs for two results of each award, and sends both; the picture comes when it is asked for again.

    So the second one comes while the task still goes on, when it is judged too. After the end it is evidence alone.
    """

    def __init__(self) -> None:
        """Start with nothing sent."""
        self._sent: set[tuple[TaskId, int]] = set()

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Add another result to each."""
        core = machine.core
        kept: list[Effect] = []
        for effect in effects:
            if isinstance(effect, SendArtifact) and (effect.task, effect.attempt) not in self._sent:
                self._sent.add((effect.task, effect.attempt))
                continue
            kept.append(effect)
            message = decode(effect.data, WORK_PLACE) if isinstance(effect, SendEncoded) else None
            if core is not None and isinstance(effect, SendEncoded) and isinstance(message, Result):
                other = message.commitment.model_copy(update={"artifact": bytes(32)})
                changed = message.model_copy(update={"commitment": other, "signature": core.sign(other)})
                kept.append(Send(effect.peer, changed))
        return tuple(kept)


CHEATS: Final[dict[str, type[Behaviour]]] = {
    "vanishing": Vanishing,
    "early": Early,
    "claiming_all": ClaimingAll,
    "falsely_warm": FalselyWarm,
    "replaying": Replaying,
    "impostor": Impostor,
    "silent": Silent,
    "committing_twice": CommittingTwice,
    "flooding": Flooding,
    "never_awarding": NeverAwarding,
    "never_paying": NeverPaying,
    "omitting": Omitting,
    "steering": Steering,
}
"""Kinds of adversaries by name."""


def behaviours(cheats: tuple[str, ...]) -> dict[str, Behaviour]:
    """Give machines their behaviour: ``kind:number``, counted from the first machine of the role that is honest yet."""
    Replaying.stolen = []
    cheating: dict[str, Behaviour] = {}
    for kind, _, number in (cheat.partition(":") for cheat in cheats):
        cheat = CHEATS[kind]
        taken = sum(name.startswith(cheat.role) for name in cheating)
        cheating |= {f"{cheat.role}{taken + place}": cheat() for place in range(int(number or 1))}
    return cheating
