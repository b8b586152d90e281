"""Real overlay nodes on loopback, each with an allow-list for a gatekeeper."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from node.adapters.libp2p import OverlaySettings, OverlayTransport, RelayLimits
from protocol.crypto.keys import NodeKey
from protocol.crypto.publication import Publication
from protocol.effects import Lane
from protocol.events import Event
from protocol.gossip.verdict import Verdict
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import PeerId, TaskId, UnixMillis
from tests.support.journal import RecordingJournal
from tests.support.patience import PATIENCE_S, stopwatch

E = TypeVar("E")


def secret_of(number: int) -> bytes:
    """A node key of its own for each number from 1."""
    return number.to_bytes(32, "big")


def peer_of(number: int) -> PeerId:
    return NodeKey(secret_of(number)).peer_id


class WallClock:
    def now(self) -> UnixMillis:
        return UnixMillis(time.time_ns() // 1_000_000)


class MemoryBook:
    """An address book without a disk."""

    def __init__(self, addresses: Sequence[str] = ()) -> None:
        self.kept = list(addresses)

    async def addresses(self) -> tuple[str, ...]:
        return tuple(self.kept)

    async def remember_address(self, address: str, at: UnixMillis) -> None:
        if address in self.kept:
            self.kept.remove(address)
        self.kept.insert(0, address)


class MemoryRecord:
    """A record of gossip without a disk."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []

    def heard(self, publication: Publication) -> None:
        self.publications.append(publication)


class Gate:
    """An allow-list, and one verdict for every message."""

    def __init__(self, standings: dict[PeerId, Standing]) -> None:
        self.standings = standings
        self.verdict = Verdict.ACCEPT
        self.judged: list[tuple[str, bytes, PeerId]] = []
        self.certain = False
        """Whether everybody without a standing is a stranger for sure."""
        self.expects = True
        self.asked: list[tuple[PeerId, TaskId, int, int]] = []

    def judge(self, topic: str, data: bytes, signer: PeerId) -> Verdict:
        self.judged.append((topic, data, signer))
        return self.verdict

    def standing(self, peer: PeerId) -> Standing:
        return self.standings.get(peer, Standing.STRANGER)

    def is_stranger(self, peer: PeerId) -> bool:
        return self.certain and peer not in self.standings

    def expects_artifact(self, peer: PeerId, task: TaskId, attempt: int, size: int) -> bool:
        self.asked.append((peer, task, attempt, size))
        return self.expects


class Sink:
    """Keeps events in order; can be closed like a full queue."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.open = trio.Event()
        self.open.set()

    async def post(self, event: Event) -> None:
        await self.open.wait()
        self.events.append(event)

    def block(self) -> None:
        self.open = trio.Event()

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


async def until(condition: Callable[[], object], what: str, patience: float = PATIENCE_S) -> None:
    """Wait until something is so, or fail with its name."""
    if condition():
        return
    with stopwatch() as watch:
        while not condition():
            assert watch.seconds < patience, f"not within {patience} s: {what}"
            await trio.sleep(0.01)


@dataclass
class Running:
    """One running node."""

    number: int
    transport: OverlayTransport
    sink: Sink
    gate: Gate
    journal: RecordingJournal
    book: MemoryBook
    record: "MemoryRecord"
    stop: Callable[[], None] = lambda: None
    stopped: trio.Event = field(default_factory=trio.Event)

    @property
    def id(self) -> PeerId:
        return self.transport.peer_id

    @property
    def address(self) -> str:
        return self.transport.addresses()[0]

    def connected_to(self, other: "Running") -> bool:
        parts = self.transport._parts
        return parts is not None and parts.peers.is_connected(other.id)

    def rules_against(self, peer: PeerId) -> list[str | int]:
        return [note.fields["rule"] for note in self.journal.of(NoteName.PEER_JUDGED) if note.fields["peer"] == peer]

    async def close(self) -> None:
        self.stop()
        await self.stopped.wait()

    async def work_with(self, other: "Running") -> None:
        """Connect and open the work stream."""
        self.transport.open_stream(other.id)
        await until(lambda: self.has_stream(other) and other.has_stream(self), "a work stream")

    def has_stream(self, other: "Running") -> bool:
        from protocol.events import StreamClosed, StreamOpened

        ours = [event for event in self.sink.events if getattr(event, "peer", None) == other.id]
        opened = sum(isinstance(event, StreamOpened) for event in ours)
        return opened > sum(isinstance(event, StreamClosed) for event in ours)

    def send(self, other: "Running", data: bytes, lane: Lane = Lane.PRIORITY) -> bool:
        """Queue a frame and say whether it was taken: whoever drops one notes it at once."""
        known = len(self.journal.of(NoteName.MESSAGE_DROPPED))
        self.transport.send(other.id, data, lane)
        return len(self.journal.of(NoteName.MESSAGE_DROPPED)) == known


class Overlay:
    """Nodes that share one allow-list."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.standings: dict[PeerId, Standing] = {}

    async def start(
        self,
        number: int,
        standing: Standing = Standing.MINER,
        bootstraps: Sequence["Running | str"] = (),
        book: Sequence[str] = (),
        listen: str = "/ip4/127.0.0.1/tcp/0",
        max_connections: int = 64,
        relays: Sequence["Running | str"] = (),
        service: RelayLimits | None = None,
        asks_reach: bool = False,
    ) -> Running:
        """Start a node with the key of that number; every node knows every standing."""
        if standing is not Standing.STRANGER:
            self.standings[peer_of(number)] = standing
        settings = OverlaySettings(
            listen=(listen,),
            announce=(),
            bootstraps=tuple(node if isinstance(node, str) else node.address for node in bootstraps),
            max_connections=max_connections,
            relays=tuple(node if isinstance(node, str) else node.address for node in relays),
            service=service,
            asks_reach=asks_reach,
        )
        journal, memory = RecordingJournal(), MemoryBook(book)
        record = MemoryRecord()
        transport = OverlayTransport(settings, secret_of(number), WallClock(), journal, memory, record)
        running = Running(number, transport, Sink(), Gate(self.standings), journal, memory, record)
        await self._nursery.start(self._run, running)
        return running

    async def _run(self, running: Running, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.CancelScope() as scope:
            running.stop = scope.cancel
            await running.transport.run(running.sink, running.gate, task_status=task_status)
        running.stopped.set()


@asynccontextmanager
async def overlay() -> AsyncIterator[Overlay]:
    """A place for nodes; all stop at the end."""
    async with trio.open_nursery() as nursery:
        yield Overlay(nursery)
        nursery.cancel_scope.cancel()
