"""Spans of notes, as a collector receives them: one trace for one task, whoever writes it."""

import trio

from node.adapters.telemetry import tracing
from node.adapters.telemetry.tracing import MAX_EVENTS, MAX_TASKS, TaskTracer, root_span_id_of, trace_id_of
from protocol.notes import NoteName
from protocol.units import TaskId
from tests.support.collector import Taken, collector
from tests.support.records import task_id

TASK = task_id(1)

COORDINATOR = (
    NoteName.TASK_ACCEPTED,
    NoteName.TASK_OFFERED,
    NoteName.CLAIM_RECEIVED,
    NoteName.CLAIM_RECEIVED,
    NoteName.TASK_AWARDED,
    NoteName.CLAIM_DECLINED,
    NoteName.RESULT_RECEIVED,
    NoteName.TASK_DONE,
)
MINER = (
    NoteName.CLAIM_SENT,
    NoteName.AWARD_RECEIVED,
    NoteName.JOB_STARTED,
    NoteName.JOB_PROGRESS,
    NoteName.JOB_FINISHED,
    NoteName.RESULT_SENT,
    NoteName.RECEIPT_RECEIVED,
)


class HandClock:
    """Nanoseconds, one millisecond on with each look."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        self.now += 1_000_000
        return self.now


Notes = tuple[tuple[NoteName, dict[str, str | int]], ...]


async def traced(*told: tuple[str, Notes], share: float = 1.0) -> list[Taken]:
    """Have processes note things of one task, in this order; give the spans that arrive."""
    clock = HandClock()
    with collector() as kept:
        async with trio.open_nursery() as nursery:
            for service, notes in told:
                about = {"service.name": service, "service.instance.id": service}
                tracer = TaskTracer(kept.url, about, share, clock)
                nursery.start_soon(tracer.run)
                for name, fields in notes:
                    tracer.note(name, TASK, fields)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return kept.of(TASK.hex())


def plain(*names: NoteName) -> Notes:
    return tuple((name, {}) for name in names)


async def test_note__two_processes__write_one_trace_under_one_root():
    spans = await traced(("coordinator", plain(*COORDINATOR)), ("miner", plain(*MINER)))
    assert [(span.service, span.name) for span in spans] == [
        ("coordinator", "task"),
        ("coordinator", "accept"),
        ("coordinator", "offer"),
        ("coordinator", "award"),
        ("coordinator", "work"),
        ("coordinator", "finish"),
        ("miner", "claim"),
        ("miner", "prepare"),
        ("miner", "draw"),
        ("miner", "result"),
        ("miner", "settle"),
    ]
    root, *below = spans
    assert {span.trace for span in spans} == {f"{trace_id_of(TASK):032x}"}
    assert (root.span, root.parent) == (f"{root_span_id_of(TASK):016x}", "")
    assert {span.parent for span in below} == {root.span}
    assert len({span.span for span in spans}) == len(spans)
    assert root.end_ns - root.start_ns == 7_000_000
    assert {span.name: span.end_ns - span.start_ns for span in below}["award"] == 2_000_000, "from the first claim"
    assert not any(span.is_error for span in spans)
    assert "claim.received" in root.events
    assert "job.progress" in next(span for span in spans if span.name == "draw").events


async def test_note__attempt_lost__shows_both_and_the_error():
    names = [(name, {}) for name in COORDINATOR[:5]]
    names += [(NoteName.TASK_LEASE_EXPIRED, {"reason": "silent", "miner": 2}), *plain(*COORDINATOR[1:5])]
    names += [(NoteName.TASK_FAILED, {"reason": "deadline"})]
    spans = await traced(("coordinator", tuple(names)))
    works = [span for span in spans if span.name == "work"]
    assert [(work.is_error, work.attributes["cuckoo.ended_by"]) for work in works] == [
        (True, "task.lease_expired"),
        (True, "task.failed"),
    ]
    assert works[0].attributes["cuckoo.miner"] == 2
    (root,) = [span for span in spans if span.name == "task"]
    assert root.is_error
    assert root.attributes["cuckoo.reason"] == "deadline"


async def test_note__sums_and_texts_beyond_what_spans_carry__arrive_cut():
    wei = 10**30
    notes = [(NoteName.TASK_ACCEPTED, {"wei": wei, "reason": "x" * 1000})]
    notes += [(NoteName.CLAIM_DECLINED, {"reason": "busy"})] * (MAX_EVENTS + 10)
    (root, accept) = await traced(("coordinator", (*notes, (NoteName.TASK_FAILED, {}))))
    assert root.attributes["cuckoo.wei"] == str(wei)
    assert len(str(accept.attributes["cuckoo.reason"])) == tracing.MAX_VALUE_CHARACTERS
    assert len(root.events) == MAX_EVENTS


async def test_note__share_of_tasks__all_processes_choose_the_same():
    chosen = [number for number in range(1000) if trace_id_of(task_id(number)) % 2**64 < 2**63]
    assert 400 < len(chosen) < 600
    is_chosen = trace_id_of(TASK) % 2**64 / 2**64
    assert await traced(("coordinator", plain(*COORDINATOR)), ("miner", plain(*MINER)), share=is_chosen * 0.99) == []
    spans = await traced(("coordinator", plain(*COORDINATOR)), ("miner", plain(*MINER)), share=is_chosen * 1.01)
    assert len(spans) == 11


def test_note__tasks_that_never_end_or_never_began__memory_stays_bounded():
    tasks = [TaskId(number.to_bytes(32, "big")) for number in range(MAX_TASKS + 100)]
    with collector() as kept:
        tracer = TaskTracer(kept.url, {"service.name": "x", "service.instance.id": "x"})
        for task in tasks:
            tracer.note(NoteName.TASK_DONE, task, {})
            tracer.note(NoteName.CLAIM_SENT, task, {})
        assert len(tracer._open) == MAX_TASKS
        for task in tasks:
            tracer.note(NoteName.CLAIM_DECLINED, task, {"reason": "busy"})
        assert len(tracer._open) == 0
        tracer._provider.shutdown()


async def test_run__collector_is_silent__the_node_stops_in_time():
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    began = trio.current_time()
    async with listener, trio.open_nursery() as nursery:
        tracer = TaskTracer(f"http://127.0.0.1:{port}/v1/traces", {"service.name": "x"})
        nursery.start_soon(tracer.run)
        for name in COORDINATOR:
            tracer.note(name, TASK, {})
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began < tracing.FLUSH_S + 1
