"""How far the staking contract's events are read: anchors and rows, in memory and on disk alike.

An anchor is a block that was seen to be canonical, up to which all events are read. What changes is collected and
kept by ``save`` as one step, so that after a kill at any moment the next run goes on from a place where anchors and
rows belong together.
"""

from typing import Final, final

from node.adapters.chain.tables import StakeHistory
from node.ports import ChainStore
from protocol.chain_records import ChainStep, Header, RowChange
from protocol.stake.table import StakeRow
from protocol.units import BlockNumber

DENSE_ANCHORS: Final = 64
"""Newest anchors that are all kept: re-orgs of up to so many blocks read nothing twice."""
ANCHOR_SPACING: Final = 64
"""Least distance (blocks) of older anchors: a deeper re-org reads at most so many blocks twice."""
NOWHERE: Final = BlockNumber(-1)


@final
class Place:
    """The anchors, ascending, and the history of the rows up to the last one."""

    def __init__(self, start: BlockNumber, contract: str, store: ChainStore | None = None) -> None:
        """Begin before the contract's first block; without a store nothing outlives the object."""
        self._start = start
        self._contract = contract
        self._store = store
        self.anchors: list[Header] = []
        self.history = StakeHistory()
        self._kept_to = NOWHERE
        self._unsaved_anchors: dict[BlockNumber, Header] = {}
        self._unsaved_changes: list[RowChange] = []
        self._dropped: set[BlockNumber] = set()
        self._saved_settled = NOWHERE

    @property
    def next(self) -> BlockNumber:
        """The first block whose events are not read."""
        return BlockNumber(self.anchors[-1].number + 1) if self.anchors else self._start

    def anchor(self, number: int) -> Header | None:
        """Give the anchor of this number; older blocks, and those of which we saw only a later one, have none."""
        found = next((anchor for anchor in reversed(self.anchors) if anchor.number <= number), None)
        return found if found is not None and found.number == number else None

    async def load(self) -> bool:
        """Take up the place that was kept; False when there is none."""
        place = await self._store.chain_place(self._contract) if self._store is not None else None
        if place is None or not place.anchors:
            return False
        self.anchors = list(place.anchors)
        self.history = StakeHistory(place.settled, place.changes)
        self._kept_to, self._saved_settled = self.anchors[-1].number, place.settled
        return True

    async def save(self) -> None:
        """Keep what changed since the last time, all or nothing.

        Raises:
            Unavailable: The disk refuses; the next call keeps what this one did not.
        """
        unchanged = not (self._unsaved_anchors or self._unsaved_changes or self._dropped)
        if self._store is None or (unchanged and self._saved_settled == self.history.settled):
            return
        step = ChainStep(
            kept=self._kept_to,
            anchors=tuple(self._unsaved_anchors.values()),
            changes=tuple(self._unsaved_changes),
            dropped=frozenset(self._dropped),
            settled=self.history.settled,
        )
        await self._store.keep_chain_step(self._contract, step)
        self._forget_unsaved(self.anchors[-1].number if self.anchors else NOWHERE)
        self._saved_settled = self.history.settled

    def advance(self, anchor: Header, rows: list[tuple[BlockNumber, StakeRow]]) -> None:
        """Take in all events up to and with a block that is canonical."""
        for block, row in rows:
            self.history.apply(block, row)
            self._unsaved_changes.append(RowChange(block, row))
        self.anchors.append(anchor)
        self._unsaved_anchors[anchor.number] = anchor
        self._thin()

    def roll_back(self, to: int) -> None:
        """Give up all anchors from place ``to`` of the list on, and what was read after the one before it."""
        last = self.anchors[to - 1].number
        del self.anchors[to:]
        self.history.roll_back(last)
        self._kept_to = min(self._kept_to, last)
        self._unsaved_anchors = {number: one for number, one in self._unsaved_anchors.items() if number <= last}
        self._unsaved_changes = [change for change in self._unsaved_changes if change.block <= last]
        self._dropped = {number for number in self._dropped if number <= last}

    def restart(self) -> None:
        """Give up everything: it is read again from the start block."""
        self.anchors, self.history = [], StakeHistory()
        self._forget_unsaved(NOWHERE)
        self._saved_settled = NOWHERE

    def settle(self, block: Header) -> None:
        """Give up the past before a block: no table before it will be asked for."""
        if not self.anchors or not self.history.settled < block.number <= self.anchors[-1].number:
            return
        older = [anchor.number for anchor in self.anchors if anchor.number <= block.number]
        self.anchors = [block, *self.anchors[len(older) :]]
        for number in older:
            if number != block.number:
                self._drop(number)
        if block.number not in older:  # it was found by its time, and nothing had been read just up to it
            self._unsaved_anchors[block.number] = block
        self.history.settle(block.number)

    def _thin(self) -> None:
        """Drop the anchor that leaves the dense part unless it is far enough from the one before."""
        place = len(self.anchors) - DENSE_ANCHORS - 1
        if place > 0 and self.anchors[place].number - self.anchors[place - 1].number < ANCHOR_SPACING:
            self._drop(self.anchors.pop(place).number)

    def _drop(self, number: BlockNumber) -> None:
        if self._unsaved_anchors.pop(number, None) is None:
            self._dropped.add(number)

    def _forget_unsaved(self, kept_to: BlockNumber) -> None:
        self._kept_to = kept_to
        self._unsaved_anchors, self._unsaved_changes, self._dropped = {}, [], set()
