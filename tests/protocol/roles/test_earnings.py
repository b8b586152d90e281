"""What a miner was promised is not forgotten: over restarts, old copies of either disk, and new keys. SPEC.md §11."""

from protocol.effects import Effect, Persist
from protocol.events import PeerUp, StreamOpened
from protocol.records import PayerKept, Record, ResultCommitted, ResultSettled, VoucherHeld, VoucherIssued
from protocol.units import Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Hello, Receipt, Result
from tests.protocol.roles.frames import ALICE_ID, CAROL_ID, PRICE, artifact_of, hello, receipt_of, result_of, voucher_of
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, ignored, judged, of_kind, persisted
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, row


class Disk:
    """What a miner's store holds, as far as money goes."""

    def __init__(self) -> None:
        self.held: VoucherHeld | None = None
        self.unsettled: dict[bytes, ResultCommitted] = {}

    def write(self, effects: tuple[Effect, ...]) -> None:
        records = [record for effect in effects if isinstance(effect, Persist) for record in effect.records]
        for record in records:
            match record:
                case VoucherHeld():
                    self.held = record
                case ResultCommitted():
                    self.unsettled[record.award] = record
                case ResultSettled():
                    self.unsettled.pop(record.award, None)
                case _:
                    pass

    def records(self) -> tuple[Record, ...]:
        return (*self.unsettled.values(), *((self.held,) if self.held else ()))


def paid(disk: Disk, seat: MinerSeat, voucher: int, sequence: int, number: int | None = None) -> Result:
    """Deliver one result and take a receipt that promises so much in all; on disk like all the rest."""
    result = delivered(disk, seat, number)
    disk.write(seat.say(CAROL, receipt_of(result, voucher=voucher_of(voucher, sequence=sequence))))
    return result


def delivered(disk: Disk, seat: MinerSeat, number: int | None = None) -> Result:
    seat.offers = seat.offers if number is None else number
    seat.claimed()
    effects = seat.finish_after_award()
    disk.write(effects)
    return of_kind(effects, Result)[0]


def test_receipt__that_adds_nothing_after_a_restart__is_judged_and_settles_nothing() -> None:
    disk = Disk()
    paid(disk, MinerSeat(), PRICE, 1)
    seat = MinerSeat(disk.records())
    result = delivered(disk, seat, 7)
    effects = seat.say(CAROL, receipt_of(result, voucher=voucher_of(PRICE, sequence=2)))
    assert judged(effects) == ["receipt.underpaid"]
    assert persisted(effects, ResultSettled) == []
    effects = seat.say(CAROL, receipt_of(result, voucher=voucher_of(2 * PRICE, sequence=2)))
    assert judged(effects) == []
    assert [record.earned for record in persisted(effects, VoucherHeld)] == [2 * PRICE]


def test_receipt__for_less_than_an_award_of_an_earlier_run__is_judged() -> None:
    disk = Disk()
    result = delivered(disk, MinerSeat())
    seat = MinerSeat(disk.records())
    effects = seat.say(CAROL, receipt_of(result, price=Wei(PRICE - 1)))
    assert judged(effects) == ["receipt.price"]
    assert judged(seat.say(CAROL, receipt_of(result))) == []


def test_receipt_and_voucher__are_settled_in_one_transaction() -> None:
    seat = MinerSeat()
    _, result = seat.delivered()
    effects = seat.say(CAROL, receipt_of(result))
    (record,) = [effect.records for effect in effects if isinstance(effect, Persist)]
    assert {type(entry) for entry in record} == {ResultSettled, VoucherHeld, PayerKept}


def test_greeting__over_restarts_of_both__shows_the_highest_voucher_byte_for_byte() -> None:
    coordinator_before = CoordinatorSeat()
    award = coordinator_before.award()
    effects = coordinator_before.say(ALICE, result_of(award)) + coordinator_before.hear(artifact_of(award))
    (receipt,) = of_kind(effects, Receipt)
    said = encode(hello(CAROL_ID).model_copy(update=signed_as(receipt)))
    after = CoordinatorSeat(tuple(persisted(effects, VoucherIssued)), miners=())
    assert [encode(one) for one in of_kind(after.hear(StreamOpened(ALICE.peer_id)), Hello)] == [said]

    disk, miner = Disk(), MinerSeat()
    result = delivered(disk, miner)
    given = receipt_of(result, voucher=receipt.voucher)
    disk.write(miner.say(CAROL, given))
    again = MinerSeat(disk.records())
    greeting = of_kind(again.hear(StreamOpened(CAROL.peer_id)), Hello)
    assert [encode(one) for one in greeting] == [encode(hello(ALICE_ID).model_copy(update=signed_as(given)))]


