"""Contradictions are noticed in what a node hears anyway, kept first, shown once, never for nothing. SPEC.md §11.4."""

from collections.abc import Iterable

import pytest

from protocol.chain_records import Confirmed, ContractEvent, Failed, TransactionRequested
from protocol.effects import CheckEvidence, Effect, Persist, SubmitTx
from protocol.events import ActivityChanged, EvidenceChecked, Provability, Restored, TxConfirmed, TxFailed
from protocol.justice.evidence import (
    Evidence,
    TwoAwards,
    TwoCommitments,
    TwoReceipts,
    name_of,
)
from protocol.notes import NoteName
from protocol.records import CaseChanged, CaseState, EvidenceFound, Record
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.prosecution import LOOK_AGAIN_MS, PATIENCE_MS, ProofPolicy
from protocol.units import Address, BlockNumber, Digest, UnixMillis, Wei
from tests.protocol.roles.frames import (
    ALICE_ID,
    CAROL_ID,
    artifact_of,
    award_of,
    receipt_of,
    result_of,
)
from tests.protocol.roles.pay import escrow_of
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, judged, noted, persisted
from tests.protocol.roles.test_collecting import awarded, drawn
from tests.support.networks import ALICE, BOB, CAROL

OWNER = Address(b"\x0a" * 20)
PROVES = ProofPolicy(proves=True)


def found(effects: Iterable[Effect]) -> list[Evidence]:
    return [record.evidence for record in persisted(effects, EvidenceFound)]


def asked(effects: Iterable[Effect]) -> list[SubmitTx]:
    return [effect for effect in effects if isinstance(effect, SubmitTx)]


def checks(effects: Iterable[Effect]) -> list[Evidence]:
    return [effect.evidence for effect in effects if isinstance(effect, CheckEvidence)]


def committed_twice(seat: CoordinatorSeat) -> tuple[Effect, ...]:
    """Alice wins, and signs for two results."""
    award = seat.award()
    seat.say(ALICE, result_of(award))
    return seat.say(ALICE, result_of(award, artifact=b"x" * 32))


def checked(
    evidence: Evidence,
    answer: Provability = Provability.PROVABLE,
    *,
    detail: str = "",
    gas_price: int = 10**9,
    receiver: Address = OWNER,
) -> EvidenceChecked:
    return EvidenceChecked(name_of(evidence), answer, detail, receiver, Wei(gas_price))


def confirmed(slashed: int = 100, bounty: int = 10) -> Confirmed:
    events = (
        ContractEvent("Staking", "Slashed", {"id": 1, "slashed": slashed, "bounty": bounty}),
        ContractEvent("Slashing", "ProvenSlashed", {"id": 1, "kind": 1, "slashed": slashed}),
    )
    return Confirmed(BlockNumber(9), Digest(b"t" * 32), events, Wei(1))


def changes(effects: Iterable[Effect]) -> list[CaseChanged]:
    return persisted(effects, CaseChanged)


# Noticing


def test_result__second_commitment_for_one_award__is_kept_before_anything_else() -> None:
    seat = CoordinatorSeat(prove=PROVES)
    effects = committed_twice(seat)
    (evidence,) = found(effects)
    assert isinstance(evidence, TwoCommitments)
    assert (evidence.signer, evidence.fault()) == (ALICE_ID, None)
    (note,) = noted(effects, NoteName.EVIDENCE_FOUND)
    assert (note.fields["signer"], note.fields["reason"]) == (ALICE_ID, "two_commitments")
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(CheckEvidence)
    assert asked(effects) == [], "nothing is sent before the chain was asked"


def test_result__second_commitment_for_one_award__is_judged_and_the_first_ends_the_task() -> None:
    seat = CoordinatorSeat(prove=PROVES)
    award = seat.award()
    seat.say(ALICE, result_of(award))
    assert judged(seat.say(ALICE, result_of(award, artifact=b"x" * 32))) == ["result.twice"]
    assert judged(seat.say(ALICE, result_of(award))) == [], "the first again"
    seat.hear(artifact_of(award))
    assert seat.core.task(award.statement.task) is None, "it is done"


