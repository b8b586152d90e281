"""Forgetting in time: pictures and histories do not pile up on a disk."""

from typing import Final

import trio

from node.ports import Clock, Store
from protocol.units import UnixMillis

HOUR_MS: Final = 3_600_000
PICTURES_KEPT_MS: Final = 24 * HOUR_MS
"""How long (ms) an artifact can be fetched: apps keep copies, and a busy coordinator makes gigabytes a day."""
HISTORY_KEPT_MS: Final = 30 * 24 * HOUR_MS
"""How long (ms) ended tasks are remembered: well beyond any retry with the same idempotency key."""
PAUSE_S: Final = 600.0
"""Time (s) between two rounds: a round costs milliseconds."""


async def keep_tidy(store: Store, clock: Clock) -> None:
    """Expire artifacts and forget ended tasks, again and again until cancelled."""
    while True:
        now = clock.now()
        await store.expire(UnixMillis(max(now - PICTURES_KEPT_MS, 0)))
        await store.forget(UnixMillis(max(now - HISTORY_KEPT_MS, 0)))
        await trio.sleep(PAUSE_S)
