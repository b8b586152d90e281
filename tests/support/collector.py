"""A collector of OpenTelemetry spans on loopback: takes OTLP over HTTP and keeps what it says."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.web_server import QuietHandler, listening


@dataclass(frozen=True)
class Taken:
    """One span that was taken."""

    service: str
    instance: str
    name: str
    trace: str
    span: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, str | int]
    events: tuple[str, ...]
    is_error: bool


@dataclass
class Collector:
    """What came in so far."""

    url: str = ""
    spans: list[Taken] = field(default_factory=list)

    def of(self, task: str) -> list[Taken]:
        """The spans of a task, by their beginning, the root first."""
        found = (span for span in self.spans if span.attributes.get("cuckoo.task") == task)
        return sorted(found, key=lambda span: (span.start_ns, span.parent))


def _value(one: object) -> str | int:
    kind = one.WhichOneof("value")
    return getattr(one, kind)


def _spans(body: bytes) -> Iterator[Taken]:
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        about = {pair.key: str(_value(pair.value)) for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Taken(
                    about["service.name"],
                    about["service.instance.id"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    {pair.key: _value(pair.value) for pair in span.attributes},
                    tuple(event.name for event in span.events),
                    span.status.code == span.status.STATUS_CODE_ERROR,
                )


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector."""
    kept = Collector()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            kept.spans.extend(_spans(body))
            self.answer(200, b"")

    with listening(Handler) as url:
        kept.url = f"{url}/v1/traces"
        yield kept
