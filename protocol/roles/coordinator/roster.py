"""What a coordinator knows of each connected miner: its capability and how much of it we use.

Spec: SPEC.md §7.6, §8.2.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Final

from protocol.roles.coordinator.conduct import Conduct
from protocol.roles.look_ahead import LOOK_AHEAD, MAX_PLACES, look_ahead
from protocol.units import PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.fields import ANY_NUMERICS
from protocol.wire.messages import Capability, CapabilityUpdate, ServedModel
from protocol.wire.specification import Work

MAX_DELIVERING: Final = 8
"""Our tasks whose result is here and whose picture is not, at one miner: its engine is free, its line has a limit."""


@dataclass(slots=True)
class Miner:
    """One miner with an open work stream."""

    id: StakingId
    peer: PeerId
    capability: Capability | None = None
    update: CapabilityUpdate | None = None
    """The same, as it was signed."""
    serves_until: UnixMillis = UnixMillis(0)
    """When the capability ends, with allowance for clocks that differ."""
    served: dict[str, ServedModel] = field(default_factory=dict)
    """The capability's models by name, without those whose files are others than the catalog's."""
    places: int = 0
    """The capability's, none while it has no free one."""
    line: int = MAX_DELIVERING
    """Most pictures that may be on their way: a batch ends all at once."""
    working_on: set[TaskId] = field(default_factory=set)
    """Our own tasks that its engine has before it."""
    delivering: set[TaskId] = field(default_factory=set)
    """Our own tasks that it is done with and whose picture is on its way."""
    waited_for_from: UnixMillis = UnixMillis(0)
    """When those who waited for it last were told that it has no place."""

    def serves(self, model: str, now: UnixMillis) -> ServedModel | None:
        """Find the model in a capability that has not expired."""
        return self.served.get(model) if self.serves_until > now else None

    def has_place(self) -> bool:
        """Say whether it can begin at once, as far as we know: its own word less what we gave it."""
        return len(self.working_on) < self.places and len(self.delivering) < self.line

    def hear(
        self,
        capability: Capability,
        serves_until: UnixMillis,
        update: CapabilityUpdate | None = None,
        is_ours: Callable[[ServedModel], bool] = lambda _: True,
    ) -> None:
        """Take its own word, and keep at hand what is asked for each offer, of each miner."""
        self.update = update
        self.capability, self.serves_until = capability, serves_until
        self.served = {served.model: served for served in reversed(capability.models) if is_ours(served)}
        self.places = capability.places if capability.free_places > 0 else 0
        self.line = max(MAX_DELIVERING, look_ahead(capability.models))

    def takes_sealed(self) -> bool:
        """Say whether it names a key to which is sealed."""
        return self.capability is not None and self.capability.sealing_key is not None

    def has_room(self) -> bool:
        """Say whether it may hold one more of our tasks: its places and the look-ahead, no more."""
        capability = self.capability
        if capability is None:
            return len(self.working_on) <= LOOK_AHEAD and len(self.delivering) < MAX_DELIVERING
        room = min(capability.places, MAX_PLACES) + look_ahead(capability.models)
        return len(self.working_on) < room and len(self.delivering) < self.line

    def begin(self, task: TaskId) -> None:
        """Count a task that it was awarded, or still holds."""
        self.working_on.add(task)

    def deliver(self, task: TaskId) -> None:
        """Its engine is done with a task: the place is free before the picture is here."""
        if task in self.working_on:
            self.working_on.discard(task)
            self.delivering.add(task)

    def release(self, task: TaskId) -> None:
        """It has nothing to do with a task any more."""
        self.working_on.discard(task)
        self.delivering.discard(task)


