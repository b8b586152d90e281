"""Whole lives of disputes: appeals, slashes, the day's cap, and an end that anybody can bring about."""

import pytest

from tests.contracts.conftest import PARAMETER_DELAY_S, UNBONDING_DELAY_S
from tests.contracts.court import (
    ACCUSED,
    ACCUSED_STAKE,
    APPEAL_BOND,
    APPEAL_SEATS,
    APPEAL_WINDOW_S,
    BOND,
    CONFIRMED,
    DISMISSED,
    DRAW_WINDOW_S,
    EXECUTED,
    FEE,
    FIRST_JUROR,
    IDLE,
    JURORS,
    LAPSED,
    REPORTER,
    RIGHT,
    SEATS,
    SLASH_BPS,
    TWIN,
    UNDECIDED,
    UPHELD,
    VERDICT_WINDOW_S,
    VOID,
    WRONG,
    Court,
)
from tests.support.anvil import Reverted

FEES, APPEAL_FEES = SEATS * FEE, APPEAL_SEATS * FEE
"""Of rounds in which every juror judged."""
SLASHED = ACCUSED_STAKE * SLASH_BPS // 10_000
JAIL_S = 125 // 4
DAY = 86_400


def supply(court: Court) -> int:
    return court.world.anvil.read(court.world.cai, "totalSupply")


def upheld(court: Court) -> int:
    """Report, and let the whole jury find the result wrong."""
    dispute = court.report()
    court.decide(dispute, SEATS, 0)
    assert court.status(dispute) == UPHELD
    return dispute


def test_execute__upheld_and_not_appealed__slashes_jails_and_pays_the_reporter(court: Court):
    """Who was right has his whole bond back, and the bounty: the jurors are paid out of what the accused lost."""
    world, reporter = court.world, court.owners[REPORTER]
    before, first_supply = world.balance(reporter), supply(court)
    dispute = upheld(court)
    deadline = court.dispute(dispute)["deadline"]
    assert deadline == world.anvil.now() + APPEAL_WINDOW_S
    world.anvil.next_at(deadline - 1)
    with pytest.raises(Reverted, match="Disputes: the appeal window is open"):
        court.execute(dispute)
    world.anvil.next_at(deadline)
    ended, slashed = court.execute(dispute)
    assert ended == {"event": "Ended", "dispute": dispute, "accused": ACCUSED, "outcome": EXECUTED}
    assert slashed == {
        "event": "QuorumSlashed",
        "id": ACCUSED,
        "dispute": dispute,
        "slashed": SLASHED,
        "bps": SLASH_BPS,
        "reporter": REPORTER,
    }
    assert court.stake() == ACCUSED_STAKE - SLASHED
    assert world.balance(reporter) == before + SLASHED // 10
    assert supply(court) == first_supply - SLASHED + SLASHED // 10 + FEES
    assert world.balance(world.disputes.address) == 0
    assert world.node(ACCUSED)["active"] is False
    assert world.anvil.read(world.staking, "standing", ACCUSED)[7] == world.anvil.now() + JAIL_S
    assert court.frozen_until() <= world.anvil.now()
    assert court.read("open_disputes", ACCUSED) == 0
    with pytest.raises(Reverted, match="Disputes: the dispute is not upheld"):
        court.execute(dispute)


def test_execute__stake_that_was_leaving__is_slashed_too(court: Court):
    """The freeze holds it until the quorum has spoken, also when its own release comes before."""
    world, owner = court.world, court.owners[ACCUSED]
    world.unvote(owner, ACCUSED, ACCUSED_STAKE)
    world.anvil.wait(UNBONDING_DELAY_S - 50)
    dispute = upheld(court)
    world.anvil.wait(APPEAL_WINDOW_S)
    with pytest.raises(Reverted, match="Staking: a dispute about this node is open"):
        world.withdraw(owner, 0)
    assert court.execute(dispute)[1]["slashed"] == SLASHED
    before = world.balance(owner)
    world.withdraw(owner, 0)
    assert world.balance(owner) == before + ACCUSED_STAKE - SLASHED


