"""Tells how many more transactions a gas account can pay for: whenever that changes, and once when it gets low."""

from collections.abc import Sequence
from typing import Final, final

from node.adapters.chain.gas_view import GasView
from node.ports import Journal
from protocol.chain_records import Transaction
from protocol.notes import NoteName
from protocol.units import Wei

LOW_GAS_TRANSACTIONS: Final = 20
"""The gas account is low when it can pay for fewer transactions than these."""
USUAL_GAS: Final = 200_000
"""Gas of one transaction for that reckoning: what redeeming a few vouchers uses."""


@final
class GasLevel:
    """What was told last."""

    def __init__(self, account: str, journal: Journal) -> None:
        """Tell of this account (hex address)."""
        self._account = account
        self._journal = journal
        self._left = -1
        self._low = False

    def reckon(self, view: GasView, cap: Wei, flying: Sequence[Transaction]) -> None:
        """Reckon anew, where one gas costs ``cap`` wei at most and each needs as much as the largest under way."""
        gas = max([USUAL_GAS, *(one.versions[-1].gas for one in flying)])
        left = view.balance // max(1, cap * gas)
        if left != self._left:
            self._left = left
            self._journal.note(NoteName.GAS_BALANCE, transactions=left, wei=str(view.balance))
        low = left < LOW_GAS_TRANSACTIONS
        if low and not self._low:
            self._journal.note(NoteName.GAS_LOW, transactions=left, wei=str(view.balance), account=self._account)
        self._low = low
