"""The pictures that unfinished tasks begin from, as rows: they come and go in the transactions of their tasks.

Tasks of one request share theirs. Those of a task that is drawn again stay until that is over, as its drawings begin
from them, too. Nothing else reads them: they are what an app gave us, not what it was given.
"""

import hashlib
import sqlite3

from protocol.records import InputsShared, InputStored
from protocol.units import Digest, TaskId


def write(connection: sqlite3.Connection, record: InputStored) -> None:
    """Keep a picture for a task, inside a transaction that the caller began; the digest was checked."""
    connection.execute(
        "INSERT INTO inputs (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING", (record.digest, record.data)
    )
    connection.execute("INSERT INTO inputs_of_tasks (task, digest) VALUES (?, ?)", (record.task, record.digest))


def share(connection: sqlite3.Connection, record: InputsShared) -> None:
    """Keep a task's pictures for another one, too."""
    connection.execute(
        "INSERT INTO inputs_of_tasks (task, digest) SELECT ?, digest FROM inputs_of_tasks WHERE task = ?",
        (record.task, record.subject),
    )


def release(connection: sqlite3.Connection, task: TaskId) -> None:
    """Forget the pictures of a task that ended and is not drawn again any more, save those of another task."""
    released = connection.execute(
        "DELETE FROM inputs_of_tasks WHERE task = ? "
        "AND NOT EXISTS (SELECT 1 FROM rechecks WHERE subject = ? AND outcome = '') RETURNING digest",
        (task, task),
    ).fetchall()
    for row in released:
        connection.execute(
            "DELETE FROM inputs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM inputs_of_tasks WHERE digest = ?)",
            (row["digest"], row["digest"]),
        )


def read(connection: sqlite3.Connection, digest: Digest) -> bytes | None:
    """Give the bytes; None when no task begins from them that is not over, or they were damaged."""
    row = connection.execute("SELECT data FROM inputs WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        return None
    data = bytes(row["data"])
    return data if hashlib.sha256(data).digest() == digest else None
