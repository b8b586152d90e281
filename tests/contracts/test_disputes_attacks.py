"""Ways to turn a dispute into a gain, or to keep it from anybody: what each of them brings, and what it costs."""

import pytest

from protocol.crypto.typed_data import sign
from protocol.units import CAI
from tests.contracts.conftest import EPOCH_S, MINER_MINIMUM, UNBONDING_DELAY_S
from tests.contracts.court import (
    ACCUSED,
    ACCUSED_STAKE,
    APPEAL_WINDOW_S,
    BOND,
    CANNOT_JUDGE,
    CAP,
    DRAWING,
    EXECUTED,
    FEE,
    FIRST_JUROR,
    LAPSED,
    REPORTER,
    SEATS,
    SLASH_BPS,
    UNDECIDED,
    Candidate,
    Court,
    drawn,
)
from tests.contracts.market import fields
from tests.contracts.proofs import commitment
from tests.support.anvil import Reverted

VOTES = 1_000_000 * CAI
FEES = SEATS * FEE
"""Of a first round in which every juror judged."""


def executed(court: Court, accused: int = ACCUSED, reporter: int = REPORTER) -> int:
    """Report, have the whole jury find the result wrong, execute; gives what was slashed, in wei."""
    dispute = court.report(accused=accused, reporter=reporter)
    court.decide(dispute, SEATS, 0)
    court.world.anvil.wait(APPEAL_WINDOW_S)
    event = court.execute(dispute)[1]
    assert court.status(dispute) == EXECUTED
    return event["slashed"]


# To fill a jury when the seed is known


@pytest.mark.parametrize("epochs", [0, 1])
def test_draw__empty_nodes_filled_when_the_seed_is_known__bring_no_seat_in_this_epoch_or_the_next(
    court: Court, epochs: int
):
    """Ids cost nothing but a delay: whoever has many fills those that the seed names, and waits for the next epoch."""
    world, excluded = court.world, (court.owners[ACCUSED], court.owners[REPORTER])
    empty = [court.register(court.person(100 + number), MINER_MINIMUM + 1) for number in range(12)]
    for node in empty:
        world.unvote(court.owners[node], node, 2**256 - 1)
    for blocks in range(1, 20):
        with court.put_back() as trial:
            trial.mine(blocks)
            world.begin_epoch()
            world.anvil.wait(EPOCH_S - 20)
            dispute = trial.report()
            trial.mine()
            seed, before = trial.seed(dispute), trial.candidates()
            full = [one if node not in empty else Candidate(one.owner, CAP) for node, one in enumerate(before, 1)]
            bought = set(drawn(seed, full, SEATS, excluded)) & set(empty)
            if not bought:
                continue
            for node in bought:
                world.vote(trial.owners[node], node, CAP + 1)
                assert world.node(node)["active"]
            for _ in range(epochs):
                world.begin_epoch()
            assert trial.seat_all(dispute) == sorted(drawn(seed, before, SEATS, excluded))
            assert trial.panel(dispute)["seed"] == seed
            return
    raise AssertionError("no seed of twenty named an empty node")


# To wait for a jury to one's taste, or to keep others out with disputes that nobody draws


@pytest.mark.parametrize("tries", [0, 1])
def test_dispute__that_its_reporter_does_not_have_drawn__lapses_and_costs_him_the_bond(court: Court, tries: int):
    """Else he reports, looks at the seed, and reports again without a cost until his friends are the jury."""
    world, owner = court.world, court.owners[REPORTER]
    before, supply = world.balance(owner), world.anvil.read(world.cai, "totalSupply")
    dispute = court.report()
    court.mine()
    if tries:
        court.draw(dispute, tries)
    world.anvil.next_at(court.dispute(dispute)["deadline"])
    court.close(dispute)
    assert court.status(dispute) == LAPSED
    assert world.balance(owner) == before - BOND
    assert world.anvil.read(world.cai, "totalSupply") == supply - BOND
    assert world.balance(world.disputes.address) == 0
    assert court.read("open_disputes", ACCUSED) == 0
    assert court.frozen_until() <= world.anvil.now()


