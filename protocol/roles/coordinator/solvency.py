"""Whether a coordinator's own escrow pays for one more task, and when it is about to run out. Spec: SPEC.md §11.3.

It promises nothing that it cannot pay: its miners would refuse it, and a voucher that the escrow does not cover is a
debt that jails it. It tops nothing up by itself: that is its owner's money.
"""

from typing import Final, final

from protocol.chain_records import Escrow, SettlementRead
from protocol.effects import Refused
from protocol.notes import NoteName
from protocol.roles.core import Core
from protocol.units import CAI, Wei

ESCROW_SHORT: Final = "escrow_short"
"""Why a task that was taken is not offered."""
ESCROW_RETRY_S: Final = 60
"""What an app is told to wait (s) when the escrow is used up: somebody has to make a deposit."""


@final
class Solvency:
    """What this coordinator has in escrow, and what it has promised."""

    def __init__(self, core: Core, low: Wei) -> None:
        """Warn when less than ``low`` (wei) is left to promise."""
        self._core = core
        self._low = low
        self._escrow: Escrow | None = None
        self._is_low = False
        self.issued_total = 0
        """All that was ever promised (wei); kept by the settlement."""
        self.open_wei = 0
        """What the unfinished tasks are worth (wei); kept by the settlement."""

    def take(self, read: SettlementRead) -> bool:
        """Take in what the chain says; True when more may be promised than before."""
        before = self._left()
        if read.anew:
            self._escrow = None
        # Of a coordinator's own escrow alone it is told.
        self._escrow = next(iter(read.escrows), self._escrow)
        if self._escrow is not None:
            self._core.note(
                NoteName.ESCROW_SEEN,
                escrow_wei=str(self._escrow.usable),
                free_wei=str(self._free()),
                owed_wei=str(self._escrow.owed),
            )
        self.look()
        return self._left() > before

    def restore(self, read: SettlementRead) -> None:
        """Take up what an earlier run knew: it holds until the chain says more."""
        self._escrow = next(iter(read.escrows), None)

    def can_pay(self, price: Wei) -> bool:
        """Say whether a task that was taken can still be paid beside all that is promised: it may be offered."""
        return self._left() >= price

    def refusal(self, price: Wei) -> Refused | None:
        """Refuse a task that could not be paid beside all that is promised and all that is unfinished."""
        free = self._left() - self.open_wei
        if free >= price:
            return None
        if self._escrow is None:
            detail = "this coordinator does not know its escrow yet, from which miners are paid"
        else:
            detail = (
                f"this coordinator's escrow covers {max(free, 0) / CAI:.6f} CAI more, and this task costs "
                f"{price / CAI:.6f}: its owner has to make a deposit; try another coordinator"
            )
        return Refused("escrow_short", detail, ESCROW_RETRY_S)

    def look(self) -> None:
        """Warn once when what is left to promise gets low, and say when it is enough again."""
        if self._escrow is None or (self._free() < self._low) == self._is_low:
            return
        self._is_low = not self._is_low
        name = NoteName.ESCROW_LOW if self._is_low else NoteName.ESCROW_COVERS
        self._core.note(name, escrow_wei=str(self._escrow.usable), free_wei=str(self._free()))

    def _free(self) -> int:
        """Give what may be promised yet (wei)."""
        return max(self._left() - self.open_wei, 0)

    def _left(self) -> int:
        """Give what the escrow holds beyond all that is promised (wei); -1 while nobody knows."""
        if self._escrow is None:
            return -1
        return self._escrow.usable - max(self.issued_total - self._escrow.redeemed, self._escrow.owed)
