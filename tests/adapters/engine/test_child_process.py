"""One life of an engine's child, played by a program that says one thing and then answers nothing."""

import sys
from subprocess import PIPE

import pytest
import trio

from node.adapters.engine import child_process
from node.adapters.engine.child_process import MISSED_PINGS_LIMIT, ChildProcess
from node.adapters.engine.ipc import Started, encode

SILENT = "import sys, time; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1])); sys.stdout.flush(); time.sleep(600)"


async def test_serve__child_that_answers_no_ping__is_frozen_only_once_its_models_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_process, "PING_INTERVAL_S", 0.01)
    started = encode(Started(device="cpu", threads=1)).hex()
    process = await trio.lowlevel.open_process([sys.executable, "-c", SILENT, started], stdin=PIPE, stdout=PIPE)
    child, ticks, reports = ChildProcess(process), [0], []

    def tick() -> None:
        ticks[0] += bool(reports)
        child.is_loaded = ticks[0] >= 3 * MISSED_PINGS_LIMIT

    try:
        with trio.fail_after(60):
            await child.serve(reports.append, tick)
    finally:
        await child.stop()
    assert reports == [Started(device="cpu", threads=1)]
    assert child.lost_reason == "engine_frozen"
    assert ticks[0] == 4 * MISSED_PINGS_LIMIT
