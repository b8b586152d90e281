"""Children: their ready line, their death, and that they are stopped whatever they do."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from node.children import Child, outcome
from protocol.errors import Unavailable
from tests.support.patience import PATIENCE_S


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


async def test_child__bad_settings__ready_says_how_it_ended_with_its_log(tmp_path, log):
    config = tmp_path / "node.toml"
    config.write_text("role = 3\n", encoding="utf-8")
    child = await Child.start("miner-1", "miner", config, log)
    with trio.fail_after(PATIENCE_S), pytest.raises(Unavailable) as caught:
        await child.ready()
    text = str(caught.value)
    assert text.startswith("miner-1 ended before it was ready, with exit code 2; the end of its log, ")
    assert "\n  | error: chain.rpc_urls is missing" in text
    assert await child.ended() == "exit code 2"
    await child.stop(1.0)
    await child.stop(1.0)


@pytest.mark.parametrize(("code", "words"), [(0, "exit code 0"), (-signal.SIGKILL, "signal 9 (SIGKILL)")])
def test_outcome__exit_or_signal__named(code, words):
    assert outcome(code) == words


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="memory is read from Linux's /proc")
async def test_resident_bytes__child_that_another_thread_started__is_counted(tmp_path, log):
    program = (
        "import subprocess, sys, threading\n"
        "def start():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=sys.stdin)\n"
        "    print('up\\n', end='', flush=True)\n"
        "    child.wait()\n"
        "thread = threading.Thread(target=start)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with trio.fail_after(PATIENCE_S):
            assert await process.stdout.receive_some(3) == b"up\n"
            child, held = Child("miner-1", tmp_path / "node.toml", log, process), {"engine": 0}
            while min(held.values()) <= 1_000_000:  # it has just begun
                await trio.sleep(0.01)
                held = child.resident_bytes()
    finally:
        await process.stdin.aclose()
        await process.wait()
        await process.stdout.aclose()
    assert set(held) == {"node", "engine"}
