"""Real ends for engines under test: a sink that remembers, a clock, a journal, and one shared child process."""

import dataclasses
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from node.adapters.engine.ipc import (
    MAX_REPORT_BYTES,
    FrameReader,
    Give,
    InMemory,
    Load,
    Loaded,
    LoadFailed,
    Order,
    Run,
    Started,
    decode_report,
    encode,
)
from node.child_environment import child_environment
from node.model_files.catalog import load_catalog
from protocol.effects import StartJob
from protocol.events import EngineChanged, JobFailed, JobFinished, JobProgress
from protocol.units import TaskId, UnixMillis

MODEL_FOLDER = Path(__file__).parents[3] / "node" / "models" / "pocket-emoji"


class Recorder:
    """An event sink that keeps everything and lets a test wait for what it needs."""

    def __init__(self):
        self.events = []
        self._times = {}
        self._news = trio.Event()

    async def post(self, event):
        await trio.lowlevel.checkpoint()
        event = dataclasses.replace(event)  # an event that is posted again is another object here
        self.events.append(event)
        self._times[id(event)] = trio.current_time()
        self._news.set()
        self._news = trio.Event()

    async def until(self, wanted, limit_s=60):
        """Give the first event, old or new, for which ``wanted`` holds."""
        with trio.fail_after(limit_s):
            while True:
                for event in self.events:
                    if wanted(event):
                        return event
                await self._news.wait()

    def time_of(self, event):
        """Moment (trio time) at which this very event came."""
        return self._times[id(event)]

    async def until_end(self, job, limit_s=60):
        return await self.until(lambda event: is_end(event) and event.task == job.task, limit_s)

    async def until_up(self, limit_s=90):
        return await self.until(lambda event: isinstance(event, EngineChanged) and event.models, limit_s)

    def of(self, job):
        return [
            event
            for event in self.events
            if isinstance(event, JobProgress | JobFinished | JobFailed) and event.task == job.task
        ]


def is_end(event):
    return isinstance(event, JobFinished | JobFailed)


class TrioClock:
    def now(self):
        return UnixMillis(round(trio.current_time() * 1000))


class Notes:
    def __init__(self):
        self.notes = []

    def note(self, name, task=None, **fields):
        self.notes.append((name, fields))


class SharedChild:
    """The real child process, driven over its real pipes."""

    def __init__(self, threads=1, errors=None, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "node.adapters.engine.child", "--device", "cpu", "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=child_environment(threads, os.environ) | environment,
        )
        self._frames = FrameReader(MAX_REPORT_BYTES)
        self._ready = []
        self._jobs = 0
        self.in_memory = ()
        """Models that it held when it was loaded last."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def send(self, message):
        self.process.stdin.write(encode(message))
        self.process.stdin.flush()

    def receive(self, limit_s=60):
        deadline = time.monotonic() + limit_s
        while not self._ready:
            left = max(0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"the child said nothing for {limit_s} s")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise EOFError("the child has ended")
            self._ready += [decode_report(body) for body in self._frames.feed(data)]
        return self._ready.pop(0)

    def load(self, folder, digest, name="pocket-emoji", edge=128, checkpoint="", precision="float32", **changes):
        usual = {"width": edge, "height": edge, "steps": 15, "guidance": 4.0, "batches": (1,), "precision": precision}
        self.send(Load(model=name, folder=str(folder), digest=digest, checkpoint=str(checkpoint), **usual, **changes))
        # Loading is the slowest there is on a busy machine.
        while isinstance(report := self.receive(limit_s=150), InMemory):
            self.in_memory = report.models
        assert isinstance(report, Loaded | LoadFailed)
        return report

    def begin(self, prompt="red heart", *, seed=1, **changes):
        """Begin a batch of one, and give its number."""
        return self.begin_batch([(prompt, seed)], **changes)[0]

    def begin_batch(self, wishes, **changes):
        """Begin a batch of (prompt, seed), and give the number of each; it may begin from sources and masks."""
        sources, masks = changes.pop("sources", ()), changes.pop("masks", ())
        kept = {name: changes.pop(name) for name in ("output", "quality", "embed_prompt") if name in changes}
        away_from = changes.pop("negative_prompt", "")
        numbers = {"model": "pocket-emoji", "width": 128, "height": 128, "steps": 8, "guidance": 4.0} | changes
        jobs = range(self._jobs + 1, self._jobs + 1 + len(wishes))
        self._jobs += len(wishes)
        for place, (job, source) in enumerate(zip(jobs, sources, strict=False)):
            self.send(Give(job=job, source=source, mask=masks[place] if masks else b""))
        orders = tuple(
            Order(job=job, prompt=prompt, negative_prompt=away_from, seed=seed, **kept)
            for job, (prompt, seed) in zip(jobs, wishes, strict=True)
        )
        self.send(Run(orders=orders, **numbers))
        return list(jobs)

    def until_end(self):
        """Give the progress of the running job and its end."""
        progress = []
        while (report := self.receive()).kind == "progress":
            progress.append(report)
        return progress, report

    def until_all_end(self, jobs):
        """Give everything that is said up to the end of each of these jobs, and the ends by job."""
        said, ends = [], {}
        while len(ends) < len(jobs):
            report = self.receive()
            said.append(report)
            if report.kind in {"done", "failed"}:
                assert report.job not in ends, "a job ends once"
                ends[report.job] = report
        return said, [ends[job] for job in jobs]


@pytest.fixture(scope="session")
def log_of_child(tmp_path_factory):
    """What the shared children say on standard error, which is their node's log."""
    return tmp_path_factory.mktemp("child") / "log"


@pytest.fixture(scope="session")
def children():
    """The children that files share, one after the other: the last is still there, unless a test had it end."""
    kept = []
    yield kept
    for shared in kept:
        shared.__exit__()


@pytest.fixture(scope="module")
def child(children, log_of_child):
    """One child for many files, since a start costs seconds; each begins with the embedded model loaded anew."""
    if not children or children[-1].process.poll() is not None:
        with log_of_child.open("ab") as log:
            children.append(SharedChild(errors=log))
        assert isinstance(children[-1].receive(limit_s=90), Started)
    shared = children[-1]
    loaded = shared.load(MODEL_FOLDER, load_catalog().models["pocket-emoji"].digest)
    assert isinstance(loaded, Loaded), loaded
    return shared


@pytest.fixture(scope="session")
def families(tmp_path_factory):
    """Folder with a tiny model of each family, saved once."""
    folder = tmp_path_factory.mktemp("families")
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.tiny_pipelines", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def make_child():
    """Starts a child of its own with so many threads, and more in its environment; to be left with ``with``."""
    return SharedChild


@pytest.fixture(scope="session")
def model_folder():
    return MODEL_FOLDER


@pytest.fixture
def catalog():
    return load_catalog()


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def clock():
    return TrioClock()


@pytest.fixture
def journal():
    return Notes()


@pytest.fixture
def make_job(catalog):
    """Builds jobs with tasks of their own."""
    count = 0

    def make(prompt="red heart", *, attempt=0, **changes):
        nonlocal count
        count += 1
        changed = {key: changes.pop(key) for key in ("width", "height", "model") if key in changes}
        if changes.get("steps", 0) > 50:
            changed["steps"] = changes.pop("steps")
        specification = catalog.complete(prompt, **({"seed": 1} | changes))
        specification = specification.model_copy(update=changed)
        return StartJob(TaskId(count.to_bytes(32, "big")), attempt, specification)

    return make