def test_result__second_commitment_after_the_task_has_ended__is_evidence() -> None:
    seat = CoordinatorSeat(prove=PROVES)
    award = seat.award()
    seat.say(ALICE, result_of(award))
    seat.hear(artifact_of(award))
    assert seat.core.task(award.statement.task) is None
    assert len(found(seat.say(ALICE, result_of(award, artifact=b"x" * 32)))) == 1


def test_result__second_commitment_that_breaks_a_rule__is_evidence_too() -> None:
    seat = CoordinatorSeat(prove=PROVES)
    award = seat.award()
    seat.say(ALICE, result_of(award))
    assert len(found(seat.say(ALICE, result_of(award, model=b"x" * 32)))) == 1


def test_result__second_commitment_while_the_picture_waits_for_its_app__is_evidence() -> None:
    seat = CoordinatorSeat(prove=PROVES)
    award = awarded(seat)
    drawn(seat, award)
    known = seat.core.task(award.statement.task)
    assert known is not None
    assert known.ready is not None
    assert len(found(seat.say(ALICE, result_of(award, artifact=b"x" * 32)))) == 1


@pytest.mark.parametrize("late", [False, True])
def test_result__again_or_not_signed_by_the_miner__is_no_evidence(late: bool) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB), prove=PROVES)
    award = seat.award()
    seat.say(ALICE, result_of(award))
    if late:
        seat.hear(artifact_of(award))
    for frame in (result_of(award), result_of(award, by=BOB, artifact=b"x" * 32)):
        assert found(seat.say(ALICE, frame)) == []
    assert found(seat.say(BOB, result_of(award, artifact=b"x" * 32))) == [], "shown by somebody else"


def test_award__second_one_for_one_claim__is_evidence_and_its_coordinator_refused() -> None:
    seat = MinerSeat(prove=PROVES)
    claim = seat.claimed()
    seat.say(CAROL, award_of(claim))
    assert found(seat.say(CAROL, award_of(claim))) == [], "the same again"
    effects = seat.say(CAROL, award_of(claim, price=1))
    (evidence,) = found(effects)
    assert isinstance(evidence, TwoAwards)
    assert (evidence.signer, evidence.fault()) == (CAROL_ID, None)
    seat.escrows(escrow_of(10**6))
    assert seat.core.refused() == {CAROL_ID: "contradicted"}


def test_award__second_one_signed_by_another_key__is_no_evidence() -> None:
    seat = MinerSeat(prove=PROVES)
    claim = seat.claimed()
    seat.say(CAROL, award_of(claim))
    assert found(seat.say(CAROL, award_of(claim, by=BOB, price=1))) == []


@pytest.mark.parametrize(("changed", "is_evidence"), [({"price": 1}, True), ({"accepted": 1}, False), ({}, False)])
def test_receipt__second_one_for_one_commitment__is_evidence_unless_it_differs_in_its_time_only(
    changed: dict[str, int], is_evidence: bool
) -> None:
    seat = MinerSeat(prove=PROVES)
    _, result = seat.delivered()
    seat.say(CAROL, receipt_of(result))
    evidence = found(seat.say(CAROL, receipt_of(result, **changed)))
    assert [type(one) for one in evidence] == ([TwoReceipts] if is_evidence else [])


# Acting


def filed(*, prove: ProofPolicy = PROVES) -> tuple[CoordinatorSeat, Evidence]:
    """A coordinator with one piece of evidence, which the chain was asked about."""
    seat = CoordinatorSeat(prove=prove)
    effects = committed_twice(seat)
    (evidence,) = found(effects)
    assert checks(effects) == ([evidence] if prove.proves else [])
    return seat, evidence


