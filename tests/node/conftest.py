"""What several tests of the node share."""

import io
import json
import sys

import pytest

from node.cli.main import main
from node.journal import configure_logging
from tests.support.commands import logging_kept


@pytest.fixture(name="logging_kept")
def logging_kept_fixture():
    """Gives the process its logging back after a test that configures it."""
    with logging_kept():
        yield


@pytest.fixture
def lines(logging_kept):
    """Configure JSON lines into memory."""
    stream = io.StringIO()
    configure_logging("json", "debug", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def cuckoo(monkeypatch, capsys, logging_kept):
    """Runs a command in this process; gives its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cuckoo", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, said.out, said.err

    return run
