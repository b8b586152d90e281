"""Who provides what, as those say who do: for a while, and within limits."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

from libp2p.peer.id import ID

from node.adapters.libp2p.dht_table import ADDRESSES, Gate
from node.adapters.libp2p.peerstore import MAX_ADDRESS_BYTES

MAX_PROVIDERS_PER_KEY: Final = 256
"""Upstream keeps 20, so a coordinator would never hear of the 21st miner of a model. One answer stays below 128 KiB."""
MAX_KEYS: Final = 4096
MAX_KEYS_PER_PROVIDER: Final = 128
"""Twice what a node has: its models and its role. One that announces ever new keys pushes out its own alone."""
RECORD_LIFE_S: Final = 1800.0
"""A provider record is forgotten after this (s); a living provider renews it three times in it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One provider of one key."""

    addresses: tuple[bytes, ...]
    """Where it can be dialled, as it says."""
    at: float
    """When it said so (s, monotonic)."""


@final
class Records:
    """Provider records of registered peers."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._records: OrderedDict[bytes, OrderedDict[ID, Record]] = OrderedDict()
        self._keys_of: dict[ID, OrderedDict[bytes, None]] = {}

    def add(self, key: bytes, peer: ID, addresses: Iterable[bytes]) -> None:
        """Keep a record of a registered peer that has an address; the oldest gives way when there are too many."""
        short = tuple(address for address in addresses if len(address) <= MAX_ADDRESS_BYTES)[:ADDRESSES]
        if not short or not self._gate(peer):
            return
        records = self._records.setdefault(key, OrderedDict())
        records.pop(peer, None)
        records[peer] = Record(short, time.monotonic())
        self._records.move_to_end(key)
        keys = self._keys_of.setdefault(peer, OrderedDict())
        keys[key] = None
        keys.move_to_end(key)
        if len(keys) > MAX_KEYS_PER_PROVIDER:
            self._remove(next(iter(keys)), peer)
        if len(records) > MAX_PROVIDERS_PER_KEY:
            self._remove(key, next(iter(records)))
        if len(self._records) > MAX_KEYS:
            oldest = next(iter(self._records))
            for other in list(self._records[oldest]):
                self._remove(oldest, other)

    def _remove(self, key: bytes, peer: ID) -> None:
        """Forget one record, and what is empty without it."""
        records, keys = self._records[key], self._keys_of[peer]
        del records[peer], keys[key]
        if not records:
            del self._records[key]
        if not keys:
            del self._keys_of[peer]

    def of(self, key: bytes) -> dict[ID, Record]:
        """Give the living records of a key."""
        oldest = time.monotonic() - RECORD_LIFE_S
        records: Mapping[ID, Record] = self._records.get(key, {})
        return {peer: record for peer, record in records.items() if record.at > oldest and self._gate(peer)}

    def sweep(self) -> None:
        """Forget what is too old."""
        oldest = time.monotonic() - RECORD_LIFE_S
        for key, records in list(self._records.items()):
            for peer, record in list(records.items()):
                if record.at <= oldest:
                    self._remove(key, peer)
