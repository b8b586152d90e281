"""When a miner's objection to an award may be heard: rare, about its own claim, with the coordinator's signed decline.

Whether its rank was the better one is for whoever has the offer's field: forwarders keep no offers. Spec: SPEC.md §4.3.
"""

from typing import Final, final

from protocol.crypto.typed_data import Domain, digest, signer
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.gossip.seen import Seen
from protocol.stake.book import StakeBook
from protocol.stake.epoch import epoch_at
from protocol.stake.table import StakeRow
from protocol.units import Address, DurationMs, Epoch, Role, StakingId, UnixMillis
from protocol.wire.messages import Objection

PACE: Final = DurationMs(30_000)
"""Least time (ms) between two objections of one miner that are heard: a sample is enough, and nobody floods with it."""
OBJECTORS: Final = 16_384
"""Miners whose last objection is remembered; the one that objected longest ago is forgotten first."""
BEATEN: Final = "awarded"
"""Reason of the only decline that can be objected to."""


def check_statements(message: Objection, domain: Domain) -> None:
    """Pass a decline of this very claim, because another miner won.

    Raises:
        InvalidMessage: no honest miner publishes it, whoever signed it.
    """
    claim, decline = message.claim, message.decline
    same = (claim.task, claim.attempt, claim.coordinator) == (decline.task, decline.attempt, decline.coordinator)
    beaten = decline.reason == BEATEN and decline.winner not in {0, claim.miner}
    if not same or not beaten or decline.claim != digest(domain, claim):
        raise InvalidMessage("objection.statements")


@final
class ObjectionRules:
    """Checks objections for one node."""

    def __init__(self, book: StakeBook, domain: Domain) -> None:
        """Know miners and coordinators by this stake book."""
        self._book = book
        self._domain = domain
        self._paced = Seen(OBJECTORS, PACE)

    def check_statements(self, message: Objection) -> None:
        """Pass a decline of this very claim, because another miner won."""
        check_statements(message, self._domain)

    def check_miner(self, message: Objection, rows: tuple[StakeRow, ...], address: Address, now: UnixMillis) -> None:
        """Pass an active miner that speaks of its own claim."""
        if all(row.id != message.claim.miner or row.role is not Role.MINER for row in rows):
            raise InvalidMessage("objection.miner")
        row = self._book.row(address, now)
        if row is None or not row.active:
            raise IgnoredMessage("gossip.inactive")

    def check_pace(self, message: Objection, now: UnixMillis) -> None:
        """Pass a miner that was not heard lately."""
        self._paced.forget_expired(now)
        if _key(message.claim.miner) in self._paced:
            raise IgnoredMessage("objection.pace")

    def check_signatures(self, message: Objection, address: Address, now: UnixMillis) -> None:
        """Pass a claim of the publisher's key, and a decline of the coordinator's."""
        if signer(self._domain, message.claim, message.claim_signature) != address:
            raise InvalidMessage("objection.signature")
        if signer(self._domain, message.decline, message.decline_signature) not in self._keys_of(
            message.decline.coordinator, now
        ):
            # Its key may have been another, or our tables lag: nobody is to blame.
            raise IgnoredMessage("objection.coordinator")

    def passed(self, message: Objection, now: UnixMillis) -> None:
        """Remember that a miner was heard."""
        self._paced.add(_key(message.claim.miner), now)

    def _keys_of(self, coordinator: StakingId, now: UnixMillis) -> set[Address]:
        """Give the keys that a coordinator has in the tables around now."""
        epoch = epoch_at(now, self._book.params)
        views = [self._book.view(Epoch(near)) for near in (epoch - 1, epoch, epoch + 1)]
        rows = [view.table.by_id.get(coordinator) for view in views if view is not None]
        return {row.address for row in rows if row is not None and row.role is Role.COORDINATOR}


def _key(miner: StakingId) -> bytes:
    return miner.to_bytes(8, "big")
