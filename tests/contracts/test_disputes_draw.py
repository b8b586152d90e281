"""Reports, and how jurors are drawn: by stake, from a later block, each of an operator of its own."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.bindings import load
from protocol.crypto.keys import keccak256
from protocol.units import CAI
from tests.contracts.conftest import UNBONDING_DELAY_S
from tests.contracts.court import (
    ACCUSED,
    APPEAL_SEATS,
    BOND,
    CAP,
    DRAW_WINDOW_S,
    DRAWING,
    EVIDENCE,
    FIRST_JUROR,
    IDLE,
    JURORS,
    LAPSED,
    REPORTER,
    SEATS,
    SEED_BITS,
    SEED_BLOCKS,
    TWIN,
    VERDICT_WINDOW_S,
    VOID,
    VOTING,
    Candidate,
    Court,
    drawn,
)
from tests.support.anvil import Reverted

# Reports


def test_report__by_an_active_nodes_owner__takes_the_bond_and_freezes_the_accused(court: Court):
    world, owner = court.world, court.owners[REPORTER]
    before = world.balance(owner)
    (seed, reported) = court.send(owner, "report", ACCUSED, REPORTER, EVIDENCE)
    now = world.anvil.now()
    assert reported == {
        "event": "Reported",
        "dispute": 1,
        "accused": ACCUSED,
        "reporter": REPORTER,
        "evidence": EVIDENCE,
        "seats": SEATS,
        "deadline": now + DRAW_WINDOW_S,
    }
    assert seed["event"] == "SeedSet"
    assert world.balance(owner) == before - BOND
    assert world.balance(world.disputes.address) == BOND
    assert court.read("open_dispute", ACCUSED, REPORTER) == court.read("dispute_count") == 1
    assert court.status(1) == DRAWING
    assert court.frozen_until() == now + UNBONDING_DELAY_S
    assert world.node(ACCUSED)["active"] is True


@pytest.mark.parametrize(
    ("accused", "reporter", "sender", "reason"),
    [
        (ACCUSED, REPORTER, ACCUSED, "only the reporting node's owner may report"),
        (ACCUSED, 99, REPORTER, "only the reporting node's owner may report"),
        (ACCUSED, IDLE, IDLE, "the reporting node is not active"),
        (REPORTER, FIRST_JUROR, FIRST_JUROR, "no miner has the accused id"),
        (99, REPORTER, REPORTER, "no miner has the accused id"),
        (0, REPORTER, REPORTER, "no miner has the accused id"),
        (ACCUSED, TWIN, TWIN, "the accused miner is your own"),
        (ACCUSED, ACCUSED, ACCUSED, "the accused miner is your own"),
    ],
)
def test_report__by_or_against_the_wrong_node__is_refused(
    court: Court, accused: int, reporter: int, sender: int, reason: str
):
    with pytest.raises(Reverted, match=f"Disputes: {reason}"):
        court.report(accused, reporter, court.owners[sender])


def test_report__without_evidence_a_second_one_or_the_bond__is_refused(court: Court):
    world = court.world
    with pytest.raises(Reverted, match="Disputes: the evidence has no digest"):
        court.send(court.owners[REPORTER], "report", ACCUSED, REPORTER, bytes(32))
    court.report()
    with pytest.raises(Reverted, match="Disputes: a dispute of this node's against this miner is open"):
        court.report()
    world.anvil.send(court.owners[FIRST_JUROR], world.cai, "approve", world.disputes.address, BOND - 1)
    with pytest.raises(Reverted, match="insufficient allowance"):
        court.report(FIRST_JUROR + 1, FIRST_JUROR)
    court.report(FIRST_JUROR + 1)


def test_report__flaw_6_withdrawals_wait_while_it_is_open_and_never_longer_than_another_unbonding_delay(court: Court):
    world, owner = court.world, court.owners[ACCUSED]
    world.unvote(owner, ACCUSED, CAI)
    released = world.anvil.now() + UNBONDING_DELAY_S
    world.anvil.wait(UNBONDING_DELAY_S - 100)
    court.report()
    world.anvil.wait(200)
    with pytest.raises(Reverted, match="Staking: a dispute about this node is open"):
        world.withdraw(owner, 0)
    for _ in range(3):  # one report after the other, each void
        world.anvil.wait(DRAW_WINDOW_S)
        court.close(court.read("dispute_count"))
        court.report()
    with pytest.raises(Reverted, match="Staking: a dispute about this node is open"):
        world.withdraw(owner, 0)
    world.anvil.next_at(released + UNBONDING_DELAY_S)
    world.withdraw(owner, 0)


# Draws


def test_draw__before_the_seeds_blocks__is_refused_and_then_equals_the_model(court: Court):
    world = court.world
    dispute = court.report()
    for _ in range(SEED_BLOCKS):  # each refused transaction is a block
        with pytest.raises(Reverted, match="Disputes: the seed's blocks are not all mined yet"):
            court.draw(dispute)
        if world.anvil.rpc("eth_blockNumber") == hex(court.panel(dispute)["seed_block"]):
            break
    jurors = [event["juror"] for event in court.draw(dispute) if event["event"] == "JurorDrawn"]
    assert court.dispute(dispute)["deadline"] == world.anvil.now() + VERDICT_WINDOW_S
    panel = court.panel(dispute)
    assert panel["seed"] == court.seed(dispute)
    excluded = (court.owners[ACCUSED], court.owners[REPORTER])
    assert jurors == drawn(panel["seed"], court.candidates(), SEATS, excluded)
    assert len(jurors) == SEATS
    assert court.status(dispute) == VOTING


def test_draw__in_small_steps__draws_the_same_jury(court: Court):
    dispute = court.report()
    court.mine()
    with court.world.anvil.unchanged():
        court.draw(dispute)
        at_once = court.jurors(dispute)
    while court.status(dispute) == DRAWING:
        court.draw(dispute, 1)
    assert court.jurors(dispute) == at_once
    with pytest.raises(Reverted, match="Disputes: all seats are taken"):
        court.draw(dispute)


def test_draw__of_no_tries_or_in_no_dispute__is_refused(court: Court):
    with pytest.raises(Reverted, match="Disputes: no jurors are wanted in this dispute now"):
        court.draw(1)
    dispute = court.report()
    with pytest.raises(Reverted, match="Disputes: tries is zero"):
        court.draw(dispute, 0)
    court.world.anvil.wait(DRAW_WINDOW_S)
    with pytest.raises(Reverted, match="Disputes: the deadline has passed"):
        court.draw(dispute)


def test_draw__appeals_seed_is_too_old_to_be_read__sets_a_later_one(court: Court):
    """The accused wants no jury then, and must not be rid of it by waiting."""
    dispute = court.report()
    court.decide(dispute, SEATS, 0)
    court.appeal(dispute)
    first = court.panel(dispute, 1)["seed_block"] - SEED_BITS + 1
    court.mine(first + 256 - int(court.world.anvil.rpc("eth_blockNumber"), 16), interval=0)
    (event,) = court.draw(dispute)
    assert event["event"] == "SeedSet"
    later = court.panel(dispute, 1)["seed_block"]
    assert later == event["block"] == first + 257 + SEED_BLOCKS - 1
    assert court.panel(dispute, 1)["tries"] == 0
    court.mine(later - SEED_BITS + 1 + 255 - int(court.world.anvil.rpc("eth_blockNumber"), 16), interval=0)
    court.draw(dispute)
    assert court.panel(dispute, 1)["tries"] > 0


def test_draw__parties_inactive_nodes_coordinators_and_newcomers__are_never_drawn(court: Court):
    """All of them outweigh the others; the reporter is a miner here, and the newcomer registered after the report."""
    reporter = court.register(court.person(80), 2 * CAP)
    dispute = court.report(reporter=reporter)
    newcomer = court.register(court.person(90), 2 * CAP)
    for number in range(8):
        with court.world.anvil.unchanged():
            court.mine(SEED_BLOCKS + number)
            jurors = court.seat_all(dispute)
            assert len({court.owners[juror] for juror in jurors}) == SEATS
            assert min(jurors) >= FIRST_JUROR
            assert not {reporter, newcomer} & set(jurors)


def test_draw__too_few_independent_operators__makes_the_dispute_void_and_gives_the_bond_back(court: Court):
    world = court.world
    for node in range(FIRST_JUROR + SEATS - 1, FIRST_JUROR + JURORS):
        world.unvote(court.owners[node], node, court.stake(node) - 1)
    before = world.balance(court.owners[REPORTER])
    dispute = court.report()
    court.mine()
    court.draw(dispute, 1000)
    assert court.panel(dispute)["tries"] == 128, "no more in one call, whatever is asked for"
    while court.panel(dispute)["tries"] < 4096:
        court.draw(dispute)
    assert court.panel(dispute)["taken"] == SEATS - 1
    with pytest.raises(Reverted, match="Disputes: no tries are left; close the dispute"):
        court.draw(dispute)
    assert world.anvil.now() < court.dispute(dispute)["deadline"]
    assert court.close(dispute) == [{"event": "Ended", "dispute": dispute, "accused": ACCUSED, "outcome": VOID}]
    assert world.balance(court.owners[REPORTER]) == before
    assert world.balance(world.disputes.address) == 0
    assert court.frozen_until() <= world.anvil.now()
    assert court.read("open_disputes", ACCUSED) == 0


def test_close__draw_not_over_by_its_deadline__lapses_and_not_a_second_before(court: Court):
    dispute = court.report()
    deadline = court.dispute(dispute)["deadline"]
    court.world.anvil.next_at(deadline - 1)
    with pytest.raises(Reverted, match="Disputes: jurors are still being drawn"):
        court.close(dispute)
    court.world.anvil.next_at(deadline)
    court.close(dispute)
    assert court.status(dispute) == LAPSED
    for function in ("close", "execute"):
        with pytest.raises(Reverted, match="Disputes: "):
            court.send(court.world.treasury, function, dispute)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    blocks=st.integers(SEED_BLOCKS, 60),
    inactive=st.sets(st.integers(FIRST_JUROR, FIRST_JUROR + JURORS - 1), max_size=3),
)
def test_draw__any_seed_and_network__equals_the_model(court: Court, blocks: int, inactive: set[int]):
    with court.put_back() as court:
        for node in range(FIRST_JUROR + JURORS - 6, FIRST_JUROR + JURORS):
            court.register(court.owners[node], 2 * CAP)  # the same operators once more
        court.world.begin_epoch()
        dispute = court.report()
        for node in inactive:
            court.world.unvote(court.owners[node], node, court.stake(node) - 1)
        court.mine(blocks)
        events: list[dict] = []
        while court.status(dispute) == DRAWING:
            events += court.draw(dispute, 50)
        jurors = [event["juror"] for event in events if event["event"] == "JurorDrawn"]
        excluded = (court.owners[ACCUSED], court.owners[REPORTER])
        assert jurors == drawn(court.panel(dispute)["seed"], court.candidates(), SEATS, excluded)


def test_draw__stake_raised_when_the_seed_is_known__brings_no_seat_in_this_epoch(court: Court):
    """Tries blocks until one gives a seed with which somebody would be drawn if its raised stake counted."""
    excluded = (court.owners[ACCUSED], court.owners[REPORTER])
    for blocks in range(1, 40):
        with court.put_back() as trial:
            trial.mine(blocks)
            trial.world.begin_epoch()
            dispute = trial.report()
            trial.mine()
            trial.draw(dispute, 1)
            seed, before = trial.panel(dispute)["seed"], trial.candidates()
            honest = drawn(seed, before, SEATS, excluded)
            for node in range(FIRST_JUROR, FIRST_JUROR + JURORS):
                after = [*before[: node - 1], replace(before[node - 1], stake=CAP), *before[node:]]
                if node not in honest and node in drawn(seed, after, SEATS, excluded):
                    trial.world.vote(trial.owners[node], node, CAP)
                    assert trial.stake(node) > CAP
                    assert sorted(trial.seat_all(dispute)) == sorted(honest)
                    return
    raise AssertionError("no seed of forty gave anybody a reason to raise")


def test_drawn__first_juror_of_many_seeds__is_proportional_to_the_capped_stake():
    """Chi-square over 4,000 fixed seeds; 9 degrees of freedom, so 21.67 is passed by chance once in a hundred."""
    stakes = [20_001, 20_001, 40_000, 60_000, 80_000, 100_000, 150_000, 200_000, 400_000, 9_000_000]
    candidates = [Candidate(f"owner {number}", stake * CAI) for number, stake in enumerate(stakes)]
    weights = [min(candidate.stake, CAP) for candidate in candidates]
    draws = 4000
    seen = Counter(drawn(keccak256(b"%d" % number), candidates, 1)[0] for number in range(draws))
    expected = [draws * weight / sum(weights) for weight in weights]
    chi = sum((seen[node] - e) ** 2 / e for node, e in enumerate(expected, start=1))
    assert chi < 21.67


def test_drawn__minimal_stakes__fill_the_largest_jury_within_the_tries():
    """A network of a thousand smallest miners: each try is taken with a chance of a tenth."""
    candidates = [Candidate(f"owner {number}", 20_001 * CAI) for number in range(1000)]
    for number in range(20):
        assert len(drawn(keccak256(b"small %d" % number), candidates, 31)) == 31
    assert APPEAL_SEATS < 31


def test_deployment__staking_that_is_no_contract__is_refused(court: Court):
    world = court.world
    with pytest.raises(Reverted, match="Disputes: staking is not a contract"):
        world.anvil.deploy(load("Disputes"), world.bob)
    assert court.read("staking") == world.staking.address.lower()
