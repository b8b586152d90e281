"""What each API key may order within a day (UTC), in wei.

The tasks in the store are the count, with those that are on their way there: a task and its price are on disk together
before anybody works on it, so neither a crash nor a restart forgets any of it; one that fails costs nothing unless its
miner was paid. In memory is the same, brought up to date where it matters: before an order is refused.
"""

import math
from dataclasses import dataclass
from typing import Final, final

from node.adapters.http.errors import ApiError
from node.adapters.http.keys import KeyRing
from node.apps.app_keys import ApiKey
from node.desk_ports import Desk
from protocol.units import CAI, DAY_MS, UnixMillis, Wei

RECOUNT_MS: Final = 5_000
"""How old (ms) a count may be by which an order is refused: what failed since then is given back."""
SPEND_LIMIT: Final = "spend_limit"


@dataclass(slots=True)
class _Day:
    """What one key has ordered today."""

    begins: int
    spent: int = 0
    """In tasks that were accepted (wei): as counted in the store, and since."""
    pending: int = 0
    """In orders that are being handed in (wei)."""
    taken: int = 0
    """All that was ever added to ``spent`` since the day began (wei): what a count may have missed."""
    counted_at: int = -RECOUNT_MS


@final
class Spending:
    """Holds orders to the limits of their keys."""

    def __init__(self, desk: Desk, ring: KeyRing) -> None:
        """Count in the tasks of ``desk``."""
        self._desk = desk
        self._ring = ring
        self._days: dict[str, _Day] = {}

    async def reserve(self, key: ApiKey | None, price: Wei) -> "Reservation":
        """Set ``price`` (wei) aside for an order, before it is handed in.

        Raises:
            ApiError: 402: it is more than the key may still order today.
        """
        if key is None or key.wei_per_day is None:
            return Reservation()
        if price > key.wei_per_day:
            problem = f"this costs {_cai(price)} CAI, and this API key may order for {_cai(key.wei_per_day)} CAI a day"
            raise ApiError(402, SPEND_LIMIT, problem)
        day = self._today(key)
        if day.spent + day.pending + price > key.wei_per_day or day.counted_at < 0:
            await self._count(key, day)
        if day.spent + day.pending + price > key.wei_per_day:
            left = max(0, key.wei_per_day - day.spent - day.pending)
            problem = (
                f"this costs {_cai(price)} CAI, and this API key may order for {_cai(left)} CAI more "
                f"of its {_cai(key.wei_per_day)} CAI of today (UTC)"
            )
            wait = math.ceil((day.begins + DAY_MS - self._ring.now()) / 1000)
            raise ApiError(402, SPEND_LIMIT, problem, retry_after_s=max(1, wait))
        day.pending += price
        return Reservation(day, price)

    def _today(self, key: ApiKey) -> _Day:
        begins = self._ring.now() // DAY_MS * DAY_MS
        day = self._days.get(key.name)
        if day is None or day.begins != begins:
            # Keys that are gone are forgotten with their day, so that a year of them takes no memory.
            self._days = {name: one for name, one in self._days.items() if one.begins == begins}
            day = self._days[key.name] = _Day(begins)
        return day

    async def _count(self, key: ApiKey, day: _Day) -> None:
        """Count in the store, unless that was done a moment ago."""
        now = self._ring.now()
        if day.counted_at >= 0 and now - day.counted_at < RECOUNT_MS:
            return
        before = day.taken
        found = await self._desk.spent(key.account, UnixMillis(day.begins))
        # What was accepted while we counted may be in the count or not: so it counts once more, until the next one.
        day.spent = found + day.taken - before
        day.counted_at = max(0, now)


@final
class Reservation:
    """What is set aside for one order: spent task by task, the rest given back in the end."""

    def __init__(self, day: _Day | None = None, price: int = 0) -> None:
        """Hold ``price`` wei of ``day``; by default nothing of none."""
        self._day = day
        self._left = price

    def spend(self, price: int) -> None:
        """Spend so much (wei) of it: a task was accepted."""
        if self._day is not None:
            self._left -= price
            self._day.pending -= price
            self._day.spent += price
            self._day.taken += price

    def __enter__(self) -> "Reservation":
        """Hand in the order within the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what was not spent."""
        if self._day is not None:
            self._day.pending -= self._left
            self._left = 0


def _cai(amount: int) -> str:
    """Write an amount as people read it, to a millionth."""
    whole, rest = divmod(amount * 10**6 // CAI, 10**6)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")