def test_checked__provable__is_asked_for_once_with_the_bounty_for_our_owner_and_both_are_one_commit() -> None:
    seat, evidence = filed()
    effects = seat.hear(checked(evidence))
    (wish,) = asked(effects)
    assert wish.key == "prove/" + name_of(evidence)
    assert (wish.call.contract, wish.call.function) == ("Slashing", "prove_two_commitments")
    assert wish.call.arguments[-1] == OWNER
    assert [one.state for one in changes(effects)] == [CaseState.ASKED]
    assert asked(seat.hear(checked(evidence))) == [], "an answer that comes twice"
    effects = seat.hear(TxConfirmed(wish.key, confirmed()))
    (proven,) = changes(effects)
    assert (proven.state, proven.slashed, proven.bounty, proven.transaction) == (
        CaseState.PROVEN,
        100,
        10,
        b"t" * 32,
    )
    (note,) = noted(effects, NoteName.EVIDENCE_PROVEN)
    assert (note.fields["signer"], note.fields["slashed_wei"], note.fields["bounty_wei"]) == (ALICE_ID, "100", "10")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Provability.ALREADY_PROVEN, CaseState.ALREADY_PROVEN),
        (Provability.RESPITE, CaseState.GIVEN_UP),
        (Provability.NOTHING_LEFT, CaseState.GIVEN_UP),
        (Provability.REFUSED, CaseState.GIVEN_UP),
    ],
)
def test_checked__proof_that_gains_nothing__is_not_sent_and_settled_with_the_reason(
    answer: Provability, state: CaseState
) -> None:
    seat, evidence = filed()
    effects = seat.hear(checked(evidence, answer, detail="its words"))
    assert asked(effects) == []
    (settled,) = changes(effects)
    assert settled.state is state
    assert "its words" in settled.detail
    assert asked(seat.hear(checked(evidence))) == [], "it is settled"


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Failed("reverted", "Slashing: this was proven and slashed already"), CaseState.ALREADY_PROVEN),
        (Failed("refused", "Slashing: this was proven and slashed already"), CaseState.ALREADY_PROVEN),
        (Failed("refused", "Slashing: a statement is not signed by a key of the node"), CaseState.GIVEN_UP),
        (Failed("reverted", "the transaction ran out of gas"), CaseState.GIVEN_UP),
    ],
)
def test_outcome__somebody_was_first_or_the_contract_refused__is_settled_by_name(
    outcome: Failed, state: CaseState
) -> None:
    seat, evidence = filed()
    seat.hear(checked(evidence))
    effects = seat.hear(TxFailed("prove/" + name_of(evidence), outcome))
    (settled,) = changes(effects)
    assert (settled.state, outcome.detail in settled.detail) == (state, True)


def test_checked__gas_is_dear__waits_and_looks_again_until_it_has_waited_too_long() -> None:
    seat, evidence = filed()
    dear = checked(evidence, gas_price=PROVES.gas_price + 1)
    effects = seat.hear(dear)
    assert (asked(effects), changes(effects)) == ([], [])
    assert noted(effects, NoteName.EVIDENCE_WAITS)[0].fields["reason"] == "gas_price"
    assert checks(seat.wait(LOOK_AGAIN_MS)) == [evidence]
    assert noted(seat.hear(dear), NoteName.EVIDENCE_WAITS) == [], "it is said once an hour"
    seat.now = UnixMillis(seat.now + PATIENCE_MS)
    (settled,) = changes(seat.hear(dear))
    assert (settled.state, settled.detail) == (CaseState.GIVEN_UP, "waited in vain: gas_price")


def test_checked__gas_is_cheap_again__is_shown() -> None:
    seat, evidence = filed()
    seat.hear(checked(evidence, gas_price=PROVES.gas_price + 1))
    seat.wait(LOOK_AGAIN_MS)
    assert len(asked(seat.hear(checked(evidence, gas_price=PROVES.gas_price)))) == 1


