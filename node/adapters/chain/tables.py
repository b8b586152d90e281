"""What the staking contract's table was after each recent block. Pure: no chain, no clock.

Every event carries the whole row after the change, so undoing a re-organised block is to forget its rows.
"""

from collections.abc import Iterable
from typing import final

from protocol.chain_records import Header, RowChange
from protocol.stake.epoch import beacon
from protocol.stake.table import EpochView, StakeRow, StakeTable
from protocol.units import BlockNumber, Epoch, StakingId, UnixMillis


@final
class StakeHistory:
    """Rows by block: a settled base, and the changes after it that can still be taken back."""

    def __init__(self, settled: BlockNumber = BlockNumber(-1), changes: Iterable[RowChange] = ()) -> None:  # noqa: B008 an int
        """Begin empty, or with what was kept: changes in the order of the chain, those up to ``settled`` as base."""
        self._base: dict[StakingId, StakeRow] = {}
        self._settled = settled
        self._changes: list[tuple[BlockNumber, StakeRow]] = []
        for change in changes:
            if change.block <= settled:
                self._base[change.row.id] = change.row
            else:
                self._changes.append((change.block, change.row))

    @property
    def settled(self) -> BlockNumber:
        """The oldest block whose table can be given."""
        return self._settled

    def apply(self, block: BlockNumber, row: StakeRow) -> None:
        """Take in a node's row as an event in ``block`` left it; blocks come in ascending order."""
        if block <= self._settled or (self._changes and block < self._changes[-1][0]):
            raise ValueError(f"block {block} is not after what is known already")
        self._changes.append((block, row))

    def roll_back(self, block: BlockNumber) -> None:
        """Forget everything after ``block``, which must not lie before the settled block."""
        if block < self._settled:
            raise ValueError(f"block {block} lies before the settled block {self._settled}")
        while self._changes and self._changes[-1][0] > block:
            self._changes.pop()

    def settle(self, block: BlockNumber) -> None:
        """Give up the past before ``block``: no table before it will be asked for, no re-org will reach it."""
        if block <= self._settled:
            return
        kept = [change for change in self._changes if change[0] > block]
        self._base |= {row.id: row for number, row in self._changes if number <= block}
        self._changes = kept
        self._settled = block

    def table_at(self, block: BlockNumber) -> StakeTable:
        """Give the table after ``block``, which must not lie before the settled block."""
        return StakeTable.of(self._rows_at(block).values())

    def view(self, epoch: Epoch, table_block: Header | None, beacon_block: Header | None) -> EpochView:
        """Give what an epoch is drawn from, by the last block before each of its two cutoffs.

        Before the first block there is no table and nothing to draw from: an empty table, a beacon of zeros.
        """
        table = StakeTable(()) if table_block is None else self.table_at(table_block.number)
        return EpochView(epoch, table, beacon(beacon_block.hash if beacon_block else bytes(32), epoch))

    def inactive_at(self, block: BlockNumber) -> frozenset[StakingId]:
        """Give the nodes that are not active after ``block``, which must not lie before the settled block."""
        return frozenset(row.id for row in self._rows_at(block).values() if not row.active)

    def _rows_at(self, block: BlockNumber) -> dict[StakingId, StakeRow]:
        if block < self._settled:
            raise ValueError(f"block {block} lies before the settled block {self._settled}")
        return self._base | {row.id: row for number, row in self._changes if number <= block}


def has_passed(cutoff: UnixMillis, *, head: UnixMillis, now: UnixMillis, quiet_ms: int) -> bool:
    """Say whether no block before ``cutoff`` can come any more.

    Either the chain's own time has reached the cutoff, or the chain is quiet: our clock is past the cutoff by
    ``quiet_ms``, in which a block that was made before it would have reached us.
    """
    return head >= cutoff or now > cutoff + quiet_ms
