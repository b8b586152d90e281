"""A miner's part in disputes, as the miner's core hears of them: brought on by ``disputing``, judged by ``judging``."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, final

from protocol.events import (
    BundleFetched,
    DisputesSeen,
    Event,
    JobFailed,
    JobFinished,
    ModelState,
    PicturesCompared,
    ProvidersFound,
    Restored,
    TimerFired,
    TxConfirmed,
    TxFailed,
)
from protocol.roles.core import Core
from protocol.roles.disputing import DisputePolicy, Disputing
from protocol.roles.miner.claiming import Claiming
from protocol.roles.miner.judging import TIMER, Judging
from protocol.roles.miner.owner_rule import Refuses
from protocol.roles.miner.serving import Serving
from protocol.roles.miner.working import Working
from protocol.units import PeerId
from protocol.wire.topics import coordinator_key

_HEARD: Final = frozenset(
    {
        BundleFetched,
        DisputesSeen,
        JobFailed,
        JobFinished,
        PicturesCompared,
        ProvidersFound,
        Restored,
        TimerFired,
        TxConfirmed,
        TxFailed,
    }
)
"""Most events are none of these, and pass by with one question."""


@final
class Jury:
    """All disputes of one miner."""

    def __init__(
        self,
        core: Core,
        policy: DisputePolicy | None,
        connected: AbstractSet[PeerId],
        serving: Serving,
        working: Working,
        claiming: Claiming,
        refuses: Refuses,
    ) -> None:
        """Begin without disputes.

        Args:
            core: The miner.
            policy: What is done about disputes.
            connected: Peers with a connection.
            serving: What the engine serves, and whether the owner lets it.
            working: Paid work that is here.
            claiming: And what is claimed.
            refuses: The owner's rule of what is not drawn here.
        """
        self._core = core
        self._serving = serving
        self._working = working
        self._claiming = claiming
        self.disputing = Disputing(core, policy or DisputePolicy())
        self._judging = Judging(core, self.disputing, connected, self._models, self._is_idle, refuses)

    def busy(self) -> int:
        """Count the jobs at the engine: paid ones, and disputed tasks that are drawn again."""
        return self._working.busy() + self._judging.busy()

    def _models(self) -> Mapping[str, ModelState]:
        return self._serving.offered

    def _is_idle(self) -> bool:
        return not self._working.busy() and not self._claiming.outstanding()

    def give_back(self) -> None:
        """The owner takes the device away."""
        self._judging.give_back()

    def look_for_work(self) -> None:
        """The engine may be free."""
        self._judging.look_for_work()

    def hear(self, event: Event) -> None:
        """Take an event of the miner, of whatever kind."""
        if type(event) not in _HEARD:
            return
        self.disputing.hear(event)
        match event:
            case DisputesSeen():
                self._judging.on_seen(event)
            case BundleFetched():
                self._judging.on_fetched(event)
            case JobFinished():
                self._judging.on_finished(event)
            case JobFailed():
                self._judging.on_failed(event)
            case PicturesCompared():
                self._judging.on_compared(event)
            case ProvidersFound(key=key, peers=peers) if key == coordinator_key(self._core.identity.network):
                self._judging.on_providers(peers)
            case TimerFired(key=(what, _, _)) if what == TIMER:
                self._judging.on_timer()
            case _:
                pass
