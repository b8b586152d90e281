"""Writes down public gossip as it was signed, with the tables and beacons of its epochs: what ``cuckoo audit`` reads.

One JSON object a line; the first names the network. Files have a limit and rotate, and each stands for itself: it
begins with the head and the tables that hold. A restart goes on with the file that is there. Off unless ``record.file``
names one. Spec: SPEC.md §4.6.
"""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, final

import trio

from node.ports import Clock, EventSink, Journal
from protocol.audit.record import RecordHead
from protocol.crypto.publication import Publication
from protocol.errors import ConfigError
from protocol.events import ActivityChanged, Event, StakeChanged
from protocol.notes import NoteName
from protocol.stake.table import EpochView
from protocol.units import Epoch, StakingId

VERSION: Final = 1
"""Of the format; a reader refuses a higher one."""
FLUSH_S: Final = 1.0
"""How long (s) a line may wait in memory: a record is evidence, not a store, and a crash may cost its last second."""
MAX_HEAD_BYTES: Final = 64 * 1024
"""Longest first line (bytes): what is longer describes no network."""
CHUNK_BYTES: Final = 1024 * 1024
"""How much (bytes) of a file is looked through at once for its last whole line."""
KEPT_VIEWS: Final = 4
"""Views that are written again at the head of each file: those around now, and one before."""


@final
class Recorder:
    """One record, in up to so many files."""

    def __init__(
        self, path: Path, head: RecordHead, max_bytes: int, files: int, clock: Clock, journal: Journal
    ) -> None:
        """Open nothing yet.

        Args:
            path: The file that is written; older ones get .1, .2 and so on behind their name.
            head: The network.
            max_bytes: Size from which a new file begins.
            files: Most files that are kept.
            clock: Tells when something was heard.
            journal: Hears when recording ends because the disk is full.
        """
        self._path = path
        self._head = head
        self._max_bytes = max_bytes
        self._files = files
        self._clock = clock
        self._journal = journal
        self._file: IO[bytes] | None = None
        self._size = 0
        self._views: dict[Epoch, EpochView] = {}
        self._written_roots: set[bytes] = set()
        self._inactive: frozenset[StakingId] = frozenset()

    def open(self) -> None:
        """Go on with the file of an earlier run as long as it has room, or begin one.

        Raises:
            ConfigError: It cannot be written, or one of its files is there and is no record of this network.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for number in range(self._files):
                self._check_ours(self._numbered(number))
            self._size = _whole_lines(self._path)
            if 0 < self._size < self._max_bytes:
                self._go_on()
            else:
                self._begin()
        except OSError as error:
            raise ConfigError(f"record.file: {self._path} cannot be written: {error.strerror}") from None

    def _check_ours(self, path: Path) -> None:
        """Pass what is not there or empty, and a record of this network: it is moved and deleted when its time comes.

        Raises:
            ConfigError: It is something else.
        """
        if not path.exists():
            return
        first = b"no file"  # a pipe or a device is not even looked into
        if path.is_file():
            with path.open("rb") as file:
                first = file.readline(MAX_HEAD_BYTES)
        if not first.endswith(b"\n") and b'{"cuckoo_record":'.startswith(first[:17]):
            return  # a crash cut its very first line off: nothing of it is lost
        try:
            head = json.loads(first)
        except (ValueError, RecursionError):
            head = None
        if not isinstance(head, dict) or "cuckoo_record" not in head:
            raise ConfigError(f"record.file: {path} is there and is no record of gossip: name another file")
        if head | {"began": None} != self._head_line() | {"began": None}:
            raise ConfigError(f"record.file: {path} is a record of another network or version: name another file")

    def _go_on(self) -> None:
        """Write behind what is there, but for a line that a crash cut off."""
        self._file = self._path.open("r+b")
        self._file.truncate(self._size)
        self._file.seek(self._size)
        self._put(self._inactive_line())

    async def run(self) -> None:
        """Bring what waits in memory to the file every second, and the rest at the end."""
        try:
            while True:
                await trio.sleep(FLUSH_S)
                self._flush()
        finally:
            self.close()

    def close(self) -> None:
        """Write what waits; nothing is recorded any more."""
        self._flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def heard(self, publication: Publication) -> None:
        """Write one gossip message, which was accepted or is our own."""
        self._write(
            {
                "at": self._clock.now(),
                "from": publication.publisher,
                "seq": publication.sequence,
                "topic": publication.topic,
                "data": base64.b64encode(publication.data).decode(),
                "sig": base64.b64encode(publication.signature).decode(),
            }
        )

    def knows(self, event: Event) -> None:
        """Write what the chain says: tables, beacons, who is inactive. Other events mean nothing here."""
        match event:
            case StakeChanged(view=view):
                self._views.setdefault(view.epoch, view)
                while len(self._views) > KEPT_VIEWS:
                    del self._views[min(self._views)]
                self._write(self._view_line(view))
            case ActivityChanged(inactive=inactive):
                self._inactive = inactive
                self._write(self._inactive_line())
            case _:
                pass

    def _begin(self) -> None:
        """Move older files on and begin a new one with what a reader needs to know."""
        if self._file is not None:
            self._file.close()
        for number in range(self._files - 1 if self._size else 0, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self._file = self._path.open("wb")
        self._size = 0
        self._written_roots.clear()
        for line in (self._head_line(), *map(self._view_line, self._views.values()), self._inactive_line()):
            self._put(line)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _write(self, line: Mapping[str, object]) -> None:
        """Write a line; when the disk takes no more, say so once and stop."""
        if self._file is None:
            return
        try:
            if self._size >= self._max_bytes:
                self._begin()
            self._put(line)
        except OSError as error:
            self._stop(error)

    def _put(self, line: Mapping[str, object]) -> None:
        assert self._file is not None
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self._file.write(data)
        self._size += len(data)

    def _flush(self) -> None:
        if self._file is None:
            return
        try:
            self._file.flush()
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        """Give the record up, not the node."""
        reason = os.strerror(error.errno) if error.errno else "unknown"
        self._journal.note(NoteName.RECORD_STOPPED, file=str(self._path), reason=reason)
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return  # it was told already: closing tries to write what waits once more

    def _head_line(self) -> dict[str, object]:
        return {
            "cuckoo_record": VERSION,
            "began": self._clock.now(),
            "chain_id": self._head.chain_id,
            "staking": "0x" + self._head.contract.hex(),
            "params": self._head.params.model_dump(),
        }

    def _view_line(self, view: EpochView) -> dict[str, object]:
        """Describe a view; rows that stand in this file already are named by their root alone."""
        root = view.table.root
        line: dict[str, object] = {"epoch": view.epoch, "beacon": view.beacon.hex(), "root": root.hex()}
        if root not in self._written_roots:
            self._written_roots.add(root)
            line["rows"] = [
                [row.id, row.address.hex(), int(row.role), str(row.stake), row.active] for row in view.table.rows
            ]
        return line

    def _inactive_line(self) -> dict[str, object]:
        return {"at": self._clock.now(), "inactive": sorted(self._inactive)}


def _whole_lines(path: Path) -> int:
    """Give the size (bytes) of a file up to its last whole line; 0 where there is none."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(end - CHUNK_BYTES, 0)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
    return 0


@final
class RecordedSink:
    """Hands the chain's events on, and lets a recorder see them first."""

    def __init__(self, sink: EventSink, recorder: Recorder) -> None:
        """Stand between the chain and the driver."""
        self._sink = sink
        self._recorder = recorder

    async def post(self, event: Event) -> None:
        """Record and hand on."""
        self._recorder.knows(event)
        await self._sink.post(event)
