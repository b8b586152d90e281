"""The steps of a task, from journals of several nodes."""

import json

from node.task_times import step_durations

TASK = "ab" * 32


def line(event: str, seconds: float, task: str = TASK) -> str:
    return json.dumps({"event": event, "task": task, "timestamp": f"2026-01-01T00:00:{seconds:09.6f}Z"})


def test_step_durations__whole_story__each_step_and_generation_apart(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text(
        "\n".join(
            [
                "not json, " + TASK,
                line("task.accepted", 1.0),
                line("task.offered", 1.002),
                line("claim.received", 1.005),
                line("claim.received", 1.5),
                line("task.awarded", 1.006, "cd" * 32),
                line("task.awarded", 1.01),
                line("result.received", 2.01),
                line("task.done", 2.02),
            ]
        )
    )
    second.write_text(line("award.received", 1.012))
    rows = step_durations([first, second], TASK, generation_ms=900)
    assert [(name, round(millis, 3)) for name, millis, _ in rows] == [
        ("offer", 2.0),
        ("claim", 3.0),
        ("award", 5.0),
        ("generation", 900.0),
        ("delivery", 110.0),
    ]


def test_step_durations__notes_missing__step_left_out(tmp_path):
    log = tmp_path / "a"
    log.write_text(line("task.accepted", 1.0) + "\n" + line("task.offered", 1.5))
    assert [row[0] for row in step_durations([log], TASK, generation_ms=0)] == ["offer"]
