"""What all tests share: Hypothesis profiles, how they are spread over processes, what a run says at its end."""

import contextlib
import importlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from node import garbage

# As a node that starts: what is left behind by collecting 8,000 tests stays, and to look it over costs a second.
garbage.let_pile_up()

# No deadline for one example: machines that run tests are shared, and a pause of theirs says nothing about us.
settings.register_profile("here", deadline=None, print_blob=True)
# Under CI the examples follow from the test alone, so that a red run can be repeated; new ones are searched for here.
settings.register_profile("ci", settings.get_profile("here"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

ONE_AT_A_TIME = {
    "real life": (
        "tests/e2e/test_appeal.py",
        "tests/e2e/test_audit.py",
        "tests/e2e/test_deployed.py",
        "tests/e2e/test_disputes.py",
        "tests/e2e/test_portal",
        "tests/e2e/test_staker.py",
        "tests/e2e/test_steps.py",
    ),
    "real processes": ("tests/e2e/",),
    "real network": ("tests/interop/", "tests/attacks/", "tests/adapters/libp2p/"),
    "real engine": ("tests/adapters/engine/",),
    "real chain": ("tests/contracts/", "tests/adapters/chain/"),
}
"""Tests that wait for each other, since they time real processes or share a chain that takes seconds to start. A
path belongs to the first group that names it. In real life people and jurors act, within minutes and not in fractions
of a lease: such networks can run beside those that are killed and timed."""
SECONDS = {
    "real processes": 370,
    "real life": 340,
    "real network": 210,
    "real engine": 265,
    "real chain": 165,
    "tests/adapters/review/test_safety.py": 25,
    "tests/nat/test_behind_a_router.py": 20,
    "tests/node/test_rechecks_in_memory.py": 16,
    "tests/node/test_bench_command.py": 12,
    "tests/protocol/task/test_distance.py": 9,
    "tests/node/test_training_scripts.py": 8,
    "tests/node/test_doctor_device.py": 7,
}
"""Roughly what a group takes on two cores, or a file of few tests that take long. The longest is begun first, so that
nothing long is left at the end."""
SECONDS_OF_A_TEST = {"tests/sim/": 2.0, "tests/fuzz/": 0.3, "tests/protocol/": 0.03, "tests/": 0.1}
"""The same for each test of a file in no such group: that of the first folder that it is in."""
FRESH_SEED = "fresh seed"
"""Property of a test whose value is said at the end of the run, also where it passes."""


def _group(path: str) -> str:
    return next((name for name, folders in ONE_AT_A_TIME.items() if path.startswith(folders)), path)


def _seconds(group: str, tests: int) -> float:
    return SECONDS.get(group) or tests * next(s for folder, s in SECONDS_OF_A_TEST.items() if group.startswith(folder))


class OneGroupAtATime(LoadScopeScheduling):
    """Keeps what belongs together in one process: a folder of ``ONE_AT_A_TIME``, else a file. The longest goes first.

    Told by the path alone: xdist writes its own groups into an attribute of items that pytest 9.2 reads no more.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid.partition("::")[0])

    def _assign_work_unit(self, node: WorkerController) -> None:
        longest = max(self.workqueue, key=lambda group: _seconds(group, len(self.workqueue[group])))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


def pytest_collection(session: pytest.Session) -> None:
    """Have each process import another part of the tests first, which all of them import for their collection.

    What one has compiled, with its assertions rewritten, the others find on the disk: in a fresh clone that takes as
    long as all else of a collection, and processes that go through the same files side by side would all do all of it.
    """
    told = getattr(session.config, "workerinput", None)
    if told is None:
        return
    number, count = int(told["workerid"].removeprefix("gw")), int(told["workercount"])
    files = sorted(file for path in session.config.args for file in Path(path).rglob("test_*.py"))
    for file in files[number::count]:
        name = ".".join(file.resolve().relative_to(session.config.rootpath).with_suffix("").parts)
        with contextlib.suppress(Exception, pytest.skip.Exception):  # it is told when the file is collected
            importlib.import_module(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests that would run in real time, though a fixture of theirs asks for a clock that jumps."""
    for item in items:
        asked = getattr(item, "fixturenames", ())
        for clock in {"autojump_clock", "mock_clock"}.intersection(asked):
            if clock not in inspect.signature(inspect.unwrap(item.function)).parameters:  # type: ignore[attr-defined]
                raise pytest.UsageError(f"{item.nodeid} must name {clock} itself: pytest-trio looks nowhere else")


def pytest_collection_finish() -> None:
    """Look for garbage in what tests make."""
    garbage.collect_from_here_on()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Spread the tests in groups, whatever ``--dist`` says."""
    garbage.collect_from_here_on()  # this process collects no tests
    return OneGroupAtATime(config, log)


def _told(reporter: pytest.TerminalReporter) -> Iterator[str]:
    for reports in reporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == FRESH_SEED and report.when == "call":
                    yield f"{name}: {value}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which random seeds ran, so that they can be run again."""
    for line in sorted(_told(terminalreporter)):
        terminalreporter.write_line(line)
