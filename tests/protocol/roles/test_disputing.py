"""Disputes are brought on by whoever has a part in them, once in each state, and never for nothing. SPEC.md §12.10."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from protocol.chain_records import Confirmed, ContractEvent, Failed
from protocol.effects import Effect, SubmitTx
from protocol.events import DisputesSeen, TxConfirmed, TxFailed
from protocol.justice.dispute import DisputeSeen, Seat, Status
from protocol.notes import NoteName
from protocol.records import Record, VerdictKept
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.core import Core
from protocol.roles.disputing import (
    ACCUSED_TURN,
    DAYS_PARTS,
    FIRST_PAUSE,
    JUROR_TURN,
    JUROR_TURNS,
    LAST_PAUSE,
    DisputePolicy,
)
from protocol.roles.miner.miner import MinerCore
from protocol.units import BlockNumber, Digest, StakingId, UnixMillis, Wei
from tests.protocol.roles.frames import ALICE_ID, BOB_ID, CAROL_ID, EPOCH
from tests.protocol.roles.seats import Seat as Place
from tests.protocol.roles.seats import noted
from tests.support import networks
from tests.support.disputed import dispute_about, disputed
from tests.support.networks import ALICE, CAROL

TAKES_PART = DisputePolicy(takes_part=True)
DRAWING = dispute_about(disputed())
VOTING = replace(DRAWING, status=Status.VOTING, taken=3, tries=9)
UPHELD = replace(VOTING, status=Status.UPHELD, wrong=3)
SEED = DRAWING.seed_block
EARLY, LATE = DRAWING.deadline_s - 1, DRAWING.deadline_s
GAS = 10**9


class Party(Place):
    """A node with a part in disputes; the chain's words are the test's."""

    def __init__(self, core: str = "coordinator", policy: DisputePolicy = TAKES_PART) -> None:
        super().__init__(CAROL if core == "coordinator" else ALICE)
        self._kind, self._policy = core, policy
        self.begin()

    def begin(self, records: tuple[Record, ...] = ()) -> None:
        """Begin a run on these records."""
        self.core: Core = (
            CoordinatorCore(self.identity, tuple, disputes=self._policy)
            if self._kind == "coordinator"
            else MinerCore(self.identity, tuple, Wei(0), disputes=self._policy)
        )
        self.start(records)

    def sees(self, *seen: DisputeSeen, block: int = SEED, at_s: int = EARLY, gas: int = GAS) -> tuple[Effect, ...]:
        return self.hear(DisputesSeen(BlockNumber(block), at_s, Wei(gas), seen))


def asked(effects: Iterable[Effect]) -> list[SubmitTx]:
    return [effect for effect in effects if isinstance(effect, SubmitTx)]


def functions(effects: Iterable[Effect]) -> list[str]:
    return [wish.call.function for wish in asked(effects)]


def refused(wish: SubmitTx) -> TxFailed:
    return TxFailed(wish.key, Failed("refused", "the contract's own words"))


def confirmed(wish: SubmitTx, *events: ContractEvent) -> TxConfirmed:
    return TxConfirmed(wish.key, Confirmed(BlockNumber(9), Digest(b"t" * 32), events, Wei(1)))


def test_seen__as_its_reporter__jurors_are_drawn_as_soon_as_the_seed_is_mined_and_once() -> None:
    party = Party()
    effects = party.sees(DRAWING, block=SEED - 1)
    assert functions(effects) == []
    (note,) = noted(effects, NoteName.DISPUTE_SEEN)
    assert (note.fields["dispute"], note.fields["part"], note.fields["reason"]) == (7, "reporter", "drawing")
    assert functions(party.sees(DRAWING, block=SEED)) == ["draw"]
    for block in range(SEED + 1, SEED + 60):
        effects = party.sees(DRAWING, block=block)
        assert functions(effects) == [], "it was asked for"
        assert noted(effects, NoteName.DISPUTE_SEEN) == [], "nothing is new"


def test_seen__jury_that_nobody_else_draws__is_drawn_at_once_also_by_who_has_no_part() -> None:
    party = Party("miner")
    effects = party.sees(replace(DRAWING, accused=77, reporter=78, is_kept=True))
    assert functions(effects) == ["draw"]
    (note,) = noted(effects, NoteName.DISPUTE_SEEN)
    assert note.fields["part"] == "keeper"


def test_seen__jury_of_others_that_nobody_drew_in_time__is_closed_by_others() -> None:
    assert functions(Party().sees(replace(DRAWING, accused=77, reporter=78, is_kept=True), at_s=LATE)) == []


def test_seen__jury_of_others_where_this_node_sends_nothing__is_not_noted() -> None:
    party = Party(policy=replace(TAKES_PART, takes_part=False))
    assert not noted(party.sees(replace(DRAWING, accused=77, reporter=78, is_kept=True)), NoteName.DISPUTE_SEEN)
    assert noted(party.sees(DRAWING), NoteName.DISPUTE_SEEN), "its own it hears of"


def test_seen__draw_that_left_seats_free__goes_on_with_the_next_state() -> None:
    party = Party()
    (wish,) = asked(party.sees(DRAWING))
    party.hear(confirmed(wish))
    assert functions(party.sees(DRAWING)) == [], "the chain will say what it changed"
    (again,) = asked(party.sees(replace(DRAWING, tries=128, taken=1)))
    assert again.call == wish.call
    assert again.key != wish.key


def test_seen__whole_life__each_phase_is_ended_when_it_is_due() -> None:
    party = Party()
    assert functions(party.sees(DRAWING)) == ["draw"]
    assert functions(party.sees(VOTING)) == []
    assert functions(party.sees(replace(VOTING, wrong=2, right=1))) == ["close"]
    assert functions(party.sees(UPHELD)) == []
    effects = party.sees(UPHELD, at_s=LATE)
    assert functions(effects) == ["execute"]
    slash = ContractEvent("Disputes", "QuorumSlashed", {"id": 2, "dispute": 7, "slashed": 5, "bps": 1, "reporter": 3})
    (told,) = noted(party.hear(confirmed(asked(effects)[0], slash)), NoteName.DISPUTE_EXECUTED)
    assert (told.fields["dispute"], told.fields["signer"], told.fields["slashed_wei"]) == (7, 2, "5")
    ended = party.sees(replace(UPHELD, status=Status.EXECUTED), at_s=LATE)
    (note,) = noted(ended, NoteName.DISPUTE_ENDED)
    assert note.fields["reason"] == "executed"
    assert isinstance(party.core, CoordinatorCore)
    assert party.core.disputing.seen == {}, "nothing is remembered of it"


@pytest.mark.parametrize(
    ("accused", "turn"), [(True, ACCUSED_TURN), (False, JUROR_TURN + 2 * (ALICE_ID % JUROR_TURNS))]
)
def test_seen__not_the_reporter__leaves_a_step_to_others_for_some_blocks(accused: bool, turn: int) -> None:
    party = Party("miner")
    seen = replace(VOTING, wrong=2, right=1, seat=Seat.NONE if accused else Seat.HAS_JUDGED)
    seen = replace(seen, accused=ALICE_ID if accused else BOB_ID)
    for block in range(SEED, SEED + turn):
        assert functions(party.sees(seen, block=block)) == []
    assert functions(party.sees(seen, block=SEED + turn)) == ["close"]


def test_seen__accused__is_the_last_to_pay_for_its_own_slash() -> None:
    party = Party("miner")
    seen = replace(UPHELD, accused=ALICE_ID)
    longest = JUROR_TURN + 2 * JUROR_TURNS
    party.sees(seen, at_s=LATE)
    assert functions(party.sees(seen, block=SEED + longest - 1, at_s=LATE)) == []
    assert functions(party.sees(seen, block=SEED + longest, at_s=LATE)) == ["execute"]


def test_outcome__without_effect__is_tried_again_ever_more_rarely() -> None:
    party, block, pauses = Party(), SEED, []
    (wish,) = asked(party.sees(DRAWING))
    for _ in range(12):
        party.hear(refused(wish))
        before = block
        while not (wishes := asked(party.sees(DRAWING, block=(block := block + 1)))):
            pass
        assert wishes[0].key != wish.key, "another wish, or the old outcome would be told again"
        (wish,) = wishes
        pauses.append(block - before)
    assert pauses == [min(FIRST_PAUSE * 2**tries, LAST_PAUSE) for tries in range(12)]


def test_restart__call_under_way__is_the_same_wish_and_its_old_outcome_counts() -> None:
    party = Party()
    (first,) = asked(party.sees(DRAWING))
    party.begin()
    (again,) = asked(party.sees(DRAWING))
    assert (again.key, again.call) == (first.key, first.call)
    party.hear(refused(again))
    assert functions(party.sees(DRAWING, block=SEED + FIRST_PAUSE)) == ["draw"]


@pytest.mark.parametrize(
    ("policy", "gas", "reason"),
    [
        (DisputePolicy(takes_part=False), GAS, "not_sent_by_this_node"),
        (replace(TAKES_PART, gas_price=Wei(GAS - 1)), GAS, "gas_price"),
        (replace(TAKES_PART, per_day=0), GAS, "enough_for_today"),
    ],
)
def test_seen__owner_sets_a_limit__waits_and_says_why_now_and_then(
    policy: DisputePolicy, gas: int, reason: str
) -> None:
    party = Party(policy=policy)
    effects = party.sees(DRAWING, gas=gas)
    assert functions(effects) == []
    assert [note.fields["reason"] for note in noted(effects, NoteName.DISPUTE_WAITS)] == [reason]
    assert noted(party.sees(DRAWING, gas=gas), NoteName.DISPUTE_WAITS) == []


def test_seen__gas_is_cheap_again__goes_on() -> None:
    party = Party(policy=replace(TAKES_PART, gas_price=Wei(GAS)))
    party.sees(DRAWING, gas=GAS + 1)
    assert functions(party.sees(DRAWING, block=SEED + 1)) == ["draw"]


def test_seen__many_states_in_a_day__costs_no_more_than_its_owner_said() -> None:
    party = Party(policy=replace(TAKES_PART, per_day=3))
    sent = [functions(party.sees(replace(DRAWING, tries=tries))) for tries in range(5)]
    assert sent == [["draw"]] * 3 + [[]] * 2
    party.now = UnixMillis(party.now + 86_400_001)
    assert functions(party.sees(replace(DRAWING, tries=4))) == ["draw"]


def test_seen__others_used_up_the_days_steps__its_own_verdicts_still_leave() -> None:
    party = Party("miner", policy=replace(TAKES_PART, per_day=8))
    accused = replace(DRAWING, number=90, accused=ALICE_ID)
    steps = 0
    for tries in range(20):
        party.sees(replace(accused, tries=tries))
        steps += len(functions(party.sees(replace(accused, tries=tries), block=SEED + ACCUSED_TURN)))
    assert steps == 8 - 8 // DAYS_PARTS
    voting = [replace(VOTING, number=number, seat=Seat.DRAWN) for number in (1, 2, 3)]
    kept = [VerdictKept(seen.number, 0, seen.evidence, 2, b"s" * 65, "apart", party.now, ALICE_ID) for seen in voting]
    assert isinstance(party.core, MinerCore)
    party.core.jury.disputing.verdicts.update({(one.dispute, one.round): one for one in kept})
    assert functions(party.sees(*voting)) == ["vote"] * (8 // DAYS_PARTS)


def test_seen__others_have_it_draw_their_juries_all_day__it_still_draws_its_own() -> None:
    party = Party(policy=replace(TAKES_PART, per_day=8))
    kept = replace(DRAWING, number=90, accused=77, reporter=78, is_kept=True)
    steps = sum(len(functions(party.sees(replace(kept, tries=tries)))) for tries in range(20))
    assert steps == 8 // DAYS_PARTS
    assert functions(party.sees(DRAWING)) == ["draw"]


def test_seen__verdict_of_a_node_that_was_registered_anew_since__is_brought_as_whose_it_was() -> None:
    party = Party("miner")
    seen = replace(VOTING, seat=Seat.DRAWN)
    party.begin((VerdictKept(seen.number, 0, seen.evidence, 1, b"s" * 65, "apart", party.now, StakingId(77)),))
    (wish,) = asked(party.sees(seen))
    assert wish.call.arguments[1] == ((7, 0, 77, 1),)


def test_seen__dispute_that_is_no_longer_told__is_forgotten() -> None:
    party = Party()
    party.sees(DRAWING)
    party.sees()
    assert isinstance(party.core, CoordinatorCore)
    assert party.core.disputing.seen == {}


def test_seen__verdict_on_disk_and_seat_free_to_speak__is_voted_once_and_again_after_a_failure() -> None:
    party = Party("miner")
    seen = replace(VOTING, seat=Seat.DRAWN)
    kept = VerdictKept(seen.number, 0, seen.evidence, 1, b"s" * 65, "apart", party.now, ALICE_ID)
    party.begin((kept,))
    (wish,) = asked(party.sees(seen))
    assert (wish.call.function, wish.call.arguments) == ("vote", (7, ((7, 0, ALICE_ID, 1),), (b"s" * 65,)))
    assert functions(party.sees(seen)) == []
    party.hear(refused(wish))
    (again,) = asked(party.sees(seen, block=SEED + FIRST_PAUSE))
    assert (again.call, again.key != wish.key) == (wish.call, True)
    assert functions(party.sees(replace(seen, seat=Seat.HAS_JUDGED), block=SEED + 9)) == [], "somebody brought it"


def test_seen__verdict_about_other_evidence__is_never_shown() -> None:
    party = Party("miner")
    seen = replace(VOTING, seat=Seat.DRAWN)
    kept = VerdictKept(seen.number, 0, Digest(b"x" * 32), 1, b"s" * 65, "apart", party.now, ALICE_ID)
    party.begin((kept,))
    assert functions(party.sees(seen)) == []


def test_seen__vote_after_the_deadline__is_not_sent() -> None:
    party = Party("miner")
    seen = replace(VOTING, seat=Seat.DRAWN)
    party.begin((VerdictKept(seen.number, 0, seen.evidence, 1, b"s" * 65, "apart", party.now, StakingId(0)),))
    assert functions(party.sees(seen, at_s=LATE)) == []
    assert functions(party.sees(seen, block=SEED + 40, at_s=LATE)) == ["close"]


def test_seen__seat_of_a_key_that_the_table_of_this_epoch_does_not_know_yet__waits() -> None:
    party = Party("miner")
    seen = replace(VOTING, seat=Seat.DRAWN)
    party.begin((VerdictKept(seen.number, 0, seen.evidence, 1, b"s" * 65, "apart", party.now, StakingId(0)),))
    rows = networks.view(EPOCH).table.rows
    party.tables([row for row in rows if row.id != ALICE_ID])
    assert functions(party.sees(seen)) == [], "the chain's newest block may know a key that no epoch is drawn by"


def test_part_of__each_node__is_its_own() -> None:
    party = Party()
    assert isinstance(party.core, CoordinatorCore)
    parts = [
        party.core.disputing.part_of(replace(DRAWING, reporter=reporter, accused=accused))
        for reporter, accused in ((CAROL_ID, BOB_ID), (ALICE_ID, CAROL_ID), (ALICE_ID, BOB_ID))
    ]
    assert parts == ["reporter", "accused", "juror"]