def test_draw__first_jurys_seed_is_lost__ends_the_dispute_and_sets_no_other(court: Court):
    dispute = court.report()
    court.mine(3 + 256, interval=0)
    with court.world.anvil.unchanged():
        court.draw(dispute, 1)
        assert court.status(dispute) == DRAWING
    court.mine(1, interval=0)
    for end in (court.draw, court.close):
        with court.world.anvil.unchanged():
            (event,) = end(dispute)
            assert event == {"event": "Ended", "dispute": dispute, "accused": ACCUSED, "outcome": LAPSED}


def test_close__report_of_which_no_juror_can_judge__costs_its_reporter_a_third_of_the_bond(court: Court):
    """A friend reports what nobody can draw, and so keeps everybody else's report away: not for nothing."""
    world, owner = court.world, court.owners[REPORTER]
    before, supply = world.balance(owner), world.anvil.read(world.cai, "totalSupply")
    dispute = court.report()
    court.vote(dispute, dict.fromkeys(court.seat_all(dispute), CANNOT_JUDGE))
    world.anvil.next_at(court.dispute(dispute)["deadline"])
    court.close(dispute)
    assert court.status(dispute) == UNDECIDED
    assert world.balance(owner) == before - FEES
    assert world.anvil.read(world.cai, "totalSupply") == supply - FEES
    assert world.balance(world.disputes.address) == 0


def test_report__a_friend_has_reported_before__keeps_nobody_away_and_thaws_nothing(court: Court):
    """Else he has one of no worth open against the miner until its stake is gone, and ends each when it pleases him."""
    world, owner = court.world, court.owners[ACCUSED]
    world.unvote(owner, ACCUSED, ACCUSED_STAKE)
    world.anvil.wait(UNBONDING_DELAY_S - 50)
    friends, honest = court.report(reporter=FIRST_JUROR), court.report()
    court.decide(honest, SEATS, 0)
    court.vote(friends, dict.fromkeys(court.seat_all(friends), CANNOT_JUDGE))
    world.anvil.next_at(court.dispute(friends)["deadline"])
    court.close(friends)
    world.anvil.next_at(max(court.dispute(honest)["deadline"], world.anvil.now() + 1))
    with pytest.raises(Reverted, match="Staking: a dispute about this node is open"):
        world.withdraw(owner, 0)
    assert court.execute(honest)[1]["slashed"] == ACCUSED_STAKE * SLASH_BPS // 10_000
    assert court.read("open_disputes", ACCUSED) == 0
    world.withdraw(owner, 0)


# To be slashed over and over


def test_execute__again_and_again_for_the_same_result__takes_no_more_than_one_slash_in_two_unbonding_delays(
    court: Court,
):
    first = executed(court)
    assert first == ACCUSED_STAKE * SLASH_BPS // 10_000
    for _ in range(2):
        assert executed(court) == 0
    assert court.stake() == ACCUSED_STAKE - first
    court.world.anvil.wait(2 * UNBONDING_DELAY_S)
    assert executed(court) == court.stake() * SLASH_BPS // (10_000 - SLASH_BPS)


def test_execute__slashed_while_the_node_was_empty__saves_nothing_that_comes_later(court: Court):
    """A friend reports it when there is next to nothing on it, so that it shall be safe once it is full again."""
    world, owner = court.world, court.owners[ACCUSED]
    world.unvote(owner, ACCUSED, ACCUSED_STAKE - CAI)
    world.anvil.wait(UNBONDING_DELAY_S)
    world.withdraw(owner, 0)
    assert executed(court) == CAI * SLASH_BPS // 10_000
    world.vote(owner, ACCUSED, ACCUSED_STAKE)
    world.begin_epoch()
    slashed = executed(court)
    full = (court.stake() + slashed) * SLASH_BPS // 10_000
    assert full * 99 // 100 < slashed <= full


