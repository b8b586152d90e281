"""One machine of the simulator: a core, its disk, and what outlives neither."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from node.adapters.memory.store import MemoryStore
from protocol.crypto.keys import NodeKey
from protocol.effects import StartJob, TimerKey
from protocol.gossip.reputation import Ledger
from protocol.roles.core import Core
from protocol.units import PeerId, Role, StakingId, TaskId, UnixMillis

if TYPE_CHECKING:
    from tests.sim.adversaries import Behaviour
    from tests.sim.engines import Look
    from tests.sim.gossip import Rumour

Heard = tuple[int, int, "Rumour"]
"""A message that has come: when (unix ms), its number, itself."""

NOBODY = StakingId(0)
"""Staking id of who is registered nowhere."""


@dataclass(eq=False, slots=True)
class Machine:
    """One node: a core, its disk, and what outlives neither."""

    name: str
    key: NodeKey
    role: Role | None
    """None is a bootstrap: registered nowhere."""
    index: int = 0
    """Place among all machines."""
    staking_id: StakingId = NOBODY
    store: MemoryStore = field(default_factory=MemoryStore)
    core: Core | None = None
    life: int = 0
    """Counts starts: what was scheduled for an earlier life never happens."""
    events: int = 0
    """Taken so far."""
    facts: list[int] = field(default_factory=list)
    """Three numbers for each event, until they go into the digest: a call for each would cost as much as it."""
    digested: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    unheard: list[Heard] = field(default_factory=list)
    """Gossip that it has not been given: much of it is still on its way."""
    skew_ms: int = 0
    """How far its clock is ahead."""
    behaviour: "Behaviour | None" = None
    """How it cheats; None is honest."""
    topics: set[str] = field(default_factory=set)
    connected: set[PeerId] = field(default_factory=set)
    streams: set[PeerId] = field(default_factory=set)
    timers: dict[TimerKey, UnixMillis] = field(default_factory=dict)
    jobs: set[tuple[TaskId, int]] = field(default_factory=set)
    ledger: Ledger = field(default_factory=Ledger)
    """What it holds against others; whom it has banned it has no connection with."""
    hangs: bool = False
    """Its engine is silent."""
    wrong: bool = False
    """Its engine draws what nobody asked for: another size."""
    paints: "Callable[[StartJob], Look] | None" = None
    """What its pictures show; None is what was ordered."""
    off_ppm: int = 0
    """How far its arithmetic moves an honest picture (parts per million)."""
    at_fault: bool = False
    """Once did what others may hold against it, though its core is honest."""
    set_back: bool = False
    """Its disk was once replaced by an older copy: it has no steps to show of what it drew in between."""
    places: int = 1
    step_ms: int = 20
    loading_ms: int = 0
    """How long its engine loads before each picture."""
    side: int = 0
    """Side of a partition; machines on different sides do not reach each other."""

    def digest(self) -> bytes:
        """SHA-256 of all events so far, in one byte order, whatever this computer's is."""
        self.digested.update(struct.pack(f"<{len(self.facts)}q", *self.facts))
        self.facts.clear()
        return self.digested.digest()
