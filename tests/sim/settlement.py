"""The Settlement contract of the simulated chain: escrows, redemptions, debts, as contracts/SPEC.md §6.3 has them."""

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from protocol.chain_records import Confirmed, ContractCall, Escrow, Failed, Payment
from protocol.crypto.typed_data import Domain, signer
from protocol.units import Address, BlockNumber, Digest, Role, StakingId, Wei
from protocol.wire.statements import VoucherStatement

if TYPE_CHECKING:
    from tests.sim.world import World

DOMAIN = Domain(31337, Address(b"\x11" * 20))
"""Of the world's chain and staking contract."""
Pair = tuple[StakingId, StakingId]


class Settlement:
    """Redeems for real. Attach it before time goes on."""

    def __init__(self, world: "World", deposit: Wei) -> None:
        """Give every coordinator so much."""
        self._world = world
        self._chain = world.chain
        self._keys: dict[StakingId, Address] = {row.id: row.address for row in world.chain.rows}
        self.deposit = deposit
        self.acknowledged: defaultdict[Pair, int] = defaultdict(int)
        self.redeemed: defaultdict[Pair, int] = defaultdict(int)
        self.calls = 0
        coordinators = [row.id for row in world.chain.rows if row.role is Role.COORDINATOR]
        self._chain.escrows = {one: Escrow(one, deposit, Wei(0), Wei(0), Wei(0)) for one in coordinators}
        self._chain.is_settling = True
        world.chain.contract = self.call

    def fill(self, coordinator: StakingId, amount: Wei) -> None:
        """Make a deposit."""
        known = self._chain.escrows[coordinator]
        self._chain.escrows[coordinator] = replace(known, deposited=Wei(known.deposited + amount))

    def call(self, call: ContractCall) -> Confirmed | Failed:
        """Take one transaction: all of it, or none."""
        assert (call.contract, call.function) == ("Settlement", "redeem_many")
        vouchers, signatures = call.arguments
        assert isinstance(vouchers, tuple)
        assert isinstance(signatures, tuple)
        read = [_voucher(one) for one in vouchers]
        for voucher, signature in zip(read, signatures, strict=True):
            if signer(DOMAIN, voucher, signature) != self._keys[voucher.coordinator]:  # type: ignore[arg-type]
                return Failed("refused", "Settlement: not signed by a key of the coordinator")
        self.calls += 1
        block = BlockNumber(self._chain.height + 1)
        for voucher in read:
            self._redeem(voucher, block)
        return Confirmed(block, Digest(bytes(32)), (), Wei(1))

    def _redeem(self, voucher: VoucherStatement, block: BlockNumber) -> None:
        pair, escrow = (voucher.coordinator, voucher.miner), self._chain.escrows[voucher.coordinator]
        known = self.acknowledged[pair]
        promised = max(known, voucher.cumulative)
        unpaid = promised - self.redeemed[pair]
        amount = min(unpaid, escrow.deposited)
        if promised == known and amount == 0:
            return
        self.acknowledged[pair] = promised
        self.redeemed[pair] += amount
        self._chain.escrows[voucher.coordinator] = replace(
            escrow,
            deposited=Wei(escrow.deposited - amount),
            redeemed=Wei(escrow.redeemed + amount),
            owed=Wei(escrow.owed + promised - known - amount),
        )
        self._chain.payments.append(
            Payment(
                block=block,
                place=len(self._chain.payments),
                transaction=Digest(bytes(32)),
                at=self._world.now,
                coordinator=voucher.coordinator,
                miner=voucher.miner,
                amount=Wei(amount),
                acknowledged=Wei(promised),
                unpaid=Wei(unpaid - amount),
            )
        )


def _voucher(order: object) -> VoucherStatement:
    """Read the contract's struct."""
    assert isinstance(order, tuple)
    coordinator, miner, cumulative, boot, sequence, total = order
    return VoucherStatement(
        coordinator=coordinator, miner=miner, cumulative=cumulative, boot=boot, sequence=sequence, issued_total=total
    )