def signed_as(receipt: Receipt) -> dict[str, object]:
    """A receipt's voucher as greetings hold it."""
    return {"voucher": receipt.voucher, "voucher_signature": receipt.voucher_signature}


def test_receipts__after_the_miner_restored_an_old_copy__blame_nobody() -> None:
    disk = Disk()
    first = MinerSeat()
    paid(disk, first, PRICE, 1)
    old = disk.records()
    again = delivered(disk, first)
    old_with_result = (*old, *disk.unsettled.values())
    disk.write(first.say(CAROL, receipt_of(again, voucher=voucher_of(2 * PRICE, sequence=2))))
    for records in (old, old_with_result):
        seat = MinerSeat(records)
        effects = seat.say(CAROL, hello(CAROL_ID, voucher_of(2 * PRICE, sequence=2)))
        if records is old_with_result:
            effects += seat.say(CAROL, receipt_of(again, voucher=voucher_of(2 * PRICE, sequence=2)))
        result = delivered(Disk(), seat, 9)
        effects += seat.say(CAROL, receipt_of(result, voucher=voucher_of(3 * PRICE, sequence=3)))
        assert judged(effects) == []
        assert persisted(effects, VoucherHeld)[-1].cumulative == 3 * PRICE


def test_receipts__after_the_coordinator_restored_an_old_copy__cover_all_and_blame_nobody() -> None:
    """Both real cores: the miner's greeting is heard before anything else, and the next promise stands on top of it."""
    disk = Disk()
    miner = MinerSeat()
    paid(disk, miner, 5 * PRICE, 5)
    seat = CoordinatorSeat(miners=())
    seat.hear(StreamOpened(ALICE.peer_id))
    seat.say(ALICE, hello(ALICE_ID, voucher_of(5 * PRICE, sequence=5)))
    seat.greet(ALICE)
    award = seat.award()
    effects = seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))
    voucher = of_kind(effects, Receipt)[0].voucher
    assert voucher.cumulative == 6 * PRICE
    result = delivered(disk, miner)
    effects = miner.say(CAROL, receipt_of(result, voucher=voucher))
    assert judged(effects) == []
    assert persisted(effects, VoucherHeld)[-1].cumulative == 6 * PRICE


def test_receipt__that_adds_nothing_by_a_key_that_cannot_adopt_our_voucher__is_ignored_and_settles_nothing() -> None:
    """Carol has a new key and an old copy of her disk: what she promised with the old key she cannot check."""
    disk = Disk()
    paid(disk, MinerSeat(), PRICE, 1)
    seat = MinerSeat(disk.records())
    seat.tables((row(ALICE, 1), row(BOB, 2), coordinator(DAVE, 3)))
    seat.hear(PeerUp(DAVE.peer_id))
    seat.hear(StreamOpened(DAVE.peer_id))
    seat.say(DAVE, hello(CAROL_ID))
    result = delivered_before(disk, seat)
    receipt = receipt_of(result, by=DAVE, voucher_by=DAVE, voucher=voucher_of(PRICE, sequence=2))
    effects = seat.say(DAVE, receipt)
    assert (ignored(effects), judged(effects)) == (["receipt.underpaid"], [])
    assert persisted(effects, ResultSettled) == []
    more = receipt_of(result, by=DAVE, voucher_by=DAVE, voucher=voucher_of(2 * PRICE, sequence=3))
    assert persisted(seat.say(DAVE, more), VoucherHeld)[-1].earned == 2 * PRICE
    again = delivered_before(disk, seat)
    less = receipt_of(again, by=DAVE, voucher_by=DAVE, voucher=voucher_of(2 * PRICE, sequence=4))
    assert judged(seat.say(DAVE, less)) == ["receipt.underpaid"], "this voucher she can adopt"


def delivered_before(disk: Disk, seat: MinerSeat) -> Result:
    """A result that carol's coordinator awarded with her old key and has not acknowledged."""
    other = MinerSeat()
    other.offers = len(disk.unsettled) + 20
    other.claimed()
    effects = other.finish_after_award()
    disk.write(effects)
    seat.core._working.restore(tuple(persisted(effects, ResultCommitted)), ALICE_ID)
    return of_kind(effects, Result)[0]
