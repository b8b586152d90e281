"""What the driver needs from the world, as small Protocols. Adapters implement them; nobody else does I/O.

Rules for editors: no third-party type appears here; commands to the transport and engine never block and never
raise for what a remote party did; every long-lived port has ``run``, which the composition root starts in a nursery
and which ends only by cancellation or by a fault of ours.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import trio

from node.disputes.ports import DisputePorts
from node.engine_report import EngineReport
from node.picture_port import PictureComparer as PictureComparer
from protocol.chain_records import ChainPlace, ChainStep, SettlementRead, Transaction
from protocol.crypto.publication import Publication
from protocol.effects import Lane, Offence, StartJob
from protocol.events import Event
from protocol.gossip.verdict import Verdict
from protocol.justice.evidence import Evidence
from protocol.notes import NoteName
from protocol.records import Record, TaskAccepted, TaskDone, TaskFailed
from protocol.stake.standing import Standing
from protocol.units import Digest, PeerId, TaskId, UnixMillis, Wei

Ready: TypeAlias = trio.TaskStatus[None]


class EventSink(Protocol):
    """Where adapters hand in what happened."""

    async def post(self, event: Event) -> None:
        """Queue the event; wait while the queue is full, so that a flood is held back at its socket."""
        ...


class Gatekeeper(Protocol):
    """What the transport asks at once, without awaiting anything."""

    def judge(self, topic: str, data: bytes, signer: PeerId) -> Verdict:
        """Say what to do with a gossip message. ACCEPT also hands it to the core. Never raises for remote data."""
        ...

    def standing(self, peer: PeerId) -> Standing:
        """Say who the peer is now."""
        ...

    def is_stranger(self, peer: PeerId) -> bool:
        """Say whether no honest node knows the peer: registered in no table that anybody may use now.

        False while our own tables leave a doubt. Never raises for an id that is no key.
        """
        ...

    def expects_artifact(self, peer: PeerId, task: TaskId, attempt: int, size: int) -> bool:
        """Say whether these bytes are awaited from this peer now; asked before the body is read."""
        ...


class Clock(Protocol):
    """Wall time, moved by trio's clock so that tests can move both."""

    def now(self) -> UnixMillis:
        """Give the present moment. Never goes back during a run."""
        ...


Entropy = Callable[[int], bytes]
"""Gives n unpredictable bytes."""


class Journal(Protocol):
    """Where domain events become log lines, metrics and traces."""

    def note(self, name: NoteName, task: TaskId | None = None, **fields: str | int) -> None:
        """Record one domain event. Field values are short and hold no prompt, key or password."""
        ...


class GossipRecorder(Protocol):
    """Who writes public gossip down."""

    def heard(self, publication: Publication) -> None:
        """Take one message that was accepted, or is our own. Never waits and never raises."""
        ...


Reach = Literal["unknown", "public", "private"]
"""Whether others can dial a node where it listens."""


class AppLink(Protocol):
    """The submit stream of one app."""

    @property
    def peer(self) -> PeerId:
        """The app's own id, of whatever key it has drawn."""
        ...

    @property
    def address(self) -> str:
        """The IP address that it calls from; empty where nobody knows."""
        ...

    async def receive(self, size: int = 0) -> bytes:
        """Wait for one frame, at most MAX_MESSAGE_BYTES, or for the ``size`` bytes that the last one announced.

        Raises:
            Unavailable: The stream is over.
            InvalidMessage: It is no frame, or they do not come.
        """
        ...

    async def send(self, data: bytes, body: bytes = b"") -> None:
        """Send one frame, and behind it a body that it announces; nothing comes between them.

        Raises:
            Unavailable: The stream is over, or the app does not read.
        """
        ...

    def blame(self, rule: str) -> None:
        """Hold a minor offence against the app."""
        ...


class AppFace(Protocol):
    """Who serves apps that come over the overlay."""

    async def serve(self, link: AppLink) -> None:
        """Serve one app until its stream is over.

        Raises:
            InvalidMessage: It sent what no honest app sends.
        """
        ...


