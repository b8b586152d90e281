"""The requests of each account that are being drawn, for clients that ask how far "the" request is."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import final

import trio

from node.adapters.http.accounts import Account
from node.adapters.http.orders import Order
from node.desk_ports import Desk
from protocol.effects import Stage


@dataclass(eq=False, slots=True)
class _Run:
    """One request, and since when (s) it waits."""

    order: Order
    begun: float = field(default_factory=trio.current_time)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a request is."""

    done: float = 0.0
    """Of 1."""
    count: int = 0
    """Pictures of it; 0 is no request at all."""
    finished: int = 0
    """Pictures that are ready."""
    step: int = 0
    """Of the picture that is furthest of those not ready."""
    steps: int = 0
    eta_s: float = 0.0
    """Time to come (s), if it goes on as so far."""
    preview: bytes | None = None
    """Of what that picture may become."""


@final
class Runs:
    """Keeps what waits, and reads from the desk how far each task is only when somebody asks."""

    def __init__(self, desk: Desk) -> None:
        """Begin with none."""
        self._desk = desk
        self._runs: dict[str, list[_Run]] = {}

    @contextmanager
    def following(self, account: Account, order: Order) -> Generator[None]:
        """Count an order as being drawn."""
        run = _Run(order)
        runs = self._runs.setdefault(account.scope, [])
        runs.append(run)
        try:
            yield
        finally:
            runs.remove(run)
            if not runs:
                del self._runs[account.scope]

    async def interrupt(self, account: Account) -> None:
        """Stop all that the account has under way."""
        for run in tuple(self._runs.get(account.scope, ())):
            for task in run.order.tasks:
                await self._desk.cancel(task)

    def standing(self, account: Account) -> Standing:
        """Say how far the account's oldest request is."""
        runs = self._runs.get(account.scope)
        if not runs:
            return Standing()
        run = runs[0]
        done, finished, furthest = 0.0, 0, (0, 0)
        preview = None
        for task in run.order.tasks:
            update = self._desk.latest(task)
            if update is None:
                continue
            if update.stage in {Stage.DONE, Stage.FAILED}:
                done, finished = done + 1, finished + 1
            elif update.steps:
                done += update.step / update.steps
                if update.step >= furthest[0]:
                    furthest, preview = (update.step, update.steps), update.preview or preview
        count = len(run.order.tasks)
        done /= count
        passed = trio.current_time() - run.begun
        eta_s = passed / done - passed if done else 0.0
        return Standing(done, count, finished, *furthest, eta_s, preview)
