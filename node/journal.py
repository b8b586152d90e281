"""Domain events become log lines and metrics here, and nowhere else.

A note of a core or an adapter is one line whose event is the note's name; its level says who wants to see it. Lines
never hold a prompt, a key or a password, because notes never do; text that a peer may have chosen is shortened and
stripped of control characters, so that nobody writes into an operator's terminal.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO, final

import structlog
from prometheus_client import CollectorRegistry

from node.metrics import DomainMetrics
from protocol.notes import NoteName
from protocol.units import TaskId

Observer = Callable[[NoteName, TaskId | None, Mapping[str, str | int]], None]
"""Hears each note with its fields; never waits and never raises."""
LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

LINES_PER_SECOND: Final = 100
"""Lines of one note that are written in one second (the rest is counted): a flood of messages must not become a
flood of the disk, and a busy coordinator needs its processor for work. Metrics count everything."""
MAX_VALUE_CHARACTERS: Final = 200
"""Longest text in a line."""
_RESERVED: Final = frozenset({"event", "level", "timestamp"})
"""Names that structlog gives a meaning of its own; a field of such a name gets an underscore."""
_LEVEL_NAMES: Final = {number: name.lower() for name, number in logging.getLevelNamesMapping().items()}
_SHORT_TASK: Final = 12
"""Hexadecimal digits of a task id that people are shown; JSON has all 64."""

_LEVELS: Final[Mapping[NoteName, int]] = {
    NoteName.NODE_INACTIVE: logging.WARNING,
    NoteName.PEER_UP: logging.DEBUG,
    NoteName.PEER_DOWN: logging.DEBUG,
    NoteName.RELAY_CARRIES: logging.DEBUG,
    NoteName.RELAY_CARRIED: logging.DEBUG,
    NoteName.RELAY_REFUSED: logging.DEBUG,
    NoteName.GOSSIP_ACCEPTED: logging.DEBUG,
    NoteName.GOSSIP_IGNORED: logging.DEBUG,
    NoteName.MESSAGE_IGNORED: logging.DEBUG,
    NoteName.STAKE_TABLE: logging.DEBUG,
    NoteName.CLAIM_DECLINED: logging.DEBUG,
    NoteName.OFFER_SKIPPED: logging.DEBUG,
    NoteName.JOB_PROGRESS: logging.DEBUG,
    NoteName.CAPABILITY_RECEIVED: logging.DEBUG,
    NoteName.GOSSIP_REJECTED: logging.WARNING,
    NoteName.MESSAGE_DROPPED: logging.WARNING,
    NoteName.PEER_JUDGED: logging.WARNING,
    NoteName.PEER_BANNED: logging.WARNING,
    NoteName.RELAY_LOST: logging.WARNING,
    NoteName.KEYS_UNREADABLE: logging.WARNING,
    NoteName.STORE_FULL: logging.WARNING,
    NoteName.STORE_WRITABLE: logging.WARNING,
    NoteName.CHAIN_STALLED: logging.WARNING,
    NoteName.CHAIN_REORGANISED: logging.WARNING,
    NoteName.CHAIN_REBUILT: logging.WARNING,
    NoteName.CHAIN_ENDPOINT_LEFT: logging.WARNING,
    NoteName.TX_REPLACED: logging.WARNING,
    NoteName.TX_STUCK: logging.WARNING,
    NoteName.TX_FAILED: logging.WARNING,
    NoteName.GAS_LOW: logging.WARNING,
    NoteName.RECORD_STOPPED: logging.WARNING,
    NoteName.ESCROW_SEEN: logging.DEBUG,
    NoteName.ESCROW_LOW: logging.WARNING,
    NoteName.COORDINATOR_REFUSED: logging.WARNING,
    NoteName.EVIDENCE_FOUND: logging.WARNING,
    NoteName.EVIDENCE_DROPPED: logging.WARNING,
    NoteName.EVIDENCE_WAITS: logging.WARNING,
    NoteName.EVIDENCE_SETTLED: logging.WARNING,
    NoteName.DISPUTE_SEEN: logging.WARNING,
    NoteName.DISPUTE_CALL_FAILED: logging.WARNING,
    NoteName.DISPUTE_WAITS: logging.WARNING,
    NoteName.BUNDLE_REFUSED: logging.WARNING,
    NoteName.REDEEM_WAITS: logging.WARNING,
    NoteName.REDEEM_FAILED: logging.WARNING,
    NoteName.GAS_BALANCE: logging.DEBUG,
    NoteName.RECHECK_PLANNED: logging.DEBUG,
    NoteName.RECHECK_ORDERED: logging.DEBUG,
    NoteName.RECHECK_PUT_OFF: logging.DEBUG,
    NoteName.RECHECK_ODD: logging.WARNING,
    NoteName.TASK_LEASE_EXPIRED: logging.WARNING,
    NoteName.MINER_PAUSED: logging.WARNING,
    NoteName.TASK_ABANDONED: logging.WARNING,
    NoteName.TASK_FAILED: logging.WARNING,
    NoteName.RESULT_REJECTED: logging.WARNING,
    NoteName.JOB_FAILED: logging.WARNING,
    NoteName.ENGINE_DOWN: logging.WARNING,
}


def level_of(name: NoteName) -> int:
    """Give the level of a note as in ``logging``; what is not said otherwise is news of a task or node: info."""
    return _LEVELS.get(name, logging.INFO)


def configure_logging(log_format: LogFormat = "auto", level: LogLevel = "info", stream: TextIO | None = None) -> None:
    """Send the lines of this process, and warnings of libraries, to ``stream`` (standard error where None).

    Args:
        log_format: ``auto`` is ``console`` on a terminal and ``json`` (one object a line) elsewhere.
        level: The least level of our own lines. Libraries write from ``warning`` on, whatever it is.
        stream: Where lines go.
    """
    target = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and target.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor]
    if console:
        last = [_shorten_task, _console_renderer(target)]
    else:
        last = [structlog.processors.format_exc_info, _JsonLines(target)]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))


_encoder: Final = json.JSONEncoder(default=repr)
"""One for all lines: json.dumps makes a new one for each that has such a default."""


@final
class _JsonLines:
    """Makes JSON of a line as structlog's last processor; the journal's own lines need none of the others.

    structlog's way of a line costs a busy node more than all else that it does about a note.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target

    def __call__(self, _logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict) -> str:
        """Render what structlog gives."""
        return _encoder.encode(line)

    def write(self, level: int, event: str, line: dict[str, str | int]) -> None:
        """Write one line, as structlog would with the same fields."""
        line["event"] = event
        line["level"] = _LEVEL_NAMES[level]
        line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self._target.write(_encoder.encode(line) + "\n")
        self._target.flush()


