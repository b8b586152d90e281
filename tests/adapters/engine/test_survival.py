"""The real engine over a child whose faults prompts ask for: each fails by its name, and nobody else pays for it."""

import pytest
import trio

from node.adapters.engine import EngineSettings, build_engine, child_process, diffusion
from protocol.events import EngineChanged, JobFailed, JobFinished, JobProgress
from protocol.notes import NoteName
from tests.support.lying_engine import LIES
from tests.support.patience import PATIENCE_S

TOGETHER = 4


@pytest.mark.parametrize("lie", ["nonsense", *LIES])
async def test_run__child_says_what_makes_no_sense__is_ended_and_the_node_goes_on(
    catalog, clock, journal, recorder, nursery, monkeypatch, lie
):
    monkeypatch.setattr(child_process, "CHILD_MODULE", "tests.support.lying_engine")
    monkeypatch.setenv("LIE", lie)
    engine = build_engine(EngineSettings(threads=1, device="cpu"), catalog, clock, journal)
    await nursery.start(engine.run, recorder)
    with trio.fail_after(PATIENCE_S):
        while not any(name is NoteName.ENGINE_DOWN for name, _ in journal.notes):
            await trio.sleep(0.02)
    assert next(fields["reason"] for name, fields in journal.notes if name is NoteName.ENGINE_DOWN) == "engine_garbled"
    assert {model.model for model in engine.report().models} <= {"pocket-emoji"}
    nursery.cancel_scope.cancel()


async def test_run__every_fault_of_a_device__fails_its_own_job_by_name(
    catalog, clock, journal, recorder, nursery, make_job, monkeypatch
):
    """One story with one child as long as it lives, because each start of a child costs seconds."""
    monkeypatch.setattr(child_process, "CHILD_MODULE", "tests.support.faulty_engine")
    monkeypatch.setattr(diffusion, "STALL_GRACE_S", 2.0)
    settings = EngineSettings(threads=1, device="cpu", batch=TOGETHER)
    engine = build_engine(settings, catalog, clock, journal)
    await nursery.start(engine.run, recorder)
    up = await recorder.until_up()
    assert (up.places, up.models[0].max_batch) == (TOGETHER, TOGETHER)

    async def ends(*prompts):
        jobs = [make_job(prompt, steps=2) for prompt in prompts]
        for job in jobs:
            engine.start(job)
        found = [await recorder.until_end(job) for job in jobs]
        return [end.reason if isinstance(end, JobFailed) else "done" for end in found]

    def largest_batch():
        """How many jobs were once in their first step before any of them was in its second."""
        largest, first = 0, set()
        for event in recorder.events:
            if isinstance(event, JobProgress) and event.state == "step" and event.step == 1:
                first.add(event.task)
                largest = max(largest, len(first))
            elif isinstance(event, JobProgress | JobFinished | JobFailed):
                first.discard(event.task)
        return largest

    assert await ends("heart", "apple", "circle", "star") == ["done"] * 4
    assert largest_batch() == TOGETHER
    assert await ends("heart", "poison apple", "circle") == ["done", "engine_error", "done"]
    assert await ends("nameless heart", "apple", "dark circle") == ["nan_picture", "done", "black_picture"]
    assert await ends("greedy heart", "apple", "circle", "star") == ["done"] * 4
    recorder.events.clear()
    assert await ends("heart", "apple", "circle", "star") == ["done"] * 4
    assert largest_batch() == TOGETHER // 2, "what did not fit once is not tried again"

    for word, reason in (("deadly", "engine_down"), ("endless", "engine_stalled")):
        recorder.events.clear()
        pid = engine.child_pid
        assert set(await ends(f"{word} heart", "apple")) == {reason}
        await recorder.until(lambda event: event == EngineChanged((), 0))
        await recorder.until_up()
        assert engine.child_pid != pid
        assert await ends("heart") == ["done"]

    recorder.events.clear()
    pid = engine.child_pid
    assert set(await ends("ruinous heart", "apple")) == {"device_lost"}
    await recorder.until(lambda event: event == EngineChanged((), 0))
    with trio.fail_after(PATIENCE_S):
        while engine.child_pid in {pid, None}:  # another one is started
            await trio.sleep(0.02)
    nursery.cancel_scope.cancel()
