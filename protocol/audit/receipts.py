"""Where the two of a receipt stood when it was signed: registered in that epoch, and drawn at which place.

Needs tables and beacons, from the chain or from a record, and for the draw the offer as it was published. SPEC.md §9.6.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protocol.audit.draws import Drawing
from protocol.audit.record import Entry, Heard, RecordHead, ViewSeen
from protocol.crypto.keys import address_of_peer_id
from protocol.crypto.publication import check_publication
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.params import Params
from protocol.stake.epoch import acceptable_epochs
from protocol.stake.table import EpochView, StakeRow
from protocol.units import Address, Epoch, Role, StakingId
from protocol.wire.codec import GOSSIP_PLACE, decode
from protocol.wire.messages import Bulletin
from protocol.wire.statements import ReceiptStatement


@dataclass(frozen=True, slots=True)
class Registered:
    """Both were active in the table of this epoch."""

    epoch: Epoch
    coordinator_key: Address


@dataclass(frozen=True, slots=True)
class Drawn:
    """How the offer that was awarded was drawn."""

    epoch: Epoch
    rank: int | None
    """The miner's place, from 0; None when it was not in the order, and took what nobody in it claimed."""
    candidates: int
    """How many were in the order."""


def registered_at(
    statement: ReceiptStatement, views: Mapping[Epoch, EpochView], params: Params
) -> Registered | InvalidMessage | None:
    """Look both parties up in the tables that held when the receipt was signed.

    Near the boundary of two epochs either table will do, as it did for the two.

    Returns:
        Where they stood; ``receipt.unregistered`` as a fault, not raised; None when none of these tables is known.
    """
    missing: InvalidMessage | None = None
    for epoch in acceptable_epochs(statement.accepted, params):
        view = views.get(epoch)
        if view is None:
            continue
        coordinator = _active(view, statement.coordinator, Role.COORDINATOR)
        miner = _active(view, statement.miner, Role.MINER)
        if coordinator is not None and miner is not None:
            return Registered(epoch, coordinator.address)
        who = f"coordinator {statement.coordinator}" if coordinator is None else f"miner {statement.miner}"
        missing = InvalidMessage("receipt.unregistered", f"{who} was not active in epoch {epoch}")
    return missing


def views_in(entries: Iterable[Entry]) -> dict[Epoch, EpochView]:
    """Give the tables of a record, but for those that were changed after they were written."""
    seen = (entry for entry in entries if isinstance(entry, ViewSeen))
    return {one.view.epoch: one.view for one in seen if one.view.table.root == one.root}


def draw_of(
    statement: ReceiptStatement, head: RecordHead, entries: Iterable[Entry], views: Mapping[Epoch, EpochView]
) -> Drawn | None:
    """Find the offer of a receipt's attempt in a record, as its coordinator signed it, and repeat its draw.

    Returns:
        None when the record does not hold that offer, or a table that it needs.
    """
    for entry in entries:
        bulletin = _bulletin(entry, statement, views) if isinstance(entry, Heard) else None
        if bulletin is None:
            continue
        for offer in bulletin.offers:
            if (offer.task, offer.attempt) == (statement.task, statement.attempt):
                draw = Drawing(head).draw(bulletin, offer, views[bulletin.epoch])
                return Drawn(bulletin.epoch, draw.rank(statement.miner), len(draw.ranking))
    return None


def _active(view: EpochView, node: StakingId, role: Role) -> StakeRow | None:
    row = view.table.by_id.get(node)
    return row if row is not None and row.role is role and row.active else None


def _bulletin(entry: Heard, statement: ReceiptStatement, views: Mapping[Epoch, EpochView]) -> Bulletin | None:
    """Read a bulletin of the receipt's coordinator that fits a known table; None for anything else."""
    try:
        message = decode(entry.publication.data, GOSSIP_PLACE)
        if not isinstance(message, Bulletin) or message.coordinator != statement.coordinator:
            return None
        view = views.get(message.epoch)
        row = view.table.by_id.get(message.coordinator) if view is not None else None
        if view is None or row is None or row.address != address_of_peer_id(entry.publication.publisher):
            return None
        fits = message.root == view.table.root
        check_publication(entry.publication)
    except (InvalidMessage, IgnoredMessage):
        return None
    return message if fits else None