def test_execute__next_to_nothing_in_a_respite__makes_it_hardly_longer(court: Court):
    """Else a friend has him slashed for a basis point of what is new before each respite ends, and he is safe."""
    world, owner = court.world, court.owners[ACCUSED]
    first = executed(court)
    until = court.read("respite_until", ACCUSED)
    world.anvil.next_at(until - 500)
    world.vote(owner, ACCUSED, ACCUSED_STAKE // 100)
    more = executed(court)
    assert 0 < more < first // 50
    rest = until - world.anvil.now()
    longer = court.read("respite_until", ACCUSED) - until
    assert longer == pytest.approx((2 * UNBONDING_DELAY_S - rest) * more / (first + more), abs=1)
    world.anvil.next_at(until + longer)
    assert executed(court) == pytest.approx(court.stake() * SLASH_BPS / (10_000 - SLASH_BPS), rel=1e-6)


def test_execute__in_a_respite__nothing_is_slashed_and_the_reporter_bears_the_jurors(court: Court):
    world, reporter = court.world, court.owners[REPORTER]
    executed(court)
    before = world.balance(reporter)
    assert executed(court) == 0
    assert world.balance(reporter) == before - FEES
    assert world.balance(world.disputes.address) == 0


# To take fees or a bounty out of voters' stake


def _voted_for(court: Court, own: int = MINER_MINIMUM + 1) -> tuple[int, str, str]:
    """Register a miner with little of its operator's and much of voters'; gives it, its owner and his friend."""
    owner, friend = court.person(200), court.person(201)
    miner = court.register(owner, own)
    court.register(friend, MINER_MINIMUM + 1)
    court.world.vote(court.world.treasury, miner, VOTES)
    court.world.begin_epoch()
    return miner, owner, friend


def test_execute__operator_and_reporter_are_friends__both_together_lose(court: Court):
    world = court.world
    miner, owner, friend = _voted_for(court)

    def together() -> int:
        return world.balance(owner) + world.balance(friend) + world.anvil.read(world.staking, "stake_of", miner, owner)

    before = together()
    assert executed(court, accused=miner, reporter=miner + 1) > 20_000 * CAI
    assert together() < before


@pytest.mark.parametrize("own", [MINER_MINIMUM + 1, 20_500 * CAI, 29_000 * CAI, 60_000 * CAI])
def test_execute__by_own_stake_of_the_accused__pays_the_jurors_first_and_then_the_bounty(court: Court, own: int):
    """However much voters have on it: nothing of theirs goes to anybody."""
    world = court.world
    miner, owner, friend = _voted_for(court, own)
    before, supply = world.balance(friend), world.anvil.read(world.cai, "totalSupply")
    slashed = executed(court, accused=miner, reporter=miner + 1)
    lost = own - world.anvil.read(world.staking, "stake_of", miner, owner)
    fees = min(FEES, lost * 9 // 10)
    bounty = min(lost // 10, lost * 9 // 10 - fees)
    assert world.balance(friend) - before == pytest.approx(fees + bounty - FEES, abs=2)
    assert fees + bounty > FEES, "who was right gains, also against the least miner"
    assert world.anvil.read(world.cai, "totalSupply") == pytest.approx(supply - slashed + fees + bounty, abs=2)
    assert world.balance(world.disputes.address) == 0


@pytest.mark.parametrize("own", [MINER_MINIMUM + 1, 28_000 * CAI, 60_000 * CAI])
def test_execute__all_jurors_are_friends_too__all_together_lose_a_tenth_of_their_own_at_least(court: Court, own: int):
    """What is paid to jurors is theirs and comes back to the reporter: it must not be all that the operator lost."""
    world = court.world
    miner, owner, _ = _voted_for(court, own)
    everybody = set(court.owners.values())

    def together() -> int:
        balances = sum(world.balance(one) for one in everybody)
        return balances + world.anvil.read(world.staking, "stake_of", miner, owner)

    before = together()
    executed(court, accused=miner, reporter=miner + 1)
    lost = own - world.anvil.read(world.staking, "stake_of", miner, owner)
    assert before - together() >= max(lost // 10, lost * 9 // 10 - FEES) - 2


def test_prove__operator_of_others_stake_against_himself__loses_nine_tenths_of_his_own_part(court: Court):
    world = court.world
    miner, owner, friend = _voted_for(court)
    own = world.anvil.read(world.staking, "stake_of", miner, owner)
    before = world.balance(friend)
    pair = [commitment(miner=miner, artifact=bytes([n]) * 32) for n in (1, 2)]
    signatures = [sign(court.keys[miner], world.domain, one) for one in pair]
    world.anvil.send(
        friend, world.slashing, "prove_two_commitments", *(fields(one) for one in pair), *signatures, friend
    )
    lost = own - world.anvil.read(world.staking, "stake_of", miner, owner)
    assert world.balance(friend) - before == lost // 10 > 0
