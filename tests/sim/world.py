"""A whole network of pure cores on one event heap in virtual time. Same seed, same run.

It interprets effects as the driver and the adapters do: ``Persist`` before all that follows, frames in order per
pair, gossip hop by hop through whoever accepts it. Crash and restart go through the stored records.
"""

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, Final, TypeVar, get_args

from node.model_files.catalog import load_catalog
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain
from protocol.effects import Effect, Note, Offence, Update
from protocol.events import EngineChanged, Event, ModelState, Restored, TaskSubmitted
from protocol.notes import NoteName
from protocol.params import Params
from protocol.roles.bootstrap import BootstrapCore
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.roles.core import Core, Identity
from protocol.roles.miner.miner import MinerCore
from protocol.roles.miner.redeeming import RedeemPolicy
from protocol.stake.table import StakeRow
from protocol.units import CAI, Address, Digest, PeerId, Role, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.messages import Hello, TaskSpecification
from tests.sim.chain import Chain
from tests.sim.engines import Engines
from tests.sim.gossip import Gossip, check_late
from tests.sim.links import Links
from tests.sim.machine import Machine
from tests.sim.performing import Watcher, performers
from tests.sim.timeline import Timeline, never
from tests.sim.timers import Timers
from tests.sim.wires import Wires
from tests.support.networks import network_params

START = UnixMillis(1_700_000_040_000)
"""Start of an epoch of the test network."""
CATALOG = load_catalog()
MODEL = CATALOG.models["pocket-emoji"]
PIXELS = 128 * 128
"""Of a picture that ``submit`` asks for."""
EVENT_CODES: Final[dict[type, int]] = {kind: code for code, kind in enumerate(get_args(Event))}
"""What kinds of events are called in the digest."""
FACTS_AT_ONCE: Final = 1024
"""Numbers of one machine that are hashed together."""
LOOKED_AT_EVERY: Final = 32
"""Events of one machine between two looks at what it remembers: one event adds no more than one message's worth."""

T = TypeVar("T")


