import sys
from pathlib import Path

import pytest

from node.own_command import own_command, shown_command, with_shown_command


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
    assert own_command() == [str(interpreter), "-m", "node"]


def test_with_shown_command__commands_to_type__are_as_typed_here_and_names_stay(interpreter, monkeypatch):
    monkeypatch.chdir(interpreter.parents[2])
    text = "# As `cuckoo node` says:\n#   cuckoo node --config a.toml\n# data = ~/.cuckoo/a; a cuckoo.\n"
    assert with_shown_command(text) == text.replace("  cuckoo node", "  .venv/bin/cuckoo node")
