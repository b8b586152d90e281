"""What tests of the command line share."""

import sys

import pytest

from node.cli.main import main


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