class World(Timeline):
    """Machines, links and time."""

    def __init__(
        self,
        *,
        miners: int = 3,
        coordinators: int = 1,
        bootstraps: int = 0,
        strangers: int = 0,
        seed: int = 1,
        params: Params | None = None,
        latency_ms: tuple[int, int] = (2, 8),
        lose: Callable[[str, str, object], bool] | None = None,
        skews: dict[str, int] | None = None,
        stakes: dict[str, int] | None = None,
        prepare: Callable[[Machine], None] | None = None,
        redeem: RedeemPolicy | None = None,
        rechecks: RecheckPolicy | None = None,
    ) -> None:
        """Register everybody and start them all.

        Args:
            miners: How many mine, with stakes of 25,000, 50,000 and 100,000 CAI in turn.
            coordinators: How many coordinate.
            bootstraps: How many only forward.
            strangers: How many miners are registered nowhere.
            seed: Of everything that is drawn.
            params: The network's numbers.
            latency_ms: Least and most one-way latency.
            lose: Called with (sender, receiver, message); drops what it says yes to.
            skews: How far (ms) clocks are ahead, by name.
            stakes: Stakes (CAI) other than the usual, by name.
            prepare: Called with each machine before it starts.
            redeem: When miners redeem; without it they do not.
            rechecks: How coordinators look after their miners; without it they do not.
        """
        super().__init__(START)
        self.random = random.Random(seed)
        self.params = params or network_params()
        self.links = Links(self.random, latency_ms)
        self.lose = lose
        self._redeem = redeem
        self._rechecks = rechecks
        self._parted = False
        self.repeat: Callable[[], bool] | None = None
        self.tamper: Callable[[str, Effect], Effect | None] | None = None
        self.notes: list[tuple[UnixMillis, str, Note]] = []
        self.unkept: frozenset[NoteName] = frozenset()
        """Notes that are too many to keep."""
        self.updates: dict[TaskId, list[Update]] = defaultdict(list)
        self.replies: dict[int, object] = {}
        self.judged: list[tuple[str, str, str]] = []
        self.on_judged: Callable[[Machine, Machine, str], None] | None = None
        self._requests = count(1)
        self._watchers: dict[type, tuple[Watcher, ...]] = {}
        self._after: list[Callable[[Machine, Event], None]] = []
        self._looks: list[Callable[[Machine], None]] = []
        self.machines: dict[str, Machine] = {}
        self.everybody: list[Machine] = []
        self.by_peer: dict[PeerId, Machine] = {}
        self._network_id = self.params.network_id(31337, b"\x11" * 20)
        self.gossip = Gossip(self)
        self.wires = Wires(self)
        self.timers = Timers(self)
        self.engines = Engines(self, MODEL.digest, sees_latents=rechecks is not None)
        self._perform = performers(self)
        rows = tuple(
            self._register(name, role, (stakes or {}).get(name))
            for name, role in (
                *((f"coordinator{index}", Role.COORDINATOR) for index in range(coordinators)),
                *((f"miner{index}", Role.MINER) for index in range(miners)),
            )
        )
        for index in range(bootstraps):
            self._add(f"bootstrap{index}", None)
        for index in range(strangers):
            self._add(f"stranger{index}", Role.MINER)
        self.chain = Chain(self, rows)
        for name, machine in self.machines.items():
            machine.skew_ms = (skews or {}).get(name, 0)
            if prepare is not None:
                prepare(machine)
            self.start(name)

    def _add(self, name: str, role: Role | None) -> Machine:
        machine = Machine(name, NodeKey(hashlib.sha256(name.encode()).digest()), role, len(self.everybody))
        self.machines[name] = machine
        self.everybody.append(machine)
        self.by_peer[machine.key.peer_id] = machine
        return machine

    def _register(self, name: str, role: Role, stake: int | None) -> StakeRow:
        machine = self._add(name, role)
        machine.staking_id = StakingId(machine.index + 1)
        usual = 3_000_000 if role is Role.COORDINATOR else 25_000 * 2 ** (machine.index % 3)
        return StakeRow(machine.staking_id, machine.key.address, role, Wei((stake or usual) * CAI), active=True)

    def staking_id(self, name: str) -> StakingId:
        """Staking id of a machine."""
        return self.machines[name].staking_id

    def jail(self, name: str, *, free: bool = False) -> None:
        """Jail a node, or set it free."""
        self.chain.jail(self.staking_id(name), free=free)

    # Life of machines

    def start(self, name: str) -> None:
        """Start a machine on its disk."""
        machine = self.machines[name]
        identity = Identity(
            network=self.params.name,
            network_id=self._network_id,
            params=self.params,
            domain=Domain(31337, Address(b"\x11" * 20)),
            catalog=CATALOG,
            key=machine.key,
            entropy=self.random.randbytes,
        )
        machine.core = self._core(machine, identity)
        machine.life += 1
        self.post(machine, Restored(self.disk(machine.store.load())))
        self.chain.start(machine)
        if machine.role is Role.MINER:
            speed = 1000 * PIXELS // machine.step_ms
            state = ModelState(MODEL.name, MODEL.digest, True, speed, 1, MODEL.sizes, MODEL.max_steps, MODEL.works)
            self.post(machine, EngineChanged((state,), machine.places))

    def _core(self, machine: Machine, identity: Identity) -> Core:
        address = (f"/memory/{machine.key.peer_id}",)
        if machine.role is Role.COORDINATOR:
            return CoordinatorCore(identity, lambda: address, rechecks=self._rechecks)
        mines = machine.role is Role.MINER
        return MinerCore(identity, lambda: address, Wei(0), redeem=self._redeem) if mines else BootstrapCore(identity)

    def crash(self, name: str) -> None:
        """Kill a machine: only its disk stays. Peers notice after one latency."""
        machine = self.machines[name]
        assert not self.gossip.is_calm, "where machines die is no calm"
        machine.core = None
        machine.life += 1
        self.wires.leave(machine)
        self.gossip.mesh.leave(machine)
        machine.jobs.clear()
        machine.timers.clear()

    def cut(self, one: str, other: str) -> None:
        """Break the connection of two machines; they may dial again."""
        self.wires.cut(self.machines[one], self.machines[other])

    def part(self, names: list[str]) -> None:
        """Put these machines on a side of their own: nothing passes between them and the others until ``heal``."""
        apart = {self.machines[name].index for name in names}
        self._parted = True
        for machine in self.everybody:
            machine.side = int(machine.index in apart)
        for machine in self.everybody:
            for peer in sorted(machine.connected) if machine.side else ():
                if self.by_peer[peer].side != machine.side:
                    self.wires.cut(machine, self.by_peer[peer])

    def heal(self) -> None:
        """End a partition."""
        self._parted = False
        for machine in self.everybody:
            machine.side = 0

    def is_whole(self) -> bool:
        """Say whether all that is sent arrives: nobody is apart, and nothing is lost."""
        return not self._parted and self.lose is None and not self.links.loss

    def run(self, duration_ms: int, until: Callable[[], bool] = never) -> bool:
        """Let time pass; stop early and say so when ``until`` holds. Who looks then finds nobody behind."""
        catch_up = self.gossip.catch_up_all
        is_over = super().run(duration_ms, until if until is never else lambda: catch_up() or until())
        catch_up()
        return is_over

    @property
    def events(self) -> int:
        """Handled so far."""
        return sum(machine.events for machine in self.everybody)

    @property
    def digest(self) -> str:
        """SHA-256 of all that happened to each machine: equal runs have equal digests, on any computer."""
        return hashlib.sha256(b"".join(machine.digest() for machine in self.everybody)).hexdigest()

    # Events and effects

    def post(self, machine: Machine, event: Event, delay_ms: int = 0) -> None:
        """Hand an event to a machine, unless it has died or restarted by then."""
        self.at(delay_ms, self._deliver, machine, event, machine.life)

    def _deliver(self, machine: Machine, event: Event, life: int) -> None:
        if machine.life == life and machine.core is not None:
            self.handle(machine, event)

    def handle(self, machine: Machine, event: Event) -> None:
        """Give a live core what it has heard until now, and then an event."""
        self.gossip.catch_up(machine)
        self.take(machine, event)

    def take(self, machine: Machine, event: Event) -> None:
        """Give a live core an event, and do what it asks for."""
        core, behaviour, now = machine.core, machine.behaviour, self.now
        assert core is not None
        if behaviour is not None and not behaviour.hears(machine, event):
            return
        effects = core.handle(event, now if not machine.skew_ms else UnixMillis(now + machine.skew_ms))
        machine.facts += (now, EVENT_CODES[type(event)], len(effects))
        if behaviour is not None:
            effects = behaviour.acts(machine, event, effects)
        if effects:
            self._carry_out(machine, effects)
        machine.events += 1
        if not machine.events % LOOKED_AT_EVERY:
            for look in self._looks:
                look(machine)
            if len(machine.facts) > FACTS_AT_ONCE:
                machine.digest()
        if self._after:
            for check in self._after:
                check(machine, event)

    def _carry_out(self, machine: Machine, effects: tuple[Effect, ...]) -> None:
        """Do what a core asked for in this life, as long as that lasts."""
        tamper, watchers, perform, life = self.tamper, self._watchers, self._perform, machine.life
        if self.now < self.moment:
            check_late(machine, effects)
        for asked in effects:
            effect = asked if tamper is None else tamper(machine.name, asked)
            if effect is None or machine.life != life:
                continue
            kind = type(effect)
            if kind in watchers:
                for watcher in watchers[kind]:
                    watcher(machine, effect)
            perform[kind](machine, effect)

    def watch(self, effect_type: type, watcher: Watcher) -> None:
        """Call ``watcher(machine, effect)`` just before each effect of a type is carried out."""
        self._watchers[effect_type] = (*self._watchers.get(effect_type, ()), watcher)

    def after_events(self, check: Callable[[Machine, Event], None]) -> None:
        """Call ``check(machine, event)`` once an event and its effects are done."""
        self._after.append(check)

    def now_and_then(self, look: Callable[[Machine], None]) -> None:
        """Call ``look(machine)`` each time that a machine has taken so many events more."""
        self._looks.append(look)

    @staticmethod
    def disk(asked: Coroutine[Any, Any, T]) -> T:
        """Have the store in memory do something: it never waits, so no loop is needed."""
        try:
            asked.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise AssertionError("the store in memory waited")

    def judge(self, machine: Machine, peer: Machine, rule: str, offence: Offence = Offence.GRAVE) -> None:
        """A machine holds something against another, and parts with it once its credit is spent."""
        self.judged.append((machine.name, peer.name, rule))
        if self.on_judged is not None:
            self.on_judged(machine, peer, rule)
        banned = machine.ledger.judge(peer.key.peer_id, offence.value, self.now)
        if banned and peer.key.peer_id in machine.connected:
            self.wires.cut(machine, peer)

    def loses(self, sender: Machine, receiver: Machine, message: object) -> bool:
        """Draw whether what goes from one to another never arrives."""
        if self.lose is not None and self.lose(sender.name, receiver.name, message):
            return True
        # A stream whose first frame is lost is a broken stream: that is what ``cut`` is for.
        return self.links.loses() and not isinstance(message, Hello)

    def repeats(self) -> bool:
        """Draw whether a frame comes twice."""
        return self.links.repeats() or (self.repeat is not None and self.repeat())

    # Apps

    def submit(
        self,
        coordinator: str = "coordinator0",
        *,
        detached: bool = True,
        key: str | None = None,
        steps: int = 10,
        source: bytes | None = None,
    ) -> int:
        """Hand in a picture of a red heart, from text or from a picture; the request number finds the reply."""
        request = next(self._requests)
        inputs = {} if source is None else {Digest(hashlib.sha256(source).digest()): source}
        work = {"work": "image_to_image", "source": next(iter(inputs)), "strength": 0.5} if inputs else {}
        common = {"model": MODEL.name, "prompt": "a red heart", "width": 128, "height": 128, "guidance": 4.0}
        specification = TaskSpecification.model_validate(common | work | {"steps": steps, "seed": request})
        self.post(self.machines[coordinator], TaskSubmitted(request, specification, detached, key, inputs=inputs))
        return request

    def noted(self, name: NoteName) -> list[tuple[UnixMillis, str, Note]]:
        """All notes of one name: (when, machine, note)."""
        return [entry for entry in self.notes if entry[2].name is name]