def _console_renderer(target: TextIO) -> structlog.dev.ConsoleRenderer:
    """Render for people. Tracebacks are plain: richer ones print local variables, where a prompt or key may be."""
    return structlog.dev.ConsoleRenderer(
        colors=target.isatty(), pad_event_to=20, exception_formatter=structlog.dev.plain_traceback
    )


def _shorten_task(
    _logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep a line of the console readable."""
    if isinstance(line.get("task"), str):
        line["task"] = line["task"][:_SHORT_TASK]
    return line


@final
class StructuredJournal:
    """The Journal port: one log line and the metrics of each note."""

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        timer: Callable[[], float] = time.perf_counter,
        **context: str,
    ) -> None:
        """Begin a journal; call ``configure_logging`` before, once a process.

        Args:
            registry: Where metrics are registered; a new one where None. At most one journal uses a registry.
            timer: Seconds that never go back, for stages and the limit of lines.
            context: What each line carries, such as ``role`` and ``node``.
        """
        self.registry = registry or CollectorRegistry()
        self._metrics = DomainMetrics(self.registry, timer)
        self._timer = timer
        # Bound here: what get_logger gives is put together anew for each line.
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger(**context).bind()
        self._context = context
        last = structlog.get_config()["processors"][-1]
        self._lines = last if isinstance(last, _JsonLines) else None
        self._windows: dict[NoteName, _Window] = {}
        self._observers: list[Observer] = []

    def observe(self, observer: Observer) -> None:
        """Tell ``observer`` each note from now on."""
        self._observers.append(observer)

    def note(self, name: NoteName, task: TaskId | None = None, **fields: str | int) -> None:
        """Record one domain event. Field values are short and hold no prompt, key or password."""
        self._metrics.count(name, task, fields)
        for observer in self._observers:
            observer(name, task, fields)
        level = level_of(name)
        if not self._log.is_enabled_for(level):
            return
        window = self._windows.setdefault(name, _Window())
        if not window.admits(self._timer()):
            return
        line: dict[str, str | int] = {**self._context, "task": task.hex()} if task is not None else {**self._context}
        for key, value in fields.items():
            line[f"{key}_" if key in _RESERVED else key] = _clean(value) if isinstance(value, str) else value
        if window.left_out:
            line["left_out_before"] = window.take_left_out()
        if self._lines is not None:
            self._lines.write(level, name.value, line)
        else:
            self._log.log(level, name.value, **line)


@final
class _Window:
    """How many lines of one note were written in the present second."""

    def __init__(self) -> None:
        self._second = -1
        self._lines = 0
        self.left_out = 0

    def admits(self, now: float) -> bool:
        """Say whether one more line is written."""
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        self._lines += 1
        if self._lines > LINES_PER_SECOND:
            self.left_out += 1
            return False
        return True

    def take_left_out(self) -> int:
        """Give the number of lines left out since the last one, and begin anew."""
        count, self.left_out = self.left_out, 0
        return count


def _clean(value: str) -> str:
    """Make text fit for a terminal, whoever wrote it."""
    short = value if len(value) <= MAX_VALUE_CHARACTERS else value[:MAX_VALUE_CHARACTERS] + "…"
    return short if short.isprintable() else "".join(mark if mark.isprintable() else "�" for mark in short)
