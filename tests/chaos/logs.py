"""What must not stand in the log of a node that was only killed, frozen, or cut off from others that were."""

import json
from collections.abc import Iterator
from pathlib import Path

EXPLAINED: tuple[tuple[str, str], ...] = ()
"""Parts of lines that may stand there, each with the reason."""
PLAIN = ("stopping…",)
"""What nodes say to people, which is no JSON."""
BLAME = frozenset({"peer.judged", "peer.banned", "gossip.rejected", "evidence.found", "recheck.odd"})
"""Notes that hold something against somebody: here everybody is honest."""


def wrong_lines(name: str, log: Path) -> Iterator[str]:
    """Give every line that is not explained."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        why = _what_is_wrong(line)
        if why and not any(part in line for part, _ in EXPLAINED):
            yield f"{name}: {why}: {line[:600]}"


def _what_is_wrong(line: str) -> str:
    if not line.strip() or line.strip() in PLAIN:
        return ""
    try:
        said = json.loads(line)
    except ValueError:
        return "a line that is no note"
    if said.get("level") in {"error", "critical"}:
        return "an error"
    return "somebody honest is blamed" if said.get("event") in BLAME else ""