def test_execute__accused_has_taken_everything__still_ends_the_dispute(court: Court):
    """Frozen stake waits one more unbonding delay and no longer; then nothing is left to slash."""
    world, owner = court.world, court.owners[ACCUSED]
    world.unvote(owner, ACCUSED, ACCUSED_STAKE)
    world.anvil.wait(UNBONDING_DELAY_S - 50)
    reporter = world.balance(court.owners[REPORTER])
    dispute = upheld(court)
    world.anvil.wait(UNBONDING_DELAY_S)
    world.withdraw(owner, 0)
    assert court.execute(dispute)[1]["slashed"] == 0
    assert world.balance(court.owners[REPORTER]) == reporter - FEES, "nothing is there to pay the jurors with"
    assert world.balance(world.disputes.address) == 0
    assert court.status(dispute) == EXECUTED


def test_appeal__by_anybody_else_twice_late_or_of_nothing_upheld__is_refused(court: Court):
    dispute = court.report()
    with pytest.raises(Reverted, match="Disputes: only an upheld dispute can be appealed, once"):
        court.appeal(dispute)
    court.decide(dispute, SEATS, 0)
    for stranger in (REPORTER, FIRST_JUROR):
        with pytest.raises(Reverted, match="Disputes: only the accused's owner may appeal"):
            court.send(court.owners[stranger], "appeal", dispute)
    deadline = court.dispute(dispute)["deadline"]
    with court.world.anvil.unchanged():
        court.world.anvil.next_at(deadline - 1)
        court.appeal(dispute)
        with pytest.raises(Reverted, match="Disputes: only an upheld dispute can be appealed, once"):
            court.appeal(dispute)
    court.world.anvil.next_at(deadline)
    with pytest.raises(Reverted, match="Disputes: the appeal window is over"):
        court.appeal(dispute)


def test_appeal__upheld__seats_twice_as_many_and_one_other_jurors(court: Court):
    world, owner = court.world, court.owners[ACCUSED]
    dispute = court.report()
    first = court.decide(dispute, SEATS, 0)
    before = world.balance(owner)
    seed, appealed = court.appeal(dispute)
    assert seed["round"] == 1
    assert (appealed["seats"], appealed["deadline"]) == (APPEAL_SEATS, world.anvil.now() + DRAW_WINDOW_S)
    assert world.balance(owner) == before - APPEAL_BOND
    with pytest.raises(Reverted, match="Disputes: the dispute is not upheld"):
        court.execute(dispute)
    second = court.seat_all(dispute)
    assert len(second) == APPEAL_SEATS
    assert not set(first) & set(second)
    assert court.panel(dispute, 1)["seed"] != court.panel(dispute, 0)["seed"]
    with pytest.raises(Reverted, match="Disputes: a verdict is for another round"):
        court.vote(dispute, {second[0]: 1}, round_=0)
    with pytest.raises(Reverted, match="Disputes: a verdict is not by a juror of this round"):
        court.vote(dispute, {first[0]: 1}, round_=1)


