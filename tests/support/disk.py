"""A real store for a machine of the simulator: SQLite in a folder, driven without a loop of the caller's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import trio

from node.adapters.store import SqliteStore
from node.adapters.store.thread import StoreThread
from protocol.records import VoucherHeld
from protocol.units import StakingId
from tests.support.clock import HandClock


class _CallersThread:
    """Does the store's work where it is asked for: nobody else waits meanwhile."""

    async def run(self, work: Callable[[], Any]) -> Any:
        return work()


class Disk:
    """``node.adapters.store.SqliteStore`` as ``tests.sim.world.World`` asks a store: what it awaits never waits."""

    def __init__(self, folder: Path) -> None:
        """Open the store of a folder, new or of an earlier life."""
        self._folder = folder
        self._clock = HandClock()
        folder.mkdir(exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._store = SqliteStore(self._folder, self._clock)
        self._store._thread = cast("StoreThread", _CallersThread())
        self._store._connection = self._store._open()

    def reopen(self) -> None:
        """Forget all that is not on the disk."""
        assert self._store._connection is not None
        self._store._connection.close()
        self._open()

    def __getattr__(self, name: str) -> Any:
        async def asked(*arguments: object) -> Any:
            return trio.run(getattr(self._store, name), *arguments)

        return asked

    @property
    def _held(self) -> dict[StakingId, VoucherHeld]:
        """Highest voucher of each coordinator, as the store in memory has it under this name."""
        records = trio.run(self._store.load)
        return {record.coordinator: record for record in records if isinstance(record, VoucherHeld)}
