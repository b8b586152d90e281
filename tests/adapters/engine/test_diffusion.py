"""The real engine: the trio side together with real child processes and the embedded model."""

import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest
import trio

from node.adapters.engine import EngineSettings, build_engine
from protocol.errors import ConfigError
from protocol.events import EngineChanged, JobFailed, JobFinished, JobProgress
from protocol.notes import NoteName
from protocol.task.catalog import Catalog
from protocol.task.fingerprint import NO_FINGERPRINT
from tests.support.patience import PATIENCE_S, stopwatch

NO_TORCH = """
import sys, types
from pathlib import Path
from node.model_files.catalog import load_catalog
from node.adapters.engine import EngineSettings, build_engine
for kind in ("diffusion", "instant"):
    build_engine(EngineSettings(kind=kind), load_catalog(), types.SimpleNamespace(now=lambda: 0), None)
print([name for name in ("torch", "diffusers", "transformers", "PIL", "numpy") if name in sys.modules])
"""

PARENT = """
import sys, trio
from node.adapters.engine.child_process import open_child

async def main():
    async with open_child("cpu", 1) as child:
        print(child.pid, flush=True)
        await child.serve(lambda report: None, lambda: None)

trio.run(main)
"""


def with_broken_model(catalog, folder):
    """A catalog with a second model whose folder does not hold what its digest says."""
    broken = catalog.models["pocket-emoji"].model_copy(update={"name": "broken", "digest": bytes(32)})
    return Catalog(models={**catalog.models, "broken": broken}, default="pocket-emoji"), {"broken": folder}


async def ends_soon(recorder, job):
    """Give the end of a job that nothing has to be waited for."""
    with stopwatch() as watch:
        end = await recorder.until_end(job)
        assert watch.seconds < 2
    return end


async def test_run__a_day_of_an_engine__every_job_ends_once_whatever_happens_to_the_child(
    catalog, clock, journal, recorder, nursery, make_job, model_folder
):
    """One long story, because each start of a child costs seconds: draw, cancel, kill, come back, freeze."""
    catalog, folders = with_broken_model(catalog, model_folder)
    settings = EngineSettings(models=("pocket-emoji", "broken"), model_folders=folders, threads=1, device="cpu")
    engine = build_engine(settings, catalog, clock, journal)

    early = make_job()
    await nursery.start(engine.run, recorder)
    engine.start(early)
    assert await ends_soon(recorder, early) == JobFailed(early.task, 0, "engine_down")

    up = await recorder.until_up()
    (state,) = up.models
    assert (up.places, state.model, state.warm, state.sizes) == (1, "pocket-emoji", True, ((128, 128),))
    assert state.digest == catalog.models["pocket-emoji"].digest
    assert 1000 < state.pixel_steps_per_s < 10**8

    # Draws, with progress up to the end; what waits meanwhile says so.
    first, second = make_job(steps=30), make_job(steps=4)
    engine.start(first)
    engine.start(second)
    engine.start(first)
    end = await recorder.until_end(first)
    assert isinstance(end, JobFinished)
    assert end.data.startswith(b"\x89PNG")
    assert end.fingerprint != NO_FINGERPRINT
    states = [event.state for event in recorder.of(first) if isinstance(event, JobProgress)]
    assert states[0] in {"queued", "loading"}
    assert "step" in states
    before = await recorder.until_end(second)
    assert isinstance(before, JobFinished)
    waited_s = recorder.time_of(end) - recorder.time_of(recorder.of(second)[0])
    queued = [event for event in recorder.of(second) if isinstance(event, JobProgress) and event.state == "queued"]
    assert len(queued) >= 1 + int(waited_s), "silent for more than a second"

    # Refuses what no child needs to see, by name.
    for job, reason in (
        (make_job(width=512), "size_not_offered"),
        (make_job(steps=60), "too_many_steps"),
        (make_job(model="flux"), "unknown_model"),
        (make_job(model="broken"), "model_corrupt"),
    ):
        engine.start(job)
        assert await ends_soon(recorder, job) == JobFailed(job.task, 0, reason)

    # Cancels between steps, running and waiting, and goes on with the rest.
    running, waiting, after = make_job(steps=50), make_job(), make_job(steps=2)
    for job in (running, waiting, after):
        engine.start(job)
    await recorder.until(lambda event: isinstance(event, JobProgress) and event.task == running.task and event.step > 0)
    engine.cancel(waiting.task, 0)
    engine.cancel(running.task, 0)
    engine.cancel(running.task, 0)
    assert await recorder.until_end(running) == JobFailed(running.task, 0, "cancelled")
    assert await recorder.until_end(waiting) == JobFailed(waiting.task, 0, "cancelled")
    assert isinstance(await recorder.until_end(after), JobFinished)

    # kill -9 in the middle of a job: withdrawn first, then failed; a new child takes the next job, and draws the same.
    killed, behind = make_job(steps=50), make_job()
    engine.start(killed)
    engine.start(behind)
    await recorder.until(lambda event: isinstance(event, JobProgress) and event.task == killed.task and event.step > 0)
    old_pid = engine.child_pid
    seen = len(recorder.events)
    os.kill(old_pid, signal.SIGKILL)
    assert await ends_soon(recorder, killed) == JobFailed(killed.task, 0, "engine_down")
    assert await ends_soon(recorder, behind) == JobFailed(behind.task, 0, "engine_down")
    withdrawn = recorder.events.index(EngineChanged((), 0))
    assert seen <= withdrawn < recorder.events.index(JobFailed(killed.task, 0, "engine_down"))
    recorder.events = recorder.events[withdrawn:]
    await recorder.until_up()
    assert engine.child_pid != old_pid
    again = make_job(steps=4)
    engine.start(again)
    after = await recorder.until_end(again)
    assert (after.digest, after.fingerprint) == (before.digest, before.fingerprint)

    # A frozen child: told alive for little more than a second, then killed, and its job fails by that name.
    frozen = make_job(steps=50)
    engine.start(frozen)
    await recorder.until(lambda event: isinstance(event, JobProgress) and event.task == frozen.task and event.step > 0)
    stopped_pid = engine.child_pid
    os.kill(stopped_pid, signal.SIGSTOP)
    begin = trio.current_time()
    with stopwatch() as watch:
        assert await recorder.until_end(frozen) == JobFailed(frozen.task, 0, "engine_frozen")
        assert watch.seconds < 5
    assert trio.current_time() - begin > 2
    last_progress = [event for event in recorder.of(frozen) if isinstance(event, JobProgress)][-1]
    assert recorder.time_of(last_progress) - begin < 2
    with trio.fail_after(PATIENCE_S):
        while psutil.pid_exists(stopped_pid):
            await trio.sleep(0.05)

    reasons = [fields.get("reason") for name, fields in journal.notes if name is NoteName.ENGINE_DOWN]
    assert reasons[:4] == ["model_corrupt", "engine_down", "model_corrupt", "engine_frozen"]
    assert [name for name, _ in journal.notes].count(NoteName.ENGINE_UP) == 2
    nursery.cancel_scope.cancel()


