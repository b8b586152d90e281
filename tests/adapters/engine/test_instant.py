import hashlib
import io

import pytest
import trio
from PIL import Image

from node.adapters.engine import EngineSettings, build_engine
from node.adapters.engine.picture import solid_png
from protocol.errors import ConfigError
from protocol.events import EngineChanged, JobFailed, JobFinished, JobProgress


@pytest.fixture
async def start_engine(catalog, clock, journal, recorder, nursery):
    async def start(**changes):
        engine = build_engine(EngineSettings(kind="instant", **changes), catalog, clock, journal)
        await nursery.start(engine.run, recorder)
        return engine

    return start


async def test_rest__with_jobs__ends_them_withdraws_and_comes_back_after_wake(start_engine, recorder, make_job):
    engine = await start_engine(delay_ms=60_000)
    jobs = [make_job(), make_job()]
    for job in jobs:
        engine.start(job)
    await recorder.until(lambda event: isinstance(event, JobProgress))
    engine.rest()
    assert [(await recorder.until_end(job)).reason for job in jobs] == ["cancelled", "cancelled"]
    await recorder.until(lambda event: event == EngineChanged((), 0))
    assert engine.report().state == "resting"
    recorder.events.clear()
    engine.rest()
    engine.wake()
    engine.wake()
    await recorder.until_up()
    assert engine.report().state == "up"
    assert len(recorder.events) == 1


@pytest.mark.parametrize(("width", "height"), [(1, 1), (128, 128), (129, 77), (4096, 4096)])
def test_solid_png__any_size__is_a_picture_of_that_size_and_colour(width, height):
    picture = Image.open(io.BytesIO(solid_png(width, height, bytes((10, 200, 30)))))
    picture.load()
    assert picture.size == (width, height)
    assert picture.convert("RGB").getextrema() == ((10, 10), (200, 200), (30, 30))


async def test_start__no_delay__finishes_with_a_picture_of_the_asked_size(start_engine, recorder, make_job, catalog):
    engine = await start_engine()
    job = make_job()
    engine.start(job)
    end = await recorder.until_end(job)
    assert isinstance(end, JobFinished)
    assert Image.open(io.BytesIO(end.data)).size == (128, 128)
    assert end.digest == hashlib.sha256(end.data).digest()
    assert end.model == catalog.models["pocket-emoji"].digest


async def test_start__other_seed__gives_another_picture(start_engine, recorder, make_job):
    engine = await start_engine()
    jobs = [make_job(seed=1), make_job(seed=1), make_job(seed=2)]
    for job in jobs:
        engine.start(job)
    first, again, other = [(await recorder.until_end(job)).data for job in jobs]
    assert first == again
    assert first != other


async def test_run__started__posts_what_it_serves(start_engine, recorder, catalog):
    await start_engine(places=3)
    changed = await recorder.until_up()
    assert changed.places == 3
    (state,) = changed.models
    assert (state.model, state.warm, state.max_batch) == ("pocket-emoji", True, 1)
    assert state.digest == catalog.models["pocket-emoji"].digest


async def test_run__delay__capability_is_as_fast_as_the_delay(start_engine, recorder):
    await start_engine(delay_ms=1000)
    (state,) = (await recorder.until_up()).models
    assert state.pixel_steps_per_s == 128 * 128 * 15


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 512}, "size_not_offered"),
        ({"steps": 51}, "too_many_steps"),
        ({"model": "flux"}, "unknown_model"),
    ],
)
async def test_start__outside_the_limits__fails_with_the_catalogs_code(
    start_engine, recorder, make_job, changes, reason
):
    engine = await start_engine()
    job = make_job(**changes)
    engine.start(job)
    end = await recorder.until_end(job)
    assert end == JobFailed(job.task, 0, reason)


async def test_start__before_run__fails_engine_down(catalog, clock, journal, recorder, nursery, make_job):
    engine = build_engine(EngineSettings(kind="instant"), catalog, clock, journal)
    job = make_job()
    engine.start(job)
    await nursery.start(engine.run, recorder)
    assert await recorder.until_end(job) == JobFailed(job.task, 0, "engine_down")


async def test_start__delay__reports_every_step_and_takes_that_long(
    start_engine, recorder, make_job, autojump_clock, clock
):
    engine = await start_engine(delay_ms=3000)
    job = make_job(steps=3)
    begin = trio.current_time()
    engine.start(job)
    end = await recorder.until_end(job)
    assert isinstance(end, JobFinished)
    assert trio.current_time() - begin == pytest.approx(3.0)
    steps = [event.step for event in recorder.of(job) if isinstance(event, JobProgress)]
    assert steps[0] == 0
    assert steps == sorted(steps)
    assert {0, 1, 2} <= set(steps) <= {0, 1, 2, 3}


async def test_start__waiting_behind_another__is_told_queued_every_second(
    start_engine, recorder, make_job, autojump_clock
):
    engine = await start_engine(delay_ms=4000)
    first, second = make_job(), make_job()
    engine.start(first)
    engine.start(second)
    await recorder.until_end(first)
    queued = [event for event in recorder.of(second) if event.state == "queued"]
    assert len(queued) >= 4


async def test_start__more_than_the_queue_holds__fails_engine_busy(start_engine, recorder, make_job, autojump_clock):
    engine = await start_engine(delay_ms=1000)
    jobs = [make_job() for _ in range(6)]
    for job in jobs:
        engine.start(job)
    ends = [await recorder.until_end(job) for job in jobs]
    assert [getattr(end, "reason", None) for end in ends] == [None] * 4 + ["engine_busy"] * 2


async def test_cancel__running_and_waiting__both_end_cancelled_once(start_engine, recorder, make_job, autojump_clock):
    engine = await start_engine(delay_ms=10_000)
    jobs = [make_job(), make_job(), make_job()]
    for job in jobs:
        engine.start(job)
    await trio.sleep(1)
    for job in jobs[:2]:
        engine.cancel(job.task, 0)
        engine.cancel(job.task, 0)
    assert isinstance(await recorder.until_end(jobs[2]), JobFinished)
    for job in jobs[:2]:
        assert [event for event in recorder.of(job) if not isinstance(event, JobProgress)] == [
            JobFailed(job.task, 0, "cancelled")
        ]


async def test_cancel__unknown__does_nothing(start_engine, recorder, make_job):
    engine = await start_engine()
    engine.cancel(make_job().task, 0)
    await trio.testing.wait_all_tasks_blocked()
    assert len(recorder.events) == 1


def test_build_engine__unknown_model__config_error_lists_the_known(catalog, clock, journal):
    with pytest.raises(ConfigError, match=r"^engine\.models: .*'flux'.*pocket-emoji"):
        build_engine(EngineSettings(kind="instant", models=("flux",)), catalog, clock, journal)
