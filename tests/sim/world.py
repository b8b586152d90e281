"""A whole network of pure cores on one event heap in virtual time. Same seed, same run.

It interprets effects as the driver and the adapters do: ``Persist`` before all that follows, frames in order per
pair, gossip to everybody who subscribed and whose core accepts it. Crash and restart go through the stored records.
"""

import hashlib
import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import trio

from node.catalog import load_catalog
from protocol.chain_records import Confirmed, ContractCall, Failed, TransactionRequested
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain
from protocol.effects import (
    CancelJob,
    CancelTimer,
    Connect,
    Deliver,
    Effect,
    FindProviders,
    Judge,
    Note,
    OpenStream,
    Persist,
    Provide,
    Publish,
    Reply,
    Send,
    SendArtifact,
    SendEncoded,
    SetTimer,
    StartJob,
    SubmitTx,
    Subscribe,
    TimerKey,
    Update,
)
from protocol.events import (
    ActivityChanged,
    ArtifactReceived,
    BlockSeen,
    EngineChanged,
    Event,
    GossipReceived,
    JobFailed,
    JobFinished,
    JobProgress,
    ModelState,
    PeerDown,
    PeerUp,
    ProvidersFound,
    Restored,
    StakeChanged,
    StreamClosed,
    StreamOpened,
    StreamReceived,
    TaskSubmitted,
    TimerFired,
    TxConfirmed,
    TxFailed,
)
from protocol.gossip.verdict import Verdict
from protocol.notes import NoteName
from protocol.params import Params
from protocol.roles.coordinator import CoordinatorCore
from protocol.roles.core import Identity
from protocol.roles.miner import MinerCore
from protocol.stake.epoch import epoch_at
from protocol.stake.table import EpochView, StakeRow, StakeTable
from protocol.units import CAI, Address, BlockNumber, Digest, Epoch, PeerId, Role, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import TaskSpecification
from tests.sim.machine import Machine
from tests.support.networks import network_params
from tests.support.pictures import png

START = UnixMillis(1_700_000_040_000)
"""Start of an epoch of the test network."""
CATALOG = load_catalog()
MODEL = CATALOG.models["pocket-emoji"]


