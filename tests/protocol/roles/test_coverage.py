"""A miner works only for what an escrow covers, and says whom it refuses. SPEC.md §11.1."""

from collections.abc import Iterable

import pytest

from protocol.chain_records import Escrow, SettlementRead
from protocol.effects import Effect, Send
from protocol.events import Restored, SettlementSeen
from protocol.justice.evidence import Understated
from protocol.notes import NoteName
from protocol.records import EvidenceFound
from protocol.units import BlockNumber, Digest, Wei
from protocol.wire.codec import CAPABILITY_PLACE, decode
from protocol.wire.messages import CapabilityUpdate, Claim
from protocol.wire.statements import VoucherStatement
from tests.protocol.roles.frames import CAROL_ID, PRICE, award_of, hello, receipt_of
from tests.protocol.roles.pay import escrow_of, hold, payment_of, promise
from tests.protocol.roles.seats import MinerSeat, judged, noted, of_kind, persisted
from tests.protocol.roles.test_credit import skipped
from tests.support.networks import CAROL


def test_offer__escrow_unknown__is_skipped_until_the_chain_says_what_there_is() -> None:
    seat = MinerSeat(escrow=None)
    assert skipped(seat.offer()) == ["uncovered"]
    seat.escrows(escrow_of(2))
    assert len(of_kind(seat.offer(), Claim)) == 1


@pytest.mark.parametrize(
    ("escrow", "claimed"),
    [
        (escrow_of(1), 1),
        (escrow_of(0.999), 0),
        (escrow_of(2, withdrawing=1.001), 0),
        (escrow_of(2, withdrawing=1), 1),
        (escrow_of(2, owed=1.001), 0),
        (escrow_of(1, withdrawing=5), 0),
    ],
    ids=[
        "all of it",
        "a little less",
        "withdrawn",
        "just not withdrawn",
        "owed to others",
        "withdrawn before redeemed",
    ],
)
def test_offer__price_against_what_the_escrow_has_left__is_claimed_up_to_the_last_wei(
    escrow: Escrow, claimed: int
) -> None:
    assert len(of_kind(MinerSeat(escrow=escrow).offer(), Claim)) == claimed


@pytest.mark.parametrize(("redeemed", "claimed"), [(3, 1), (2.999, 0)])
def test_offer__total_of_the_highest_voucher__counts_less_what_all_miners_redeemed(
    redeemed: float, claimed: int
) -> None:
    seat = MinerSeat()
    hold(seat, promise(1, total=5))
    seat.escrows(escrow_of(3, redeemed=redeemed), payment_of(1))
    assert len(of_kind(seat.offer(), Claim)) == claimed


def test_offer__total_of_a_boot_that_counts_anew__covers_what_we_know_to_be_unpaid() -> None:
    seat = MinerSeat()
    hold(seat, promise(2, total=2))
    seat.escrows(escrow_of(2.5, redeemed=40))
    assert skipped(seat.offer()) == ["uncovered"]


def test_claims__escrow_for_one__second_waits_for_the_receipt_of_the_first() -> None:
    seat = MinerSeat(places=2, escrow=escrow_of(1.5))
    seat.paid_before()
    first = of_kind(seat.offer(), Claim)
    assert len(first) == 1
    assert of_kind(seat.offer() + seat.wait(300), Claim) == [], "one is claimed"
    seat.say(CAROL, award_of(first[0]))
    assert of_kind(seat.wait(3000), Claim) == [], "one is drawn"
    seat.escrows(escrow_of(2.5), block=2)
    assert len(of_kind(seat.wait(3000), Claim)) == 1, "there is enough for both"


def test_coordinator__uncovered__is_told_of_no_place_and_covered_again_of_all() -> None:
    seat = MinerSeat()

    def told(effects: Iterable[Effect]) -> list[int]:
        updates = [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, CapabilityUpdate)]
        return [decode(update.body, CAPABILITY_PLACE).free_places for update in updates]

    hold(seat, promise(2))
    effects = seat.escrows(escrow_of(1), block=2)
    (note,) = noted(effects, NoteName.COORDINATOR_REFUSED)
    assert (note.fields["coordinator"], note.fields["reason"]) == (CAROL_ID, "uncovered")
    assert note.fields["unredeemed_wei"] == str(2 * PRICE)
    assert told(effects) == [0]
    assert noted(seat.escrows(escrow_of(1), block=3), NoteName.COORDINATOR_REFUSED) == [], "said once"
    effects = seat.escrows(escrow_of(4), block=4)
    assert len(noted(effects, NoteName.COORDINATOR_ACCEPTED)) == 1
    assert told(effects) == [1]


