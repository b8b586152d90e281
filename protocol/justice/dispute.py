"""A quality dispute as its contract tells of it, and what is due in it. Pure decisions on what the chain says.

Anybody may bring a dispute on: draw jurors once the last of the seed's blocks is mined, bring verdicts, close, execute.
Spec: SPEC.md §12.10, contracts/SPEC.md §8.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocol.chain_records import ContractCall
from protocol.task.distance import ANOTHER_PICTURE
from protocol.task.recheck import UNREADABLE
from protocol.units import BlockNumber, Digest, StakingId
from protocol.wire.statements import VerdictStatement

CONTRACT: Final = "Disputes"
TRIES_AT_ONCE: Final = 128
"""Candidates that one call of ``draw`` tries, as the contract allows."""
MAX_TRIES: Final = 4096
"""Candidates of one round, as the contract allows."""


class Status(IntEnum):
    """Where a dispute stands; the numbers are the contract's."""

    DRAWING = 1
    VOTING = 2
    UPHELD = 3
    CONFIRMED = 4
    VOID = 5
    DISMISSED = 6
    UNDECIDED = 7
    EXECUTED = 8
    LAPSED = 9

    @property
    def label(self) -> str:
        """Stable name, as in notes and on command lines: ``voting``."""
        return self.name.lower()

    @property
    def is_open(self) -> bool:
        """Whether anything may still come of it."""
        return self < Status.VOID


class Seat(IntEnum):
    """What a node has to do with a jury; the numbers are the contract's."""

    NONE = 0
    DRAWN = 1
    HAS_JUDGED = 2
    COULD_NOT_JUDGE = 3


class Verdict(IntEnum):
    """What a juror says; the numbers are the contract's."""

    WRONG = 1
    RIGHT = 2
    CANNOT_JUDGE = 3

    @property
    def label(self) -> str:
        """Stable name: ``cannot_judge``."""
        return self.name.lower()


class Step(IntEnum):
    """What anybody may call, in the order in which a dispute wants it."""

    DRAW = 1
    VOTE = 2
    CLOSE = 3
    EXECUTE = 4

    @property
    def label(self) -> str:
        """Name of the contract's function."""
        return self.name.lower()


KEEPER_TURN: Final = 64
"""Blocks after a seed is known for which nodes that have no part leave the first jury to those who have."""


SEED_LASTS: Final = 224
"""Blocks after which they take a seed that nobody stored for lost: the contract can use it for 241, and a call takes
some to be mined. A draw past that ends the dispute, and costs who sends it his gas."""


def is_keepers_turn(own: StakingId, number: int, candidates: int, waited: int, *, is_stored: bool) -> bool:
    """Say whether a node that has no part in a dispute is to draw its first jury, which nobody drew.

    Else an honest reporter that is away loses its bond. One more node every other block, beginning at another one in
    each dispute, so that hardly ever two pay for the same.

    Args:
        own: The node.
        number: The dispute's.
        candidates: Nodes that were registered when it began.
        waited: Blocks since the last block of the seed.
        is_stored: Whether somebody drew with it, so that the contract keeps it.
    """
    is_lost = waited >= SEED_LASTS and not is_stored
    return not is_lost and waited >= KEEPER_TURN + 2 * ((own - number) % candidates)


@dataclass(frozen=True, slots=True)
class DisputeSeen:
    """One dispute after a confirmed block, as far as it concerns the node that reads it."""

    number: int
    accused: StakingId
    reporter: StakingId
    evidence: Digest
    status: Status
    round: int
    """0, and 1 after an appeal."""
    deadline_s: int
    """Unix seconds, by the chain's time, at which the present phase ends."""
    seats: int
    """Of the present round, as all that follows."""
    taken: int
    """Seats whose jurors have judged or still may."""
    wrong: int
    right: int
    seed_block: int
    """The last of the blocks whose hashes make the seed."""
    tries: int
    """Candidates tried so far."""
    seat: Seat
    """Of the node that reads, in the present round."""
    is_kept: bool
    """Whether the reading node has no part in it, and draws its jury because nobody else does."""
    is_own_owners: bool
    """Whether one of the parties belongs to the reading node's owner; known where it has a seat."""


def due_step(seen: DisputeSeen, block: BlockNumber, now_s: int) -> Step | None:
    """Say what anybody may call now to bring a dispute on; None while only time or jurors can.

    Args:
        seen: What the contract says.
        block: After which confirmed block.
        now_s: Time of that block (unix s): what is called comes later.
    """
    late = now_s >= seen.deadline_s
    match seen.status:
        case Status.DRAWING:
            if late or seen.tries >= MAX_TRIES:
                return Step.CLOSE
            return Step.DRAW if block >= seen.seed_block else None
        case Status.VOTING:
            if late or seen.wrong + seen.right == seen.seats:
                return Step.CLOSE
            is_free = seen.taken < seen.seats and seen.tries < MAX_TRIES
            return Step.DRAW if is_free and block >= seen.seed_block else None
        case Status.UPHELD | Status.CONFIRMED:
            return Step.EXECUTE if late else None
        case _:
            return None


def step_call(seen: DisputeSeen, step: Step) -> ContractCall:
    """Give the call of a step that needs nothing but the dispute's number."""
    arguments = (seen.number, TRIES_AT_ONCE) if step is Step.DRAW else (seen.number,)
    return ContractCall(CONTRACT, step.label, arguments)


def vote_call(verdict: VerdictStatement, signature: bytes) -> ContractCall:
    """Give the call that brings one signed verdict."""
    statement = (verdict.dispute, verdict.round, verdict.juror, verdict.verdict)
    return ContractCall(CONTRACT, Step.VOTE.label, (verdict.dispute, (statement,), (signature,)))


def state_name(seen: DisputeSeen, step: Step) -> str:
    """Name the state in which a step is due: it changes with all that could make another call of the step useful."""
    return (
        f"dispute/{seen.number}/{seen.round}/{step.label}/{int(seen.status)}/{seen.seed_block}/{seen.tries}"
        f"/{seen.taken}/{seen.wrong}/{seen.right}"
    )


def verdict_of(apart: int) -> Verdict | None:
    """Say what a juror finds whose own picture is so far (ppm) from the disputed one.

    Wrong only beyond what any honest picture was ever seen to differ, in whatever arithmetic: a slash is not undone,
    and a juror has one drawing only, where a recheck has three. None where one of the two files shows no picture:
    which one, is to be found out first.
    """
    if apart == UNREADABLE:
        return None
    return Verdict.WRONG if apart > ANOTHER_PICTURE else Verdict.RIGHT
