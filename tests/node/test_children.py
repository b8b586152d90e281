"""Children: their ready line, their death, and that they are stopped whatever they do."""

import signal
import sys
from pathlib import Path

import pytest
import trio

from node import children
from node.children import Child, outcome, shown_command
from protocol.errors import Unavailable


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


async def test_child__bad_settings__ready_says_how_it_ended_with_its_log(tmp_path, log):
    config = tmp_path / "node.toml"
    config.write_text("role = 3\n", encoding="utf-8")
    child = await Child.start("miner-1", "miner", config, log)
    with trio.fail_after(30), pytest.raises(Unavailable) as caught:
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


@pytest.fixture
def interpreter(tmp_path, monkeypatch) -> Path:
    """An environment with our script, which no shell finds."""
    binaries = tmp_path / "clone" / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("python", "cuckoo"):
        (binaries / name).write_text("#!/bin/sh\n")
        (binaries / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(binaries / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return binaries / "python"


def test_shown_command__in_the_clone__is_the_script_from_here(interpreter, monkeypatch):
    monkeypatch.chdir(interpreter.parents[2])
    assert shown_command() == ".venv/bin/cuckoo"


def test_shown_command__beside_the_script__names_the_folder(interpreter, monkeypatch):
    monkeypatch.chdir(interpreter.parent)
    assert shown_command() == "./cuckoo"


def test_shown_command__elsewhere__is_the_whole_path(interpreter, monkeypatch, tmp_path):
    monkeypatch.chdir("/")
    expected = str(interpreter.with_name("cuckoo")).removeprefix("/")
    assert shown_command() == expected
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert shown_command() == f"/{expected}"


def test_shown_command__on_the_path__is_the_bare_name(interpreter, monkeypatch):
    monkeypatch.setenv("PATH", str(interpreter.parent))
    assert shown_command() == "cuckoo"


def test_shown_command__another_cuckoo_on_the_path__is_not_meant(interpreter, monkeypatch, tmp_path):
    (tmp_path / "cuckoo").write_text("#!/bin/sh\n")
    (tmp_path / "cuckoo").chmod(0o755)
    monkeypatch.chdir(interpreter.parents[2])
    assert shown_command() == ".venv/bin/cuckoo"


def test_shown_command__no_script__is_the_module(interpreter):
    interpreter.with_name("cuckoo").unlink()
    assert shown_command() == f"{interpreter} -m node"
    assert children.own_command() == [str(interpreter), "-m", "node"]
