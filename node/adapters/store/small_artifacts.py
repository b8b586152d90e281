"""Small pictures as rows of the database: the commit that names one makes it durable, too.

A file of its own costs two more flushes, of its bytes and of its name, one after the other. What is larger than
``SMALL_BYTES`` is a file: in the database it would be written twice, to the log and to its place.
"""

import hashlib
import sqlite3
from collections import OrderedDict
from typing import Final, final

from protocol.records import ArtifactStored
from protocol.units import Digest, UnixMillis

SMALL_BYTES: Final = 64 * 1024
"""Largest artifact (bytes) that is a row: up to about here SQLite takes less time than a file."""
RECENT_BYTES: Final = 8 * 1024 * 1024
"""Artifacts that were stored last and stay in memory (bytes), since each is read again at once to be sent."""

NEEDED: Final = """
SELECT artifact FROM results WHERE settled IS NULL
UNION SELECT artifact FROM drawings JOIN rechecks USING (subject) WHERE odd = 2 AND may_be_disputed = 1
"""
"""Digests of what is kept however old it is: of undelivered results, and of pictures that may be reported to jurors,
which go with their rechecks."""


def write(connection: sqlite3.Connection, artifact: ArtifactStored, now: UnixMillis) -> None:
    """Keep a small artifact, inside a transaction that the caller began; the digest was checked."""
    connection.execute(
        "INSERT INTO artifacts (digest, data, stored_at) VALUES (?, ?, ?) "
        "ON CONFLICT (digest) DO UPDATE SET data = excluded.data, stored_at = excluded.stored_at",
        (artifact.digest, artifact.data, now),
    )


def read(connection: sqlite3.Connection, digest: Digest) -> bytes | None:
    """Give the bytes; None when there is no such row, or it was damaged (then it is removed)."""
    row = connection.execute("SELECT data FROM artifacts WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        return None
    data = bytes(row["data"])
    if hashlib.sha256(data).digest() != digest:
        connection.execute("DELETE FROM artifacts WHERE digest = ?", (digest,))
        return None
    return data


def expire(connection: sqlite3.Connection, before: UnixMillis) -> int:
    """Remove what was stored before this moment and no unfinished delivery needs; give how many were removed."""
    return connection.execute(
        f"DELETE FROM artifacts WHERE stored_at < ? AND digest NOT IN ({NEEDED})",  # noqa: S608 - a literal of this module
        (before,),
    ).rowcount


@final
class RecentArtifacts:
    """The artifacts that were stored last, in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._bytes = 0

    def keep(self, artifact: ArtifactStored) -> None:
        """Keep one that is durable; the oldest leave beyond ``RECENT_BYTES``."""
        self._bytes -= len(self._kept.pop(artifact.digest, b""))
        self._kept[artifact.digest] = artifact.data
        self._bytes += len(artifact.data)
        while self._bytes > RECENT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)

    def get(self, digest: Digest) -> bytes | None:
        """Give the bytes of one that is still here."""
        return self._kept.get(digest)

    def clear(self) -> None:
        """Keep none."""
        self._kept.clear()
        self._bytes = 0
