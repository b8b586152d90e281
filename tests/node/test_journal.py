import io
import json
import logging
import sys
from datetime import UTC, datetime

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from node import journal as module
from node.journal import LINES_PER_SECOND, StructuredJournal, configure_logging, level_of
from node.metrics import MAX_LABEL_VALUES, MAX_TIMELINES, DomainMetrics
from protocol.notes import NoteName
from protocol.units import TaskId
from tests.support.records import task_id

TASK = task_id(1)


class HandTimer:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> HandTimer:
    return HandTimer()


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_note__any_name__is_one_line_with_its_level_and_fields(lines, timer):
    journal = StructuredJournal(timer=timer, role="miner")
    for name in NoteName:
        journal.note(name, TASK, reason="busy", attempt=2, event="x", level="y")
    written = lines()
    assert [line["event"] for line in written] == [name.value for name in NoteName]
    for line, name in zip(written, NoteName, strict=True):
        assert line["level"] == logging.getLevelName(level_of(name)).lower()
        assert (line["role"], line["task"], line["reason"], line["attempt"]) == ("miner", TASK.hex(), "busy", 2)


def test_note__as_json__is_the_line_that_structlog_would_write(lines, timer):
    StructuredJournal(timer=timer, role="miner").note(NoteName.TASK_FAILED, TASK, reason="busy", text="\u00e9")
    structlog.get_logger(role="miner").warning("task.failed", task=TASK.hex(), reason="busy", text="\u00e9")
    ours, theirs = lines()
    assert list(ours) == list(theirs)
    assert ours | {"timestamp": ""} == theirs | {"timestamp": ""}
    assert [datetime.fromisoformat(line["timestamp"]).tzinfo for line in (ours, theirs)] == [UTC, UTC]


def test_note__hostile_text__cannot_reach_a_terminal(lines, timer):
    StructuredJournal(timer=timer).note(NoteName.PEER_JUDGED, rule="\x1b[2J\n" + "a" * 1000)
    (line,) = lines()
    assert line["rule"].startswith("�[2J�aaa")
    assert len(line["rule"]) == 201


def test_note__flood__is_cut_and_counted(lines, timer):
    journal = StructuredJournal(timer=timer)
    for _ in range(LINES_PER_SECOND + 50):
        journal.note(NoteName.GOSSIP_REJECTED, rule="offer.expired")
    assert len(lines()) == LINES_PER_SECOND
    timer.now += 1
    journal.note(NoteName.GOSSIP_REJECTED, rule="offer.expired")
    assert lines()[-1]["left_out_before"] == 50
    assert sample(journal.registry, "cuckoo_gossip_total", verdict="reject") == LINES_PER_SECOND + 51


def test_configure_logging__level_warning__hides_info_and_auto_is_json_off_a_terminal(lines):
    stream = io.StringIO()
    configure_logging("auto", "warning", stream)
    journal = StructuredJournal()
    journal.note(NoteName.TASK_DONE, TASK)
    journal.note(NoteName.TASK_FAILED, TASK, reason="no_miner")
    logging.getLogger("hypercorn.error").warning("a library warns")
    logging.getLogger("hypercorn.error").info("a library chats")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in events] == ["task.failed", "a library warns"]
    assert events[1]["logger"] == "hypercorn.error"


def test_configure_logging__console__shows_a_short_task(lines):
    stream = io.StringIO()
    configure_logging("console", "info", stream)
    StructuredJournal().note(NoteName.TASK_DONE, TASK, miner=3)
    text = stream.getvalue()
    assert "task.done" in text
    assert TASK.hex()[:12] in text
    assert TASK.hex() not in text


def test_configure_logging__terminal__has_colours(lines):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    configure_logging("auto", "info", stream)
    StructuredJournal().note(NoteName.TASK_DONE, TASK)
    assert "\x1b[" in stream.getvalue()


def test_configure_logging__no_stream__writes_to_standard_error(lines, capsys):
    configure_logging("json", "info")
    assert module.logging.getLogger().handlers[0].stream is sys.stderr
    StructuredJournal().note(NoteName.NODE_READY)
    assert '"event": "node.ready"' in capsys.readouterr().err


def test_count__one_task__times_every_stage(timer):
    registry = CollectorRegistry()
    metrics = DomainMetrics(registry, timer)
    steps = [
        (NoteName.TASK_ACCEPTED, 0.0),
        (NoteName.TASK_OFFERED, 0.001),
        (NoteName.CLAIM_RECEIVED, 0.004),
        (NoteName.CLAIM_RECEIVED, 0.001),
        (NoteName.TASK_AWARDED, 0.002),
        (NoteName.RESULT_RECEIVED, 0.5),
    ]
    for name, passed in steps:
        timer.now += passed
        metrics.count(name, TASK, {})
    assert sample(registry, "cuckoo_tasks_open") == 1
    timer.now += 0.01
    metrics.count(NoteName.TASK_DONE, TASK, {"generation_ms": 400})
    seconds = {
        stage: sample(registry, "cuckoo_task_seconds_sum", stage=stage)
        for stage in ("offer", "claim", "award", "execution", "delivery", "total", "generation")
    }
    assert seconds == pytest.approx(
        {
            "offer": 0.001,
            "claim": 0.004,
            "award": 0.003,
            "execution": 0.5,
            "delivery": 0.01,
            "total": 0.518,
            "generation": 0.4,
        }
    )
    assert sample(registry, "cuckoo_tasks_open") == 0
    assert sample(registry, "cuckoo_tasks_total", outcome="done") == 1
    assert sample(registry, "cuckoo_claims_total", direction="received") == 2


