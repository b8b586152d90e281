"""Verdicts: who may vote, what counts, and what two thirds of the seats decide."""

from collections.abc import Iterator

import pytest

from protocol.wire.statements import VerdictStatement
from tests.contracts.conftest import FAR
from tests.contracts.court import (
    ACCUSED,
    BOND,
    CANNOT_JUDGE,
    DISMISSED,
    FEE,
    FIRST_JUROR,
    JURORS,
    REPORTER,
    RIGHT,
    SEATS,
    UNDECIDED,
    UPHELD,
    VOTING,
    WRONG,
    Court,
)
from tests.contracts.market import fields
from tests.contracts.test_statements import other_forms
from tests.support.anvil import Reverted


@pytest.fixture
def court(opened_court: Court) -> Iterator[Court]:
    """Dispute 1 against the accused has its jury."""
    with opened_court.put_back() as court:
        court.report()
        court.seat_all(1)
        yield court


def test_vote__of_jurors_by_anybody__counts_each(court: Court):
    first, second, *_ = court.jurors(1)
    assert court.vote(1, {first: WRONG, second: RIGHT}) == [
        {"event": "VerdictCounted", "dispute": 1, "round": 0, "juror": first, "verdict": WRONG},
        {"event": "VerdictCounted", "dispute": 1, "round": 0, "juror": second, "verdict": RIGHT},
    ]
    panel = court.panel(1)
    assert (panel["wrong"], panel["right"], panel["taken"], panel["seats"]) == (1, 1, SEATS, SEATS)
    assert court.read("seat", 1, first) == (0, 2)


def test_vote__again_the_same_or_another__first_one_counts_and_the_batch_is_not_spoiled(court: Court):
    first, second, *_ = court.jurors(1)
    court.vote(1, {first: WRONG})
    events = court.vote(1, {first: RIGHT, second: WRONG})
    assert [event["juror"] for event in events] == [second]
    assert (court.panel(1)["wrong"], court.panel(1)["right"]) == (2, 0)


