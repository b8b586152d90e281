"""``make soak-engine``: a thousand jobs through one child of a miner's engine; its memory and the node's stay flat.

The model is a tiny random one of the family of SD 1.5, or with ``--pocket`` the embedded one, which takes ten times as
long. Sizes of batches change, some jobs are cancelled and some fail, as in life. Prints a table and a verdict, draws
both curves over the jobs.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import trio

from node.adapters.engine import EngineSettings, build_engine, child_process
from node.adapters.engine.weights import model_digest
from node.adapters.system import SystemClock
from node.model_files.catalog import load_catalog
from node.ports import Engine
from protocol.effects import StartJob
from protocol.events import EngineChanged, Event, JobFailed, JobFinished
from protocol.notes import NoteName
from protocol.task.catalog import Catalog
from protocol.units import TaskId
from tests.support.journal import RecordingJournal

MIB = 2**20
NAME = "pocket-emoji"
EDGE = 32
"""Edge (pixels) of the tiny model's pictures."""
STEPS = 2
"""Few: what a job leaves behind it leaves at its beginning and end."""
TOGETHER = 3
EVERY = 10
"""One job of so many is cancelled, and one of so many fails."""
SAMPLE = 20
"""Jobs between two samples."""
WARM_UP_SHARE = 0.3
"""Of the jobs, before memory counts: allocators and caches have their size then."""
FLAT_MIB = 8.0
"""Most growth over the rest that is called flat: 8 KiB a job would show in a thousand."""


@dataclass(frozen=True)
class Sample:
    """Resident memory (MiB) after so many jobs."""

    jobs: int
    child: float
    node: float


def main() -> None:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--pocket", action="store_true", help="the embedded model instead of a tiny one")
    parser.add_argument("--plot", type=Path, default=Path("soak-engine.png"))
    chosen = parser.parse_args()
    child_process.CHILD_MODULE = "tests.support.faulty_engine"  # type: ignore[misc]  # whose faults prompts ask for
    child_process.MISSED_PINGS_LIMIT = 240  # type: ignore[misc]  # a crowded machine is not what is looked at
    with tempfile.TemporaryDirectory() as folder:
        catalog, folders = (load_catalog(), {}) if chosen.pocket else tiny(Path(folder))
        samples = trio.run(run, chosen.jobs, catalog, folders)
    draw(samples, chosen.plot)
    sys.exit(verdict(samples))


def tiny(folder: Path) -> tuple[Catalog, dict[str, Path]]:
    """Make a tiny model, and a catalog that calls it by the embedded one's name."""
    save = "from tests.support import tiny_pipelines as tiny; import pathlib, sys; tiny.stable_diffusion("
    save += "pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-W", "ignore", "-c", save, str(folder)], check=True)
    here = folder / "model"
    fields = {"sizes": ((EDGE, EDGE),), "default_size": (EDGE, EDGE), "digest": model_digest(here)}
    model = load_catalog().models[NAME].model_copy(update=fields)
    return Catalog(models={NAME: model}, default=NAME), {NAME: here}


class Counter:
    """Counts the ends of jobs, and wakes who waits for them."""

    def __init__(self) -> None:
        self.up = trio.Event()
        self.ends: dict[str, int] = {}
        self.woken = trio.Event()

    @property
    def ended(self) -> int:
        return sum(self.ends.values())

    async def post(self, event: Event) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(event, EngineChanged) and event.models:
            self.up.set()
        elif isinstance(event, JobFinished | JobFailed):
            how = "done" if isinstance(event, JobFinished) else event.reason
            self.ends[how] = self.ends.get(how, 0) + 1
            self.woken.set()
            self.woken = trio.Event()


async def run(jobs: int, catalog: Catalog, folders: dict[str, Path]) -> list[Sample]:
    """Keep the engine busy with so many jobs, and sample its memory."""
    clock, counter, journal = SystemClock(), Counter(), RecordingJournal()
    settings = EngineSettings(model_folders=folders, threads=1, device="cpu", batch=TOGETHER)
    engine: Any = build_engine(settings, catalog, clock, journal)
    samples: list[Sample] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run, counter)
        await counter.up.wait()
        child, node = psutil.Process(engine.child_pid), psutil.Process()
        for number in range(jobs):
            while number - counter.ended >= 2 * TOGETHER:
                await counter.woken.wait()
            if engine.child_pid != child.pid:
                lost = [note.fields["reason"] for note in journal.of(NoteName.ENGINE_DOWN)]
                sys.exit(f"the child was lost before job {number}: {lost}")
            begin(engine, number, catalog)
            if number % SAMPLE == 0:
                samples.append(Sample(number, child.memory_info().rss / MIB, node.memory_info().rss / MIB))
                if number % (10 * SAMPLE) == 0:
                    print(
                        f"{number:5d} jobs: child {samples[-1].child:.1f}, node {samples[-1].node:.1f} MiB", flush=True
                    )
        while counter.ended < jobs:
            await counter.woken.wait()
        nursery.cancel_scope.cancel()
    print(f"{jobs} jobs: " + ", ".join(f"{count} {how}" for how, count in sorted(counter.ends.items())))
    return samples


def begin(engine: Engine, number: int, catalog: Catalog) -> None:
    """Hand in one job; some are cancelled at once, some fail."""
    prompt = "poison heart" if number % EVERY == 3 else f"heart {number}"
    steps = STEPS + number % 3  # other companions each time
    specification = catalog.complete(prompt, steps=steps, seed=number)
    job = StartJob(TaskId(number.to_bytes(32, "big")), 0, specification)
    engine.start(job)
    if number % EVERY == 7:
        engine.cancel(job.task, 0)


def verdict(samples: list[Sample]) -> int:
    """Say whether it is flat: 1 when it is not."""
    late = [sample for sample in samples if sample.jobs >= WARM_UP_SHARE * samples[-1].jobs]
    third = max(1, len(late) // 3)
    grown = {
        name: max(getattr(one, name) for one in late[-third:]) - max(getattr(one, name) for one in late[:third])
        for name in ("child", "node")
    }
    print(f"after the warm-up: child {grown['child']:+.1f} MiB, node {grown['node']:+.1f} MiB; flat is {FLAT_MIB:g}")
    return int(max(grown.values()) > FLAT_MIB)


def draw(samples: list[Sample], path: Path) -> None:
    """Draw both curves."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4))
    for name in ("child", "node"):
        axes.plot([one.jobs for one in samples], [getattr(one, name) for one in samples], label=name)
    axes.set(xlabel="jobs", ylabel="resident memory (MiB)", title="An engine's child and its node")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
