"""Coordinators that cheat, recorded and audited: each is caught, and the honest ones beside it are not accused."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import pytest

from protocol.audit.audit import audit
from protocol.audit.draw_tests import FEWEST_TASKS
from protocol.audit.record import Heard
from protocol.roles.miner.credit import MOST
from protocol.units import StakingId
from tests.sim.adversaries import Behaviour, NeverAwarding, NeverPaying, PayingSmallOnes
from tests.sim.audited_run import AuditedRun
from tests.sim.crooked_coordinators import (
    AwardingEarly,
    CancellingForeign,
    Crooked,
    EarlyFriend,
    IgnoringClaims,
    LeavingOut,
    Overruling,
    Rebooting,
    Skipping,
    SteeringDear,
)
from tests.sim.recording import Recording
from tests.sim.scenario import Run, Scenario
from tests.support.networks import network_params

CHEAT = StakingId(1)
CAUGHT: dict[str, tuple[Callable[[], Behaviour], int, set[str]]] = {
    # A tenth of all value goes to the friend that stake did not give it.
    "steers dear tasks": (SteeringDear, 900, {"draw.price"}),
    # Seven in ten of those that do not please: an eighth of all tasks ends so at others than its friend.
    "cancels what it did not want drawn": (partial(CancellingForeign, 0.7), 600, {"draw.cancelled", "draw.count"}),
    "leaves miners out a third of the time": (partial(LeavingOut, 0.35), 600, {"field.omitted"}),
    "ignores most of the claims of some": (partial(IgnoringClaims, 0.7), 1200, {"claims.passed_over"}),
    "gives to its friend what others claimed first": (Overruling, 1200, {"claims.objected", "claims.passed_over"}),
    "awards to its friend before better ranks had their time": (AwardingEarly, 900, {"claims.objected"}),
    "reboots to draw again, one time in twenty": (partial(Rebooting, 0.05), 300, {"boots.many"}),
    "skips numbers, one time in twenty": (partial(Skipping, 0.05), 300, {"sequence.gap"}),
    # It announces awards that their winners never get, and takes them back.
    "never awards": (NeverAwarding, 150, {"leases.lost", "tasks.never_awarded"}),
}
ACCOMPLICES: dict[str, dict[str, Callable[[], Behaviour]]] = {
    "awards to its friend before better ranks had their time": {"miner1": EarlyFriend}
}


@cache
def caught(cheat: str) -> AuditedRun:
    """Run a network with one of these, once for all tests that look at it."""
    crooked, tasks, _ = CAUGHT[cheat]
    return AuditedRun(crooked={"coordinator0": crooked} | ACCOMPLICES.get(cheat, {}), tasks=tasks, load=0.4)


@pytest.mark.parametrize("cheat", CAUGHT)
def test_audit__coordinator_that_cheats__is_caught_and_the_honest_are_not_accused(cheat: str) -> None:
    run, (_, _, rules) = caught(cheat), CAUGHT[cheat]
    assert rules & set(run.against(0))
    assert (run.against(1), run.against(2)) == ([], [])
    assert run.report.faults == ()


@pytest.mark.parametrize(("seed", "load"), [(11, 0.3), (12, 0.8), (13, 0.9)])
def test_audit__honest_network__accuses_nobody_and_says_what_it_could_have_seen(seed: int, load: float) -> None:
    run = AuditedRun(seed=seed, load=load, tasks=400)
    assert (run.report.proofs, run.report.findings, run.report.faults) == ((), [], ())
    assert all(fact.missed == 0 and fact.numbers_complete > 50 for fact in run.report.facts)
    effects = [power.detectable for power in run.report.powers if power.rule == "draw.price"]
    assert len(effects) == 3
    assert all(effect is not None and effect < 0.2 for effect in effects)


def test_audit__overloaded_honest_network__accuses_nobody_and_says_that_few_draws_had_anybody_to_draw() -> None:
    run = AuditedRun(seed=13, load=2.0, tasks=400)
    assert (run.report.proofs, run.report.findings, run.report.faults) == ((), [], ())
    powers = [power for power in run.report.powers if power.rule.startswith("draw.")]
    assert [(power.rule, power.coordinator, power.detectable) for power in powers] == [
        ("draw.count", one, None) for one in (1, 2, 3)
    ]
    assert all(0 < power.sample < FEWEST_TASKS and power.why_not for power in powers)


def test_audit__honest_coordinators_in_a_storm__are_accused_of_nothing() -> None:
    scenario = Scenario(seed=4, miners=8, coordinators=3, tasks=80, load=0.5, faults=30)
    # A running node's clock never jumps: it follows the machine's steady one.
    run = Run(scenario, tuple(step for step in scenario.plan() if step.what != "clock"))
    recordings = [Recording(run.world, name) for name in ("miner7", "coordinator2")]
    run.go()
    for recording in recordings:
        report = audit(recording.head, recording.entries)
        assert (report.proofs, report.findings, report.faults) == ((), [], ())
        assert sum(fact.runs for fact in report.facts) > len(report.facts), "somebody restarted"


@pytest.fixture(scope="module")
def steered() -> AuditedRun:
    return caught("steers dear tasks")


def test_audit__effect_above_what_it_says_it_can_see__is_seen(steered: AuditedRun) -> None:
    (power,) = [one for one in steered.report.powers if one.rule == "draw.price" and one.coordinator == CHEAT]
    (found,) = [one for one in steered.report.findings if one.coordinator == CHEAT and one.miner == Crooked().friend]
    assert power.detectable is not None
    assert power.detectable < found.seen < 0.15
    assert found.chance < found.threshold / 100


def test_audit__same_record_in_any_order__says_the_same(steered: AuditedRun) -> None:
    recording = steered.recording
    assert audit(recording.head, reversed(recording.entries)) == steered.report


def test_audit__record_with_one_bit_changed__is_found_out(steered: AuditedRun) -> None:
    recording = steered.recording
    entries = list(recording.entries)
    place = next(number for number, entry in enumerate(entries) if isinstance(entry, Heard))
    heard = entries[place]
    assert isinstance(heard, Heard)
    data = bytearray(heard.publication.data)
    data[-1] ^= 1
    entries[place] = replace(heard, publication=replace(heard.publication, data=bytes(data)))
    report = audit(recording.head, entries)
    assert [(fault.rule, fault.count) for fault in report.faults] == [("record.signature", 1)]
    assert not report.is_clean


def test_never_paying__coordinator__gets_one_picture_of_each_miner_and_no_more() -> None:
    run = AuditedRun(crooked={"coordinator0": NeverPaying}, coordinators=2, miners=6, tasks=400, load=0.4)
    awards = {fact.coordinator: fact.awards_checked for fact in run.report.facts}
    assert awards[StakingId(2)] == 200, "the honest one is served"
    print(awards)
    assert awards[CHEAT] < 40


def test_paying_small_ones__coordinator__takes_no_more_of_each_miner_than_it_paid_and_its_credit() -> None:
    step = 128 * 128 * network_params().price_per_pixel_step_wei
    cheat = PayingSmallOnes(10 * step)
    run = AuditedRun(crooked={"coordinator0": lambda: cheat}, coordinators=2, miners=2, tasks=800, load=0.4)
    awards = {fact.coordinator: fact.awards_checked for fact in run.report.facts}
    assert awards[StakingId(2)] == 400, "the honest one is served"
    assert cheat.taken
    for miner, taken in cheat.taken.items():
        credit = MOST * 10 * step + 2 * max(taken.values())  # one of any size while nothing is unpaid, one behind it
        assert sum(taken.values()) <= cheat.paid.get(miner, 0) + credit
