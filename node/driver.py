"""The driver: event in -> core.handle -> effects out.

It handles all events that wait as one batch: one transaction makes everything durable that the batch must persist,
then the other effects run in order. So ``Persist`` always precedes what follows it, and a burst of tasks costs one
commit. What may wait goes with the next commit: a flush of the disk costs as much as all else of a small task. The
driver never waits for a peer: the transport's outboxes are bounded, and whoever drops something notes it.
It does wait for its disk: while that is full, nothing of what is not durable leaves, and new tasks are turned away.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, assert_never, final

import trio

from node.desk import TaskDesk
from node.disputes.evidence_desk import Fetch, fetch_nothing
from node.ports import Ports
from node.timers import Timers
from protocol.chain_records import TransactionRequested
from protocol.crypto.keys import address_of_peer_id
from protocol.effects import (
    CancelJob,
    CancelTimer,
    CheckEvidence,
    ComparePictures,
    Connect,
    Deliver,
    Effect,
    FetchBundle,
    FindProviders,
    Judge,
    Lane,
    Note,
    Offence,
    OpenStream,
    Persist,
    Provide,
    Publish,
    Reply,
    Send,
    SendArtifact,
    SendEncoded,
    SendInput,
    SetTimer,
    StartJob,
    SubmitTx,
    Subscribe,
)
from protocol.errors import DiskFull, InvalidMessage
from protocol.events import (
    ActivityChanged,
    Event,
    GossipReceived,
    PicturesCompared,
    Restored,
    StakeChanged,
    TaskCancelled,
    TimerFired,
)
from protocol.gossip.verdict import Verdict
from protocol.notes import NoteName
from protocol.records import Record
from protocol.roles.core import EPOCH_BEGINS, Core
from protocol.stake.standing import Standing
from protocol.units import PeerId, TaskId
from protocol.wire.codec import encode
from protocol.wire.messages import GossipMessage

QUEUE_EVENTS: Final = 4096
"""Events that may wait; beyond it sockets are read no further, and gossip is ignored."""
BATCH_EVENTS: Final = 256
"""Events handled with one commit: enough to share its cost, few enough to keep timers punctual."""
MAX_ARTIFACT_READS: Final = 8
"""Artifacts read from disk at once to be sent."""
KEPT_BACK_S: Final = 0.1
"""How long (s) records that may wait are kept back, if nothing else is written: a busy node writes sooner."""
MAX_KEPT_BACK: Final = 512
"""Records that are kept back; with more there is a commit."""
FULL_DISK_PAUSE_S: Final = 1.0
"""Time (s) between two tries to write while the disk is full."""


class Wanted(NamedTuple):
    """What a core wants done about events that are durable."""

    effects: list[Effect]
    changes_standing: bool
    """Whether peers may have another standing now."""


@final
class Driver:
    """Runs one core. Implements ``EventSink`` and ``Gatekeeper``."""

    def __init__(
        self,
        core: Core,
        ports: Ports,
        desk: TaskDesk | None = None,
        hears: Callable[[GossipMessage], None] | None = None,
        fetch: Fetch = fetch_nothing,
    ) -> None:
        """Connect a core with its ports.

        Args:
            core: What decides.
            ports: The world.
            desk: Where apps hand tasks in, of a coordinator.
            hears: Told of each message of gossip that is accepted, before the core is; never waits and never raises.
            fetch: Fetches evidence for a juror.
        """
        self._core = core
        self._transport = ports.transport
        self._chain = ports.chain
        self._store = ports.store
        self._engine = ports.engine
        self._pictures = ports.pictures
        self._desk = desk
        self._hears = hears
        self._fetch = fetch
        self._clock = ports.clock
        self._journal = ports.journal
        self._timers = Timers(ports.clock)
        self._send, self._receive = trio.open_memory_channel[Event](QUEUE_EVENTS)
        self._artifact_reads = trio.CapacityLimiter(MAX_ARTIFACT_READS)
        self._kept_back: list[Record] = []
        """What is to be durable soon."""
        self._write_by = 0.0
        """When (s) at the latest, on trio's clock."""
        self._one_comparison = trio.CapacityLimiter(1)
        self._first: Wanted | None = None
        """What the core wants done about its memory, once it has that back."""

    def events_waiting(self) -> int:
        """Count the events that the core has not taken yet."""
        return self._receive.statistics().current_buffer_used

    def kept_back(self) -> tuple[Record, ...]:
        """Give what is to be durable soon, and was not handed to the store yet."""
        return tuple(self._kept_back)

    async def post(self, event: Event) -> None:
        """Queue an event; wait while the queue is full. Elsewhere no turn of the event loop passes."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            await self._send.send(event)

    def judge(self, topic: str, data: bytes, signer: PeerId) -> Verdict:
        """Judge a gossip message at once, and queue what is accepted."""
        judgement = self._core.judge(topic, data, signer, self._clock.now())
        if judgement.verdict is Verdict.REJECT:
            self._transport.judge_peer(signer, Offence.GRAVE, judgement.rule)
        if judgement.verdict is not Verdict.ACCEPT or judgement.message is None:
            return judgement.verdict
        try:
            self._send.send_nowait(GossipReceived(topic, judgement.message, signer))
        except trio.WouldBlock:
            self._journal.note(NoteName.MESSAGE_DROPPED, reason="events_full", topic=topic)
            return Verdict.IGNORE
        if self._hears is not None:
            self._hears(judgement.message)
        return Verdict.ACCEPT

    def standing(self, peer: PeerId) -> Standing:
        """Say who a peer is now."""
        return self._core.standing(peer, self._clock.now())

    def is_stranger(self, peer: PeerId) -> bool:
        """Say whether a peer is registered in no table that an honest node may use now."""
        now = self._clock.now()
        try:
            address = address_of_peer_id(peer)
        except InvalidMessage:  # a key that no staker can have
            return True
        return self._core.book.certain(now) and not self._core.book.known(address, now)

    def expects_artifact(self, peer: PeerId, task: TaskId, attempt: int, size: int) -> bool:
        """Say whether the core awaits these bytes from this peer now."""
        return self._core.expects_artifact(peer, task, attempt, size, self._clock.now())

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Remember, do what the core wants done about that, then handle events until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._act(await self.remember(), nursery)
                task_status.started()
                nursery.start_soon(self._timers.run, self._fire)
                while True:
                    self._act(await self._take(await self._next()), nursery)
        finally:
            if self._kept_back:
                with trio.CancelScope(shield=True):
                    await self._problem_with(tuple(self._kept_back))

    async def _next(self) -> list[Event]:
        """Wait for events, and write what is kept back when its time is over."""
        while self._kept_back:
            with trio.CancelScope(deadline=self._write_by):
                return [await self._receive.receive(), *self._waiting(BATCH_EVENTS - 1)]
            await self._write([])
        return [await self._receive.receive(), *self._waiting(BATCH_EVENTS - 1)]

    async def remember(self) -> Wanted:
        """Give the core its memory and what was posted before, which is the chain's tables; once for each driver.

        Who asks from then on is told who he is, so a transport that begins to listen afterwards turns no miner away.

        Returns:
            What the core wants done about it; ``run`` does it.
        """
        if self._first is None:
            records = await self._store.load()
            self._first = await self._take([Restored(records), *self._waiting(BATCH_EVENTS)])
        return self._first

    def _waiting(self, most: int) -> list[Event]:
        """Take up to so many events out of the queue, without waiting for any."""
        events: list[Event] = []
        while len(events) < most:
            try:
                events.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                break
        return events

    async def _fire(self, key: tuple[str, bytes, int]) -> None:
        await self.post(TimerFired(key))

    async def _take(self, batch: list[Event]) -> Wanted:
        """Let the core take a batch, and make it durable."""
        now = self._clock.now()
        effects: list[Effect] = []
        for event in batch:
            effects.extend(self._core.handle(event, now))
        writes = [effect for effect in effects if isinstance(effect, _WRITES)]
        records = [record for effect in writes for record in _records_of(effect)]
        if len(self._kept_back) < MAX_KEPT_BACK and all(_may_wait(effect) for effect in writes):
            self._keep_back(records)
        else:
            await self._write(records)
        return Wanted(effects, any(_changes_standing(event) for event in batch))

    def _act(self, wanted: Wanted, nursery: trio.Nursery) -> None:
        with self._transport.at_once():
            for effect in wanted.effects:
                self._perform(effect, nursery)
        if wanted.changes_standing:
            self._transport.stake_changed()

    def _keep_back(self, records: list[Record]) -> None:
        """Write these with what is written next."""
        if records and not self._kept_back:
            self._write_by = trio.current_time() + KEPT_BACK_S
        self._kept_back += records

    async def _write(self, records: list[Record]) -> None:
        """Make these durable, and all that was kept back before them."""
        all_records, self._kept_back = (*self._kept_back, *records), []
        await self._make_durable(all_records)

    async def _make_durable(self, records: tuple[Record, ...]) -> None:
        """Write what a batch must have on disk; while that is full, wait for space and try again.

        The core has taken the batch in already, and cannot take it back: so it goes on where it stopped.
        """
        problem = await self._problem_with(records)
        if problem is None:
            return
        self._journal.note(NoteName.STORE_FULL, reason=str(problem))
        if self._desk is not None:
            self._desk.close(str(problem))
        while problem is not None:
            await trio.sleep(FULL_DISK_PAUSE_S)
            problem = await self._problem_with(records)
        self._journal.note(NoteName.STORE_WRITABLE)
        if self._desk is not None:
            self._desk.reopen()

    async def _problem_with(self, records: tuple[Record, ...]) -> DiskFull | None:
        """Try to write, and say what is in the way."""
        try:
            await self._store.persist(records)
        except DiskFull as error:
            return error
        return None

    def _perform(self, effect: Effect, nursery: trio.Nursery) -> None:  # noqa: C901  # one line for each effect
        match effect:
            case Persist():
                pass  # durable already: see _take
            case Note(name=name, task=task, fields=fields):
                self._journal.note(name, task, **fields)
            case Send(peer=peer, message=message, lane=lane):
                self._transport.send(peer, encode(message), lane)
            case SendEncoded(peer=peer, data=data):
                self._transport.send(peer, data, Lane.PRIORITY)
            case Publish(topic=topic, message=message, first=first, head_start_ms=head_start_ms):
                self._transport.publish(topic, encode(message), first, head_start_ms)
            case SetTimer(key=key, at=at):
                self._timers.set(key, at)
            case CancelTimer(key=key):
                self._timers.cancel(key)
            case SubmitTx(key=key):
                self._chain.submit(key)
            case CheckEvidence(evidence=evidence):
                self._chain.check(evidence)
            case Deliver(task=task, update=update):
                if self._desk is not None:
                    self._desk.deliver(task, update)
            case Reply(request=request, answer=answer):
                orphan = self._desk.reply(request, answer) if self._desk is not None else None
                if orphan is not None:
                    nursery.start_soon(self.post, TaskCancelled(orphan))
            case StartJob():
                if self._engine is not None:
                    self._engine.start(effect)
            case CancelJob(task=task, attempt=attempt):
                if self._engine is not None:
                    self._engine.cancel(task, attempt)
            case SendArtifact(digest=digest):
                if (known := self._store.artifact_at_hand(digest)) is not None:
                    self._send_bytes(effect, known, "artifact_expired")
                else:
                    nursery.start_soon(self._send_artifact, effect)
            case SendInput():
                nursery.start_soon(self._send_input, effect)
            case ComparePictures():
                nursery.start_soon(self._compare, effect)
            case FetchBundle():
                nursery.start_soon(self._fetch, effect, self)
            case Judge(peer=peer, offence=offence, rule=rule):
                self._transport.judge_peer(peer, offence, rule)
            case Connect(peer=peer):
                self._transport.connect(peer)
            case OpenStream(peer=peer):
                self._transport.open_stream(peer)
            case Subscribe(topic=topic):
                self._transport.subscribe(topic)
            case Provide(key=key):
                self._transport.provide(key)
            case FindProviders(key=key):
                self._transport.find_providers(key)
            case _:
                assert_never(effect)

    async def _send_artifact(self, effect: SendArtifact) -> None:
        async with self._artifact_reads:
            data = await self._store.artifact(effect.digest)
        self._send_bytes(effect, data, "artifact_expired")

    async def _send_input(self, effect: SendInput) -> None:
        async with self._artifact_reads:
            data = await self._store.input(effect.digest)
        self._send_bytes(effect, data, "input_gone")

    async def _compare(self, effect: ComparePictures) -> None:
        """Have two stored pictures looked at. One that has expired cannot be, and nobody is to blame."""
        apart = None
        async with self._one_comparison:
            one, other = await self._store.artifact(effect.one), await self._store.artifact(effect.other)
            if self._pictures is not None and one is not None and other is not None:
                apart = await self._pictures.apart(one, other)
        await self.post(PicturesCompared(effect.subject, effect.one, effect.other, apart))

    def _send_bytes(self, effect: SendArtifact | SendInput, data: bytes | None, lost: str) -> None:
        """Send what was read; ``lost`` says why there is nothing."""
        if data is None:
            self._journal.note(NoteName.MESSAGE_DROPPED, effect.task, reason=lost, peer=effect.peer)
            return
        self._transport.send_artifact(effect.peer, effect.task, effect.attempt, effect.digest, data)


_WRITES: Final = (Persist, SubmitTx)
"""Effects of which something must be on disk before the batch acts."""


def _records_of(effect: Persist | SubmitTx) -> tuple[Record, ...]:
    """Give what that is: what the core persists, and what it wants on the chain."""
    match effect:
        case Persist(records=records):
            return records
        case SubmitTx(key=key, call=call):
            return (TransactionRequested(key, call),)


def _may_wait(effect: Persist | SubmitTx) -> bool:
    """Say whether the batch may act before that."""
    return isinstance(effect, Persist) and effect.may_wait


def _changes_standing(event: Event) -> bool:
    """Say whether peers may have another standing now: a table came or begins to hold, or somebody was jailed."""
    match event:
        case StakeChanged() | ActivityChanged():
            return True
        case TimerFired(key=(what, _, _)):
            return what == EPOCH_BEGINS
        case _:
            return False
