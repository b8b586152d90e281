"""``make chaos``: minutes of kills on every side, and then the ledgers of all sides beside each other, to the wei.

Two coordinators, four miners (one with an engine in a child process), a bootstrap, a chain node and two apps, one over
HTTP and one over the overlay. A plan that is drawn from the seed kills and freezes all of them. Prints every blow, a
table and a verdict; 1 is its exit code where anything differs, and its folder is kept then.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import trio

from tests.chaos.run import Options, run


def main() -> int:
    """Run it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--miners", type=int, default=3, help="with the instant engine")
    parser.add_argument("--no-engine", action="store_true", help="no miner with an engine in a child process")
    parser.add_argument("--folder", type=Path, help="an empty or new one, which is kept")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="cuckoo-chaos-"))
    print(f"seed {chosen.seed}, {chosen.minutes:g} minutes, in {folder}", flush=True)
    options = Options(60 * chosen.minutes, chosen.seed, chosen.miners, not chosen.no_engine)
    result = trio.run(run, options, folder, lambda text: print(text, flush=True))
    print("\n".join(result.table()))
    if result.problems:
        print(f"seed {chosen.seed}: {len(result.problems)} things are wrong; all that was written is in {folder}")
        return 1
    print(f"seed {chosen.seed}: all ledgers say the same")
    if chosen.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
