"""Escrows and payments made by hand, in prices of one picture."""

from protocol.chain_records import Escrow, Payment
from protocol.units import BlockNumber, Digest, StakingId, Wei
from protocol.wire.statements import VoucherStatement
from tests.protocol.roles.frames import ALICE_ID, CAROL_ID, NOW, PRICE, hello
from tests.protocol.roles.seats import MinerSeat
from tests.support.networks import CAROL


def escrow_of(
    pictures: float, *, withdrawing: float = 0, redeemed: float = 0, owed: float = 0, of: StakingId = CAROL_ID
) -> Escrow:
    """What a coordinator has, in prices of pictures."""
    return Escrow(of, wei(pictures), wei(withdrawing), wei(redeemed), wei(owed))


def payment_of(
    pictures: float, *, shown: float | None = None, block: int = 2, miner: StakingId = ALICE_ID, before: float = 0
) -> Payment:
    """So much was paid, of so much that was shown, after so much ``before``."""
    acknowledged = wei(before + (pictures if shown is None else shown))
    return Payment(
        block=BlockNumber(block),
        place=0,
        transaction=Digest(bytes(32)),
        at=NOW,
        coordinator=CAROL_ID,
        miner=miner,
        amount=wei(pictures),
        acknowledged=acknowledged,
        unpaid=Wei(acknowledged - wei(before + pictures)),
    )


def wei(pictures: float) -> Wei:
    """Prices of pictures in wei."""
    return Wei(int(pictures * PRICE))


def promise(pictures: float, *, sequence: int = 1, total: float | None = None, boot: int = 1) -> VoucherStatement:
    """A voucher of carol to alice."""
    return VoucherStatement(
        coordinator=CAROL_ID,
        miner=ALICE_ID,
        cumulative=wei(pictures),
        boot=boot,
        sequence=sequence,
        issued_total=wei(pictures if total is None else total),
    )


def hold(seat: MinerSeat, voucher: VoucherStatement) -> None:
    """Have a miner hold a voucher, as if a receipt had brought it."""
    seat.say(CAROL, hello(CAROL_ID, voucher))
