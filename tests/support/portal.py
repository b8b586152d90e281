"""What the portal asks, standing still: a network and a stakers' desk that a test sets by hand."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from node.portal.ports import (
    Deeds,
    Happening,
    Here,
    Holding,
    Holdings,
    Listed,
    Member,
    PortalChain,
    Prepared,
    PreparedStep,
    Release,
    Totals,
    Wish,
)
from protocol.units import CAI, Role, StakingId, UnixMillis

ACCOUNT = "0x25Cb8d1b3B1d8b2B0a7D5c7b7A4b2F6c9a3d0D50"
STAKING = "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"
STEP = Happening(UnixMillis(5), "task.offered", "0da95193cda9", {"attempt": 0, "miners": 2})


@dataclass
class StandingNetwork:
    """A coordinator and one busy miner."""

    listening: int = 0
    senders: list[trio.MemorySendChannel[tuple[Happening, ...]]] = field(default_factory=list)

    def here(self) -> Here:
        return Here("test", 7, 60, StakingId(1), 2)

    def members(self) -> Sequence[Member]:
        return (
            Member(StakingId(1), Role.COORDINATOR, 3_000_000 * CAI, True, True),
            Member(StakingId(2), Role.MINER, 50_000 * CAI, True, True, ("tiny",), 2, 1, Deeds(3, 2, 1, 900, 2)),
        )

    def totals(self) -> Totals:
        return Totals(3, 2, 0, 1, 0)

    def recent(self) -> Sequence[Happening]:
        return (STEP,)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[AsyncIterator[tuple[Happening, ...]], None]:
        send, receive = trio.open_memory_channel[tuple[Happening, ...]](8)
        self.senders.append(send)
        self.listening += 1
        try:
            yield receive
        finally:
            self.listening -= 1
            send.close()
            receive.close()


@dataclass
class StandingDesk:
    """Answers always the same, or fails with ``problem``."""

    problem: Exception | None = None
    wishes: list[Wish] = field(default_factory=list)

    async def chain(self) -> PortalChain:
        self._fail()
        return PortalChain(31337, "Test chain", "ETH", None, {"staking": STAKING}, 100, 60, {"miner": 1}, 5, 9)

    async def nodes(self) -> Sequence[Listed]:
        self._fail()
        profile = {"name": "<b>miner</b>", "site": "javascript:alert(1)"}
        return (Listed(2, "miner", "active", ACCOUNT, ACCOUNT, 50_000 * CAI, 7 * CAI, 1000, 0, 0, 0, profile),)

    async def holdings(self, account: str) -> Holdings:
        self._fail()
        held = (Holding(2, "miner", False, 7 * CAI, 1),)
        return Holdings(account, 3 * CAI, 10, held, (Release(2, CAI, 160),), None, 100)

    async def prepare(self, wish: Wish) -> Prepared:
        self.wishes.append(wish)
        self._fail()
        step = PreparedStep("vote", "Staking", STAKING, "vote", ("2", "1 CAI"), "0x01", 130_000)
        return Prepared("vote 1 CAI", (step,), 21_000, 10**12, True, (("your stake", "0 CAI", "1 CAI"),), ("a note",))

    def _fail(self) -> None:
        if self.problem is not None:
            raise self.problem
