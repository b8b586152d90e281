"""Epochs: which stake table and which beacon hold at a moment, by arithmetic on unix time alone.

::

    (e-1)·E              (e-1)·E + E/2          e·E                    (e+1)·E
    |--------------------|----------------------|----------------------|
    table(e) is fixed    beacon(e) is fixed     epoch e begins         epoch e ends

E is the epoch length. The table is fixed half an epoch before its beacon, so nobody chooses keys or splits stake
knowing the beacon; both have settled when the epoch begins. Spec: SPEC.md §6.2.
"""

import hashlib

from protocol.params import Params
from protocol.units import Digest, Epoch, UnixMillis


def epoch_at(now: UnixMillis, params: Params) -> Epoch:
    """Give the epoch of a moment: floor(unix time / epoch length)."""
    return Epoch(now // (params.epoch_s * 1000))


def epoch_start(epoch: Epoch, params: Params) -> UnixMillis:
    """Give the first moment of an epoch."""
    return UnixMillis(epoch * params.epoch_s * 1000)


def table_cutoff(epoch: Epoch, params: Params) -> UnixMillis:
    """Table(e) is the contract's state after the last canonical block with a timestamp before this moment."""
    return UnixMillis((epoch - 1) * params.epoch_s * 1000)


def beacon_cutoff(epoch: Epoch, params: Params) -> UnixMillis:
    """Beacon(e) comes from the last canonical block with a timestamp before this moment."""
    return UnixMillis(table_cutoff(epoch, params) + params.epoch_s * 1000 // 2)


def beacon(block_hash: bytes, epoch: Epoch) -> Digest:
    """Give the beacon of an epoch from the hash (32 bytes) of its block."""
    return Digest(hashlib.sha256(b"cuckoo/1/beacon" + block_hash + epoch.to_bytes(8, "big")).digest())


def is_acceptable(epoch: Epoch, now: UnixMillis, params: Params) -> bool:
    """Say whether offers of an epoch are taken now; it almost always is ours, which costs next to nothing to see."""
    return epoch == now // (params.epoch_s * 1000) or epoch in acceptable_epochs(now, params)


def acceptable_epochs(now: UnixMillis, params: Params) -> tuple[Epoch, ...]:
    """Give the epochs whose offers are taken now, ascending: ours, and a neighbour near its boundary.

    Near means within ``boundary_tolerance_s``, which covers clocks that are wrong by as much. Never more than
    e-1, e and e+1: those are what a node holds; with epochs shorter than the tolerance all three always hold.
    """
    own = epoch_at(now, params)
    tolerance = params.boundary_tolerance_s * 1000
    earliest = max(own - 1, epoch_at(UnixMillis(max(0, now - tolerance)), params), 0)
    latest = min(own + 1, epoch_at(UnixMillis(now + tolerance), params))
    return tuple(Epoch(epoch) for epoch in range(earliest, latest + 1))
