"""What several tests of the node share."""

import io
import json
import logging
import sys

import pytest
import structlog

from node.cli.main import main
from node.journal import configure_logging


@pytest.fixture
def logging_kept():
    """Gives the process its logging back after a test that configures it: its stream may end with the test."""
    root = logging.getLogger()
    kept = root.handlers, root.level
    yield
    root.handlers, root.level = kept
    structlog.reset_defaults()


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
