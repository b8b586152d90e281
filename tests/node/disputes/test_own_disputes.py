"""What an owner is told of the disputes of his node."""

from dataclasses import replace

from node.disputes.own_disputes import in_words, own_disputes
from protocol.events import DisputesSeen
from protocol.justice.dispute import DisputeSeen, Seat, Status
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.disputing import DisputePolicy
from protocol.roles.miner.miner import MinerCore
from protocol.units import BlockNumber, Wei
from tests.protocol.roles.frames import ALICE_ID
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat
from tests.support.disputed import dispute_about, disputed

NOW = 1_800_000_000
VOTING = dispute_about(disputed(), status=Status.VOTING, taken=3, wrong=1, deadline_s=NOW + 3600)


def told(seat: CoordinatorSeat | MinerSeat, seen: DisputeSeen) -> list[str]:
    """Have a node see a dispute; gives what its owner reads."""
    seat.hear(DisputesSeen(BlockNumber(200), NOW, Wei(1), (seen,)))
    core = seat.core
    assert isinstance(core, CoordinatorCore | MinerCore)
    disputing = core.disputing if isinstance(core, CoordinatorCore) else core.jury.disputing
    return [in_words(one) for one in own_disputes(disputing)]


def test_in_words__accused__is_told_that_withdrawals_are_frozen_and_when_it_may_appeal() -> None:
    (line,) = told(MinerSeat(), replace(VOTING, accused=ALICE_ID))
    assert line.startswith("dispute 7: this miner is accused by coordinator 3; jurors judge (1 wrong, 0 right of 3)")
    assert "withdrawals of stake on it are frozen" in line
    assert "appeal" not in line
    upheld = replace(VOTING, accused=ALICE_ID, status=Status.UPHELD)
    assert told(MinerSeat(), upheld)[0].endswith("you may appeal: cuckoo dispute appeal 7")
    late = replace(upheld, deadline_s=NOW - 1)
    assert "appeal" not in told(MinerSeat(), late)[0]


def test_in_words__reporter_or_juror__is_told_how_it_stands() -> None:
    (line,) = told(CoordinatorSeat(), VOTING)
    assert line.startswith("dispute 7: miner 2 is accused by coordinator 3; jurors judge")
    assert "frozen" not in line
    (line,) = told(CoordinatorSeat(), replace(VOTING, status=Status.UPHELD))
    assert ", and the miner's owner may appeal until " in line
    (line,) = told(CoordinatorSeat(), replace(VOTING, status=Status.UPHELD, deadline_s=NOW - 1))
    assert line.endswith("jurors found the picture wrong (1 wrong, 0 right of 3)")
    (line,) = told(MinerSeat(), replace(VOTING, seat=Seat.DRAWN))
    assert "and this miner is a juror" in line


def test_in_words__jury_that_nobody_else_draws__is_told_why_this_node_does() -> None:
    seat, kept = MinerSeat(), replace(VOTING, status=Status.DRAWING, is_kept=True)
    assert told(seat, kept) == [], "without a gas key it does not"
    seat.core.jury.disputing.policy = DisputePolicy(takes_part=True)
    (line,) = told(seat, kept)
    assert "coordinator 3, and this node has its jury drawn, since nobody else did; jurors are being drawn" in line


def test_own_disputes__that_ended__are_not_told() -> None:
    assert told(CoordinatorSeat(), replace(VOTING, status=Status.DISMISSED)) == []
