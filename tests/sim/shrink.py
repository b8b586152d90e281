"""Cuts the plan of a failing run down to the few steps that it takes to fail. What is left, a person can read.

Steps are left out by halves, quarters and so on as long as the run still breaks the same promise (Zeller and
Hildebrandt, "Simplifying and isolating failure-inducing input", 2002).
"""

from collections import deque
from collections.abc import Callable

from protocol.effects import Note
from protocol.notes import NoteName
from tests.sim.invariants import Violation
from tests.sim.machine import Machine
from tests.sim.plan import Step
from tests.sim.scenario import Run, Scenario

MOST_RUNS = 200
ROUTINE = frozenset({NoteName.STAKE_TABLE, NoteName.CAPABILITY_RECEIVED})
"""What every node says again and again, and nobody needs to read."""
LAST_NOTES = 40
"""Notes shown of what happened before the promise was broken."""


def shrink(
    plan: tuple[Step, ...], fails: Callable[[tuple[Step, ...]], bool], most_runs: int = MOST_RUNS
) -> tuple[Step, ...]:
    """Give a part of the plan that still fails, of which no single step can be left out unless runs ran out."""
    size, runs = max(len(plan) // 2, 1), 0
    while runs < most_runs:
        start, cut = 0, False
        while start < len(plan) and runs < most_runs:
            less = plan[:start] + plan[start + size :]
            runs += 1
            if fails(less):
                plan, cut = less, True
            else:
                start += size
        if size == 1 and not cut:
            break
        size = max(size // 2, 1)
    return plan


def promise_broken(scenario: Scenario, plan: tuple[Step, ...]) -> str:
    """Run a plan and name the promise that it breaks, without its facts; empty when it keeps all."""
    try:
        Run(scenario, plan).go()
    except Violation as violation:
        return violation.promise
    return ""


def explain(scenario: Scenario, plan: tuple[Step, ...]) -> list[str]:
    """Shrink a failing run and tell its steps, and what happened last before the promise was broken."""
    promise = promise_broken(scenario, plan)
    if not promise:
        return ["this plan keeps every promise"]
    least = shrink(plan, lambda less: promise_broken(scenario, less) == promise)
    run = Run(scenario, least)
    last: deque[str] = deque(maxlen=LAST_NOTES)
    begun = run.world.now

    def hear(machine: Machine, note: Note) -> None:
        if note.name in ROUTINE:
            return
        task = note.task.hex()[:8] if note.task is not None else ""
        fields = " ".join(f"{name}={value}" for name, value in note.fields.items())
        last.append(f"{run.world.now - begun:>7} ms  {machine.name} {note.name} {task} {fields}")

    run.world.watch(Note, hear)
    try:
        run.go()
    except Violation as violation:
        broken = f"broken: {violation}"
    return [*(str(step) for step in least), "what happened last:", *last, broken]
