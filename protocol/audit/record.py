"""What a recorder keeps: which network, the tables and beacons of its epochs, and gossip as it was signed.

Nothing in a record is believed: ``protocol.audit.history`` checks signatures, roots and who may speak.
Spec: SPEC.md §4.6.
"""

from dataclasses import dataclass

from protocol.crypto.publication import Publication
from protocol.crypto.typed_data import Domain
from protocol.params import Params
from protocol.stake.table import EpochView
from protocol.units import Address, Digest, StakingId, UnixMillis


@dataclass(frozen=True)
class RecordHead:
    """Of which network a record is."""

    params: Params
    chain_id: int
    contract: Address
    """Of staking."""

    @property
    def network_id(self) -> Digest:
        """Name of the network, from the numbers, chain and contract."""
        return self.params.network_id(self.chain_id, self.contract)

    @property
    def domain(self) -> Domain:
        """For which signatures of its statements hold."""
        return Domain(self.chain_id, self.contract)


@dataclass(frozen=True, slots=True)
class Heard:
    """One gossip message that the recorder accepted, or published itself."""

    at: UnixMillis
    """By the recorder's clock."""
    publication: Publication


@dataclass(frozen=True, slots=True)
class ViewSeen:
    """The table and beacon of one epoch, as the recorder's chain node had them."""

    view: EpochView
    root: Digest
    """As it was written beside the rows: another than theirs shows that somebody changed them."""


@dataclass(frozen=True, slots=True)
class InactiveSeen:
    """Who was jailed or below its minimum from this moment on."""

    at: UnixMillis
    nodes: frozenset[StakingId]


Entry = Heard | ViewSeen | InactiveSeen
"""One line of a record behind its head."""