class Transport(Protocol):
    """The overlay: gossip, work streams, artifacts, DHT. Everything but ``run`` returns at once."""

    @property
    def peer_id(self) -> PeerId:
        """Our own peer id."""
        ...

    @property
    def reach(self) -> Reach:
        """Whether others can dial us where we listen, as far as peers have tried."""
        ...

    def addresses(self) -> tuple[str, ...]:
        """Multiaddresses (with ``/p2p/<peer id>``) under which others can dial us; empty before ``run`` is ready."""
        ...

    async def run(
        self, sink: EventSink, gatekeeper: Gatekeeper, *, task_status: Ready = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, join by the bootstraps and serve; reports started once listening."""
        ...

    def subscribe(self, topic: str) -> None:
        """Hear a gossip topic."""
        ...

    def at_once(self) -> AbstractContextManager[None]:
        """Send what is sent meanwhile when this ends, in its order; for code without a checkpoint."""
        ...

    def publish(self, topic: str, data: bytes, first: Sequence[PeerId] = (), head_start_ms: int = 0) -> None:
        """Gossip bytes, signed by our key; those of ``first`` that we reach straight away hear them before others.

        Where that is all of them, the others hear it as much later (ms), or with what is gossiped before.
        """
        ...

    def connect(self, peer: PeerId) -> None:
        """Try to have a connection to the peer; success posts ``PeerUp``."""
        ...

    def open_stream(self, peer: PeerId) -> None:
        """Open the work stream; posts ``StreamOpened`` or ``StreamClosed``."""
        ...

    def send(self, peer: PeerId, data: bytes, lane: Lane) -> None:
        """Put a frame into the peer's bounded outbox; one that has no place there is dropped and noted."""
        ...

    def send_artifact(self, peer: PeerId, task: TaskId, attempt: int, digest: Digest, data: bytes) -> None:
        """Send an artifact on a stream of its own; tries once."""
        ...

    def serve_apps(self, face: AppFace) -> None:
        """Let apps in from now on; they are strangers, whom nobody else serves."""
        ...

    def provide(self, key: str) -> None:
        """Announce ourselves under the key in the DHT, now and again before the record expires."""
        ...

    def find_providers(self, key: str) -> None:
        """Look the key up; posts one ``ProvidersFound``."""
        ...

    def judge_peer(self, peer: PeerId, offence: Offence, rule: str) -> None:
        """Take credit from the peer; once it is spent, disconnect and ban it for a while."""
        ...

    def stake_changed(self) -> None:
        """Check the standing of every open connection again."""
        ...


class Chain(Protocol):
    """The follower of the staking contract, and the sender of our transactions."""

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        """Post ``StakeChanged`` for the epochs around now, then ever the next, and ``BlockSeen`` for new heads.

        Posts ``ActivityChanged`` whenever other nodes are inactive, ``SettlementSeen`` with each confirmed block, and
        one outcome for each transaction. Reports started once the first ``StakeChanged`` is posted. A node that does
        not answer is retried for ever.
        """
        ...

    def submit(self, key: str) -> None:
        """Take up the transaction of this key, whose request is in the store; tell its outcome if there is one."""
        ...

    def check(self, evidence: Evidence) -> None:
        """Find out whether evidence can be proven now; posts one ``EvidenceChecked`` once a chain node answers."""
        ...


class Engine(Protocol):
    """One device that makes pictures."""

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        """Start the device's process, post ``EngineChanged``, and restart it when it dies."""
        ...

    def start(self, job: StartJob) -> None:
        """Begin a job; it ends with exactly one ``JobFinished`` or ``JobFailed``."""
        ...

    def cancel(self, task: TaskId, attempt: int) -> None:
        """Stop a job between two steps; nothing happens when it is unknown."""
        ...

    def rest(self) -> None:
        """Give the device's memory back, and stay without it until ``wake``. What is running is lost."""
        ...

    def wake(self) -> None:
        """Take the device again; nothing happens when it does not rest."""
        ...

    def report(self) -> EngineReport:
        """Say what the device is and does now."""
        ...


@dataclass(frozen=True, slots=True)
class StoredTask:
    """What the store knows of one task."""

    accepted: TaskAccepted
    done: TaskDone | None
    failed: TaskFailed | None
    """Beside ``done`` only where the picture was made and is withheld."""


class ChainStore(Protocol):
    """What the chain adapter keeps: its place among the blocks, and the transactions that it makes."""

    async def chain_place(self, contract: str) -> ChainPlace | None:
        """Give how far this contract was followed; None when it never was, or another one since."""
        ...

    async def keep_chain_step(self, contract: str, step: ChainStep) -> None:
        """Keep a step, all or nothing; what was kept of another contract is forgotten with the first."""
        ...

    async def settlement_read(self, contract: str) -> SettlementRead | None:
        """Give how far this Settlement contract is read, and what it said last; None when it never was."""
        ...

    async def open_transactions(self, limit: int) -> tuple[Transaction, ...]:
        """Give transactions without outcome, or whose outcome the core has not taken in.

        At most so many: first those that have a nonce, then the others, in the order of their requests.
        """
        ...

    async def transaction(self, key: str) -> Transaction | None:
        """Find a transaction, also one that is settled and not yet forgotten."""
        ...

    async def keep_transactions(self, changed: Sequence[Transaction]) -> None:
        """Replace what is known of these (nonce, versions, outcome), all or none; on return it is durable."""
        ...


class Store(ChainStore, Protocol):
    """Durable memory of one node."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Open, migrate and lock the store; a second process on the same folder is a ``ConfigError``."""
        ...

    async def load(self) -> tuple[Record, ...]:
        """Give the records that a core needs to go on: last boot, unfinished tasks, vouchers, unsettled results."""
        ...

    async def persist(self, records: tuple[Record, ...]) -> None:
        """Write all or none; on return they survive a power cut. A second ``TaskDone`` for a task raises.

        Raises:
            DiskFull: no space is left; nothing was written, and the same may be tried again.
        """
        ...

    async def task(self, task: TaskId) -> StoredTask | None:
        """Find a task by id."""
        ...

    async def task_by_key(self, idempotency_key: str) -> StoredTask | None:
        """Find a task by its idempotency key."""
        ...

    async def spent(self, account: str, since: UnixMillis) -> Wei:
        """Give the price of all tasks of an API key's account since then, without those that failed unpaid."""
        ...

    def artifact_at_hand(self, digest: Digest) -> bytes | None:
        """Give an artifact that is in memory still."""
        ...

    async def artifact(self, digest: Digest) -> bytes | None:
        """Read an artifact; None when there is none or it has expired."""
        ...

    async def input(self, digest: Digest) -> bytes | None:
        """Read a picture that an unfinished task begins from; None when no such task does, or it was damaged."""
        ...

    async def expire(self, before: UnixMillis) -> int:
        """Delete artifacts stored before this moment; gives how many.

        Those of undelivered results stay, and odd ones of rechecks whose task may be disputed.
        """
        ...

    async def forget(self, before: UnixMillis) -> None:
        """Delete the history of tasks that ended before this moment."""
        ...

    async def addresses(self) -> tuple[str, ...]:
        """Give the multiaddresses that worked before, latest first, at most 256."""
        ...

    async def remember_address(self, address: str, at: UnixMillis) -> None:
        """Keep an address that worked."""
        ...


class ControlChannel(Protocol):
    """How the owner of a running node reaches it."""

    async def run(
        self,
        answer: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
        *,
        task_status: Ready = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hand each request to ``answer`` until cancelled; one that makes no sense raises ``ConfigError`` there."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The outer world of one node. Tests hand in memory adapters; people get the real ones."""

    transport: Transport
    chain: Chain
    store: Store
    engine: Engine | None
    clock: Clock
    journal: Journal
    control: ControlChannel | None = None
    """None where nobody is to reach the node but through the network."""
    pictures: PictureComparer | None = None
    """None where nothing is drawn again: no comparison is asked for."""
    disputes: DisputePorts | None = None
    """None where no evidence is shown or asked for."""
