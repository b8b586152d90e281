"""Machines die right before and right after each thing that they persist in a task's life, and go on from the disk.

Pure cores over real SQLite stores in one process. ``tests/e2e/test_every_step.py`` kills real processes.
"""

from itertools import count
from pathlib import Path

import pytest

from protocol.effects import Accepted, Effect, Persist, Stage, StartJob
from protocol.events import TaskCancelled
from protocol.records import TaskAccepted, TaskDone, TaskFailed, VoucherIssued
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.miner.miner import MinerCore
from tests.sim.invariants import Invariants
from tests.sim.machine import Machine
from tests.sim.world import World
from tests.support.disk import Disk

RETRY_MS = 700
"""How often the app repeats what was not answered."""
DOWN_MS = 150
SUBMIT_MS = 3000
LIFE_MS = 60_000
LIVES = ("straight", "retaken", "cancelled", "late")
"""How the task goes when nobody dies: to its end; over a lost lease; until its app gives up; with a late result."""


class Walk:
    """One task of one app, and one machine that dies at one of its steps."""

    def __init__(self, folder: Path, victim: str, life: str, step: int, when: str) -> None:
        self.victim, self.life, self.step, self.when = victim, life, step, when
        self.steps: list[str] = []
        """What the victim persisted, in order."""
        self._doomed = False
        self._began = False
        alone = victim == "miner0" and life != "late"
        # Where two may be drawn, the victim is.
        self.world = World(miners=1 if alone else 2, prepare=self._prepare(folder), stakes={"miner0": 10**8})
        self.invariants = Invariants(self.world)
        self.world.tamper = self._watch
        self.request = 0
        self.world.at(SUBMIT_MS, self._submit)

    def _prepare(self, folder: Path):
        def prepare(machine: Machine) -> None:
            if machine.name == self.victim:
                machine.store = Disk(folder / self.victim)  # type: ignore[assignment]
            machine.step_ms = 100

        return prepare

    # What apps and miners do

    def _submit(self) -> None:
        if not isinstance(self.world.replies.get(self.request), Accepted):
            self.request = self.world.submit(key="the only one")
            self.world.at(RETRY_MS, self._submit)

    def _began_work(self, name: str) -> None:
        """Somebody begins to draw: now the life takes its turn."""
        world = self.world
        if self.life == "retaken" and name != self.victim:
            world.at(10, world.crash, name)
            world.at(5000, world.start, name)
        elif self.life == "retaken":
            world.at(10, world.part, [name])
            world.at(5000, world.heal)
        elif self.life == "late":
            world.at(300, world.part, [name])
            world.at(4500, world.heal)
        elif self.life == "cancelled":
            world.at(50, self._cancel)

    def _cancel(self) -> None:
        for task, account in self.invariants.accounts.items():
            if not account.ended:
                self.world.post(self.world.machines["coordinator0"], TaskCancelled(task))
        self.world.at(RETRY_MS, self._cancel)

    # Death

    def _watch(self, name: str, effect: Effect) -> Effect | None:
        if isinstance(effect, StartJob) and not self._began:
            self._began = True
            self._began_work(name)
        if name != self.victim:
            return effect
        if self._doomed:
            self._die()
            return None
        if isinstance(effect, Persist):
            self.steps.append(type(effect.records[-1]).__name__)
            if len(self.steps) == self.step:
                if self.when == "before":
                    self._die()
                    return None
                self._doomed = True
                self.world.at(0, self._die_if_doomed)
        return effect

    def _die_if_doomed(self) -> None:
        if self._doomed:
            self._die()

    def _die(self) -> None:
        self._doomed = False
        self.world.crash(self.victim)
        self.world.machines[self.victim].store.reopen()  # type: ignore[attr-defined]
        self.world.at(DOWN_MS, self.world.start, self.victim)

    def check(self) -> None:
        """The task is there once, has ended once, and is paid as it ended."""
        world = self.world
        coordinator = world.machines["coordinator0"]
        records = world.disk(coordinator.store.load())
        assert not [record for record in records if isinstance(record, TaskAccepted)], "a task is open"
        (task,) = self.invariants.accounts
        stored = world.disk(coordinator.store.task(task))
        assert (stored.done is None) != (stored.failed is None)
        assert isinstance(stored.done or stored.failed, TaskDone | TaskFailed)
        if self.life == "cancelled":
            assert stored.failed is None or stored.failed.reason == "cancelled"
        else:
            assert stored.done is not None, stored.failed
        price = stored.accepted.price if stored.done is not None else 0
        assert sum(record.cumulative for record in records if isinstance(record, VoucherIssued)) == price
        held = [voucher.cumulative for machine in world.everybody for voucher in machine.store._held.values()]
        assert sum(held) == price
        assert len([u for u in world.updates[task] if u.stage in (Stage.DONE, Stage.FAILED)]) <= 1
        assert world.replies[self.request] == Accepted(task)
        for machine in world.everybody:
            core = machine.core
            if isinstance(core, MinerCore):
                assert not core._working.delivering.undelivered()
                assert not core._working._jobs
                assert not core._claiming._claims
            elif isinstance(core, CoordinatorCore):
                assert core.waiting() == 0
        assert not world.judged
        self.invariants.check_end()

    def go(self) -> "Walk":
        """Walk to the end, and check it."""
        self.world.run(LIFE_MS)
        self.check()
        return self


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("victim", ["coordinator0", "miner0"])
def test_every_step__machine_dies_right_before_or_after_it__task_ends_once_and_is_paid_once(
    victim: str, life: str, tmp_path: Path
) -> None:
    folders = (tmp_path / str(number) for number in count())

    def walk(step: int, when: str) -> Walk:
        folder = next(folders)
        folder.mkdir()
        return Walk(folder, victim, life, step, when).go()

    steps = walk(0, "").steps
    assert steps
    for step in range(1, len(steps) + 1):
        for when in ("before", "after"):
            died = walk(step, when)
            assert died.steps[:step] == steps[:step], "the walk to the step is the same each time"


def test_every_step__of_all_lives__is_every_record_that_its_role_makes(tmp_path: Path) -> None:
    met: dict[str, set[str]] = {"coordinator0": set(), "miner0": set()}
    for number, (victim, life) in enumerate((victim, life) for victim in met for life in LIVES):
        folder = tmp_path / str(number)
        folder.mkdir()
        met[victim] |= set(Walk(folder, victim, life, 0, "").go().steps)
    tasks = {"TaskAccepted", "TaskAwarded", "VoucherIssued", "TaskFailed"}
    assert met["coordinator0"] == {"BootStarted", "SettlementRead", *tasks}
    assert met["miner0"] == {"SettlementRead", "ClaimSigned", "ResultCommitted", "VoucherHeld", "ResultSettled"}
