"""Rechecks in a simulated network: who cheats is found out, and nobody else is touched. SPEC.md §12.8, §12.9."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import pytest

from protocol.effects import Note
from protocol.notes import NoteName
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.coordinator.reputation import MOST_PASSED
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.units import DurationMs, StakingId
from protocol.wire.messages import OpenedSteps
from tests.sim.forgers import FORGERIES, HONEST_TASKS, Colluders, Forger, Shown, made_up, not_kept
from tests.sim.invariants import Invariants
from tests.sim.machine import Machine
from tests.sim.scenario import Run, Scenario
from tests.sim.shared_work import shared_work, uncollected
from tests.sim.sweep import ALL_CHEATS, ALL_FAULTS
from tests.sim.world import World
from tests.support.networks import network_params

POLICY: Final = RecheckPolicy(share=0.3, newcomer_share=0.6, earliest=DurationMs(500), latest=DurationMs(3000))
"""Some 15 times as often as by default, so that few tasks show what many would."""
PARAMS: Final = network_params(epoch_s=8, boundary_tolerance_s=2)
"""Steps are asked for in the epoch after their picture's; in short ones few seconds show what hours would."""
MINERS: Final = 8
HONEST_OFF: Final = (0, 2000, 4500, 9000)
"""How far honest machines' arithmetic moves a picture (parts per million): within the limit of one another."""


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with uncollected(), shared_work():
        yield


class Network:
    """One coordinator, miners of which the first cheat, and a stream of tasks."""

    def __init__(self, *forgers: Forger, seed: int = 3, policy: RecheckPolicy = POLICY) -> None:
        self._forgers = dict(zip((f"miner{place}" for place in range(MINERS)), forgers, strict=False))
        self.world = World(
            miners=MINERS,
            seed=seed,
            prepare=self._prepare,
            rechecks=policy,
            params=PARAMS,
            stakes={f"miner{place}": 50_000 for place in range(MINERS)},
        )
        self.world.chain.follow()
        self.invariants = Invariants(self.world)
        self.world.run(3000)

    def _prepare(self, machine: Machine) -> None:
        forger = self._forgers.get(machine.name)
        if forger is not None:
            machine.behaviour = forger
            forger.prepare(machine)
        elif machine.name.startswith("miner"):
            machine.off_ppm = HONEST_OFF[machine.index % len(HONEST_OFF)]

    def run(self, tasks: int, pause_ms: int = 150) -> None:
        """Submit so many, one after the other, and let all rechecks end."""
        for _ in range(tasks):
            self.world.submit()
            self.world.run(pause_ms)
        self.world.run(90_000)
        self.invariants.check_end()

    @property
    def core(self) -> CoordinatorCore:
        core = self.world.machines["coordinator0"].core
        assert isinstance(core, CoordinatorCore)
        return core

    def left_out(self) -> set[StakingId]:
        reputation = self.core.roster.conduct.reputation
        return {miner for miner, account in reputation.accounts(self.core.now) if account.left_out_until}

    def outcomes(self) -> set[str]:
        return {str(note.fields["reason"]) for _, _, note in self.world.noted(NoteName.RECHECK_ENDED)}

    def shown(self, miners: set[StakingId]) -> set[str]:
        """What came of the questions for steps of these miners."""
        notes = (note.fields for _, _, note in self.world.noted(NoteName.RECHECK_STEPS))
        return {str(fields["reason"]) for fields in notes if fields["miner"] in miners}

    def honest(self, forgers: int) -> set[StakingId]:
        return self.ids(MINERS) - self.ids(forgers)

    def ids(self, count: int) -> set[StakingId]:
        return {self.world.staking_id(f"miner{place}") for place in range(count)}


@pytest.mark.parametrize(
    "kind", ["noise", "cached", "wrong_model", "honest_then_noise", "half_the_steps", "half_the_edge"]
)
def test_rechecks__one_miner_cheats__is_left_out_and_nobody_else(kind: str) -> None:
    network = Network(Forger(FORGERIES[kind]))
    network.run(160)
    assert network.left_out() == network.ids(1)
    assert {account.ended for account in network.invariants.accounts.values()} == {"done"}
    if kind == "honest_then_noise":
        odd = network.world.noted(NoteName.RECHECK_ODD)[0][0]
        awards = [when for when, _, note in network.world.noted(NoteName.TASK_AWARDED) if note.fields["miner"] == 2]
        assert sum(when < odd for when in awards) > HONEST_TASKS


