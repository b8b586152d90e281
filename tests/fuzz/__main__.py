"""``make fuzz``: drive every reader of remote bytes by coverage; the first byte string that breaks one ends it.

Each target runs in a process of its own, under libFuzzer by way of atheris. What broke one is kept as a file, whose
name is printed: ``python -m tests.fuzz TARGET FILE`` plays it again, and a test with these bytes belongs to its fix.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

FINDINGS = Path(".fuzz")
"""Where byte strings that broke a target are kept."""
LONGEST = 8192
"""Bytes of the longest input: frames are larger, but nothing in them is of another kind."""


def main() -> None:
    """Fuzz all targets, or one, or play a finding again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("target", nargs="?", help="one target alone")
    parser.add_argument("finding", nargs="?", type=Path, help="a file that broke it")
    chosen = parser.parse_args()
    if chosen.target is None:
        from tests.fuzz.targets import TARGETS

        broken = [name for name in TARGETS if not _in_its_own_process(name, chosen.seconds)]
        sys.exit(f"broken: {', '.join(broken)}" if broken else 0)
    if chosen.finding is not None:
        from tests.fuzz.targets import TARGETS

        trio.run(_read_once, TARGETS[chosen.target].read, chosen.finding.read_bytes())
    else:
        _fuzz(chosen.target, chosen.seconds)


def _in_its_own_process(name: str, seconds: int) -> bool:
    print(f"\n{name}: {seconds} s", flush=True)
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds)]
    return subprocess.run(command, check=False).returncode == 0


async def _read_once(read: object, data: bytes) -> None:
    read(data)  # type: ignore[operator]


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    # Our own code counts the branches that it takes; to make all libraries do so takes minutes.
    with atheris.instrument_imports(include=["protocol", "node"]):
        from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        flags = [
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={FINDINGS}/{name}-",
            "-rss_limit_mb=2048",
            "-timeout=10",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        atheris.Setup([sys.argv[0], *flags, corpus], target.read)
        trio.run(_until_it_ends, atheris.Fuzz)  # some readers ask what time it is


async def _until_it_ends(fuzz: object) -> None:
    fuzz()  # type: ignore[operator]


if __name__ == "__main__":
    main()
