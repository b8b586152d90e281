"""Whether a coordinator's escrow covers one more task, as far as a miner can know it, and whom it therefore refuses.

What is known comes from confirmed blocks, brought by events: nobody waits for the chain here. Spec: SPEC.md §11.
"""

from typing import Final, final

from protocol.chain_records import Escrow, Payment, SettlementRead
from protocol.notes import NoteName
from protocol.roles.core import Core
from protocol.roles.miner.earnings import Earnings
from protocol.roles.prosecution import Prosecution
from protocol.units import StakingId, Wei

CONTRADICTED: Final = "contradicted"
"""Why a coordinator is refused: vouchers of it contradict each other."""
IN_DEBT: Final = "in_debt"
"""Why a coordinator is refused: it owes what its escrow did not pay, and is inactive until that is there."""
INACTIVE: Final = "inactive"
"""Why a coordinator is refused: it is jailed, or its own stake is below the minimum."""
UNCOVERED: Final = "uncovered"
"""Why a coordinator is refused: its escrow does not cover what it has promised, or nobody has told us that it does."""


def still_promised(issued_total: int, unredeemed: int, escrow: Escrow | None) -> Wei:
    """Give what a coordinator still has to pay everybody, at least (wei).

    Args:
        issued_total: Of the highest voucher that we hold, all that it had promised by then. It is of one boot, and as
            old as our last receipt: so what we know to be unpaid counts in any case.
        unredeemed: What that voucher promises us beyond what we were paid.
        escrow: What the contract says of it; None while that is not known.
    """
    redeemed, owed = (escrow.redeemed, escrow.owed) if escrow is not None else (0, 0)
    return Wei(max(issued_total - redeemed, owed, unredeemed))


@final
class Coverage:
    """Escrows of the coordinators, and what each has paid us."""

    __slots__ = ("_core", "_earnings", "_escrows", "_is_false", "_payments", "_refused", "_rooms", "_rooms_of")

    def __init__(self, core: Core, earnings: Earnings, prosecution: Prosecution) -> None:
        """Begin with nothing known: nobody is covered until the chain says so."""
        self._core = core
        self._earnings = earnings
        self._is_false = prosecution.is_false
        """Says whether statements of a coordinator contradict each other: it gets no more work."""
        self._escrows: dict[StakingId, Escrow] = {}
        self._payments: dict[StakingId, Payment] = {}
        """The last payment of each coordinator to us."""
        self._refused: dict[StakingId, str] = {}
        """Whom we said that we refuse, and why."""
        self._rooms: dict[StakingId, int] = {}
        """What ``room`` found since the last change: it is asked for each offer of a busy network."""
        self._rooms_of = 0
        """As of how many changes of our vouchers."""

    def take(self, read: SettlementRead) -> None:
        """Take in what is new on the chain."""
        self._rooms.clear()
        if read.anew:
            self._escrows, self._payments = {}, {}
        self._escrows.update((escrow.coordinator, escrow) for escrow in read.escrows)
        self._payments.update((payment.coordinator, payment) for payment in read.payments)

    def escrow_of(self, coordinator: StakingId) -> Escrow | None:
        """Give what a coordinator has in the contract; None while that is not known."""
        return self._escrows.get(coordinator)

    def payment_of(self, coordinator: StakingId) -> Payment | None:
        """Give the last payment of a coordinator to us."""
        return self._payments.get(coordinator)

    def unredeemed(self, coordinator: StakingId) -> Wei:
        """Give what the highest voucher of a coordinator promises beyond what it has paid us (wei)."""
        held, payment = self._earnings.voucher_of(coordinator), self._payments.get(coordinator)
        redeemed = payment.redeemed if payment is not None else 0
        return Wei(max(held[0].cumulative - redeemed, 0) if held is not None else 0)

    def promised(self, coordinator: StakingId) -> Wei:
        """Give what a coordinator still has to pay everybody, at least (wei): the issued-total rule's left side."""
        held, escrow = self._earnings.voucher_of(coordinator), self._escrows.get(coordinator)
        return still_promised(held[0].issued_total if held is not None else 0, self.unredeemed(coordinator), escrow)

    def room(self, coordinator: StakingId) -> int:
        """Give what a coordinator may promise yet so that its escrow covers it (wei); below zero it covers too little.

        Issued total - redeemed + price ≤ escrow - pending withdrawals holds for each price up to this.
        """
        if self._rooms_of != self._earnings.changes:
            self._rooms.clear()
            self._rooms_of = self._earnings.changes
        room = self._rooms.get(coordinator)
        if room is None:
            escrow = self._escrows.get(coordinator)
            room = -1 if escrow is None else escrow.usable - self.promised(coordinator)
            self._rooms[coordinator] = room
        return room

    def why_refused(self, coordinator: StakingId) -> str | None:
        """Say why a coordinator gets no work at all now, None when it does."""
        if self._is_false(coordinator):
            return CONTRADICTED
        if self._core.book.is_inactive_now(coordinator):
            escrow = self._escrows.get(coordinator)
            return IN_DEBT if escrow is not None and escrow.owed else INACTIVE
        return UNCOVERED if self.room(coordinator) <= 0 else None

    def refused(self) -> dict[StakingId, str]:
        """Give whom we said that we refuse, and why."""
        return dict(self._refused)

    def is_news(self, coordinator: StakingId) -> bool:
        """Say whether we refuse a coordinator, or for what reason, otherwise than we said."""
        return self.why_refused(coordinator) != self._refused.get(coordinator)

    def tell(self, coordinators: set[StakingId]) -> bool:
        """Note whom we refuse from now on, and whom no longer; True when there is any news.

        Args:
            coordinators: Whom we work for, or hold vouchers of.
        """
        news = False
        for coordinator in sorted(coordinators | self._refused.keys()):
            why = self.why_refused(coordinator) if coordinator in coordinators else None
            if why == self._refused.get(coordinator):
                continue
            news = True
            if why is None:
                del self._refused[coordinator]
                self._core.note(NoteName.COORDINATOR_ACCEPTED, coordinator=coordinator)
                continue
            self._refused[coordinator] = why
            escrow = self._escrows.get(coordinator)
            self._core.note(
                NoteName.COORDINATOR_REFUSED,
                coordinator=coordinator,
                reason=why,
                escrow_wei=str(escrow.usable) if escrow is not None else "unknown",
                promised_wei=str(self.promised(coordinator)),
                unredeemed_wei=str(self.unredeemed(coordinator)),
            )
        return news
