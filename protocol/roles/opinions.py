"""What a node thinks of others, by staking id: each opinion fades with time, and so many are remembered.

Spec: SPEC.md §12.9.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp2
from typing import Final, Generic, TypeVar, final

from protocol.units import DAY_MS, DurationMs, StakingId, UnixMillis

HALF_LIFE_MS: Final = DurationMs(7 * DAY_MS)
"""Time (ms) in which everything counts half: who was good for long, or bad once, is looked at anew."""
REMEMBERED: Final = 4096
"""Nodes remembered at once. Of whom nothing was heard for longest is forgotten first, but for those who are kept."""


@dataclass(slots=True)
class Opinion(ABC):
    """Numbers as of ``at``, which fade from there."""

    at: UnixMillis

    def fade(self, now: UnixMillis) -> None:
        """Let everything count less for the time that has gone by."""
        if now > self.at:
            self._shrink(exp2(-(now - self.at) / HALF_LIFE_MS))
            self.at = now

    @abstractmethod
    def _shrink(self, rest: float) -> None:
        """Leave this share of each number that fades."""


Held = TypeVar("Held", bound=Opinion)


@final
class Opinions(Generic[Held]):
    """Opinions by staking id: a new connection or key makes nobody new."""

    __slots__ = ("_is_kept", "_known", "_new")

    def __init__(self, new: Callable[[UnixMillis], Held], is_kept: Callable[[StakingId, Held], bool]) -> None:
        """Know of nobody; whoever ``is_kept`` is forgotten only where all are."""
        self._new = new
        self._is_kept = is_kept
        self._known: OrderedDict[StakingId, Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def restore(self, node: StakingId, opinion: Held) -> None:
        """Take up what an earlier run thought."""
        self._known[node] = opinion
        self._forget()

    def find(self, node: StakingId) -> Held | None:
        """Give what was thought of a node when it was changed last; None of whom nothing is known."""
        return self._known.get(node)

    def of(self, node: StakingId, now: UnixMillis) -> Held:
        """Give what is thought of a node as of now; a new opinion of whom nothing is known."""
        opinion = self._known.get(node)
        if opinion is None:
            return self._new(now)
        opinion.fade(now)
        return opinion

    def open(self, node: StakingId, now: UnixMillis) -> Held:
        """Give the opinion to write into, which is forgotten last from now on."""
        opinion = self._known[node] = self.of(node, now)
        self._known.move_to_end(node)
        self._forget()
        return opinion

    def all(self, now: UnixMillis) -> Iterator[tuple[StakingId, Held]]:
        """Give all as of now, by staking id."""
        for node in sorted(self._known):
            yield node, self.of(node, now)

    def _forget(self) -> None:
        """Keep to the limit."""
        if len(self._known) > REMEMBERED:
            oldest = next(iter(self._known))
            may_go = (node for node, opinion in self._known.items() if not self._is_kept(node, opinion))
            del self._known[next(may_go, oldest)]
