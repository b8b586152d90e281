"""``cuckoo devnet`` whose coordinators draw tasks again, and soon.

    python -m tests.support.rechecking_devnet devnet --port 0 --json …

Of miners that never passed all are, of others as many as may be. All miners have one stake, or else who has most is
drawn so often that a third one hardly ever is.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import node.devnet
from node import devnet_plan
from node.cli.main import main

RECHECKS = """
[coordinator]
recheck_percent = 25.0
recheck_newcomer_percent = 100.0
recheck_within_s = 2.0
"""


def rechecking(write_config: Callable[..., Path]) -> Callable[..., Path]:
    """Have coordinators draw tasks again."""

    def write(member: Any, *arguments: Any, **named: Any) -> Path:
        path = write_config(member, *arguments, **named)
        if member.role.value == "coordinator":
            path.write_text(path.read_text(encoding="utf-8") + RECHECKS, encoding="utf-8")
        return path

    return write


if __name__ == "__main__":
    devnet_plan.MINER_STAKES_CAI = (50_000,)  # type: ignore[misc]
    node.devnet.write_config = rechecking(node.devnet.write_config)
    sys.argv = ["cuckoo", *sys.argv[1:]]
    main()
