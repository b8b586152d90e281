"""When a miner says what it serves, and to whom. Spec: SPEC.md §8.2."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, final

from protocol.effects import CancelTimer
from protocol.roles.core import EMPTY, Core
from protocol.roles.miner.serving import CAPABILITY_LIFE_MS, Serving
from protocol.units import PeerId, StakingId

BUSY_PAUSE_MS: Final = 100
"""How long (ms) a miner is busy before it says so: who gave it the task knows, and a task that is over sooner is no
news to the others."""


@final
class Announcing:
    """The signed capabilities that one miner pushes."""

    def __init__(
        self,
        core: Core,
        serving: Serving,
        streams: Mapping[PeerId, StakingId],
        refuses: Callable[[StakingId], bool],
        free: Callable[[], int],
    ) -> None:
        """Have said nothing.

        Args:
            core: The miner's.
            serving: What it can do now.
            streams: Its open work streams, by peer.
            refuses: Says whether a coordinator gets no work.
            free: Counts the places that nobody has, nor may have when claims are answered.
        """
        self._core = core
        self._serving = serving
        self._streams = streams
        self._refuses = refuses
        self._free = free
        self._announced_free = -1
        self._busy_timer_set = False

    def consider(self, is_free: bool, expected_ms: Callable[[], float]) -> None:
        """Tell coordinators when places came back, or stay away for longer than a moment.

        Args:
            is_free: Whether there is a place now.
            expected_ms: Gives how long the present work takes; asked only when all places went.
        """
        said_so = self._announced_free > 0
        if is_free:
            if not said_so:
                self.tell_all()
            elif self._busy_timer_set:
                self._busy_timer_set = False
                self._core.emit(CancelTimer(("busy", EMPTY, 0)))
        elif said_so:
            if expected_ms() > BUSY_PAUSE_MS:
                self.tell_all()
            elif not self._busy_timer_set:
                self._busy_timer_set = True
                self._core.set_timer(("busy", EMPTY, 0), self._core.now + BUSY_PAUSE_MS)

    def on_timer(self, what: str) -> None:
        """A capability grows old (``capability``), or all places were taken for long enough (``busy``)."""
        if what == "busy":
            self._busy_timer_set = False
        self.tell_all()

    def tell_all(self) -> None:
        """Push a new signed capability to every coordinator that we serve."""
        self._announced_free = self._free()
        # Also while nobody listens or no table lists us: that may change without a greeting.
        self._core.set_timer(("capability", EMPTY, 0), self._core.now + CAPABILITY_LIFE_MS // 3)
        self.tell(self._streams)

    def tell(self, peers: Iterable[PeerId]) -> None:
        """Push a new signed capability to some: who greets learns what the others know, and they are not told again."""
        own, peers = self._core.own_id(), sorted(peers)
        if own is None or not peers:
            return
        self._serving.next_capability()
        # Whom we do not serve must not count on us, or audits would say that it passes us over.
        blocked = [peer for peer in peers if self._refuses(self._streams[peer])]
        self._serving.push(own, [peer for peer in peers if peer not in blocked], self._free())
        self._serving.push(own, blocked, 0)
