"""Who a peer is to us. Spec: SPEC.md §6 (who may do what)."""

from enum import Enum


class Standing(Enum):
    """Who a peer is by the stake table, or by being pinned as a bootstrap."""

    STRANGER = "stranger"
    BOOTSTRAP = "bootstrap"
    MINER = "miner"
    COORDINATOR = "coordinator"