def test_rechecks__pictures_alike_through_other_steps__is_left_out_and_nobody_else() -> None:
    network = Network(Forger(FORGERIES["half_the_steps_behind_a_quality"]))
    network.run(160)
    assert network.left_out() == network.ids(1)
    assert network.shown(network.ids(1)) >= {"odd"}
    assert network.shown(network.honest(1)) <= {"agreed", "opened", "away", "unasked"}


def test_rechecks__one_shows_steps_that_it_did_not_sign__is_left_out_and_nobody_else() -> None:
    network = Network(Shown(made_up))
    network.run(160)
    assert network.left_out() == network.ids(1)
    assert network.shown(network.ids(1)) >= {"wrong"}


@pytest.mark.parametrize("shows", [not_kept, lambda _: None], ids=["not kept", "silent"])
def test_rechecks__one_shows_no_steps__is_left_out_or_only_looked_at_more_where_it_need_not(
    shows: Callable[[OpenedSteps], OpenedSteps | None],
) -> None:
    network = Network(Shown(shows), policy=replace(POLICY, must_open=False))
    network.run(120)
    assert not network.left_out()
    reputation = network.core.roster.conduct.reputation
    # A pass counts half where no steps are shown; more than so many are not counted of anybody.
    accounts = dict(reputation.accounts(network.core.now))
    worth = {miner: account.passed / min(account.passed_ever, MOST_PASSED) for miner, account in accounts.items()}
    assert min(worth, key=lambda miner: worth[miner]) in network.ids(1)
    strict = Network(Shown(shows))
    strict.run(160)
    assert strict.left_out() == strict.ids(1)


def test_rechecks__what_is_within_the_limit__is_not_detected() -> None:
    network = Network(Forger(FORGERIES["a_step_less"]))
    network.run(120)
    assert network.outcomes() == {"agreed"}
    assert not network.left_out()


def test_rechecks__honest_miners_of_many_arithmetics__all_pass() -> None:
    network = Network()
    network.run(160)
    assert network.outcomes() == {"agreed"}
    assert not network.world.noted(NoteName.RECHECK_ODD)
    reputation = network.core.roster.conduct.reputation
    assert all(account.doubt == 0 for _, account in reputation.accounts(network.core.now))


def test_rechecks__colluders_show_each_other_what_they_delivered__are_found_by_the_others() -> None:
    colluders = Colluders()
    network = Network(Forger(colluders), Forger(colluders))
    network.run(300)
    assert network.left_out() == network.ids(2)


def test_rechecks__coordinator_is_killed_again_and_again__ends_each_once_and_forgets_nobody() -> None:
    network = Network(Forger(FORGERIES["noise"]))
    for _ in range(12):
        for _ in range(14):
            network.world.submit()
            network.world.run(150)
        network.world.crash("coordinator0")
        network.world.run(200)
        network.world.start("coordinator0")
        network.world.run(2500)
    network.run(1)
    assert network.left_out() == network.ids(1)
    assert not len(network.core._rechecking)


def test_rechecks__of_a_network_without_room_in_the_day__cost_no_more_than_the_limit() -> None:
    price = 128 * 128 * 10 * 10**9
    network = Network(policy=replace(POLICY, daily_limit=5 * price))
    network.run(60)
    ordered = network.world.noted(NoteName.RECHECK_ORDERED)
    assert len(ordered) == 5


@pytest.mark.parametrize("usual", [ALL_FAULTS, ALL_CHEATS], ids=["faults", "cheats"])
def test_rechecks__in_a_storm_or_among_all_cheats__break_no_promise_and_blame_nobody(
    usual: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.sim.scenario.World", partial(World, rechecks=POLICY))
    run, ended = Run(replace(usual, seed=12)), Counter[str]()

    def count(_: Machine, note: Note) -> None:
        if note.name is NoteName.RECHECK_ENDED:
            ended[str(note.fields["reason"])] += 1

    run.world.watch(Note, count)
    run.go()  # its invariants say who may be the odd one: who came back without steps that it committed to
    assert ended["agreed"] > 20
    cores = [machine.core for machine in run.world.everybody if isinstance(machine.core, CoordinatorCore)]
    accounts = [account for core in cores for _, account in core.roster.conduct.reputation.accounts(core.now)]
    assert accounts
    assert not [account for account in accounts if account.left_out_until]