def test_vote__twice_differently__is_proven_in_slashing(court: Court):
    world = court.world
    juror = court.jurors(1)[0]
    (first, first_signature), (second, second_signature) = (court.verdict(1, juror, word) for word in (WRONG, RIGHT))
    before = court.stake(juror)
    arguments = (first, second, first_signature, second_signature, world.carol)
    (event,) = world.anvil.send(world.carol, world.slashing, "prove_two_verdicts", *arguments)
    assert (event["id"], event["slashed"]) == (juror, before * 500 // 10_000)


def test_vote__by_a_node_that_is_no_juror__is_refused(court: Court):
    jurors = court.jurors(1)
    others = [node for node in range(1, FIRST_JUROR + JURORS) if node not in jurors]
    for node in (ACCUSED, REPORTER, others[-1]):
        with pytest.raises(Reverted, match="Disputes: a verdict is not by a juror of this round"):
            court.vote(1, {node: RIGHT})


def test_vote__signed_by_another_key_or_for_another_round__is_refused(court: Court):
    juror = court.jurors(1)[0]
    statement, signature = court.verdict(1, juror, WRONG)
    _, anothers = court.verdict(1, court.jurors(1)[1], WRONG)
    cases = [
        ([statement], [anothers], "a verdict is not signed by a key of the juror"),
        ([(*statement[:3], RIGHT)], [signature], "a verdict is not signed by a key of the juror"),
        ([court.verdict(1, juror, WRONG, round_=1)[0]], [signature], "a verdict is for another round"),
        ([court.verdict(2, juror, WRONG)[0]], [signature], "a verdict is for another round"),
        ([statement], [], "as many signatures as verdicts are needed"),
    ]
    for statements, signatures, reason in cases:
        with pytest.raises(Reverted, match=f"Disputes: {reason}"):
            court.send(court.world.treasury, "vote", 1, statements, signatures)
    for form in other_forms(signature).values():
        with pytest.raises(Reverted, match="Disputes: a signature is not 65 bytes in its one valid form"):
            court.send(court.world.treasury, "vote", 1, [statement], [form])
    assert court.panel(1)["wrong"] == 0


@pytest.mark.parametrize("word", [0, 4, 255])
def test_vote__no_verdict_that_there_is__is_refused(court: Court, word: int):
    with pytest.raises(Reverted, match="Disputes: a verdict is 1 wrong, 2 right or 3"):
        court.vote(1, {court.jurors(1)[0]: word})


def test_vote__by_the_key_that_was_just_retired__counts(court: Court):
    world = court.world
    juror = court.jurors(1)[0]
    fresh, owner = world.key(), court.owners[juror]
    consent = world.consent(fresh, owner)
    world.anvil.send(owner, world.staking, "rotate_key", juror, "0x" + fresh.address.hex(), FAR, consent)
    assert len(court.vote(1, {juror: WRONG})) == 1


def test_vote__before_the_jury_sits_or_after_the_deadline__is_refused(court: Court):
    second = court.report(accused=FIRST_JUROR + JURORS - 1, reporter=ACCUSED)
    with pytest.raises(Reverted, match="Disputes: no verdicts are wanted in this dispute now"):
        court.vote(second, {FIRST_JUROR: WRONG})
    juror = court.jurors(1)[0]
    court.world.anvil.next_at(court.dispute(1)["deadline"])
    with pytest.raises(Reverted, match="Disputes: the deadline has passed"):
        court.vote(1, {juror: WRONG})


def test_vote__juror_cannot_judge__its_seat_is_drawn_again_and_it_never_again(court: Court):
    jurors = court.jurors(1)
    court.vote(1, {jurors[0]: CANNOT_JUDGE, jurors[1]: WRONG})
    assert court.panel(1)["taken"] == SEATS - 1
    assert court.read("seat", 1, jurors[0]) == (0, 3)
    deadline = court.dispute(1)["deadline"]
    court.draw(1)
    assert court.panel(1)["taken"] == SEATS
    assert (court.status(1), court.dispute(1)["deadline"]) == (VOTING, deadline)
    (successor,) = set(court.jurors(1)) - set(jurors)
    assert court.vote(1, {jurors[0]: WRONG}) == []
    court.vote(1, dict.fromkeys([successor, *jurors[2:]], WRONG))
    before, unpaid = (court.world.balance(court.owners[juror]) for juror in (successor, jurors[0]))
    court.close(1)
    assert court.status(1) == UPHELD
    court.world.anvil.next_at(court.dispute(1)["deadline"])
    court.execute(1)
    assert court.world.balance(court.owners[successor]) == before + FEE
    assert court.world.balance(court.owners[jurors[0]]) == unpaid


@pytest.mark.parametrize(
    ("wrong", "right", "outcome"),
    [
        *((4, 1, UPHELD), (4, 0, UPHELD), (5, 0, UPHELD)),
        *((3, 2, UNDECIDED), (2, 3, UNDECIDED), (3, 0, UNDECIDED), (0, 0, UNDECIDED)),
        *((1, 4, DISMISSED), (0, 4, DISMISSED), (0, 5, DISMISSED)),
    ],
)
def test_close__two_thirds_of_the_seats__decide(court: Court, wrong: int, right: int, outcome: int):
    world, jurors = court.world, court.jurors(1)
    court.vote(1, dict.fromkeys(jurors[:wrong], WRONG) | dict.fromkeys(jurors[wrong : wrong + right], RIGHT))
    if wrong + right < SEATS:
        with pytest.raises(Reverted, match="Disputes: the verdict window is open"):
            court.close(1)
        world.anvil.next_at(court.dispute(1)["deadline"])
    balances = [world.balance(court.owners[juror]) for juror in jurors]
    reporter, supply = world.balance(court.owners[REPORTER]), world.anvil.read(world.cai, "totalSupply")
    court.close(1)
    assert court.status(1) == outcome
    fees = FEE * (wrong + right)
    paid = [world.balance(court.owners[juror]) - before for juror, before in zip(jurors, balances, strict=True)]
    judged = 0 if outcome == UPHELD else wrong + right
    assert paid == [FEE] * judged + [0] * (SEATS - judged)
    back = world.balance(court.owners[REPORTER]) - reporter
    burned = supply - world.anvil.read(world.cai, "totalSupply")
    held = world.balance(world.disputes.address)
    assert (back, burned, held) == {
        UPHELD: (0, 0, BOND),
        UNDECIDED: (BOND - FEE * SEATS, FEE * SEATS - fees, 0),
        DISMISSED: (0, BOND - fees, 0),
    }[outcome]
    is_open = outcome == UPHELD
    assert (court.read("open_disputes", ACCUSED) == 1) is is_open
    assert (court.frozen_until() > world.anvil.now()) is is_open
    assert court.stake() == 500_000 * 10**18


def test_close__not_in_a_vote__is_refused(court: Court):
    with pytest.raises(Reverted, match="Disputes: nothing is to be closed in this dispute now"):
        court.close(2)
    court.vote(1, dict.fromkeys(court.jurors(1), RIGHT))
    court.close(1)
    with pytest.raises(Reverted, match="Disputes: nothing is to be closed in this dispute now"):
        court.close(1)


def test_report__after_an_end__opens_another_with_a_jury_of_its_own(court: Court):
    court.vote(1, dict.fromkeys(court.jurors(1), RIGHT))
    court.close(1)
    second = court.report()
    court.seat_all(second)
    assert court.read("seat", second, court.jurors(second)[0]) == (0, 1)
    verdict = VerdictStatement(dispute=1, round=0, juror=court.jurors(second)[0], verdict=WRONG)
    with pytest.raises(Reverted, match="Disputes: a verdict is for another round"):
        court.send(court.world.treasury, "vote", second, [fields(verdict)], [bytes(65)])
