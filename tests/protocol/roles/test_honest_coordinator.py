"""A coordinator that runs our core never signs what Slashing punishes: whatever it forgets and whatever miners show."""

import copy

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from node.adapters.memory.store import MemoryStore
from protocol.crypto.keys import NodeKey
from protocol.effects import Effect, Persist
from protocol.events import Event, StreamClosed
from protocol.wire.messages import Award, Receipt
from protocol.wire.statements import AwardStatement, ReceiptStatement, VoucherStatement
from tests.protocol.roles.frames import artifact_of, capability, hello, result_of
from tests.protocol.roles.seats import CoordinatorSeat, of_kind
from tests.support.evidence import one_place_twice, two_awards, two_receipts, understated
from tests.support.networks import ALICE, BOB

MINERS = (ALICE, BOB)
miners = st.sampled_from(MINERS)
operations = st.one_of(
    st.tuples(st.just("work"), miners),
    st.tuples(st.just("copy_amid_work"), miners),
    st.tuples(st.just("copy")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("restore"), st.integers(0, 3)),
    st.tuples(st.just("show"), miners, st.integers(0, 30)),
    st.tuples(st.just("repeat"), miners),
)


class Life(CoordinatorSeat):
    """One coordinator over all its runs, on a store that is copied and put back."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.copies: list[MemoryStore] = []
        self.vouchers: list[VoucherStatement] = []
        self.receipts: list[ReceiptStatement] = []
        self.awards: list[AwardStatement] = []
        self.results: dict[NodeKey, list[Award]] = {miner: [] for miner in MINERS}
        super().__init__(miners=MINERS)

    def hear(self, event: Event) -> tuple[Effect, ...]:
        effects = super().hear(event)
        for effect in effects:
            if isinstance(effect, Persist):
                for record in effect.records:
                    self.store._write(record)
        for receipt in of_kind(effects, Receipt):
            self.receipts.append(receipt.statement)
            self.vouchers.append(receipt.voucher)
        self.awards.extend(award.statement for award in of_kind(effects, Award))
        return effects

    def work(self, miner: NodeKey, *, copied: bool = False) -> None:
        """Win a task and deliver it; perhaps the store is copied in between."""
        self.say(miner, capability(miner, self.number(miner), sequence=self.now, expires_at=self.now + 60_000))
        task = self.submit()
        self.wait(300)  # whatever its rank, its slot has come
        effects = self.say(miner, self.claim(miner, task, nonce=task[:16])) + self.wait(300)
        won = [award for award in of_kind(effects, Award) if award.statement.miner == self.number(miner)]
        if copied:
            self.copy()
        for award in won:
            self.results[miner].append(award)
            self.deliver(miner, award)

    def deliver(self, miner: NodeKey, award: Award) -> None:
        self.say(miner, result_of(award, by=miner, miner=self.number(miner)))
        self.hear(artifact_of(award, by=miner))

    def copy_amid_work(self, miner: NodeKey) -> None:
        self.work(miner, copied=True)

    def copy(self) -> None:
        self.copies.append(copy.deepcopy(self.store))

    def restart(self) -> None:
        """Begin a later run on what is stored; every miner shows nothing that it need not show."""
        for miner in MINERS:
            self.hear(StreamClosed(miner.peer_id))
        self.wait(1_000)
        self.timers.clear()
        self.core = type(self.core)(self.identity, tuple)
        self.start(trio.run(self.store.load))
        for miner in MINERS:
            self.greet(miner)

    def restore(self, index: int) -> None:
        if self.copies:
            self.store = copy.deepcopy(self.copies[index % len(self.copies)])
        self.restart()

    def show(self, miner: NodeKey, index: int) -> None:
        """The miner greets with any voucher that it was ever given."""
        own = [voucher for voucher in self.vouchers if voucher.miner == self.number(miner)]
        if own:
            self.say(miner, hello(self.number(miner), own[index % len(own)]))

    def repeat(self, miner: NodeKey) -> None:
        """The miner delivers again all that it ever delivered."""
        for award in self.results[miner]:
            self.deliver(miner, award)


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=14))
def test_coordinator__any_restarts_restored_copies_and_shown_vouchers__signs_nothing_that_is_punished(
    steps: list[tuple],
):
    life = Life()
    for name, *arguments in steps:
        getattr(life, name)(*arguments)
    assert understated(life.vouchers) == []
    assert one_place_twice(life.vouchers) == []
    assert two_receipts(life.receipts) == []
    assert two_awards(life.awards) == []


def test_coordinator__miner_hides_a_voucher_until_it_has_a_new_one__total_covers_its_rise():
    life = Life()
    life.copy()
    for _ in range(4):
        life.work(ALICE)
    life.restore(0)
    life.work(ALICE)
    for _ in range(5):
        life.work(BOB)
    life.show(ALICE, 3)
    life.work(ALICE)
    assert len(life.vouchers) == 11
    assert understated(life.vouchers) == []


def test_coordinator__miner_shows_a_voucher_of_a_lower_total_than_was_promised_since__total_does_not_fall():
    life = Life()
    life.copy()
    life.work(ALICE)
    life.restore(0)
    for _ in range(5):
        life.work(BOB)
    life.show(ALICE, 0)
    life.work(BOB)
    assert len(life.vouchers) == 7
    assert understated(life.vouchers) == []


def test_coordinator__copy_from_before_the_receipt__receipts_differ_in_their_time_only():
    life = Life()
    life.copy_amid_work(ALICE)
    life.restore(0)
    life.wait(5)
    life.repeat(ALICE)
    first, second = life.receipts
    assert first.commitment == second.commitment
    assert first.accepted != second.accepted
    assert two_receipts(life.receipts) == []
