"""What a miner can do now, whether its owner lets it, and the capability that says so. Spec: SPEC.md §8.2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from protocol.crypto.envelope import seal
from protocol.effects import Lane, Send
from protocol.events import EngineChanged, ModelState
from protocol.roles.core import Core
from protocol.roles.look_ahead import LOOK_AHEAD, look_ahead
from protocol.units import PeerId, StakingId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Capability, CapabilityUpdate, ServedModel

CAPABILITY_LIFE_MS: Final = 60_000
"""How long (ms) a capability is valid; renewed after a third of it."""


@dataclass(frozen=True, slots=True)
class MinerLoad:
    """What a miner has promised and not ended."""

    is_open: bool
    """Whether it takes more."""
    claims: int
    """Claims that may still be awarded."""
    jobs: int
    """Awarded tasks at the engine."""
    results: int
    """Results that their coordinators have not acknowledged."""


@final
class Serving:
    """The engine's models and places, and whether work is taken for them."""

    __slots__ = (
        "_addresses", "_core", "_places", "_price_floor", "_sealing_key", "_sequence", "ahead", "is_open", "models",
        "offered",
    )  # fmt: skip

    def __init__(
        self,
        core: Core,
        addresses: Callable[[], tuple[str, ...]],
        price_floor: Wei,
        sealing_key: Callable[[], bytes],
    ) -> None:
        """Start open, without models; ``sealing_key`` gives the key to which is sealed now."""
        self._sealing_key = sealing_key
        self._core = core
        self._addresses = addresses
        self._price_floor = price_floor
        self._sequence = 0
        self._places = 0
        self.is_open = True
        """Whether the owner lets this miner take work."""
        self.models: dict[str, ModelState] = {}
        """What the engine has, also while no new work is taken: awards that were claimed are begun."""
        self.offered: Mapping[str, ModelState] = {}
        """Models for which work is taken now: at hand, since each bulletin asks for them."""
        self.ahead = LOOK_AHEAD
        """How many jobs are taken beyond the places."""

    @property
    def places(self) -> int:
        """Places for which work is taken now."""
        return self._places if self.is_open else 0

    def take(self, event: EngineChanged) -> None:
        """Take what the engine can do now."""
        self.models = {model.model: model for model in event.models}
        self._places = event.places
        self.ahead = look_ahead(event.models)
        self.open(is_open=self.is_open)

    def open(self, *, is_open: bool) -> None:
        """The owner lets this miner take work, or no longer."""
        self.is_open = is_open
        self.offered = self.models if is_open else {}

    def next_capability(self) -> None:
        """What is pushed from now on replaces what was said before."""
        self._sequence = max(self._sequence + 1, self._core.now)

    def push(self, own: StakingId, peers: Sequence[PeerId], free_places: int) -> None:
        """Say the same to all of these. A miner that is closed serves nothing: nobody is to count on it."""
        if not peers:
            return
        capability = Capability(
            miner=own,
            sequence=self._sequence,
            expires_at=UnixMillis(self._core.now + CAPABILITY_LIFE_MS),
            models=served_models(self.offered),
            free_places=free_places,
            places=self.places,
            price_floor=self._price_floor,
            addresses=self._addresses()[:8],
            sealing_key=self._sealing_key(),
        )
        body = encode(capability)
        identity = self._core.identity
        update = CapabilityUpdate(body=body, signature=seal(identity.key, identity.network_id, body))
        for peer in peers:
            self._core.emit(Send(peer, update, Lane.NORMAL))


def served_models(models: Mapping[str, ModelState]) -> tuple[ServedModel, ...]:
    """Give each model of the engine as a capability names it, by name."""
    return tuple(
        ServedModel(
            model=model.model,
            digest=model.digest,
            warm=model.warm,
            works=model.works,
            numerics=model.numerics,
            pixel_steps_per_s=model.pixel_steps_per_s,
            max_batch=model.max_batch,
        )
        for _, model in sorted(models.items())
    )
