"""A miner redeems by itself: when, what, once, and over restarts, refusals and hours without a chain. SPEC.md §11.2."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from protocol.chain_records import Confirmed, Escrow, Failed, SettlementRead, TransactionRequested, TransactionSettled
from protocol.effects import Effect, SubmitTx
from protocol.events import Restored, SettlementSeen, StakeChanged, TxConfirmed, TxFailed
from protocol.notes import NoteName
from protocol.records import VoucherHeld
from protocol.roles.miner.miner import MinerCore
from protocol.roles.miner.redeeming import FIRST_PAUSE_MS, LAST_PAUSE_MS, MOST_AT_ONCE, PATIENCE, RedeemPolicy
from protocol.units import DAY_MS, BlockNumber, Digest, DurationMs, StakingId, Wei
from tests.protocol.roles.frames import ALICE_ID, CAROL_ID, DOMAIN, EPOCH, signed
from tests.protocol.roles.pay import escrow_of, hold, payment_of, promise, wei
from tests.protocol.roles.seats import AMPLE, MinerSeat, Seat, noted, persisted
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, row

AFTER = DurationMs(60_000)
POLICY = RedeemPolicy(has_gas_key=True, at=wei(10), after=AFTER, least=wei(1), gas_price=Wei(10**9))
DAVE_ID = StakingId(9)


def asked(effects: Iterable[Effect]) -> list[SubmitTx]:
    return [effect for effect in effects if isinstance(effect, SubmitTx)]


def named(wish: SubmitTx) -> list[tuple[int, int]]:
    """Whose vouchers are in a transaction, and what each promises."""
    vouchers, signatures = wish.call.arguments
    assert isinstance(vouchers, tuple)
    assert isinstance(signatures, tuple)
    assert len(vouchers) == len(signatures)
    return [(voucher[0], voucher[2]) for voucher in vouchers]  # type: ignore[index, misc]


def confirmed(wish: SubmitTx, block: int = 3) -> TxConfirmed:
    return TxConfirmed(wish.key, Confirmed(BlockNumber(block), Digest(bytes(32)), (), Wei(1)))


def refused(wish: SubmitTx) -> TxFailed:
    return TxFailed(wish.key, Failed("refused", "Settlement: not signed by a key of the coordinator"))


def seat_with(pictures: float, policy: RedeemPolicy = POLICY, escrow: Escrow = AMPLE) -> MinerSeat:
    """A miner that holds a voucher and knows the chain."""
    seat = MinerSeat(redeem=policy, escrow=escrow)
    hold(seat, promise(pictures))
    return seat


def next_block(seat: MinerSeat, block: int = 2, gas_price: int = 10**9, escrow: Escrow = AMPLE) -> tuple[Effect, ...]:
    return seat.escrows(escrow, block=block, gas_price=gas_price)


def held_of(coordinator: int, pictures: float) -> VoucherHeld:
    signature = signed(CAROL, promise(pictures)) if coordinator == CAROL_ID else b"s" * 65
    return VoucherHeld(StakingId(coordinator), wei(pictures), 1, 1, wei(pictures), signature, wei(pictures))


def test_redeem__amount_reached__asks_for_one_transaction_that_holds_the_voucher_as_it_was_signed() -> None:
    seat = seat_with(9.9)
    assert asked(next_block(seat)) == []
    hold(seat, promise(10, sequence=2))
    (wish,) = asked(next_block(seat, 3))
    assert (wish.call.contract, wish.call.function) == ("Settlement", "redeem_many")
    voucher, signature = seat.core._working.earnings.voucher_of(CAROL_ID) or (None, b"")
    assert voucher is not None
    order = (CAROL_ID, ALICE_ID, wei(10), voucher.boot, voucher.sequence, voucher.issued_total)
    assert wish.call.arguments == ((order,), (signature,))
    assert seat.identity.domain == DOMAIN


def test_redeem__too_little_for_long__is_redeemed_by_age() -> None:
    seat = seat_with(2)
    next_block(seat)
    seat.wait(AFTER - 1000)
    assert asked(next_block(seat, 3)) == []
    seat.wait(1000)
    assert len(asked(next_block(seat, 4))) == 1


def test_redeem__less_than_is_worth_its_gas__is_never_redeemed() -> None:
    seat = seat_with(0.9)
    next_block(seat)
    seat.wait(100 * AFTER)
    assert asked(next_block(seat, 3)) == []


def test_redeem__gas_is_dear__waits_for_cheaper_gas_and_not_for_ever() -> None:
    seat = seat_with(20)
    (note,) = noted(next_block(seat, gas_price=2 * 10**9), NoteName.REDEEM_WAITS)
    assert note.fields["reason"] == "gas_price"
    seat.wait(PATIENCE * AFTER - 1000)
    assert asked(next_block(seat, 3, gas_price=2 * 10**9)) == []
    seat.wait(1000)
    assert len(asked(next_block(seat, 4, gas_price=2 * 10**9))) == 1


@pytest.mark.parametrize("escrow", [escrow_of(100, withdrawing=1), escrow_of(1.5)], ids=["taken back", "too small"])
def test_redeem__escrow_may_soon_be_gone__is_redeemed_at_once_at_any_price(escrow: Escrow) -> None:
    seat = seat_with(2)
    assert asked(next_block(seat)) == []
    assert len(asked(next_block(seat, 3, gas_price=10**12, escrow=escrow))) == 1


def test_redeem__coordinator_has_a_new_key__is_redeemed_at_once() -> None:
    seat = seat_with(2, replace(POLICY, after=DAY_MS))
    assert asked(next_block(seat)) == []
    seat.tables((row(ALICE, 1), row(BOB, 2), coordinator(DAVE, 3)))
    (wish,) = asked(next_block(seat, 3))
    assert named(wish) == [(CAROL_ID, wei(2))]


def test_redeem__no_gas_key__asks_for_nothing_and_says_what_to_do_now_and_then() -> None:
    seat = seat_with(20, replace(POLICY, has_gas_key=False))
    effects = next_block(seat)
    (note,) = noted(effects, NoteName.REDEEM_WAITS)
    assert (note.fields["reason"], note.fields["wei"]) == ("no_gas_key", str(wei(20)))
    assert "chain.gas_keystore" in str(note.fields["detail"])
    assert asked(effects) == []
    assert noted(next_block(seat, 3), NoteName.REDEEM_WAITS) == [], "not with every block"
    seat.wait(3_600_000)
    assert len(noted(next_block(seat, 4), NoteName.REDEEM_WAITS)) == 1


def test_redeem__one_under_way__waits_for_its_outcome_and_for_the_block_that_it_is_in() -> None:
    seat = seat_with(10)
    (wish,) = asked(next_block(seat))
    hold(seat, promise(30, sequence=2))
    assert asked(next_block(seat, 3)) == []
    effects = seat.hear(confirmed(wish, block=5))
    assert asked(effects) == [], "what it paid is not here yet"
    assert persisted(effects, TransactionSettled) == [TransactionSettled(wish.key)]
    assert asked(next_block(seat, 4)) == []
    (second,) = asked(seat.escrows(AMPLE, payment_of(10, block=5), block=5))
    assert second.key != wish.key
    assert named(second) == [(CAROL_ID, wei(30))]


def test_redeem__payment_came_and_nothing_more__is_over() -> None:
    seat = seat_with(10)
    (wish,) = asked(next_block(seat))
    seat.escrows(AMPLE, payment_of(10, block=3), block=3)
    assert asked(seat.hear(confirmed(wish)) + next_block(seat, 4)) == []
    seat.wait(100 * AFTER)
    assert asked(next_block(seat, 5)) == []


def test_redeem__somebody_else_redeemed_our_voucher__is_over_as_well() -> None:
    seat = seat_with(5)
    seat.escrows(AMPLE, payment_of(5), block=2)
    seat.wait(100 * AFTER)
    assert asked(next_block(seat, 3)) == []


def test_redeem__several_coordinators__go_into_one_transaction_the_largest_first() -> None:
    held = [held_of(10 + number, 2 + number) for number in range(MOST_AT_ONCE + 4)]
    seat = MinerSeat(tuple(held), redeem=POLICY, escrow=None)
    for one in held[:-1]:
        seat.escrows(AMPLE, of=one.coordinator, block=-1)
    (wish,) = asked(seat.escrows(AMPLE, of=held[-1].coordinator, block=2))
    largest = sorted((one.cumulative for one in held), reverse=True)[:MOST_AT_ONCE]
    assert [amount for _, amount in named(wish)] == largest
    # The others are next, once the chain has told what the first one paid.
    paid = [
        replace(payment_of(0, block=3), coordinator=StakingId(who), amount=Wei(amount), acknowledged=Wei(amount))
        for who, amount in named(wish)
    ]
    paid = [replace(one, unpaid=Wei(0)) for one in paid]
    seat.hear(confirmed(wish))
    (rest,) = asked(seat.escrows(None, *paid, block=3))
    assert len(named(rest)) == 4
    assert not set(named(rest)) & set(named(wish))


def test_redeem__voucher_that_the_contract_refuses__does_not_keep_the_others_from_being_paid() -> None:
    seat = MinerSeat((held_of(8, 20), held_of(9, 30)), redeem=POLICY, escrow=None)
    seat.escrows(AMPLE, of=StakingId(8), block=-1)
    (both,) = asked(seat.escrows(AMPLE, of=DAVE_ID, block=2))
    assert len(named(both)) == 2
    (note,) = noted(effects := seat.hear(refused(both)), NoteName.REDEEM_FAILED)
    assert (note.fields["coordinators"], note.fields["reason"]) == ("9,8", "refused")
    (first,) = asked(effects + next_block(seat, 3))
    assert named(first) == [(9, wei(30))], "each alone"
    (second,) = asked(seat.hear(refused(first)) + next_block(seat, 4))
    assert named(second) == [(8, wei(20))]
    good = replace(payment_of(20, block=5), coordinator=StakingId(8))
    assert asked(seat.hear(confirmed(second, 5)) + seat.escrows(None, good, block=5)) == []
    seat.wait(2 * FIRST_PAUSE_MS)
    (again,) = asked(next_block(seat, 6))
    assert named(again) == [(9, wei(30))], "it is tried again after a while"
    assert again.key != first.key


def test_redeem__refused_again_and_again__pauses_double_up_to_their_bound() -> None:
    seat = seat_with(20)
    (wish,) = asked(next_block(seat))
    pauses = []
    for turn in range(14):
        seat.hear(refused(wish))
        begun = seat.now
        while not (wishes := asked(next_block(seat, 3 + turn))):
            seat.wait(10_000)
        (wish,) = wishes
        pauses.append(seat.now - begun)
    assert pauses[:3] == [FIRST_PAUSE_MS, 2 * FIRST_PAUSE_MS, 4 * FIRST_PAUSE_MS]
    assert pauses[-1] == LAST_PAUSE_MS


def test_redeem__escrow_pays_a_part__the_rest_is_redeemed_again_once_there_is_more() -> None:
    seat = seat_with(10, escrow=escrow_of(4))
    (wish,) = asked(next_block(seat, escrow=escrow_of(4)))
    seat.hear(confirmed(wish))
    empty = escrow_of(0, redeemed=4, owed=6)
    assert asked(seat.escrows(empty, payment_of(4, shown=10, block=3), block=3)) == [], "there is nothing to be had"
    assert asked(seat.escrows(empty, block=4)) == []
    (rest,) = asked(seat.escrows(escrow_of(6, redeemed=4, owed=6), block=5))
    assert rest.key != wish.key
    assert named(rest) == [(CAROL_ID, wei(10))], "the same voucher serves again"


def test_redeem__escrow_is_empty__shows_the_voucher_once_so_that_the_debt_stands() -> None:
    seat = seat_with(10, escrow=escrow_of(0))
    (wish,) = asked(next_block(seat, escrow=escrow_of(0)))
    seat.hear(confirmed(wish))
    effects = seat.escrows(escrow_of(0, owed=10), payment_of(0, shown=10, block=3), block=3)
    assert asked(effects + seat.escrows(escrow_of(0, owed=10), block=4)) == []


def test_redeem__chain_that_is_read_from_far_back__waits_for_the_newest_block() -> None:
    seat = seat_with(10)
    read = SettlementRead("test", BlockNumber(2), Digest(bytes(32)))
    assert asked(seat.hear(SettlementSeen(read, None))) == []
    assert len(asked(next_block(seat, 3))) == 1


def test_redeem__chain_away_for_hours__loses_nothing() -> None:
    seat = seat_with(2)
    next_block(seat)
    for number in range(2, 6):
        seat.wait(3_600_000)
        hold(seat, promise(5 * number, sequence=number))
    (wish,) = asked(next_block(seat, 900))
    assert named(wish) == [(CAROL_ID, wei(25))]


def test_restart__transaction_under_way__is_waited_for_and_not_asked_for_twice() -> None:
    seat = seat_with(10)
    (wish,) = asked(next_block(seat))
    records = (held_of(CAROL_ID, 12), TransactionRequested(wish.key, wish.call))
    again = MinerSeat(records, redeem=POLICY, escrow=None)
    assert asked(next_block(again)) == []
    again.hear(confirmed(wish))
    assert asked(again.escrows(AMPLE, payment_of(10, block=3), block=3)) == [], "two are left, and that is not much"


def test_restart__nothing_under_way__redeems_what_the_last_run_left() -> None:
    seat, same = (MinerSeat((held_of(CAROL_ID, 2),), redeem=POLICY, escrow=None) for _ in range(2))
    (wish,) = asked(next_block(seat))
    assert [one.key for one in asked(next_block(same))] == [wish.key], "the same wish has the same key in every run"


def test_redeem__outcome_of_an_earlier_run_told_again__asks_once_more_only_when_the_chain_shows_it_unpaid() -> None:
    seat = MinerSeat((held_of(CAROL_ID, 2),), redeem=POLICY, escrow=None)
    (wish,) = asked(seat.escrows(AMPLE, block=4))
    assert asked(seat.hear(confirmed(wish, block=6)) + seat.escrows(None, block=5)) == []
    assert asked(seat.escrows(None, payment_of(2, block=6), block=6)) == []


def test_redeem__miner_that_is_not_active_any_more__is_paid_for_what_it_did_before() -> None:
    seat = Seat(ALICE)
    seat.core = MinerCore(seat.identity, tuple, Wei(0), redeem=POLICY)
    seat.hear(Restored((held_of(CAROL_ID, 20),)))
    seat.hear(StakeChanged(networks.view(EPOCH, (row(ALICE, 1, active=False), coordinator(CAROL, 3)))))
    assert seat.core.own_id() is None
    assert len(asked(seat.escrows(block=2))) == 1
