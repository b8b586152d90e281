"""How long each step of one task took, read from the journals of the nodes that had a part in it."""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from protocol.notes import NoteName

STEPS: Final = (
    ("offer", NoteName.TASK_ACCEPTED, NoteName.TASK_OFFERED, "accepted and on disk, until it is gossiped"),
    ("claim", NoteName.TASK_OFFERED, NoteName.CLAIM_RECEIVED, "until the first miner claims it"),
    ("award", NoteName.CLAIM_RECEIVED, NoteName.TASK_AWARDED, "until it is given to a miner"),
    ("generation", NoteName.TASK_AWARDED, NoteName.RESULT_RECEIVED, "the miner's engine at work"),
    ("delivery", NoteName.RESULT_RECEIVED, NoteName.TASK_DONE, "the way there and back, checks, receipt"),
)
"""Name, first note, last note, and meaning of each step."""


def step_durations(logs: Iterable[Path], task: str, generation_ms: int) -> list[tuple[str, float, str]]:
    """Give (step, milliseconds, meaning) in order; a step whose notes are not in the logs is left out.

    Args:
        logs: Journals in JSON lines.
        task: Task id in hexadecimal.
        generation_ms: What the miner said that generating took; the rest of that span is delivery.
    """
    moments: dict[str, datetime] = {}
    for log in logs:
        with log.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if task not in line:
                    continue
                note = _note(line)
                if note is not None:
                    moments.setdefault(*note)
    rows = []
    outside = 0.0
    for name, first, last, meaning in STEPS:
        if first.value not in moments or last.value not in moments:
            continue
        millis = (moments[last.value] - moments[first.value]).total_seconds() * 1000
        if name == "generation":
            outside = max(0.0, millis - generation_ms)
            millis = min(millis, float(generation_ms))
        elif name == "delivery":
            millis += outside
        rows.append((name, millis, meaning))
    return rows


def _note(line: str) -> tuple[str, datetime] | None:
    """Read the name and moment of one line of a journal; None when it is something else."""
    try:
        note = json.loads(line)
        return str(note["event"]), datetime.fromisoformat(note["timestamp"])
    except (ValueError, KeyError, TypeError):
        return None
