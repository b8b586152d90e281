"""What an honest coordinator says, recorded and audited: nothing of it is proof against it. SPEC.md §12.2."""

from collections.abc import Iterable
from typing import Any

from coincurve import PrivateKey

from protocol.audit.audit import audit
from protocol.audit.record import Heard, RecordHead, ViewSeen
from protocol.audit.report import Report
from protocol.crypto.keys import NodeKey
from protocol.crypto.publication import Publication, signed_bytes
from protocol.effects import Effect, Persist, Publish
from protocol.events import Event, StreamClosed
from protocol.records import BootStarted, Record
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.units import Digest, UnixMillis
from protocol.wire.codec import GOSSIP_PLACE, decode, encode
from protocol.wire.messages import Award, Bulletin, Claim, Decline, Objection
from protocol.wire.statements import NO_RANK
from protocol.wire.topics import objections_topic
from tests.protocol.roles.frames import ALICE_ID, BOB_ID, DOMAIN, EPOCH, NETWORK_ID, PARAMS, capability
from tests.protocol.roles.seats import CoordinatorSeat, of_kind
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL
from tests.support.signed_gossip import secret_of

MINERS = (ALICE, BOB)
NEW_RUN_NS = 10**10


class Head(RecordHead):
    """The network of role tests, whose name is chosen for its draws."""

    @property
    def network_id(self) -> Digest:
        return NETWORK_ID


