"""The stake book: the tables of the epochs around now, and what they say about a peer.

Everything is answered from memory at once; nobody waits for the chain to judge a message. Spec: SPEC.md §6.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from protocol.crypto.keys import address_of_peer_id
from protocol.errors import InvalidMessage
from protocol.params import Params
from protocol.stake.epoch import acceptable_epochs, beacon_cutoff, epoch_at
from protocol.stake.standing import Standing
from protocol.stake.table import EpochView, StakeRow
from protocol.units import Address, Epoch, PeerId, Role, StakingId, UnixMillis

KEPT_EPOCHS: Final = 8
"""Views in memory: those around now, and a few old ones for what was begun under them. 10,000 rows are about 3 MB."""

_STANDING: Final = {Role.MINER: Standing.MINER, Role.COORDINATOR: Standing.COORDINATOR}


@final
@dataclass(frozen=True, slots=True)
class Tables:
    """All that a stake book says at one moment: what was asked before holds as long as this is the same object."""

    views: Mapping[Epoch, EpochView]
    inactive: frozenset[StakingId]
    """Who is jailed or below its minimum in the newest confirmed block."""


@final
class StakeBook:
    """Tables by epoch. A table in use is never replaced: what was judged by it stays judged."""

    __slots__ = ("_around", "_bootstraps", "_epoch_ms", "_head", "params", "tables")

    def __init__(self, params: Params, bootstraps: frozenset[PeerId] = frozenset()) -> None:
        """Begin empty. ``bootstraps`` are the peer ids that this node's operator has pinned."""
        self.params = params
        self._epoch_ms = params.epoch_s * 1000
        self._bootstraps = bootstraps
        self.tables = Tables({}, frozenset())
        self._around: tuple[Epoch, tuple[EpochView, ...]] = (Epoch(-1), ())
        """An epoch, and what is known of it and its neighbours."""
        self._head: UnixMillis | None = None

    def add(self, view: EpochView) -> None:
        """Take a view in. The first view of an epoch stays; the oldest epochs are forgotten."""
        views = {view.epoch: view, **self.tables.views}
        while len(views) > KEPT_EPOCHS:
            del views[min(views)]
        self.tables = Tables(views, self.tables.inactive)
        self._around = (Epoch(-1), ())

    def view(self, epoch: Epoch) -> EpochView | None:
        """Give the view of an epoch, if it is known and still kept."""
        return self.tables.views.get(epoch)

    def current(self, now: UnixMillis) -> EpochView | None:
        """Give the view of this moment's epoch, else the newest that is not of the future, else None."""
        view = self.tables.views.get(Epoch(now // self._epoch_ms))
        if view is None:
            epoch = epoch_at(now, self.params)
            view = self.tables.views.get(
                max((known for known in self.tables.views if known < epoch), default=Epoch(-1))
            )
        return view

    def row(self, address: Address, now: UnixMillis) -> StakeRow | None:
        """Give the node of this address in the current table; a node that is inactive now is inactive in the row.

        The table itself, its root and its weights stay as they are: jailing shuts a node out, and moves no draw.
        """
        view = self.current(now)
        row = view.table.by_address.get(address) if view else None
        return replace(row, active=False) if row is not None and row.id in self.tables.inactive else row

    def owner(self, node: StakingId, now: UnixMillis) -> Address | StakingId:
        """Give who staked a node, in the current table; the node itself where that does not say."""
        view = self.current(now)
        row = view.table.by_id.get(node) if view else None
        return row.owner if row is not None and row.owner is not None else node

    def inactive_now(self, nodes: frozenset[StakingId]) -> None:
        """Note who is jailed or below its minimum in the newest confirmed block, whatever tables say."""
        self.tables = Tables(self.tables.views, nodes)

    def is_inactive_now(self, node: StakingId) -> bool:
        """Say whether a node is jailed or below its minimum in the newest confirmed block."""
        return node in self.tables.inactive

    def rows_around(self, address: Address, now: UnixMillis) -> tuple[StakeRow, ...]:
        """Give what the tables of e-1, e and e+1 say of this address: empty when it is registered in none."""
        epoch = epoch_at(now, self.params)
        if self._around[0] != epoch:
            near = (self.tables.views.get(Epoch(number)) for number in (epoch - 1, epoch, epoch + 1))
            self._around = (epoch, tuple(view for view in near if view is not None))
        rows = []
        for view in self._around[1]:  # a loop: generators cost twice the time, for each gossip message
            row = view.table.by_address.get(address)
            if row is not None:
                rows.append(row)
        return tuple(rows)

    def known(self, address: Address, now: UnixMillis) -> bool:
        """Say whether the address is registered, active or not, in the table of e-1, e or e+1."""
        return bool(self.rows_around(address, now))

    def head_seen(self, timestamp: UnixMillis) -> None:
        """Note the timestamp of the chain's head."""
        self._head = timestamp

    @property
    def head(self) -> UnixMillis | None:
        """Timestamp of the newest block that we have seen, None before the first."""
        return self._head

    def healthy(self, now: UnixMillis) -> bool:
        """Say whether our follower keeps up: its head is younger than ``head_max_age_s``."""
        return self._head is not None and now - self._head <= self.params.head_max_age_s * 1000

    def certain(self, now: UnixMillis) -> bool:
        """Say whether an address that we do not find is a stranger to every honest node.

        So it is when our follower keeps up and we hold every view that another node can hold and use by now: those
        of the acceptable epochs, the next one only after its beacon is fixed.
        """
        if not self.healthy(now):
            return False
        return all(
            epoch in self.tables.views or now < beacon_cutoff(epoch, self.params)
            for epoch in acceptable_epochs(now, self.params)
        )

    def standing(self, peer: PeerId, now: UnixMillis) -> Standing:
        """Say who a peer is: a node inactive in the current table, or now, is a stranger. Never raises."""
        try:
            row = self.row(address_of_peer_id(peer), now)
        except InvalidMessage:  # a key that no staker can have
            row = None
        if row and row.active:
            return _STANDING[row.role]
        return Standing.BOOTSTRAP if peer in self._bootstraps else Standing.STRANGER