class World:
    """Machines, links and time."""

    def __init__(
        self,
        *,
        miners: int = 3,
        coordinators: int = 1,
        seed: int = 1,
        params: Params | None = None,
        latency_ms: tuple[int, int] = (2, 8),
        lose: Callable[[str, str, object], bool] | None = None,
        skews: dict[str, int] | None = None,
    ) -> None:
        """Register everybody and start them all. ``lose(sender, receiver, message)`` drops a message."""
        self.random = random.Random(seed)
        self.params = params or network_params()
        self.now = START
        self.latency_ms = latency_ms
        self.lose = lose or (lambda _sender, _receiver, _message: False)
        self.repeat: Callable[[], bool] = lambda: False
        self._views: dict[Epoch, EpochView] = {}
        self.digest = hashlib.sha256()
        self.notes: list[tuple[UnixMillis, str, Note]] = []
        self.updates: dict[TaskId, list[Update]] = defaultdict(list)
        self.replies: dict[int, object] = {}
        self.jailed: set[StakingId] = set()
        self.contract: Callable[[ContractCall], Confirmed | Failed] = lambda _call: Failed("no_gas_key", "")
        self.judged: list[tuple[str, str, str]] = []
        self.providers: dict[str, set[PeerId]] = defaultdict(set)
        self.arrivals: dict[tuple[PeerId, PeerId], UnixMillis] = {}
        self.tamper: Callable[[str, Effect], Effect | None] = lambda _name, effect: effect
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._requests = itertools.count(1)
        self.machines: dict[str, Machine] = {}
        for index in range(coordinators):
            self._register(f"coordinator{index}", Role.COORDINATOR)
        for index in range(miners):
            self._register(f"miner{index}", Role.MINER)
        self.by_peer = {machine.key.peer_id: machine for machine in self.machines.values()}
        self.rows = tuple(self._row(index, machine) for index, machine in enumerate(self.machines.values()))
        for name, machine in self.machines.items():
            machine.skew_ms = (skews or {}).get(name, 0)
            self.start(name)

    def _register(self, name: str, role: Role) -> None:
        self.machines[name] = Machine(name, NodeKey(hashlib.sha256(name.encode()).digest()), role)

    def _row(self, index: int, machine: Machine) -> StakeRow:
        stake = 3_000_000 if machine.role is Role.COORDINATOR else 25_000 * 2 ** (index % 3)
        return StakeRow(StakingId(index + 1), machine.key.address, machine.role, Wei(stake * CAI), active=True)

    def staking_id(self, name: str) -> StakingId:
        """Staking id of a machine."""
        return next(row.id for row in self.rows if row.address == self.machines[name].key.address)

    def _view(self, epoch: Epoch) -> EpochView:
        beacon = Digest(hashlib.sha256(b"beacon" + epoch.to_bytes(8, "big")).digest())
        return self._views.setdefault(epoch, EpochView(epoch, StakeTable.of(self.rows), beacon))

    def follow_chain(self) -> None:
        """Give everybody a new head every 5 s, and the next epoch's table half an epoch before it begins."""
        epoch_ms = self.params.epoch_s * 1000

        def tick() -> None:
            number = epoch_at(UnixMillis(self.now + epoch_ms // 2), self.params)
            fresh = number not in self._views
            for machine in self.machines.values():
                if fresh:
                    self.post(machine, StakeChanged(self._view(number)))
                self.post(machine, BlockSeen(BlockNumber(1), UnixMillis(self.now + machine.skew_ms)))
            self.at(min(5000, epoch_ms // 4), tick)

        self.at(0, tick)

    # Life of machines

    def start(self, name: str) -> None:
        """Start a machine on its disk."""
        machine = self.machines[name]
        identity = Identity(
            network=self.params.name,
            network_id=self.params.network_id(31337, b"\x11" * 20),
            params=self.params,
            domain=Domain(31337, Address(b"\x11" * 20)),
            catalog=CATALOG,
            key=machine.key,
            entropy=self.random.randbytes,
        )
        address = (f"/memory/{machine.key.peer_id}",)
        if machine.role is Role.COORDINATOR:
            machine.core = CoordinatorCore(identity, lambda: address)
        else:
            machine.core = MinerCore(identity, lambda: address, Wei(0))
        machine.life += 1
        records = trio.run(machine.store.load)
        self.post(machine, Restored(records))
        self.post(machine, ActivityChanged(frozenset(self.jailed)))
        for waiting in trio.run(machine.store.open_transactions, 256):
            self._transact(machine, waiting.key)
        epoch = epoch_at(self.now, self.params)
        for number in (epoch - 1, epoch, epoch + 1):
            self.post(machine, StakeChanged(self._view(Epoch(number))))
        self.post(machine, BlockSeen(BlockNumber(1), self.now))
        if machine.role is Role.MINER:
            state = ModelState(MODEL.name, MODEL.digest, True, 10_000_000, 1, MODEL.sizes, MODEL.max_steps)
            self.post(machine, EngineChanged((state,), machine.places))

    def jail(self, name: str, *, free: bool = False) -> None:
        """Jail a node, or set it free: each follower sees the block after a latency of its own."""
        (self.jailed.discard if free else self.jailed.add)(self.staking_id(name))
        for machine in self.machines.values():
            self.post(machine, ActivityChanged(frozenset(self.jailed)), self._latency())

    def _transact(self, machine: Machine, key: str) -> None:
        """Give a transaction its one outcome, durable before it is told, and told until the core has taken it in."""

        def mine() -> None:
            known = trio.run(machine.store.transaction, key)
            if known is None or machine.core is None:
                return
            outcome = known.outcome or self.contract(known.call)
            trio.run(machine.store.keep_transactions, [replace(known, outcome=outcome)])
            told = TxConfirmed(key, outcome) if isinstance(outcome, Confirmed) else TxFailed(key, outcome)
            self.post(machine, told)

        self.at(self._latency(), mine)

    def crash(self, name: str) -> None:
        """Kill a machine: only its disk stays. Peers notice after one latency."""
        machine = self.machines[name]
        machine.core = None
        machine.life += 1
        for other in sorted(machine.connected):
            self._part(machine, self.by_peer[other])
        for memory in (machine.topics, machine.connected, machine.streams, machine.jobs):
            memory.clear()
        machine.timers.clear()

    def cut(self, one: str, other: str) -> None:
        """Break the connection of two machines; they may dial again."""
        a, b = self.machines[one], self.machines[other]
        self._part(a, b)
        self._part(b, a)
        a.connected.discard(b.key.peer_id)
        a.streams.discard(b.key.peer_id)

    def _part(self, gone: Machine, left: Machine) -> None:
        peer = gone.key.peer_id
        left.connected.discard(peer)
        if peer in left.streams:
            left.streams.discard(peer)
            self._in_order(gone, left, StreamClosed(peer))
        self._in_order(gone, left, PeerDown(peer))

    # Time

    def at(self, delay_ms: int, act: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._heap, (self.now + delay_ms, next(self._order), act))

    def run(self, duration_ms: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; stop early and say so when ``until`` holds."""
        end = self.now + duration_ms
        while self._heap and self._heap[0][0] <= end:
            at, _, act = heapq.heappop(self._heap)
            self.now = UnixMillis(at)
            act()
            if until():
                return True
        self.now = UnixMillis(end)
        return until()

    def _latency(self) -> int:
        return self.random.randint(*self.latency_ms)

    def post(self, machine: Machine, event: Event, delay_ms: int = 0) -> None:
        """Hand an event to a machine, unless it has died or restarted by then."""
        life = machine.life

        def act() -> None:
            if machine.life == life and machine.core is not None:
                self._handle(machine, event)

        self.at(delay_ms, act)

    def _handle(self, machine: Machine, event: Event) -> None:
        assert machine.core is not None
        effects = machine.core.handle(event, UnixMillis(self.now + machine.skew_ms))
        self.digest.update(f"{self.now} {machine.name} {type(event).__name__} {len(effects)}\n".encode())
        for effect in effects:
            changed = self.tamper(machine.name, effect)
            if changed is None or machine.core is None:
                continue
            self._perform(machine, changed)

    # Effects

    def _perform(self, machine: Machine, effect: Effect) -> None:  # noqa: C901
        me = machine.key.peer_id
        match effect:
            case Persist(records=records):
                trio.run(machine.store.persist, records)
            case Note():
                self.notes.append((self.now, machine.name, effect))
            case Send(peer=peer, message=message):
                self._frame(machine, peer, encode(message), message)
            case SendEncoded(peer=peer, data=data):
                self._frame(machine, peer, data, data)
            case Publish(topic=topic, message=message):
                self._gossip(machine, topic, encode(message), message)
            case SetTimer(key=key, at=at):
                machine.timers[key] = at
                life = machine.life
                self.at(max(at - machine.skew_ms - self.now, 0), lambda: self._fire(machine, key, at, life))
            case CancelTimer(key=key):
                machine.timers.pop(key, None)
            case Subscribe(topic=topic):
                machine.topics.add(topic)
            case Provide(key=key):
                self.providers[key].add(me)
            case FindProviders(key=key):
                self.post(machine, ProvidersFound(key, tuple(sorted(self.providers[key]))), self._latency())
            case Connect(peer=peer):
                other = self.by_peer.get(peer)
                if other is not None and other.core is not None and peer not in machine.connected:
                    machine.connected.add(peer)
                    other.connected.add(me)
                    self._in_order(other, machine, PeerUp(peer))
                    self._in_order(machine, other, PeerUp(me))
            case OpenStream(peer=peer):
                other = self.by_peer[peer]
                if other.core is None or peer not in machine.connected:
                    self._in_order(other, machine, StreamClosed(peer))
                else:
                    machine.streams.add(peer)
                    other.streams.add(me)
                    self._in_order(machine, other, StreamOpened(me))
                    self._in_order(other, machine, StreamOpened(peer))
            case SendArtifact(peer=peer, task=task, attempt=attempt, digest=digest):
                data = trio.run(machine.store.artifact, digest)
                other = self.by_peer.get(peer)
                if other is not None and data is not None and not self.lose(machine.name, other.name, effect):
                    self.post(other, ArtifactReceived(me, task, attempt, digest, data), self._latency())
            case StartJob():
                self._begin_job(machine, effect)
            case CancelJob(task=task, attempt=attempt):
                if (task, attempt) in machine.jobs:
                    machine.jobs.discard((task, attempt))
                    self.post(machine, JobFailed(task, attempt, "cancelled"))
            case SubmitTx(key=key, call=call):
                trio.run(machine.store.persist, (TransactionRequested(key, call),))
                self._transact(machine, key)
            case Deliver(task=task, update=update):
                self.updates[task].append(update)
            case Reply(request=request, answer=answer):
                self.replies[request] = answer
            case Judge(peer=peer, rule=rule):
                self.judged.append((machine.name, self.by_peer[peer].name, rule))

    def _fire(self, machine: Machine, key: TimerKey, at: UnixMillis, life: int) -> None:
        if machine.life == life and machine.core is not None and machine.timers.get(key) == at:
            del machine.timers[key]
            self._handle(machine, TimerFired(key))

    def _frame(self, machine: Machine, peer: PeerId, data: bytes, message: object) -> None:
        other = self.by_peer.get(peer)
        if other is None or peer not in machine.streams or self.lose(machine.name, other.name, message):
            return
        for _ in range(2 if self.repeat() else 1):
            self._in_order(machine, other, StreamReceived(machine.key.peer_id, data))

    def _in_order(self, sender: Machine, receiver: Machine, event: Event) -> None:
        pair = (sender.key.peer_id, receiver.key.peer_id)
        arrival = max(self.now + self._latency(), self.arrivals.get(pair, UnixMillis(0)))
        self.arrivals[pair] = UnixMillis(arrival)
        self.post(receiver, event, arrival - self.now)

    def _gossip(self, machine: Machine, topic: str, data: bytes, message: object) -> None:
        for other in self.machines.values():
            if other is machine or topic not in other.topics or self.lose(machine.name, other.name, message):
                continue
            life = other.life
            self.at(self._latency(), lambda other=other, life=life: self._hear(other, life, topic, data, machine))

    def _hear(self, machine: Machine, life: int, topic: str, data: bytes, publisher: Machine) -> None:
        if machine.life != life or machine.core is None:
            return
        judgement = machine.core.judge(topic, data, publisher.key.peer_id, UnixMillis(self.now + machine.skew_ms))
        if judgement.verdict is Verdict.ACCEPT and judgement.message is not None:
            self._handle(machine, GossipReceived(topic, judgement.message, publisher.key.peer_id))
        elif judgement.verdict is Verdict.REJECT:
            self.judged.append((machine.name, publisher.name, judgement.rule))

    # Engines

    def _begin_job(self, machine: Machine, job: StartJob) -> None:
        key = (job.task, job.attempt)
        machine.jobs.add(key)
        steps = job.specification.steps
        self._step(machine, machine.life, job, 0, steps)

    def _step(self, machine: Machine, life: int, job: StartJob, step: int, steps: int) -> None:
        key = (job.task, job.attempt)
        if machine.life != life or machine.core is None or key not in machine.jobs:
            return
        if machine.hangs:
            return
        if step < steps:
            self._handle(machine, JobProgress(*key, "step", step, steps, machine.step_ms))
            self.at(machine.step_ms, lambda: self._step(machine, life, job, step + 1, steps))
            return
        machine.jobs.discard(key)
        data = png(job.specification.width, job.specification.height, job.specification.seed)
        digest = Digest(hashlib.sha256(data).digest())
        milliseconds = machine.step_ms * steps
        none = Digest(bytes(32))
        self._handle(machine, JobFinished(*key, data, digest, "image/png", MODEL.digest, none, milliseconds))

    # Apps

    def submit(self, coordinator: str = "coordinator0", *, detached: bool = True, key: str | None = None) -> int:
        """Hand in a picture of a red heart; the request number finds the reply."""
        request = next(self._requests)
        specification = TaskSpecification(
            model=MODEL.name, prompt="a red heart", width=128, height=128, steps=10, guidance=4.0, seed=request
        )
        self.post(self.machines[coordinator], TaskSubmitted(request, specification, detached, key))
        return request

    def noted(self, name: NoteName) -> list[tuple[UnixMillis, str, Note]]:
        """All notes of one name: (when, machine, note)."""
        return [entry for entry in self.notes if entry[2].name is name]
