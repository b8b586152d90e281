"""Forgetting in time: pictures and histories do not pile up on a disk."""

from pathlib import Path
from typing import Final

import trio

from node.disputes.files import forget_bundles
from node.ports import Clock, Journal, Store
from protocol.errors import DiskFull
from protocol.notes import NoteName
from protocol.units import UnixMillis

HOUR_MS: Final = 3_600_000
PICTURES_KEPT_MS: Final = 24 * HOUR_MS
"""How long (ms) an artifact can be fetched: apps keep copies, and a busy coordinator makes gigabytes a day."""
HISTORY_KEPT_MS: Final = 30 * 24 * HOUR_MS
"""How long (ms) ended tasks are remembered: well beyond any retry with the same idempotency key."""
PAUSE_S: Final = 600.0
"""Time (s) between two rounds: a round costs milliseconds."""


async def keep_tidy(store: Store, clock: Clock, journal: Journal, data: Path | None = None) -> None:
    """Expire artifacts and evidence and forget ended tasks, ever again until cancelled.

    A full disk may have no room for that.

    Args:
        store: Where pictures and histories are.
        clock: Says what is old.
        journal: Told of a full disk.
        data: Folder with evidence of disputes, if there is one.
    """
    while True:
        now = clock.now()
        if data is not None:
            forget_bundles(data, now)
        try:
            await store.expire(UnixMillis(max(now - PICTURES_KEPT_MS, 0)))
            await store.forget(UnixMillis(max(now - HISTORY_KEPT_MS, 0)))
        except DiskFull as error:
            journal.note(NoteName.STORE_FULL, reason=str(error))
        await trio.sleep(PAUSE_S)
