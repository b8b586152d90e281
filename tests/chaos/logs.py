"""What must not stand in the log of a node that was only killed, frozen, or cut off from others that were."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

EXPLAINED: tuple[tuple[str, str], ...] = ()
"""Parts of lines that may stand there, each with the reason."""
PLAIN = ("stopping…",)
"""What nodes say to people, which is no JSON."""
ENDS = frozenset({"task.done", "task.failed"})
BLAME = frozenset({"peer.judged", "peer.banned", "gossip.rejected", "evidence.found", "recheck.odd"})
"""Notes that hold something against somebody: here everybody is honest."""


def wrong_lines(name: str, log: Path) -> Iterator[str]:
    """Give every line that is not explained."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        why = _what_is_wrong(line)
        if why and not any(part in line for part, _ in EXPLAINED):
            yield f"{name}: {why}: {line[:600]}"


def told_wrongly(name: str, log: Path, stored: frozenset[str]) -> Iterator[str]:
    """Give tasks of a coordinator that ended twice, or were taken and are not in its store.

    Args:
        name: The coordinator's.
        log: Of all its lives.
        stored: Names of the tasks in its store.
    """
    ends, taken = Counter[str](), set[str]()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        said = _note(line)
        if said.get("event") in ENDS:
            ends[str(said["task"])] += 1
        elif said.get("event") == "task.accepted":
            taken.add(str(said["task"]))
    yield from (f"{name}: task {task} ended {times} times" for task, times in sorted(ends.items()) if times > 1)
    yield from (f"{name}: task {task} was taken and is in no store" for task in sorted(taken - stored))


def _note(line: str) -> dict[str, object]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _what_is_wrong(line: str) -> str:
    if not line.strip() or line.strip() in PLAIN:
        return ""
    said = _note(line)
    if not said:
        return "a line that is no note"
    if said.get("level") in {"error", "critical"}:
        return "an error"
    return "somebody honest is blamed" if said.get("event") in BLAME else ""
