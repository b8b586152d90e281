"""What a miner is paid: vouchers, what the chain says of them, and redeeming them by itself. Spec: SPEC.md §11."""

from collections.abc import Callable, Collection
from typing import Final, final

from protocol.chain_records import SettlementRead, TransactionRequested
from protocol.events import SettlementSeen, TxConfirmed, TxFailed
from protocol.records import Record, VoucherHeld
from protocol.roles.core import Core
from protocol.roles.miner.coverage import IN_DEBT, UNCOVERED, Coverage
from protocol.roles.miner.earnings import Earnings
from protocol.roles.miner.redeeming import Redeeming, RedeemPolicy
from protocol.roles.prosecution import Prosecution
from protocol.units import StakingId

NOT_COVERED: Final = frozenset({IN_DEBT, UNCOVERED})
"""Reasons to refuse a coordinator that say that its escrow is too small."""


@final
class Income:
    """Puts together what concerns a miner's pay."""

    __slots__ = ("_is_read", "_on_short", "_redeeming", "_served", "coverage", "earnings")

    def __init__(
        self,
        core: Core,
        policy: RedeemPolicy,
        served: Callable[[], Collection[StakingId]],
        prosecution: Prosecution,
        on_short: Callable[[StakingId], None],
    ) -> None:
        """Begin with nothing.

        Args:
            core: The miner.
            policy: When to redeem.
            prosecution: Hears of vouchers that contradict each other.
            served: Gives the coordinators that we have a work stream with.
            on_short: Hears of each whose escrow covers no more what it has promised us.
        """
        self.earnings = Earnings(core, prosecution)
        self.coverage = Coverage(core, self.earnings, prosecution)
        self._redeeming = Redeeming(core, self.earnings, self.coverage, policy)
        self._served = served
        self._on_short = on_short
        self._is_read = False
        """Whether the contract is read to the present in this run: before, nobody seems to cover anything."""

    def restore(self, record: Record, own: StakingId) -> None:
        """Take up what an earlier run held."""
        match record:
            case VoucherHeld():
                self.earnings.restore(record, own)
                self._redeeming.restore_voucher(record.coordinator)
            case TransactionRequested():
                self._redeeming.restore(record)
            case _:
                pass

    def restore_settlement(self, records: tuple[Record, ...]) -> None:
        """Take up what an earlier run knew of the contract: that holds until the chain says more."""
        for record in records:
            if isinstance(record, SettlementRead):
                self.coverage.take(record)

    def hear(self, event: SettlementSeen | TxConfirmed | TxFailed) -> bool:
        """Take news of the chain; True when we refuse others than before."""
        if isinstance(event, SettlementSeen):
            self.coverage.take(event.read)
            for payment in event.read.payments:
                self._redeeming.paid(payment.coordinator)
            if event.gas_price is None:
                return False
            self._is_read = True
            self._redeeming.seen(event.read.block, event.gas_price)
        else:
            self._redeeming.on_outcome(event)
        self._redeeming.consider()
        return self._tell()

    def activity_changed(self) -> bool:
        """Somebody was jailed or is free again; True when we refuse others than before."""
        return self._is_read and self._tell()

    def promised(self, coordinator: StakingId) -> bool:
        """A coordinator gave a voucher; True when we refuse others than before. It is redeemed with a later block."""
        return self.coverage.is_news(coordinator) and self._tell()

    def _tell(self) -> bool:
        before = self.coverage.refused()
        news = self.coverage.tell({*self._served(), *self.earnings.coordinators()})
        for coordinator, why in self.coverage.refused().items() if news else ():
            is_new = why in NOT_COVERED and before.get(coordinator) not in NOT_COVERED
            if is_new and self.coverage.unredeemed(coordinator) > 0:
                self._on_short(coordinator)
        return news
