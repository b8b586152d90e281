"""The pictures that unfinished tasks begin from, as rows: they come and go in the transactions of their tasks.

Tasks of one request share theirs. Nothing else reads them: they are what an app gave us, not what it was given.
"""

import hashlib
import sqlite3

from protocol.records import InputStored
from protocol.units import Digest, TaskId


def write(connection: sqlite3.Connection, record: InputStored) -> None:
    """Keep a picture for a task, inside a transaction that the caller began; the digest was checked."""
    connection.execute(
        "INSERT INTO inputs (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING", (record.digest, record.data)
    )
    connection.execute("INSERT INTO inputs_of_tasks (task, digest) VALUES (?, ?)", (record.task, record.digest))


def release(connection: sqlite3.Connection, task: TaskId) -> None:
    """Forget the pictures of a task that ends, save those that another task begins from."""
    released = connection.execute("DELETE FROM inputs_of_tasks WHERE task = ? RETURNING digest", (task,)).fetchall()
    for row in released:
        connection.execute(
            "DELETE FROM inputs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM inputs_of_tasks WHERE digest = ?)",
            (row["digest"], row["digest"]),
        )


def read(connection: sqlite3.Connection, digest: Digest) -> bytes | None:
    """Give the bytes; None when no unfinished task begins from them, or they were damaged."""
    row = connection.execute("SELECT data FROM inputs WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        return None
    data = bytes(row["data"])
    return data if hashlib.sha256(data).digest() == digest else None
