"""Who a peer is to us. Spec: SPEC.md §6 (who may do what)."""

from enum import Enum
from typing import Final


class Standing(Enum):
    """Who a peer is by the stake table, or by being pinned as a bootstrap."""

    STRANGER = "stranger"
    BOOTSTRAP = "bootstrap"
    MINER = "miner"
    COORDINATOR = "coordinator"


WORKERS: Final = frozenset({Standing.MINER, Standing.COORDINATOR})
"""Who works with whom: they open work and artifact streams, and hear gossip at first hand."""
