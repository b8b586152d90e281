"""One task as one OpenTelemetry trace, over every process that has a part in it, without a byte more on the wire.

Trace id and root span id are hashes of the task's id, which all who work on it know: a coordinator and its miners write
spans of one trace without ever having told each other. The coordinator writes the root, ``task``; everybody hangs the
spans of what it did below that. Who traces in one process only still gets whole traces of what that process did.

Spans are made from the journal's notes and hold what those hold: no prompt, key or password.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, final

import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from protocol.notes import NoteName
from protocol.units import TaskId

MAX_TASKS: Final = 4096
"""Tasks whose spans are open at once; the one that was touched longest ago is given up, with its open spans."""
MAX_EVENTS: Final = 32
"""Notes that one span carries, the latest: a task that is offered again and again must not grow for ever."""
MAX_VALUE_CHARACTERS: Final = 200
"""Longest text in a span: some of it a peer may have chosen."""
QUEUE_SPANS: Final = 4096
"""Ended spans that wait for the collector; more are lost, and the node goes on."""
EXPORT_S: Final = 5
"""How long (s) one export may take."""
FLUSH_S: Final = 1.0
"""How long (s) a node that stops waits for its last spans: it must be gone within three."""
TASK: Final = "task"

STEPS: Final[tuple[tuple[str, NoteName, tuple[NoteName, ...]], ...]] = (
    (TASK, NoteName.TASK_ACCEPTED, (NoteName.TASK_DONE, NoteName.TASK_FAILED)),
    ("accept", NoteName.TASK_ACCEPTED, (NoteName.TASK_OFFERED,)),
    ("offer", NoteName.TASK_OFFERED, (NoteName.CLAIM_RECEIVED,)),
    ("award", NoteName.CLAIM_RECEIVED, (NoteName.TASK_AWARDED,)),
    (
        "work",
        NoteName.TASK_AWARDED,
        (NoteName.RESULT_RECEIVED, NoteName.TASK_LEASE_EXPIRED, NoteName.TASK_ABANDONED),
    ),
    ("finish", NoteName.RESULT_RECEIVED, (NoteName.TASK_DONE, NoteName.RESULT_REJECTED)),
    ("claim", NoteName.CLAIM_SENT, (NoteName.AWARD_RECEIVED, NoteName.CLAIM_DECLINED)),
    ("prepare", NoteName.AWARD_RECEIVED, (NoteName.JOB_STARTED, NoteName.JOB_FAILED)),
    ("draw", NoteName.JOB_STARTED, (NoteName.JOB_FINISHED, NoteName.JOB_FAILED)),
    ("result", NoteName.JOB_FINISHED, (NoteName.RESULT_SENT,)),
    ("settle", NoteName.RESULT_SENT, (NoteName.RECEIPT_RECEIVED, NoteName.RESULT_REJECTED)),
)
"""(span, note that begins it, notes that end it): six of a coordinator, five of a miner."""
_FIRST: Final = frozenset(begin for _, begin, _ in STEPS)
_ENDS: Final = frozenset({NoteName.TASK_DONE, NoteName.TASK_FAILED, NoteName.RECEIPT_RECEIVED, NoteName.JOB_FAILED})
"""After these a process has nothing to do with the task any more, and what is open is ended."""
_FAULTS: Final = frozenset(
    {NoteName.TASK_FAILED, NoteName.JOB_FAILED, NoteName.TASK_LEASE_EXPIRED, NoteName.RESULT_REJECTED}
)
"""Endings of a span that are errors; a declined claim or a given-up attempt is ordinary."""


def trace_id_of(task: TaskId) -> int:
    """Give the trace of a task: 128 bits that all who know the task's id find by themselves."""
    return int.from_bytes(hashlib.sha256(b"cuckoo/1/trace" + task).digest()[:16], "big") or 1


def root_span_id_of(task: TaskId) -> int:
    """Give the id of the span ``task``, under which everybody's spans hang."""
    return int.from_bytes(hashlib.sha256(b"cuckoo/1/root-span" + task).digest()[:8], "big") or 1