class Recorded(CoordinatorSeat):
    """Carol's coordinator, beside somebody who writes down all that it publishes."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.stored: list[Record] = []
        self.sequence = 10**18
        super().__init__(miners=MINERS)

    def hear(self, event: Event) -> tuple[Effect, ...]:
        effects = super().hear(event)
        for effect in effects:
            if isinstance(effect, Publish):
                self.record(CAROL, effect.topic, encode(effect.message))
            elif isinstance(effect, Persist):
                self.stored += effect.records
        return effects

    def record(self, by: NodeKey, topic: str, data: bytes) -> None:
        self.sequence += 1
        unsigned = Publication(by.peer_id, self.sequence, topic, data, b"")
        signature = PrivateKey(secret_of(by)).sign(signed_bytes(unsigned))
        self.heard.append(Heard(self.now, Publication(by.peer_id, self.sequence, topic, data, signature)))

    def object_to(self, decline: Decline, claim: Claim) -> None:
        """Alice publishes a decline of her claim."""
        said = Objection(
            sent_at=self.now,
            claim=claim.statement,
            claim_signature=claim.signature,
            decline=decline.statement,
            decline_signature=decline.signature,
        )
        self.record(ALICE, objections_topic(PARAMS.name), encode(said))

    def restart(self, records: Iterable[Record], back: tuple[NodeKey, ...] = MINERS) -> None:
        """Die, and begin again with what was on disk."""
        for miner in MINERS:
            self.hear(StreamClosed(miner.peer_id))
        self.timers.clear()
        self.now = UnixMillis(self.now + 1500)
        self.sequence += NEW_RUN_NS
        self.core = CoordinatorCore(self.identity, tuple)
        self.start(tuple(records))
        for miner in back:
            self.greet(miner)

    def says_busy(self, miner: NodeKey, *, free: int) -> tuple[Effect, ...]:
        number = self.number(miner)
        return self.say(miner, capability(miner, number, sequence=self.now, expires_at=self.now + 60_000, free=free))

    def report(self) -> Report:
        views: list[Any] = [networks.view(epoch) for epoch in (EPOCH - 1, EPOCH, EPOCH + 1)]
        head = Head(PARAMS, DOMAIN.chain_id, DOMAIN.contract)
        return audit(head, [*[ViewSeen(view, view.table.root) for view in views], *self.heard])


def test_claim__late_and_of_an_attempt_that_is_over__is_declined_stale_and_proves_nothing() -> None:
    seat = Recorded()
    task = seat.submit()
    late = seat.claim(ALICE, task)
    known = seat.core.task(task)  # type: ignore[arg-type]
    assert known is not None
    seat.says_busy(BOB, free=0)
    while known.attempt == 0:
        seat.wait(50)
    seat.says_busy(BOB, free=1)
    seat.wait(345)
    (won,) = of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(300), Award)
    assert (won.statement.miner, won.statement.attempt) == (BOB_ID, 1)
    (decline,) = of_kind(seat.say(ALICE, late), Decline)
    assert (decline.statement.reason, decline.statement.winner, decline.statement.rank) == ("stale", 0, NO_RANK)
    seat.object_to(decline, late)
    assert seat.report().proofs == ()


def test_claim__of_an_attempt_whose_winner_lost_it__hears_that_winners_rank() -> None:
    seat = Recorded()
    task = seat.submit()
    late = seat.claim(ALICE, task)
    seat.wait(120)
    (won,) = of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(300), Award)
    known = seat.core.task(task)  # type: ignore[arg-type]
    assert known is not None
    while known.attempt == 0:
        seat.wait(50)
    (decline,) = of_kind(seat.say(ALICE, late), Decline)
    said = decline.statement
    assert (said.reason, said.winner, said.rank) == ("awarded", won.statement.miner, 1)
    seat.object_to(decline, late)
    assert (seat.report().faults, seat.report().proofs) == ((), ())


def test_claim__of_an_attempt_that_an_earlier_run_awarded__is_declined_stale_and_proves_nothing() -> None:
    seat = Recorded()
    task = seat.submit()
    claim = seat.claim(ALICE, task)
    seat.wait(120)
    assert len(of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(200), Award)) == 1
    seat.restart(seat.stored)
    (decline,) = of_kind(seat.say(ALICE, claim), Decline)
    assert (decline.statement.reason, decline.statement.winner, decline.statement.rank) == ("stale", 0, NO_RANK)
    seat.object_to(decline, claim)
    assert seat.report().proofs == ()


def test_claim__of_an_earlier_runs_offer_whose_number_was_awarded_since__is_declined_stale_and_proves_nothing() -> None:
    seat = Recorded()
    task = seat.submit()
    claim = seat.claim(ALICE, task)
    seat.restart(seat.stored, back=(BOB,))
    seat.wait(300)
    (won,) = of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(900), Award)
    assert won.statement.attempt == claim.statement.attempt
    assert won.statement.offer != claim.statement.offer
    seat.greet(ALICE)
    (decline,) = of_kind(seat.say(ALICE, claim), Decline)
    assert (decline.statement.reason, decline.statement.winner, decline.statement.rank) == ("stale", 0, NO_RANK)
    seat.object_to(decline, claim)
    assert seat.report().proofs == ()


def test_restart__tables_of_earlier_epochs_come_first__no_task_is_drawn_from_one_before_its_own() -> None:
    seat = Recorded()
    for _ in range(3):
        seat.submit()
    before = len(seat.heard)
    seat.restart(record for record in seat.stored if not isinstance(record, BootStarted))
    seat.wait(1000)
    bulletins = [decode(heard.publication.data, GOSSIP_PLACE) for heard in seat.heard[before:]]
    offers = [(one.epoch, offer) for one in bulletins if isinstance(one, Bulletin) for offer in one.offers]
    assert {offer.number for _, offer in offers} == {0, 1, 2}, "all are offered once their table is here"
    assert {epoch for epoch, _ in offers} == {offer.accepted_epoch for _, offer in offers} == {EPOCH}


def test_restart__on_an_old_copy_of_the_store__awards_again_what_it_forgot_and_proves_nothing() -> None:
    seat = Recorded()
    task = seat.submit()
    copy = tuple(seat.stored)
    (won,) = of_kind(seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(200), Award)
    seat.restart(copy, back=(BOB,))
    seat.wait(300)
    (again,) = of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(1500), Award)
    assert (won.statement.attempt, won.statement.miner) == (again.statement.attempt, ALICE_ID)
    assert again.statement.miner == BOB_ID
    assert (seat.report().faults, seat.report().proofs) == ((), ())
