"""The bench reads what it prints from journals."""

import json
from pathlib import Path

from tests.bench.hops import hop_medians, marks, moments_of


def line(task: str, event: str, millis: int) -> str:
    return json.dumps({"task": task, "event": event, "timestamp": f"2026-11-25T10:00:00.{millis:03d}000Z"})


def test_hops__two_journals__medians_of_what_each_task_has_both_ends_of(tmp_path: Path) -> None:
    coordinator, miner = tmp_path / "coordinator", tmp_path / "miner"
    coordinator.write_text(
        "\n".join(
            [
                "not a note",
                line("a", "task.offered", 10),
                line("a", "task.offered", 900),  # offered again: the first counts
                line("b", "task.offered", 20),
                line("c", "task.offered", 30),
            ]
        )
    )
    miner.write_text("\n".join([line("a", "claim.sent", 14), line("b", "claim.sent", 26)]))
    late = tmp_path / "late"
    late.write_text(line("a", "claim.sent", 400))  # by another miner, whose journal happens to be read first
    moments = moments_of([late, coordinator, miner])
    [(name, millis, _)] = hop_medians(list(moments.values()))
    assert (name, round(millis, 3)) == ("claim", 5.0)


def test_marks__hundred_values__half_and_nineteen_twentieths() -> None:
    assert marks([float(value) for value in range(101)]) == (50.0, 95.0)