async def test_rest__before_it_runs_while_it_loads_and_while_it_serves__has_no_child_until_wake(
    catalog, clock, journal, recorder, nursery, make_job
):
    """One story, because each start of a child costs seconds."""
    engine = build_engine(EngineSettings(threads=1, device="cpu"), catalog, clock, journal)
    engine.rest()
    await nursery.start(engine.run, recorder)
    await trio.sleep(0.1)
    assert (engine.child_pid, engine.report().state) == (None, "resting")

    async def rests():
        """Each loaded model gives the child a new deadline: that does not take back that it was given up."""
        pid = engine.child_pid
        engine.rest()
        with trio.fail_after(PATIENCE_S):
            while psutil.pid_exists(pid):
                await trio.sleep(0.05)

    engine.wake()
    with trio.fail_after(60):
        while not engine.report().device:  # it has started, and loads
            await trio.sleep(0.01)
    assert engine.report().state == "starting"
    await rests()
    assert not any(isinstance(event, EngineChanged) and event.models for event in recorder.events)

    engine.wake()
    up = await recorder.until_up()
    report = engine.report()
    assert (report.device, report.state, report.faults) == ("cpu", "up", ())
    assert [(one.model, one.in_memory) for one in report.models] == [("pocket-emoji", True)]
    assert report.models[0].speeds == ((1, up.models[0].pixel_steps_per_s),)
    await rests()
    await recorder.until(lambda event: event == EngineChanged((), 0))
    job = make_job(steps=2)
    engine.start(job)
    assert await ends_soon(recorder, job) == JobFailed(job.task, 0, "engine_down")
    assert engine.report().models == ()
    nursery.cancel_scope.cancel()


async def test_run__cancelled_while_the_child_starts__leaves_no_process(catalog, clock, journal, recorder):
    engine = build_engine(EngineSettings(threads=1), catalog, clock, journal)
    with stopwatch() as watch:
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run, recorder)
            with trio.fail_after(PATIENCE_S):
                while engine.child_pid is None:
                    await trio.sleep(0.01)
            pid = engine.child_pid
            watch.start()
            nursery.cancel_scope.cancel()
        assert watch.seconds < 2
    assert not psutil.pid_exists(pid)


def test_open_child__parent_is_killed__the_child_ends_too():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    with parent, parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
    gone, alive = psutil.wait_procs([child], timeout=PATIENCE_S)
    assert (gone, alive) == ([child], [])


def test_build_engine__in_the_node__imports_no_torch():
    ran = subprocess.run([sys.executable, "-c", NO_TORCH], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"


def test_build_engine__model_folder_missing__config_error_in_one_line(catalog, clock, journal, tmp_path):
    settings = EngineSettings(model_folders={"pocket-emoji": tmp_path / "nowhere"})
    with pytest.raises(ConfigError, match=r"^model_folders\.pocket-emoji: no model in ") as caught:
        build_engine(settings, catalog, clock, journal)
    assert "\n" not in str(caught.value)


def test_build_engine__torch_not_installed__config_error_says_how_to(catalog, tmp_path):
    code = textwrap.dedent("""
        import sys
        sys.modules["torch"] = None
        import importlib.util, types
        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name == "torch" else real(name)
        from node.model_files.catalog import load_catalog
        from node.adapters.engine import EngineSettings, build_engine
        try:
            build_engine(EngineSettings(), load_catalog(), types.SimpleNamespace(now=lambda: 0), None)
        except Exception as error:
            print(type(error).__name__, error)
    """)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.startswith("ConfigError engine.kind: diffusion needs torch")
    assert ran.stdout.strip().endswith("pip install 'cuckoo-overlay[miner]'")