def test_debt__shown_to_the_contract_and_unpaid__refuses_its_coordinator_until_it_is_paid() -> None:
    seat = MinerSeat()
    hold(seat, promise(3))
    seat.escrows(escrow_of(0, redeemed=1, owed=2), payment_of(1, shown=3), block=2)
    assert skipped(seat.offer()) == ["uncovered"]
    seat.escrows(escrow_of(5, redeemed=3), payment_of(2, before=1, block=3), block=3)
    assert len(of_kind(seat.offer(), Claim)) == 1


def test_restart__before_the_chain_answers__escrows_of_before_hold() -> None:
    seat = MinerSeat(escrow=None)
    kept = SettlementRead("c", BlockNumber(9), Digest(bytes(32)), (), (escrow_of(2),), anew=True)
    seat.hear(Restored((kept,)))
    assert len(of_kind(seat.offer(), Claim)) == 1


def test_settlement__read_anew__knows_nothing_of_before() -> None:
    seat = MinerSeat()
    kept = SettlementRead("c", BlockNumber(9), Digest(bytes(32)), (), (), anew=True)
    seat.hear(SettlementSeen(kept, Wei(0)))
    assert skipped(seat.offer()) == ["uncovered"]


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (promise(2, sequence=2, total=5.5), "understated"),
        (promise(2, sequence=1, total=6), "two_vouchers"),
        (promise(2, sequence=2, total=6), None),
        (promise(2, sequence=2, total=2, boot=2), None),
    ],
)
def test_receipt__voucher_that_contradicts_the_one_before__is_paid_kept_as_evidence_and_refused(
    second: VoucherStatement, kind: str | None
) -> None:
    seat = MinerSeat()
    first = promise(1, sequence=1, total=5)
    _, result = seat.delivered()
    seat.say(CAROL, receipt_of(result, voucher=first))
    _, result = seat.delivered()
    effects = seat.say(CAROL, receipt_of(result, voucher=second))
    assert judged(effects) == []
    assert len(noted(effects, NoteName.RECEIPT_RECEIVED)) == 1
    found = [one.evidence for one in persisted(effects, EvidenceFound)]
    assert [one.KIND.label for one in found] == ([kind] if kind else [])
    assert skipped(seat.offer()) == (["contradicted"] if kind else [])
    if kind == "understated":
        (one,) = found
        assert isinstance(one, Understated)
        assert (one.early.statement, one.late.statement) == (first, second)
        again = MinerSeat((EvidenceFound(one, seat.now),))
        assert skipped(again.offer()) == ["contradicted"], "also after a restart"


@pytest.mark.parametrize(
    ("second", "kind"),
    [(promise(4, sequence=2, total=6), "understated"), (promise(2, sequence=1, total=6), "two_vouchers")],
    ids=["less in all than it adds", "in one place"],
)
def test_hello__voucher_that_contradicts_the_one_that_is_held__is_evidence_too(
    second: VoucherStatement, kind: str
) -> None:
    seat = MinerSeat()
    hold(seat, promise(1, sequence=1, total=5))
    effects = seat.say(CAROL, hello(CAROL_ID, second))
    assert [one.evidence.KIND.label for one in persisted(effects, EvidenceFound)] == [kind]
    assert skipped(seat.offer()) == ["contradicted"]


def test_receipt__voucher_in_the_place_of_one_before_the_last__is_evidence_too() -> None:
    seat = MinerSeat()
    first, second = promise(1, sequence=1, total=5), promise(1, sequence=1, total=4)
    for voucher in (first, promise(3, sequence=2, total=7)):
        _, result = seat.delivered()
        assert not persisted(seat.say(CAROL, receipt_of(result, voucher=voucher)), EvidenceFound)
    _, result = seat.delivered()
    (found,) = persisted(seat.say(CAROL, receipt_of(result, voucher=second)), EvidenceFound)
    assert [one.statement for one in found.evidence.statements] == [first, second]
    assert skipped(seat.offer()) == ["contradicted"]


def test_receipt__after_which_nothing_is_covered__refuses_its_coordinator_at_once() -> None:
    seat = MinerSeat(escrow=escrow_of(1))
    _, result = seat.delivered()
    effects = seat.say(CAROL, receipt_of(result, voucher=promise(1)))
    assert len(noted(effects, NoteName.COORDINATOR_REFUSED)) == 1
    assert len([e for e in effects if isinstance(e, Send) and isinstance(e.message, CapabilityUpdate)]) == 1
