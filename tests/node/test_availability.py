"""What opens and closes a miner: its owner, its hours, its heat; and what its engine is told."""

from datetime import datetime

import pytest
import trio

from node.availability import COOLER, TICK_S, Doorkeeper, Limits
from node.engine_report import EngineReport
from node.hours import parse_hours
from protocol.errors import ConfigError
from protocol.events import ServiceChanged
from protocol.notes import NoteName
from protocol.roles.miner.serving import MinerLoad
from protocol.units import UnixMillis
from tests.support.journal import RecordingJournal

NOTHING = MinerLoad(is_open=True, claims=0, jobs=0, results=0)
AFTER_A_TICK_S = TICK_S * 1.5


class Bed:
    """An engine that only lies down and stands up."""

    def __init__(self):
        self.rests = False
        self.changes = []

    def rest(self):
        if not self.rests:
            self.changes.append("rest")
        self.rests = True

    def wake(self):
        if self.rests:
            self.changes.append("wake")
        self.rests = False

    def start(self, job):
        raise AssertionError(job)

    def cancel(self, task, attempt):
        raise AssertionError(task)

    async def run(self, sink, *, task_status=trio.TASK_STATUS_IGNORED):
        raise AssertionError(sink)

    def report(self):
        return EngineReport("", "up", (), ())


class Scene:
    """A miner whose time, heat and load the test says."""

    def __init__(self, folder, **limits):
        self.folder = folder
        self.limits = Limits(**limits)
        self.events = []
        self.load = NOTHING
        self.heat = None
        self.at = datetime(2026, 11, 25, 12, 0)  # noqa: DTZ001  local time, as an owner's hours are
        self.bed = Bed()
        self.journal = RecordingJournal()
        self.door = Doorkeeper(lambda: self.load, self.bed, self.limits, folder, self, self.journal, self.celsius)

    def now(self):
        return UnixMillis(round(self.at.timestamp() * 1000))

    async def celsius(self):
        return self.heat

    async def post(self, event):
        self.events.append(event)
        self.load = MinerLoad(event.is_open, self.load.claims, self.load.jobs, self.load.results)

    async def settle(self):
        await trio.sleep(AFTER_A_TICK_S)

    def told(self):
        events, self.events = self.events, []
        return events


@pytest.fixture
async def scene_of(tmp_path, nursery):
    async def make(**limits):
        scene = Scene(tmp_path, **limits)
        await nursery.start(scene.door.run, scene)
        return scene

    return make


async def test_run__nothing_holds_it__says_nothing_and_lets_the_engine_be(autojump_clock, scene_of):
    scene = await scene_of()
    await scene.settle()
    assert (scene.told(), scene.bed.changes) == ([], [])
    assert scene.door.look().is_open


async def test_pause__with_a_job_left__closes_and_rests_the_device_only_when_it_is_done(autojump_clock, scene_of):
    scene = await scene_of()
    scene.load = MinerLoad(True, 0, 1, 0)
    scene.door.pause()
    await scene.settle()
    assert scene.told() == [ServiceChanged(is_open=False)]
    assert scene.door.look().holds == ("owner",)
    assert scene.bed.changes == []
    scene.load = MinerLoad(False, 0, 0, 1)
    await scene.settle()
    assert scene.bed.changes == ["rest"], "a result that is not acknowledged needs no device"
    scene.door.resume()
    await scene.settle()
    assert scene.told() == [ServiceChanged(is_open=True)]
    assert scene.bed.changes == ["rest", "wake"]


async def test_pause__core_has_not_heard_of_it__device_does_not_rest(autojump_clock, scene_of):
    scene = await scene_of()
    scene.door.pause()
    scene.post = lambda event: trio.lowlevel.checkpoint()
    await scene.settle()
    assert scene.bed.changes == []


async def test_pause__with_give_back__is_told_once_also_when_it_is_paused_already(autojump_clock, scene_of):
    scene = await scene_of()
    scene.door.pause()
    await scene.settle()
    scene.door.pause(give_back=True)
    await scene.settle()
    await scene.settle()
    assert scene.told() == [ServiceChanged(is_open=False), ServiceChanged(is_open=False, give_back=True)]


async def test_pause__node_starts_again__is_still_paused_and_never_loads_a_model(autojump_clock, scene_of):
    first = await scene_of()
    first.door.pause()
    second = await scene_of()
    assert second.told() == [ServiceChanged(is_open=False)]
    assert second.bed.rests
    second.door.resume()
    third = await scene_of()
    assert third.door.look().is_open


async def test_pause__folder_cannot_be_written__holds_for_this_run_and_says_so(autojump_clock, scene_of, tmp_path):
    scene = await scene_of()
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    with pytest.raises(ConfigError, match=r"paused cannot be changed .* only until the node stops$"):
        scene.door.pause()
    await scene.settle()
    assert scene.told() == [ServiceChanged(is_open=False)]


async def test_drain__everything_delivered__is_drained(autojump_clock, scene_of):
    scene = await scene_of()
    scene.load = MinerLoad(True, 1, 1, 1)
    scene.door.drain()
    await scene.settle()
    assert scene.told() == [ServiceChanged(is_open=False)]
    assert not scene.door.drained.is_set()
    scene.load = MinerLoad(False, 0, 0, 1)
    await scene.settle()
    assert not scene.door.drained.is_set(), "one result is not acknowledged"
    scene.load = MinerLoad(False, 0, 0, 0)
    await scene.settle()
    assert scene.door.drained.is_set()


async def test_drain__taken_back__goes_on_and_nothing_is_kept_over_a_restart(autojump_clock, scene_of):
    scene = await scene_of()
    scene.load = MinerLoad(True, 0, 1, 0)
    scene.door.drain()
    await scene.settle()
    assert (await scene_of()).door.look().is_open
    scene.door.resume()
    await scene.settle()
    assert scene.told() == [ServiceChanged(is_open=False), ServiceChanged(is_open=True)]
    assert not scene.door.drained.is_set()


async def test_hours__come_and_go__open_and_close_it(autojump_clock, scene_of):
    scene = await scene_of(hours=parse_hours("22:00-07:00"))
    assert scene.told() == [ServiceChanged(is_open=False)]
    assert (scene.door.look().holds, scene.door.look().minutes_to_change) == (("hours",), 600)
    assert scene.bed.rests
    scene.at = scene.at.replace(hour=23)
    await scene.settle()
    assert scene.told() == [ServiceChanged(is_open=True)]
    assert not scene.bed.rests


async def test_heat__over_the_ceiling__takes_nothing_until_it_is_cooler_and_keeps_its_models(autojump_clock, scene_of):
    scene = await scene_of(max_celsius=80)
    for heat, expected in (
        (80, []),
        (81, [ServiceChanged(is_open=False)]),
        (80, []),
        (None, []),
        (81 - COOLER, []),
        (80 - COOLER, []),
        (79 - COOLER, [ServiceChanged(is_open=True)]),
        (80, []),
    ):
        scene.heat = heat
        await scene.settle()
        assert scene.told() == expected, heat
    assert scene.bed.changes == []


async def test_holds__several__all_are_named_and_noted(autojump_clock, scene_of):
    scene = await scene_of(hours=parse_hours("22:00-07:00"))
    scene.door.pause()
    await scene.settle()
    assert scene.door.look().holds == ("owner", "hours")
    reasons = [note.fields["reason"] for note in scene.journal.of(NoteName.MINER_CLOSED)]
    assert reasons == ["hours", "owner hours"]
    assert scene.told() == [ServiceChanged(is_open=False)], "it was closed already"
