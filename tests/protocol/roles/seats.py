"""A core driven by hand: what it hears is made here, signed by the right key or a wrong one.

Alice (1) and bob (2) mine, carol (3) coordinates, as in ``tests.support.networks``.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from protocol.chain_records import Escrow, Payment, SettlementRead
from protocol.crypto.keys import NodeKey
from protocol.effects import Accepted, Effect, Judge, Note, Persist, Reply, Send, SendEncoded, SetTimer
from protocol.events import (
    BlockSeen,
    EngineChanged,
    Event,
    GossipReceived,
    JobFinished,
    ModelState,
    PeerUp,
    Restored,
    SettlementSeen,
    StakeChanged,
    StreamOpened,
    StreamReceived,
    TaskSubmitted,
    TimerFired,
)
from protocol.notes import NoteName
from protocol.records import Record
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.core import Core, Identity
from protocol.roles.miner.miner import MinerCore
from protocol.roles.miner.redeeming import RedeemPolicy
from protocol.roles.prosecution import ProofPolicy
from protocol.stake.table import StakeRow
from protocol.units import BlockNumber, Digest, StakingId, UnixMillis, Wei
from protocol.wire.codec import WORK_PLACE, decode, encode
from protocol.wire.messages import (
    Award,
    Claim,
    Result,
    TaskSpecification,
    Work,
    WorkMessage,
)
from protocol.wire.statements import (
    ClaimStatement,
)
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import (
    CAROL_ID,
    CATALOG,
    DOMAIN,
    EPOCH,
    MODEL,
    NETWORK_ID,
    NOTHING,
    NOW,
    PARAMS,
    PICTURE,
    PICTURE_DIGEST,
    PRICE,
    SPECIFICATION,
    award_of,
    bulletin,
    capability,
    hello,
    signed,
)
from tests.support import networks
from tests.support.networks import ALICE, CAROL

T = TypeVar("T")
AMPLE = Escrow(CAROL_ID, Wei(10**30), Wei(0), Wei(0), Wei(0))
"""An escrow that covers whatever a test promises."""


def of_kind(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    """The messages of one kind among what is sent."""
    frames = [
        e.message if isinstance(e, Send) else decode(e.data, WORK_PLACE)
        for e in effects
        if isinstance(e, Send | SendEncoded)
    ]
    return [frame for frame in frames if isinstance(frame, kind)]


def judged(effects: Iterable[Effect]) -> list[str]:
    return [effect.rule for effect in effects if isinstance(effect, Judge)]


def ignored(effects: Iterable[Effect]) -> list[str]:
    notes = [e for e in effects if isinstance(e, Note) and e.name is NoteName.MESSAGE_IGNORED]
    return [str(note.fields["rule"]) for note in notes]


def noted(effects: Iterable[Effect], name: NoteName) -> list[Note]:
    return [effect for effect in effects if isinstance(effect, Note) and effect.name is name]


def persisted(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    records = [record for effect in effects if isinstance(effect, Persist) for record in effect.records]
    return [record for record in records if isinstance(record, kind)]


class Seat:
    """One core with its time and the timers that it has set."""

    core: Core

    def __init__(self, key: NodeKey) -> None:
        self.key = key
        self.now = NOW
        self.timers: dict[tuple[str, bytes, int], UnixMillis] = {}
        self._entropy = 0
        self.identity = Identity(PARAMS.name, NETWORK_ID, PARAMS, DOMAIN, CATALOG, key, self._draw)

    def _draw(self, count: int) -> bytes:
        self._entropy += 1
        return hashlib.sha256(self.key.address + b"%d" % self._entropy).digest()[:count]

    def start(self, records: tuple[Record, ...] = (), escrow: Escrow | None = AMPLE) -> None:
        self.hear(Restored(records))
        for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
            self.hear(StakeChanged(networks.view(epoch)))
        self.hear(BlockSeen(BlockNumber(1), self.now))
        if escrow is not None:
            self.escrows(escrow)

    def escrows(
        self,
        escrow: Escrow | None = AMPLE,
        *payments: Payment,
        block: int = 1,
        of: StakingId = CAROL_ID,
        gas_price: int = 10**9,
    ) -> tuple[Effect, ...]:
        """Hear what a coordinator has in escrow, and whom it paid."""
        changed = (replace(escrow, coordinator=of),) if escrow is not None else ()
        read = SettlementRead("test", BlockNumber(block), Digest(bytes(32)), payments, changed)
        return self.hear(SettlementSeen(read, Wei(gas_price)))

    def hear(self, event: Event) -> tuple[Effect, ...]:
        effects = self.core.handle(event, self.now)
        for effect in effects:
            match effect:
                case SetTimer(key=key, at=at):
                    self.timers[key] = at
                case _ if type(effect).__name__ == "CancelTimer":
                    self.timers.pop(effect.key, None)  # type: ignore[union-attr]
                case _:
                    pass
        return effects

    def say(self, key: NodeKey, message: WorkMessage) -> tuple[Effect, ...]:
        """Hear one frame from a peer."""
        return self.hear(StreamReceived(key.peer_id, encode(message)))

    def wait(self, milliseconds: int) -> tuple[Effect, ...]:
        """Let time pass, firing what is due; gives all effects."""
        end, effects = self.now + milliseconds, []
        while due := sorted((at, key) for key, at in self.timers.items() if at <= end):
            at, key = due[0]
            self.now = max(self.now, at)
            del self.timers[key]
            effects.extend(self.hear(TimerFired(key)))
        self.now = UnixMillis(end)
        return tuple(effects)

    def tables(self, rows: Iterable[StakeRow], epochs: int = 3) -> None:
        """Go to the first epoch with another table."""
        later = EPOCH + 2
        for epoch in range(later, later + epochs):
            self.hear(StakeChanged(networks.view(epoch, rows)))
        self.wait(later * PARAMS.epoch_s * 1000 - self.now)


class CoordinatorSeat(Seat):
    """Carol's coordinator; the test is the miners."""

    def __init__(
        self,
        records: tuple[Record, ...] = (),
        miners: tuple[NodeKey, ...] = (ALICE,),
        *,
        escrow: Escrow | None = AMPLE,
        low: int = 0,
        prove: ProofPolicy | None = None,
    ) -> None:
        super().__init__(CAROL)
        self.core: CoordinatorCore = CoordinatorCore(self.identity, tuple, Wei(low), prove)
        self.start(records, escrow)
        for miner in miners:
            self.greet(miner)

    def hear_restored(self, records: tuple[Record, ...]) -> tuple[Effect, ...]:
        """Begin again on these records, and give what that brings."""
        self.core = CoordinatorCore(self.identity, tuple)
        return self.hear(Restored(records))

    def greet(self, miner: NodeKey) -> tuple[Effect, ...]:
        """A miner opens its stream, greets and says what it serves."""
        effects = self.hear(StreamOpened(miner.peer_id))
        effects += self.say(miner, hello(self.number(miner)))
        return effects + self.say(
            miner, capability(miner, self.number(miner), sequence=self.now, expires_at=self.now + 60_000)
        )

    @staticmethod
    def number(key: NodeKey) -> StakingId:
        return next(row.id for row in networks.trio() if row.address == key.address)

    def submit(
        self,
        *,
        detached: bool = True,
        key: str | None = None,
        work: TaskSpecification = SPECIFICATION,
        inputs: Mapping[Digest, bytes] | None = None,
    ) -> bytes:
        effects = self.hear(TaskSubmitted(1, work, detached, key, inputs=inputs or {}))
        reply = next(effect.answer for effect in effects if isinstance(effect, Reply))
        assert isinstance(reply, Accepted), reply
        self.wait(20)
        return reply.task

    def claim(self, miner: NodeKey, task: bytes, *, nonce: bytes = b"n" * 16) -> Claim:
        known = self.core.task(task)  # type: ignore[arg-type]
        statement = ClaimStatement(
            task=task,
            attempt=max(known.attempt, 0) if known else 0,
            coordinator=CAROL_ID,
            miner=self.number(miner),
            offer=known.open.offer if known and known.open else NOTHING,
            nonce=nonce,
        )
        return Claim(statement=statement, signature=signed(miner, statement))

    def award(self, miner: NodeKey = ALICE) -> Award:
        """Submit a task and let a miner win it."""
        task = self.submit()
        effects = self.say(miner, self.claim(miner, task)) + self.wait(300)
        return of_kind(effects, Award)[0]


