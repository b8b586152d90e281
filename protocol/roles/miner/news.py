"""What a bulletin says to every miner alike: what is over, what is offered, and the draw of each offer.

It depends on the bulletin and its epoch's view alone, so that it can be worked out once for all who hold them. What
only who wants an offer asks for, its draw, is worked out then. Spec: SPEC.md §7.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import final

from protocol.params import Params
from protocol.stake.book import StakeBook
from protocol.stake.field import Field
from protocol.stake.lottery import clock, last_slot_ms, place_behind, readings, slot_ms, task_id, ticket
from protocol.stake.table import EpochView
from protocol.task.offer import MAX_STRETCH, offer_digest
from protocol.units import Digest, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.fields import MAX_ATTEMPT
from protocol.wire.messages import Bulletin, Offer
from protocol.wire.specification import Work


@final
@dataclass(slots=True)
class Slots:
    """When the slots of one offer come, and what a claim of it names: what is kept of its draw, which is large."""

    step_ms: int
    ranked: int
    """Miners in the order."""
    all_stake: float
    """Effective stake (wei) of all active miners."""
    miners: int
    """Active miners."""
    answered_ms: int
    """How long (ms) after publication all slots have passed and an answer was due."""
    digest: Callable[[], Digest]
    """Gives the digest of the offer: most are claimed by others, and theirs is never asked for."""

    def behind_ms(self, reading: float) -> int:
        """Give how long (ms) after publication the slot behind the order comes of a clock that reads so much."""
        return slot_ms(place_behind(self.ranked, reading * self.all_stake, self.miners), self.step_ms)


@final
@dataclass(slots=True)
class Draw:
    """The order of one offer."""

    ticket: Digest
    places: dict[StakingId, tuple[int, float]]
    """Rank and clock of each miner of the order."""
    view: EpochView
    slots: Slots

    def clock_of(self, miner: StakingId) -> float:
        """Give what a miner's clock reads, in the order or not; nobody else's ever reads as much as a stranger's."""
        row = self.view.table.by_id.get(miner)
        return clock(self.ticket, row) if row is not None else inf


@final
@dataclass(slots=True)
class Offered:
    """One offer of a bulletin; its fields stand here as well, where they cost less to read than in a wire message."""

    offer: Offer
    task: TaskId
    attempt: int
    deadline: UnixMillis
    pixel_steps: int
    price: Wei
    slot_step_ms: int
    work: Work
    is_plain: bool
    """Drawn from its epoch of acceptance, with slots as the network allows them."""
    draw: Draw | None = None
    """Once somebody wanted it."""


@final
@dataclass(slots=True)
class News:
    """One bulletin."""

    coordinator: StakingId
    model: str
    over: tuple[tuple[tuple[StakingId, TaskId], int], ...]
    """Attempts that need nobody any more, with those before them: (coordinator, task), number."""
    offers: tuple[Offered, ...]
    """Up to the first that bears a wrong name; none while we have no view of their epoch."""
    is_misnamed: bool
    """An offer's task does not follow from its number: else one could try numbers until the draw pleases."""
    message: Bulletin
    view: EpochView | None
    network: Digest
    params: Params
    _field: Field | None = None
    """Of all its offers, once one was wanted: with it stays its digest."""

    def draw(self, offered: Offered) -> Draw:
        """Draw one of its offers."""
        if offered.draw is None:
            offered.draw = self._draw(offered.offer)
        return offered.draw

    def _draw(self, offer: Offer) -> Draw:
        message, view = self.message, self.view
        assert view is not None, "else there is no offer"
        table, coordinator = view.table, self.coordinator
        field = self._field
        if field is None:
            field = self._field = Field.from_bytes(message.field, len(table.miners))
        drawn = ticket(self.network, view.beacon, coordinator, offer.accepted_epoch, offer.boot, offer.number)
        order = readings(table.miners, field, drawn, self.params)
        slots = Slots(
            offer.slot_step_ms,
            len(order),
            float(table.miner_stake),
            len(table.miners),
            last_slot_ms(len(order), len(table.miners), offer.slot_step_ms) + offer.allowance_ms,
            partial(offer_digest, coordinator, message.epoch, message.root, field.digest, message.model, offer),
        )
        places = {miner: (rank, reading) for rank, (miner, reading) in enumerate(order.items())}
        return Draw(drawn, places, view, slots)


def news_of(message: Bulletin, book: StakeBook, network: Digest, params: Params) -> News:
    """Read a bulletin by what the stake book says of its epoch."""
    coordinator, view = message.coordinator, book.view(message.epoch)
    over = [((coordinator, notice.task), notice.attempt) for notice in message.awards]
    over += [((coordinator, closure.task), MAX_ATTEMPT) for closure in message.closures]
    offers: list[Offered] = []
    for offer in message.offers if view is not None else ():
        if offer.task != task_id(network, coordinator, offer.accepted_epoch, offer.boot, offer.number):
            break
        offers.append(
            Offered(
                offer,
                offer.task,
                offer.attempt,
                offer.deadline,
                offer.pixel_steps,
                offer.price,
                offer.slot_step_ms,
                offer.work,
                offer.accepted_epoch == message.epoch and fault_of_terms(offer, params) is None,
            )
        )
    misnamed = view is not None and len(offers) < len(message.offers)
    return News(coordinator, message.model, tuple(over), tuple(offers), misnamed, message, view, network, params)


def fault_of_terms(offer: Offer, params: Params) -> str | None:
    """Say what no miner takes, whatever it costs and pays; None when there is no such thing."""
    longest = MAX_STRETCH * params.claim_allowance_ms
    if offer.slot_step_ms > MAX_STRETCH * params.slot_step_ms or offer.allowance_ms > longest:
        return "slots"
    return None