def test_count__reoffered_task__execution_counts_from_the_last_award(timer):
    registry = CollectorRegistry()
    metrics = DomainMetrics(registry, timer)
    metrics.count(NoteName.TASK_AWARDED, TASK, {})
    timer.now += 3
    metrics.count(NoteName.TASK_LEASE_EXPIRED, TASK, {"reason": "silent"})
    metrics.count(NoteName.TASK_AWARDED, TASK, {})
    timer.now += 1
    metrics.count(NoteName.RESULT_RECEIVED, TASK, {})
    assert sample(registry, "cuckoo_task_seconds_sum", stage="execution") == 1
    assert sample(registry, "cuckoo_lease_expiries_total", reason="silent") == 1


def test_count__many_reasons_from_a_peer__labels_stay_bounded(timer):
    registry = CollectorRegistry()
    metrics = DomainMetrics(registry, timer)
    metrics.count(NoteName.CLAIM_DECLINED, TASK, {"reason": "early"})
    metrics.count(NoteName.CLAIM_DECLINED, TASK, {"reason": "Has Spaces\n"})
    for number in range(1000):
        metrics.count(NoteName.CLAIM_DECLINED, TASK, {"reason": f"reason_{number}"})
    metrics.count(NoteName.CLAIM_DECLINED, TASK, {"reason": "early"})
    (family,) = [family for family in registry.collect() if family.name == "cuckoo_declines"]
    totals = {s.labels["reason"]: s.value for s in family.samples if s.name.endswith("_total")}
    assert len(totals) == MAX_LABEL_VALUES + 1
    assert totals["early"] == 2
    assert totals["other"] == 1 + 1000 - (MAX_LABEL_VALUES - 1)


def test_count__peers_come_and_go__are_here_by_kind(timer):
    registry = CollectorRegistry()
    metrics = DomainMetrics(registry, timer)
    for peer, standing in (("a", "miner"), ("b", "miner"), ("c", "stranger"), ("a", "coordinator")):
        metrics.count(NoteName.PEER_UP, None, {"peer": peer, "standing": standing})
    for peer in ("c", "c", "unseen"):
        metrics.count(NoteName.PEER_DOWN, None, {"peer": peer})
    kinds = ("miner", "coordinator", "stranger")
    assert [sample(registry, "cuckoo_peers", kind=kind) for kind in kinds] == [1, 1, 0]


def test_observe__after_a_note__hears_the_next_ones_whatever_the_level(lines, timer):
    journal, heard = StructuredJournal(timer=timer), []
    journal.note(NoteName.TASK_ACCEPTED, TASK)
    journal.observe(lambda name, task, fields: heard.append((name, task, dict(fields))))
    configure_logging("json", "error")
    journal.note(NoteName.TASK_DONE, TASK, miner=3)
    assert heard == [(NoteName.TASK_DONE, TASK, {"miner": 3})]


def test_count__note_without_its_own_field__takes_the_name_that_is_there(timer):
    registry = CollectorRegistry()
    DomainMetrics(registry, timer).count(NoteName.MESSAGE_DROPPED, None, {"rule": "driver.queue_full"})
    assert sample(registry, "cuckoo_messages_dropped_total", reason="driver.queue_full") == 1


def test_count__notes_that_begin_nothing__keep_no_memory(timer):
    metrics = DomainMetrics(CollectorRegistry(), timer)
    for name in (NoteName.OFFER_SKIPPED, NoteName.CLAIM_DECLINED, NoteName.TASK_DONE):
        metrics.count(name, TASK, {"reason": "busy"})
    assert len(metrics._timelines) == 0


def test_count__tasks_that_never_end__memory_stays_bounded(timer):
    metrics = DomainMetrics(CollectorRegistry(), timer)
    for number in range(MAX_TIMELINES + 100):
        metrics.count(NoteName.CLAIM_SENT, TaskId(number.to_bytes(32, "big")), {})
    assert len(metrics._timelines) == MAX_TIMELINES


def test_count__every_note__gives_text_that_prometheus_reads(timer):
    registry = CollectorRegistry()
    metrics = DomainMetrics(registry, timer)
    for name in NoteName:
        metrics.count(name, TASK, {"reason": "busy", "rule": "offer.expired", "wei": str(3 * 10**18)})
    families = {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}
    assert sample(registry, "cuckoo_earned_cai_total") == 3
    assert {"cuckoo_tasks", "cuckoo_gossip", "cuckoo_task_seconds", "process_resident_memory_bytes"} <= set(families)
    for family in families.values():
        for found in family.samples:
            assert set(found.labels) <= {"outcome", "direction", "verdict", "reason", "rule", "stage", "le", "kind"}
