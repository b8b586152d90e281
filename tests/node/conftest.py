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
def lines():
    """Configure JSON lines into memory, and give the process its logging back afterwards."""
    root = logging.getLogger()
    kept = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("json", "debug", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, root.level = kept
    structlog.reset_defaults()


@pytest.fixture
def cuckoo(monkeypatch, capsys):
    """Runs a command in this process; gives its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cuckoo", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, said.out, said.err

    return run
