"""What an order of an app hears and asks for (``app_order``): two closed unions. Spec: SPEC.md §9.9."""

from dataclasses import dataclass

from protocol.units import PeerId, StakingId, UnixMillis
from protocol.wire.app_messages import AppMessage, CoordinatorMessage, OrderAccepted, OrderDone, OrderNews
from protocol.wire.sealed_messages import ShownAward


@dataclass(frozen=True, slots=True)
class Found:
    """Coordinators that the DHT named, in the order in which they are to be tried."""

    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The submit stream to a coordinator is open."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class LinkDown:
    """It is not, or no more."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Said:
    """A coordinator said something about this order; with it the bytes that followed, where it is of a picture."""

    peer: PeerId
    message: CoordinatorMessage
    picture: bytes = b""


@dataclass(frozen=True, slots=True)
class Due:
    """The moment of the last ``WakeAt`` has come."""


@dataclass(frozen=True, slots=True)
class AwardChecked:
    """The answer to one ``CheckAward``."""

    peer: PeerId
    shown: ShownAward
    found: str
    """What of it was checked, and what not; for people."""
    problem: str | None = None
    """Why its winner is not to have the key."""


OrderEvent = Found | LinkUp | LinkDown | Said | Due | AwardChecked


@dataclass(frozen=True, slots=True)
class Find:
    """Look coordinators up; answered by ``Found``."""


@dataclass(frozen=True, slots=True)
class Open:
    """Have a submit stream to a coordinator; answered by ``LinkUp`` or ``LinkDown``."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Say:
    """Say this to a coordinator."""

    peer: PeerId
    message: AppMessage


@dataclass(frozen=True, slots=True)
class SendInputs:
    """Send a coordinator the pictures that the order begins from, for as long as it is asked for the order."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Bring ``Due`` then, and forget any earlier wish."""

    at: UnixMillis


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the app how its order stands."""

    peer: PeerId
    news: OrderAccepted | OrderNews

    def __str__(self) -> str:
        """Say it to a person in a line, without what only programs read."""
        match self.news:
            case OrderAccepted():
                return f"accepted by coordinator {self.peer}"
            case OrderNews(stage="progress", miner=miner, step=step, steps=steps, reason=reason, preview=preview):
                if reason not in {None, "step"}:
                    return f"miner {miner}: {reason}"
                return f"miner {miner}: step {step} of {steps}{'' if preview is None else ', with a preview'}"
            case OrderNews(stage="claimed", miner=miner):
                return f"claimed by miner {miner}"
            case OrderNews(stage=stage, reason=reason):
                return stage if reason is None else f"{stage}: {reason}"


@dataclass(frozen=True, slots=True)
class Moved:
    """Tell the app that a coordinator does not do it, and why; another is tried, or the same one later."""

    peer: PeerId | None
    why: str

    def __str__(self) -> str:
        """Say why."""
        return self.why


@dataclass(frozen=True, slots=True)
class CheckAward:
    """Look up whether those who signed an award are registered, as far as that can be; answered by ``AwardChecked``."""

    peer: PeerId
    shown: ShownAward


@dataclass(frozen=True, slots=True)
class KeySealed:
    """Tell the app that a miner has the key of its sealed order from now on."""

    peer: PeerId
    miner: StakingId
    attempt: int
    found: str
    """What of the award was checked, and what not."""

    def __str__(self) -> str:
        """Say it to a person."""
        return f"sealed to miner {self.miner}: {self.found}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """The end: the picture is here, and is what the receipt names."""

    peer: PeerId
    done: OrderDone
    picture: bytes
    delivered: bytes
    """What its receipt is of: the picture, or of a sealed order what its miner sealed."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The end: there is no picture."""

    code: str
    """A refusal's or failure's, or ``no_coordinator``, ``wrong_picture``, ``in_doubt``."""
    detail: str
    is_ours_to_mend: bool = False
    """It was refused for what it asks; any other coordinator would refuse it as well."""


OrderEffect = Find | Open | Say | SendInputs | WakeAt | Tell | Moved | CheckAward | KeySealed | Drawn | GivenUp
