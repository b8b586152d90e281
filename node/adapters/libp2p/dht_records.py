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

    def add(self, key: bytes, peer: ID, addresses: Iterable[bytes]) -> None:
        """Keep a record of a registered peer that has an address; the oldest gives way when there are too many."""
        short = tuple(address for address in addresses if len(address) <= MAX_ADDRESS_BYTES)[:ADDRESSES]
        if not short or not self._gate(peer):
            return
        records = self._records.setdefault(key, OrderedDict())
        records.pop(peer, None)
        records[peer] = Record(short, time.monotonic())
        if len(records) > MAX_PROVIDERS_PER_KEY:
            records.popitem(last=False)
        if len(self._records) > MAX_KEYS:
            self._records.popitem(last=False)

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
                    del records[peer]
            if not records:
                del self._records[key]
