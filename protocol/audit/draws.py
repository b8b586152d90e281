"""The draw of each published offer, computed again from public inputs alone.

Large networks have many miners and many offers: a draw keeps their order and nothing that follows from it.
Spec: SPEC.md §7, §12.1.
"""

from dataclasses import dataclass
from typing import Final, final

from protocol.audit.record import RecordHead
from protocol.stake.field import Field
from protocol.stake.lottery import ignores_warmth, order, ticket
from protocol.stake.table import EpochView, StakeTable
from protocol.task.offer import offer_digest
from protocol.units import Digest, StakingId
from protocol.wire.messages import Bulletin, Offer

KEPT_FIELDS: Final = 1024
"""Fields that are remembered: those of one message are equal, and of the next ones often."""


@final
@dataclass(frozen=True, slots=True)
class Draw:
    """One offer's draw."""

    ranking: tuple[StakingId, ...]
    """Who may claim, in this order."""
    candidates: int
    """How many of the ranking could have been first: those that are warm, or all where warmth does not count."""
    table: StakeTable
    members: int
    """Who is in the field, as bits: the lowest is the table's first active miner."""
    digest: Digest
    """Of the offer: what claims and declines name."""

    @property
    def first(self) -> StakingId | None:
        """Who was drawn first; None in an empty field."""
        return self.ranking[0] if self.ranking else None

    def rank(self, miner: StakingId) -> int | None:
        """Give a miner's place, None when it is not in the order."""
        return self.ranking.index(miner) if miner in self.ranking else None

    def chances(self) -> dict[StakingId, float]:
        """Give the chance of each candidate to be first, before the ticket was known: its share of their stake."""
        rows = self.table.by_id
        stakes = {miner: float(rows[miner].stake) for miner in self.ranking[: self.candidates]}
        total = sum(stakes.values())
        return {miner: stake / total for miner, stake in stakes.items()} if total > 0 else {}


@dataclass(frozen=True, slots=True)
class _KnownField:
    field: Field
    members: int
    warm: frozenset[StakingId]


@final
class Drawing:
    """Repeats draws; equal fields of one table are read once."""

    def __init__(self, head: RecordHead) -> None:
        """Draw by the numbers of this network."""
        self._head = head
        self._fields: dict[tuple[Digest, bytes], _KnownField] = {}

    def draw(self, bulletin: Bulletin, offer: Offer, view: EpochView) -> Draw:
        """Repeat the draw of an offer whose bulletin fits the view."""
        params = self._head.params
        place = (bulletin.coordinator, offer.accepted_epoch, offer.boot, offer.number)
        drawn = ticket(self._head.network_id, view.beacon, *place)
        known = self._field(bulletin, view)
        ranking = order(view.table.miners, known.field, drawn, params)
        warm = 0 if ignores_warmth(drawn, params) else sum(miner in known.warm for miner in ranking)
        named = offer_digest(
            bulletin.coordinator, bulletin.epoch, bulletin.root, known.field.digest, bulletin.model, offer
        )
        return Draw(ranking, warm or len(ranking), view.table, known.members, named)

    def _field(self, bulletin: Bulletin, view: EpochView) -> _KnownField:
        key = (bulletin.root, bulletin.field)
        known = self._fields.get(key)
        if known is None:
            miners = view.table.miners
            field = Field.from_bytes(bulletin.field, len(miners))
            members = sum(1 << place for place in range(len(miners)) if field.is_member(place))
            warm = frozenset(row.id for place, row in enumerate(miners) if field.is_warm(place))
            known = _KnownField(field, members, warm)
            if len(self._fields) >= KEPT_FIELDS:
                del self._fields[next(iter(self._fields))]
            self._fields[key] = known
        return known
