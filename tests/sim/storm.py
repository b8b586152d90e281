"""How each step of a plan is done to a world, and undone."""

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

from protocol.effects import Accepted
from protocol.events import JobFailed, TaskCancelled
from tests.sim.machine import Machine
from tests.sim.plan import Step
from tests.sim.world import World


class Storm:
    """Does the steps of a plan. What is struck already is not struck again before it is whole."""

    def __init__(self, world: World, job_steps: int) -> None:
        """Strike this world; tasks take so many steps."""
        self._world = world
        self._job_steps = job_steps
        self.requests: list[int] = []
        self.done: list[Step] = []
        self._ways: dict[str, Callable[[Step], None]] = {
            "submit": lambda step: self._submit(step, detached=True),
            "submit_attached": lambda step: self._submit(step, detached=False),
            "crash": self._crash,
            "restore": self._restore,
            "cut": lambda step: world.cut(step.who, step.other),
            "hang": self._hang,
            "wrong": self._wrong,
            "cancel": self._cancel,
            "jail": self._jail,
            "leave": self._leave,
            "part": self._part,
            "slow": self._slow,
            "lossy": self._lossy,
            "deaf": self._deaf,
            "fork": self._fork,
            "reorganise": lambda _step: world.chain.reorganise(),
            "clock": self._clock,
            "loses_transactions": self._lose_transactions,
        }

    def plan(self, steps: tuple[Step, ...]) -> None:
        """Have all steps done, counted from now."""
        for step in steps:
            self._world.at(step.at_ms, self._do, step)

    def _do(self, step: Step) -> None:
        self.done.append(step)
        self._ways[step.what](step)

    def _who(self, step: Step) -> Machine:
        return self._world.machines[step.who]

    def _submit(self, step: Step, *, detached: bool) -> None:
        key = f"key{step.amount}" if detached else None
        self.requests.append(self._world.submit(step.who, detached=detached, key=key, steps=self._job_steps))

    def _crash(self, step: Step) -> None:
        if self._who(step).core is not None:
            self._world.crash(step.who)
            self._world.at(step.for_ms, self._world.start, step.who)

    def _restore(self, step: Step) -> None:
        """A miner dies and comes back on a copy of its disk from a while ago."""
        machine, copy = self._who(step), deepcopy(self._who(step).store)

        def die() -> None:
            if machine.core is not None:
                self._world.crash(step.who)
                machine.store, machine.set_back = copy, True
                self._world.at(100, self._world.start, step.who)

        self._world.at(step.for_ms, die)

    def _hang(self, step: Step) -> None:
        """An engine is silent for a while; then its process is killed, and what it had fails."""
        machine = self._who(step)
        machine.hangs = True

        def recover() -> None:
            machine.hangs = False
            for task, attempt in sorted(machine.jobs):
                self._world.post(machine, JobFailed(task, attempt, "engine_died"))
            machine.jobs.clear()

        self._world.at(step.for_ms, recover)

    def _wrong(self, step: Step) -> None:
        """An engine draws pictures of another size: its miner is no honest one from then on."""
        machine = self._who(step)
        machine.wrong = machine.at_fault = True
        self._world.at(step.for_ms, setattr, machine, "wrong", False)

    def _cancel(self, step: Step) -> None:
        accepted = [reply.task for reply in self._world.replies.values() if isinstance(reply, Accepted)]
        if accepted:
            task = random.Random(step.amount).choice(accepted)
            for machine in self._world.everybody:
                self._world.post(machine, TaskCancelled(task))

    def _jail(self, step: Step) -> None:
        self._world.jail(step.who)
        self._world.at(step.for_ms, lambda: self._world.jail(step.who, free=True))

    def _leave(self, step: Step) -> None:
        """A node is inactive in the tables that are fixed from now on, for a while."""
        self._set_active(step.who, False)
        self._world.at(step.for_ms, self._set_active, step.who, True)

    def _set_active(self, name: str, active: bool) -> None:
        node = self._world.staking_id(name)
        self._world.chain.rows = tuple(
            replace(row, active=active) if row.id == node else row for row in self._world.chain.rows
        )

    def _part(self, step: Step) -> None:
        drawn, world = random.Random(step.amount), self._world
        share = int(step.who.rpartition(" ")[2])
        world.part([machine.name for machine in world.everybody if drawn.randrange(share) == 0])
        world.at(step.for_ms, world.heal)

    def _slow(self, step: Step) -> None:
        self._world.links.slow_share = step.amount / 30
        self._world.at(step.for_ms, setattr, self._world.links, "slow_share", 0.0)

    def _lossy(self, step: Step) -> None:
        links = self._world.links
        links.loss = links.duplication = step.amount / 100
        self._world.at(step.for_ms, setattr, links, "loss", 0.0)
        self._world.at(step.for_ms, setattr, links, "duplication", 0.0)

    def _deaf(self, step: Step) -> None:
        """A node's chain node is down."""
        self._world.chain.deaf.add(step.who)
        self._world.at(step.for_ms, self._world.chain.catch_up, self._who(step))

    def _fork(self, step: Step) -> None:
        """A node's chain node follows another branch, in which somebody holds another stake."""
        rows = self._world.chain.rows
        self._world.chain.forked[step.who] = (replace(rows[0], stake=rows[0].stake + 1), *rows[1:])
        self._world.at(step.for_ms, self._world.chain.forked.pop, step.who, None)

    def _clock(self, step: Step) -> None:
        self._who(step).skew_ms = step.amount

    def _lose_transactions(self, step: Step) -> None:
        self._world.chain.lost_transactions = step.amount