class Roster:
    """All miners with an open work stream, by peer and by staking id."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_peer: dict[PeerId, Miner] = {}
        self._by_id: dict[StakingId, Miner] = {}
        self.conduct = Conduct()
        self._in_order: tuple[Miner, ...] | None = None
        """All of them by staking id, worked out when asked for."""
        self._busy: dict[StakingId, Miner] = {}
        """Who held a task of ours when that was last counted, or has begun one since."""
        self._free: dict[str, dict[StakingId, bool]] = {}
        """Of each model: who has a place for it, and whether it says that the model is loaded."""
        self._served_until: float = inf
        """Until then no capability of those ends."""

    def add(self, peer: PeerId, miner: StakingId) -> Miner:
        """A work stream opened; its capability comes next."""
        known, before = Miner(miner, peer), self._by_id.get(miner)
        if before is not None:
            self._forget_free(before)
        self._by_peer[peer] = known
        self._by_id[miner] = known
        self._in_order = None
        return known

    def remove(self, peer: PeerId) -> Miner | None:
        """The work stream is gone."""
        miner = self._by_peer.pop(peer, None)
        if miner is not None and self._by_id.get(miner.id) is miner:
            del self._by_id[miner.id]
            self._in_order = None
            self._forget_free(miner)
        return miner

    def peer(self, peer: PeerId) -> Miner | None:
        """Find by peer id."""
        return self._by_peer.get(peer)

    def id(self, miner: StakingId) -> Miner | None:
        """Find by staking id."""
        return self._by_id.get(miner)

    def word_of(self, miner: StakingId, model: str, now: UnixMillis) -> tuple[CapabilityUpdate | None, str]:
        """Give what a miner says of itself, as it signed it, and the class of arithmetic that it names for a model."""
        known = self.id(miner)
        served = known.serves(model, now) if known is not None else None
        return known.update if known is not None else None, served.numerics if served is not None else ANY_NUMERICS

    def __iter__(self) -> Iterator[Miner]:
        """Go through all miners in the order of their staking ids."""
        if self._in_order is None:
            self._in_order = tuple(self._by_id[key] for key in sorted(self._by_id))
        return iter(self._in_order)

    def __len__(self) -> int:
        """Count the miners."""
        return len(self._by_id)

    def peers(self) -> tuple[PeerId, ...]:
        """List the peers with a work stream."""
        return tuple(self._by_peer)

    def serving(self, model: str, now: UnixMillis) -> tuple[Miner, ...]:
        """List the miners that serve a model now, busy or not."""
        return tuple(miner for miner in self if miner.serves(model, now))

    def hear(
        self,
        miner: Miner,
        capability: Capability,
        serves_until: UnixMillis,
        update: CapabilityUpdate | None = None,
        is_ours: Callable[[ServedModel], bool] = lambda _: True,
    ) -> None:
        """Take a miner's own word, with how it was signed.

        Args:
            miner: Whose.
            capability: What it says.
            serves_until: When that ends.
            update: The same, as it was signed.
            is_ours: Says of a model whether it is that of our catalog: with other files a miner serves nothing of it.
        """
        if self._by_id.get(miner.id) is miner:
            self._forget_free(miner)
        miner.hear(capability, serves_until, update, is_ours)
        self._see_places(miner)

    def hold(self, task: TaskId, miner: StakingId) -> None:
        """Count a miner's place as taken by a task of ours."""
        known = self._by_id.get(miner)
        if known is not None:
            known.begin(task)
            self._busy[miner] = known
            self._see_places(known)

    def deliver(self, task: TaskId, miner: StakingId) -> None:
        """Count a miner's place as free, though its picture is not here yet."""
        known = self._by_id.get(miner)
        if known is not None:
            known.deliver(task)
            self._see_places(known)

    def release(self, task: TaskId, miner: StakingId) -> None:
        """Count a miner's place as free again."""
        known = self._by_id.get(miner)
        if known is not None:
            known.release(task)
            self._see_places(known)

    def _see_places(self, miner: Miner) -> None:
        """Keep count of who is free: thousands are not asked for each bulletin."""
        if self._by_id.get(miner.id) is not miner:
            return
        if not miner.has_place():
            self._forget_free(miner)
        else:
            for model, served in miner.served.items():
                self._free.setdefault(model, {})[miner.id] = served.warm
            self._served_until = min(self._served_until, miner.serves_until)

    def _forget_free(self, miner: Miner) -> None:
        """Count a miner as free no longer; no model stays of which nobody else is."""
        for model in miner.served:
            free = self._free.get(model, {})
            free.pop(miner.id, None)
            if not free:
                self._free.pop(model, None)

    def _forget_expired(self, now: UnixMillis) -> None:
        """Drop whose capability has ended."""
        self._served_until = inf
        for miner in self:
            if miner.serves_until <= now:
                self._forget_free(miner)
            else:
                self._served_until = min(self._served_until, miner.serves_until)

    def held(self) -> int:
        """Count the tasks of ours that miners have; few have any, so that not all are asked."""
        self._busy = {
            id_: miner
            for id_, miner in self._busy.items()
            if (miner.working_on or miner.delivering) and self._by_id.get(id_) is miner
        }
        return sum(len(miner.working_on) + len(miner.delivering) for miner in self._busy.values())

    def unable(self, model: str, work: Work, now: UnixMillis) -> frozenset[StakingId]:
        """List the miners that serve a model, but not for this work."""
        if work == "text_to_image":
            return frozenset()  # what every miner does with every model: thousands are not asked for each task
        return frozenset(
            miner.id for miner in self if (served := miner.serves(model, now)) is not None and work not in served.works
        )

    def keyless(self, model: str, now: UnixMillis) -> frozenset[StakingId]:
        """List the miners that serve a model and name no key to which is sealed."""
        return frozenset(miner.id for miner in self.serving(model, now) if not miner.takes_sealed())

    def left_out(self, model: str, now: UnixMillis) -> frozenset[StakingId]:
        """List the miners that are paused, while others serve the model: paused ones beat none."""
        if not len(self.conduct):
            return frozenset()
        serving = {miner.id for miner in self.serving(model, now)}
        paused = frozenset(miner for miner in serving if self.conduct.is_paused(miner, now))
        return paused if len(paused) < len(serving) else frozenset()

    def field_of(
        self, model: str, excluded: frozenset[StakingId], now: UnixMillis
    ) -> tuple[frozenset[StakingId], frozenset[StakingId]]:
        """Give (members, warm): who is live, capable and free as we know it, and who of them has the model loaded."""
        if now >= self._served_until:
            self._forget_expired(now)
        free, left_out = self._free.get(model, {}), excluded | self.left_out(model, now)
        members = frozenset(free) - left_out
        warm = [miner for miner, is_warm in free.items() if is_warm]
        if len(self.conduct):
            warm = [miner for miner in warm if self.conduct.is_warm(miner, now)]
        return members, members.intersection(warm)
