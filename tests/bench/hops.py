"""How long each hop of a task's straight line takes, read from the journals of the nodes that had a part in it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

HOPS = (
    ("accept", "http.in", "task.accepted", "request read, task on the coordinator's disk"),
    ("offer", "task.accepted", "task.offered", "waits for its bulletin"),
    ("claim", "task.offered", "claim.sent", "gossip, rank, claim on the miner's disk"),
    ("award", "claim.sent", "task.awarded", "claim's way, award on the coordinator's disk"),
    ("hear", "task.awarded", "award.received", "award's way"),
    ("draw", "award.received", "job.finished", "the engine, then picture and commitment on the miner's disk"),
    ("result", "job.finished", "result.received", "way of the commitment and of a small picture, both on the disk"),
    ("finish", "result.received", "task.done", "the same of a picture that comes later"),
    ("answer", "task.done", "http.out", "answer written and read"),
)
"""Name, first and last moment, and what happens between; a note's moment is when its batch was durable."""


def moments_of(logs: Iterable[Path]) -> dict[str, dict[str, float]]:
    """Give for each task when (unix seconds) each note of it came first."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for log in logs:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if '"task"' not in line:
                continue
            note = json.loads(line)
            at = datetime.fromisoformat(note["timestamp"]).timestamp()
            seen = found[note["task"]]
            seen[note["event"]] = min(at, seen.get(note["event"], at))
    return found


def hop_medians(tasks: Sequence[Mapping[str, float]]) -> list[tuple[str, float, str]]:
    """Give (hop, median milliseconds, meaning) over the tasks; a hop that no task has both ends of is left out."""
    rows = []
    for name, first, last, meaning in HOPS:
        spans = [task[last] - task[first] for task in tasks if first in task and last in task]
        if spans:
            rows.append((name, 1000 * median(spans), meaning))
    return rows


def marks(values: Sequence[float]) -> tuple[float, float]:
    """Give p50 and p95 of at least two values."""
    twentieths = quantiles(values, n=20, method="inclusive")
    return twentieths[9], twentieths[18]
