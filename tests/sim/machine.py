"""One machine of the simulator: a core, its disk, and what outlives neither."""

from dataclasses import dataclass, field

from node.adapters.memory.store import MemoryStore
from protocol.crypto.keys import NodeKey
from protocol.effects import TimerKey
from protocol.roles.core import Core
from protocol.units import PeerId, Role, TaskId, UnixMillis


@dataclass
class Machine:
    """One node: a core, its disk, and what outlives neither."""

    name: str
    key: NodeKey
    role: Role
    store: MemoryStore = field(default_factory=MemoryStore)
    core: Core | None = None
    life: int = 0
    """Counts starts: what was scheduled for an earlier life never happens."""
    topics: set[str] = field(default_factory=set)
    connected: set[PeerId] = field(default_factory=set)
    streams: set[PeerId] = field(default_factory=set)
    timers: dict[TimerKey, UnixMillis] = field(default_factory=dict)
    jobs: set[tuple[TaskId, int]] = field(default_factory=set)
    hangs: bool = False
    """Its engine is silent."""
    places: int = 1
    step_ms: int = 20
    skew_ms: int = 0
    """How far its clock is ahead."""