class MinerSeat(Seat):
    """Alice's miner; the test is the coordinator."""

    def __init__(
        self,
        records: tuple[Record, ...] = (),
        *,
        places: int = 1,
        batch: int = 1,
        escrow: Escrow | None = AMPLE,
        redeem: RedeemPolicy | None = None,
        works: tuple[Work, ...] = ("text_to_image",),
        prove: ProofPolicy | None = None,
    ) -> None:
        super().__init__(ALICE)
        self.core: MinerCore = MinerCore(self.identity, tuple, Wei(0), redeem=redeem, prove=prove)
        self.start(records, escrow)
        state = ModelState(MODEL.name, MODEL.digest, True, 10_000_000, batch, MODEL.sizes, MODEL.max_steps)
        self.hear(EngineChanged((replace(state, works=works),), places))
        self.hear(PeerUp(CAROL.peer_id))
        self.hear(StreamOpened(CAROL.peer_id))
        self.say(CAROL, hello(CAROL_ID))
        self.offers = 0

    def offer(
        self,
        number: int | None = None,
        *,
        task: bytes | None = None,
        attempt: int = 0,
        wait_ms: int = 200,
        **changes: Any,
    ) -> tuple[Effect, ...]:
        """Hear a bulletin with one offer of carol's, and wait for the slot."""
        number = self.offers if number is None else number
        self.offers += 1
        effects = self.hear(
            GossipReceived(
                offers_topic(PARAMS.name, MODEL.name),
                bulletin(self.now, number, task=task, attempt=attempt, **changes),
                CAROL.peer_id,
            )
        )
        return effects + self.wait(wait_ms)

    def claimed(self) -> Claim:
        """Hear an offer and claim it."""
        return of_kind(self.offer(), Claim)[0]

    def paid_before(self) -> None:
        """Carol has paid alice for a picture: her next receipts are waited for with patience."""
        self.core._working.delivering.credit.paid(CAROL_ID, PRICE, self.now)

    def finish(self, award: Award) -> tuple[Effect, ...]:
        """The engine has drawn."""
        statement = award.statement
        return self.hear(
            JobFinished(
                statement.task, statement.attempt, PICTURE, PICTURE_DIGEST, "image/png", MODEL.digest, NOTHING, 40
            )
        )

    def finish_after_award(self) -> tuple[Effect, ...]:
        """Win what was claimed last, and draw it."""
        claim = next(iter(self.core._claiming._claims.values())).claim
        self.say(CAROL, award_of(claim))
        return self.finish(award_of(claim))

    def delivered(self) -> tuple[Award, Result]:
        """Claim, win, draw and send."""
        won = award_of(self.claimed())
        self.say(CAROL, won)
        return won, of_kind(self.finish(won), Result)[0]
