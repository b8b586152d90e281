"""What a coordinator knows of each connected miner: its capability and how much of it we use. Spec: SPEC.md §8.2."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from protocol.roles.conduct import Conduct
from protocol.roles.look_ahead import LOOK_AHEAD, MAX_PLACES, look_ahead
from protocol.units import PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.messages import Capability, ServedModel

MAX_DELIVERING: Final = 8
"""Our tasks whose result is here and whose picture is not, at one miner: its engine is free, its line has a limit."""


@dataclass(slots=True)
class Miner:
    """One miner with an open work stream."""

    id: StakingId
    peer: PeerId
    capability: Capability | None = None
    serves_until: UnixMillis = UnixMillis(0)
    """When the capability ends, with allowance for clocks that differ."""
    working_on: set[TaskId] = field(default_factory=set)
    """Our own tasks that its engine has before it."""
    delivering: set[TaskId] = field(default_factory=set)
    """Our own tasks that it is done with and whose picture is on its way."""
    waited_for_from: UnixMillis = UnixMillis(0)
    """When those who waited for it last were told that it has no place."""

    def serves(self, model: str, now: UnixMillis) -> ServedModel | None:
        """Find the model in a capability that has not expired."""
        if self.capability is None or self.serves_until <= now:
            return None
        for served in self.capability.models:
            if served.model == model:
                return served
        return None

    def has_place(self) -> bool:
        """Say whether it can begin at once, as far as we know: its own word less what we gave it."""
        capability = self.capability
        if capability is None:
            return False
        return capability.free_places > 0 and len(self.working_on) < capability.places and self._has_line(capability)

    def has_room(self) -> bool:
        """Say whether it may hold one more of our tasks: its places and the look-ahead, no more."""
        capability = self.capability
        if capability is None:
            return len(self.working_on) <= LOOK_AHEAD and len(self.delivering) < MAX_DELIVERING
        room = min(capability.places, MAX_PLACES) + look_ahead(capability.models)
        return len(self.working_on) < room and self._has_line(capability)

    def _has_line(self, capability: Capability) -> bool:
        """Say whether few enough pictures are on their way: a batch ends all at once."""
        return len(self.delivering) < max(MAX_DELIVERING, look_ahead(capability.models))

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

    def add(self, peer: PeerId, miner: StakingId) -> Miner:
        """A work stream opened; its capability comes next."""
        known = Miner(miner, peer)
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
        return miner

    def peer(self, peer: PeerId) -> Miner | None:
        """Find by peer id."""
        return self._by_peer.get(peer)

    def id(self, miner: StakingId) -> Miner | None:
        """Find by staking id."""
        return self._by_id.get(miner)

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

    def hold(self, task: TaskId, miner: StakingId) -> None:
        """Count a miner's place as taken by a task of ours."""
        known = self._by_id.get(miner)
        if known is not None:
            known.begin(task)

    def release(self, task: TaskId, miner: StakingId) -> None:
        """Count a miner's place as free again."""
        known = self._by_id.get(miner)
        if known is not None:
            known.release(task)

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
        left_out = excluded | self.left_out(model, now)
        members: set[StakingId] = set()
        warm: set[StakingId] = set()
        for miner in self:
            served = miner.serves(model, now)
            if served is None or miner.id in left_out or not miner.has_place():
                continue
            members.add(miner.id)
            if served.warm and self.conduct.is_warm(miner.id, now):
                warm.add(miner.id)
        return frozenset(members), frozenset(warm)