@final
class TaskTracer:
    """Makes spans of notes and sends them to a collector, from a thread of the SDK."""

    def __init__(
        self,
        endpoint: str,
        attributes: Mapping[str, str],
        share: float = 1.0,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Send spans to an OTLP collector.

        Args:
            endpoint: Its HTTP address, with the path (``…/v1/traces``).
            attributes: What this process is, as OpenTelemetry names it (``service.name``, …).
            share: Part of all tasks that is traced, 0 to 1.
            wall_ns: Nanoseconds since 1970, as spans have them.
        """
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(dict(attributes)),
            id_generator=self._ids,
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_events=MAX_EVENTS, max_attribute_length=MAX_VALUE_CHARACTERS),
        )
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_S)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS, schedule_delay_millis=1000)
        )
        self._tracer = self._provider.get_tracer("cuckoo")
        self._below = int(share * 2**64)
        self._wall_ns = wall_ns
        self._open: OrderedDict[TaskId, dict[str, Span]] = OrderedDict()

    async def run(self) -> None:
        """Be cancelled, and then send what has ended; returns within ``FLUSH_S``."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(FLUSH_S, shield=True):
                await trio.to_thread.run_sync(self._provider.shutdown, abandon_on_cancel=True)

    def note(self, name: NoteName, task: TaskId | None, fields: Mapping[str, str | int]) -> None:
        """Take one domain event into account. Never waits."""
        if task is None:
            return
        trace_id = trace_id_of(task)
        spans = self._open.get(task)
        if spans is None:
            if name not in _FIRST or trace_id & (2**64 - 1) >= self._below:
                return
            spans = self._open[task] = {}
        self._open.move_to_end(task)
        now, said = self._wall_ns(), {f"cuckoo.{key}": _fitting(value) for key, value in fields.items()}
        self._end(spans, name, said, now)
        for span in spans.values():
            span.add_event(name.value, said, now)
        for step, first, _ in STEPS:
            # Several claims may come for one offer: the wait for the award counts from the first.
            if name is first and step not in spans:
                spans[step] = self._begin(step, task, trace_id, said, now)
        if not spans:
            del self._open[task]
        elif len(self._open) > MAX_TASKS:
            self._open.popitem(last=False)

    def _begin(self, step: str, task: TaskId, trace_id: int, said: Mapping[str, str | int], now: int) -> Span:
        """Begin a span of this task."""
        attributes = {"cuckoo.task": task.hex(), **said}
        if step == TASK:
            self._ids.root = trace_id, root_span_id_of(task)
            span = self._tracer.start_span(step, None, SpanKind.SERVER, attributes, start_time=now)
        else:
            root = SpanContext(
                trace_id, root_span_id_of(task), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
            )
            above = set_span_in_context(NonRecordingSpan(root))
            span = self._tracer.start_span(step, above, SpanKind.INTERNAL, attributes, start_time=now)
        assert isinstance(span, Span)
        return span

    def _end(self, spans: dict[str, Span], name: NoteName, said: Mapping[str, str | int], now: int) -> None:
        """End the spans that end with this note, with what it says."""
        ended = [step for step, _, last in STEPS if step in spans and (name in last or name in _ENDS)]
        for step in ended:
            span = spans.pop(step)
            span.set_attributes({"cuckoo.ended_by": name.value, **said})
            if name in _FAULTS:
                span.set_status(Status(StatusCode.ERROR, str(said.get("cuckoo.reason", name.value))))
            span.end(now)


def _fitting(value: str | int) -> str | int:
    """Give a value that OpenTelemetry can carry: whole numbers have 64 bits there, and sums of wei more."""
    return value if isinstance(value, str) or abs(value) < 2**63 else str(value)


@final
class _Ids(IdGenerator):
    """Random ids, save for a root span, whose ids follow from its task."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.root: tuple[int, int] | None = None
        """Trace and span id of the span that is begun next."""

    def generate_span_id(self) -> int:
        if self.root is None:
            return self._random.generate_span_id()
        (_, span_id), self.root = self.root, None
        return span_id

    def generate_trace_id(self) -> int:
        return self._random.generate_trace_id() if self.root is None else self.root[0]