def test_appeal__confirmed__is_executed_at_once_and_costs_the_appeal_bond(court: Court):
    world = court.world
    reporter, accused = world.balance(court.owners[REPORTER]), world.balance(court.owners[ACCUSED])
    first_supply = supply(court)
    dispute = upheld(court)
    court.appeal(dispute)
    jurors = court.decide(dispute, APPEAL_SEATS, 0, round_=1)
    assert court.status(dispute) == CONFIRMED
    with pytest.raises(Reverted, match="Disputes: only an upheld dispute can be appealed, once"):
        court.appeal(dispute)
    court.execute(dispute)
    assert court.stake() == ACCUSED_STAKE - SLASHED
    assert world.balance(court.owners[ACCUSED]) == accused - APPEAL_BOND
    assert world.balance(court.owners[REPORTER]) == reporter + SLASHED // 10
    assert supply(court) == first_supply - (SLASHED - SLASHED // 10) - (APPEAL_BOND - APPEAL_FEES - FEES)
    assert world.balance(court.owners[jurors[0]]) > 0
    assert world.balance(world.disputes.address) == 0


@pytest.mark.parametrize("right", [0, 1])
def test_appeal__overturned__leaves_the_accused_whole_and_pays_no_juror_who_was_wrong(court: Court, right: int):
    """What the first jury found costs him nothing, whose bond is five times its reporter's."""
    world = court.world
    reporter, accused = world.balance(court.owners[REPORTER]), world.balance(court.owners[ACCUSED])
    first_supply = supply(court)
    dispute = court.report()
    jurors = court.seat_all(dispute)
    balances = [world.balance(court.owners[juror]) for juror in jurors]
    court.vote(dispute, dict.fromkeys(jurors[right:], WRONG) | dict.fromkeys(jurors[:right], RIGHT))
    court.close(dispute)
    court.appeal(dispute)
    court.decide(dispute, 0, APPEAL_SEATS, round_=1)
    assert court.status(dispute) == DISMISSED
    assert court.stake() == ACCUSED_STAKE
    assert world.node(ACCUSED)["active"] is True
    assert world.balance(court.owners[ACCUSED]) == accused
    assert world.balance(court.owners[REPORTER]) == reporter - BOND
    paid = [world.balance(court.owners[juror]) - before for juror, before in zip(jurors, balances, strict=True)]
    assert paid == [FEE] * right + [0] * (SEATS - right)
    assert supply(court) == first_supply - (BOND - APPEAL_FEES - right * FEE)
    assert world.balance(world.disputes.address) == 0
    with pytest.raises(Reverted, match="Disputes: the dispute is not upheld"):
        court.execute(dispute)


def test_appeal__confirmed_with_nothing_to_slash__gives_the_reporter_back_what_he_paid_jurors(court: Court):
    """Out of the appeal's bond; jurors whom the second jury contradicts are paid nothing."""
    world, owner = court.world, court.owners[ACCUSED]
    world.unvote(owner, ACCUSED, ACCUSED_STAKE)
    world.anvil.wait(UNBONDING_DELAY_S - 5)
    reporter = world.balance(court.owners[REPORTER])
    dispute = court.report()
    jurors = court.seat_all(dispute)
    lone = world.balance(court.owners[jurors[0]])
    court.vote(dispute, dict.fromkeys(jurors[1:], WRONG) | {jurors[0]: RIGHT})
    court.close(dispute)
    court.appeal(dispute)
    court.decide(dispute, APPEAL_SEATS, 0, round_=1)
    world.anvil.wait(UNBONDING_DELAY_S)
    world.withdraw(owner, 0)
    assert court.execute(dispute)[1]["slashed"] == 0
    assert world.balance(court.owners[REPORTER]) == reporter
    assert world.balance(court.owners[jurors[0]]) == lone
    assert world.balance(world.disputes.address) == 0


def test_appeal__undecided__slashes_nobody_and_both_bonds_go_back_less_the_fees(court: Court):
    world = court.world
    reporter, accused = world.balance(court.owners[REPORTER]), world.balance(court.owners[ACCUSED])
    dispute = upheld(court)
    court.appeal(dispute)
    court.decide(dispute, 5, 2, round_=1)
    assert court.status(dispute) == UNDECIDED
    assert court.stake() == ACCUSED_STAKE
    assert world.balance(court.owners[ACCUSED]) == accused - 7 * FEE
    assert world.balance(court.owners[REPORTER]) == reporter - FEES
    assert world.balance(world.disputes.address) == 0


def test_appeal__too_few_other_operators__is_void_in_favour_of_the_accused(court: Court):
    world = court.world
    accused = world.balance(court.owners[ACCUSED])
    dispute = upheld(court)
    seated = [node for node in court.owners if court.read("seat", dispute, node)[1] > 0]
    for node in [node for node in range(FIRST_JUROR, FIRST_JUROR + JURORS) if node not in seated][:3]:
        world.unvote(court.owners[node], node, court.stake(node) - 1)
    court.appeal(dispute)
    court.mine()
    court.draw(dispute)
    world.anvil.wait(DRAW_WINDOW_S)
    court.close(dispute)
    assert court.status(dispute) == VOID
    assert court.stake() == ACCUSED_STAKE
    assert world.balance(court.owners[ACCUSED]) == accused
    assert court.read("open_disputes", ACCUSED) == 0


# The day's cap


def cap(court: Court, bps: int) -> None:
    """Let a cap hold, as the owner of Parameters can."""
    world = court.world
    world.anvil.send(world.treasury, world.parameters, "propose", 12, bps)
    world.anvil.wait(PARAMETER_DELAY_S)
    world.anvil.send(world.treasury, world.parameters, "enact", 12)


def test_execute__days_cap_is_nearly_used_up__slashes_what_is_left_and_then_waits_for_tomorrow(court: Court):
    world = court.world
    cap(court, 10)
    budget = world.anvil.read(world.staking, "total_staked") + world.anvil.read(world.staking, "total_unbonding")
    budget = budget * 10 // 10_000
    assert budget < SLASHED
    now = world.anvil.now()
    world.anvil.next_at(now // DAY * DAY + DAY + 10)  # all of this within one day
    dispute, second = upheld(court), court.report(accused=TWIN, reporter=FIRST_JUROR)
    court.decide(second, SEATS, 0)
    world.anvil.wait(APPEAL_WINDOW_S)
    bps = budget * 10_000 // ACCUSED_STAKE
    event = court.execute(dispute)[1]
    assert (event["bps"], event["slashed"]) == (bps, ACCUSED_STAKE * bps // 10_000)
    day = world.anvil.now() // DAY
    assert court.read("day_budget", day) == budget
    assert court.read("day_slashed", day) == event["slashed"] <= budget
    with pytest.raises(Reverted, match="Disputes: nothing is left of today's cap; execute tomorrow"):
        court.execute(second)
    world.anvil.wait(DAY)
    assert court.execute(second)[1]["slashed"] > 0
    assert court.read("day_slashed", day + 1) <= court.read("day_budget", day + 1)


def test_execute__fresh_day__always_leaves_enough_for_the_largest_node_also_when_all_stake_is_leaving(court: Court):
    world = court.world
    cap(court, 10)
    dispute = upheld(court)
    for node, owner in court.owners.items():
        own = world.anvil.read(world.staking, "stake_of", node, owner)
        if own:
            world.unvote(owner, node, own)
    world.unvote(world.treasury, IDLE, 2**256 - 1)
    world.anvil.wait(APPEAL_WINDOW_S)
    assert world.anvil.read(world.staking, "total_staked") == 0
    event = court.execute(dispute)[1]
    assert 0 < event["slashed"] <= court.read("day_budget", world.anvil.now() // DAY)
    assert event["bps"] < SLASH_BPS


# Ends


def test_dispute__in_every_state__a_stranger_ends_it_once_its_time_is_over(court: Court):
    """Nobody who matters says a word any more, and the stranger only ever waits, closes and executes."""
    world = court.world

    def end(dispute: int) -> int:
        for _ in range(3):
            world.anvil.wait(max(DRAW_WINDOW_S, VERDICT_WINDOW_S, APPEAL_WINDOW_S))
            for function in ("close", "execute"):
                try:
                    court.send(world.carol, function, dispute)
                except Reverted:
                    continue
        assert court.read("open_disputes", ACCUSED) == 0
        return court.status(dispute)

    ends = []
    for state in ("drawing", "voting", "upheld", "appealed", "voting again", "confirmed"):
        with world.anvil.unchanged():
            dispute = court.report()
            if state == "voting":
                court.seat_all(dispute)
            if state not in ("drawing", "voting"):
                court.decide(dispute, SEATS, 0)
            if state in ("appealed", "voting again", "confirmed"):
                court.appeal(dispute)
            if state == "voting again":
                court.seat_all(dispute)
            if state == "confirmed":
                court.decide(dispute, APPEAL_SEATS, 0, round_=1)
            ends.append(end(dispute))
            assert world.balance(world.disputes.address) == 0
    assert ends == [LAPSED, UNDECIDED, EXECUTED, VOID, UNDECIDED, EXECUTED]


def test_dispute__longest_life__is_over_before_the_freeze(court: Court):
    """Both draws, both votes and the appeal to the last second."""
    world = court.world
    dispute = court.report()
    frozen = court.frozen_until()
    for step in ("jury", "vote", "appeal", "jury", "vote"):
        round_ = court.dispute(dispute)["round"]
        if step == "jury":
            jurors = court.seat_all(dispute)
        elif step == "vote":
            world.anvil.next_at(court.dispute(dispute)["deadline"] - 1)
            court.vote(dispute, dict.fromkeys(jurors, 1), round_)
            court.close(dispute)
        else:
            world.anvil.next_at(court.dispute(dispute)["deadline"] - 1)
            court.appeal(dispute)
    court.execute(dispute)
    assert world.anvil.now() < frozen
    assert court.stake() == ACCUSED_STAKE - SLASHED