def test_checked__node_is_not_registered__waits_for_its_owner_to_be_known() -> None:
    seat, evidence = filed()
    effects = seat.hear(checked(evidence, receiver=Address(bytes(20))))
    assert (asked(effects), noted(effects, NoteName.EVIDENCE_WAITS)[0].fields["reason"]) == ([], "not_registered")
    assert checks(seat.wait(LOOK_AGAIN_MS)) == [evidence]
    assert len(asked(seat.hear(checked(evidence)))) == 1


def test_found__node_that_does_not_prove__keeps_it_and_says_so() -> None:
    seat = CoordinatorSeat()
    effects = committed_twice(seat)
    assert len(found(effects)) == 1
    assert (checks(effects), asked(effects)) == ([], [])
    assert noted(effects, NoteName.EVIDENCE_WAITS)[0].fields["reason"] == "not_sent_by_this_node"


# Over restarts


def run_again(records: tuple[Record, ...]) -> tuple[CoordinatorSeat, tuple[Effect, ...]]:
    seat = CoordinatorSeat(prove=PROVES)
    seat.core = CoordinatorCore(seat.identity, tuple, prove=PROVES)
    return seat, seat.hear(Restored(records))


def test_restart__after_it_was_found__the_chain_is_asked_again() -> None:
    _, evidence = filed()
    seat, effects = run_again((EvidenceFound(evidence, UnixMillis(5)),))
    assert checks(effects) == [evidence]
    assert len(asked(seat.hear(checked(evidence)))) == 1


def test_restart__after_it_was_asked_for__waits_for_the_one_outcome() -> None:
    seat, evidence = filed()
    (wish,) = asked(seat.hear(checked(evidence)))
    name = name_of(evidence)
    records = (
        EvidenceFound(evidence, seat.now),
        CaseChanged(name, CaseState.ASKED, seat.now),
        TransactionRequested(wish.key, wish.call),
    )
    again, effects = run_again(records)
    assert (checks(effects), asked(effects)) == ([], [])
    assert asked(again.hear(checked(evidence))) == [], "a late answer makes no second transaction"
    (proven,) = changes(again.hear(TxConfirmed(wish.key, confirmed())))
    assert proven.state is CaseState.PROVEN
    assert changes(again.hear(TxConfirmed(wish.key, confirmed()))) == [], "told twice"


@pytest.mark.parametrize("state", [CaseState.PROVEN, CaseState.ALREADY_PROVEN, CaseState.GIVEN_UP])
def test_restart__after_it_was_settled__nothing_is_done(state: CaseState) -> None:
    _, evidence = filed()
    changed = CaseChanged(name_of(evidence), state, UnixMillis(6))
    seat, effects = run_again((EvidenceFound(evidence, UnixMillis(5)), changed))
    assert (checks(effects), asked(effects)) == ([], [])
    assert asked(seat.hear(checked(evidence))) == []


# What follows


@pytest.mark.parametrize(("owed", "why"), [(0.0, "inactive"), (1.0, "in_debt")])
def test_refused__coordinator_that_is_jailed_or_in_debt__is_named_with_the_reason(owed: float, why: str) -> None:
    seat = MinerSeat()
    seat.escrows(escrow_of(10**6, owed=owed))
    effects = seat.hear(ActivityChanged(frozenset({CAROL_ID})))
    (note,) = noted(effects, NoteName.COORDINATOR_REFUSED)
    assert (note.fields["coordinator"], note.fields["reason"]) == (CAROL_ID, why)
    assert seat.core.refused() == {CAROL_ID: why}
    effects = seat.hear(ActivityChanged(frozenset()))
    assert len(noted(effects, NoteName.COORDINATOR_ACCEPTED)) == 1
    assert seat.core.refused() == {}


def test_refused__escrows_are_not_read_yet__nobody_is_said_to_be() -> None:
    seat = MinerSeat(escrow=None)
    effects = seat.hear(ActivityChanged(frozenset({CAROL_ID})))
    assert noted(effects, NoteName.COORDINATOR_REFUSED) == []
    assert len(noted(seat.escrows(escrow_of(1)), NoteName.COORDINATOR_REFUSED)) == 1
