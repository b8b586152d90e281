"""Commands of owners and stakers on a network of real processes, run inside the test's own process.

A process for each costs a second of imports, a hundred times over. What a whole process adds to a command (arguments,
exit code, output that is flushed) is what tests/node/test_cli.py and tests/e2e/test_staker.py look at.
"""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from node.cli.main import main


@contextmanager
def logging_kept() -> Iterator[None]:
    """Give the process its logging back after what configures it: its stream may end before the process does."""
    root = logging.getLogger()
    kept = root.handlers, root.level
    try:
        yield
    finally:
        root.handlers, root.level = kept
        structlog.reset_defaults()


def command_here(*arguments: str, network: Path | None, folder: Path | None = None) -> tuple[int, str, str]:
    """Run ``cuckoo`` with these arguments.

    Args:
        arguments: What follows ``cuckoo``.
        network: The network's file; None where the command is told of none.
        folder: Where it runs; where the tests do without one.

    Returns:
        Its exit code, output and errors.
    """
    out, errors = io.StringIO(), io.StringIO()
    with (
        logging_kept(),
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        if network is None:
            patch.delenv("CUCKOO_NETWORK", raising=False)
        else:
            patch.setenv("CUCKOO_NETWORK", str(network))
        patch.setattr(sys, "argv", ["cuckoo", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
    assert isinstance(left.value.code, int)
    return left.value.code, out.getvalue(), errors.getvalue()
