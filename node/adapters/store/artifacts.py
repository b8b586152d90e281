"""Large pictures as files named by their SHA-256, whole or absent, never half written."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, final

from protocol.records import ArtifactStored
from protocol.units import Digest, UnixMillis

_NANOS_PER_MILLI: Final = 1_000_000
_PARTIAL: Final = ".partial"
_NAME_LENGTH: Final = 64


@final
class ArtifactFolder:
    """The folder ``artifacts`` of a store. Blocking: called from the store's own thread only."""

    def __init__(self, path: Path) -> None:
        """Name the folder; ``prepare`` makes it."""
        self._path = path

    def prepare(self) -> None:
        """Make the folder and remove what a crash left half written."""
        self._path.mkdir(exist_ok=True, mode=0o700)
        for leftover in self._path.glob(f"*{_PARTIAL}"):
            leftover.unlink(missing_ok=True)

    def write(self, artifacts: Iterable[ArtifactStored], now: UnixMillis) -> None:
        """Keep these bytes, whose digests were checked; on return files and names survive a power cut.

        Raises:
            OSError: the disk refuses, for example because it is full; nothing under a final name is half written.
        """
        names = 0
        for artifact in artifacts:
            self._write_one(artifact, now)
            names += 1
        if names:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _write_one(self, artifact: ArtifactStored, now: UnixMillis) -> None:
        final_path = self._path / artifact.digest.hex()
        partial = final_path.with_suffix(_PARTIAL)
        try:
            with partial.open("wb") as file:
                file.write(artifact.data)
                file.flush()
                os.utime(file.fileno(), ns=(now * _NANOS_PER_MILLI, now * _NANOS_PER_MILLI))
                os.fsync(file.fileno())
            partial.rename(final_path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def read(self, digest: Digest) -> bytes | None:
        """Give the bytes, or None when they are not here or the file was damaged (then it is removed)."""
        path = self._path / digest.hex()
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).digest() != digest:
            path.unlink(missing_ok=True)
            return None
        return data

    def expire(self, before: UnixMillis, keep: frozenset[bytes]) -> int:
        """Remove what was stored before this moment and is not in ``keep``; give how many were removed."""
        removed = 0
        with os.scandir(self._path) as entries:
            for entry in entries:
                if len(entry.name) != _NAME_LENGTH or entry.stat().st_mtime_ns >= before * _NANOS_PER_MILLI:
                    continue
                if bytes.fromhex(entry.name) not in keep:
                    Path(entry.path).unlink(missing_ok=True)
                    removed += 1
        return removed
