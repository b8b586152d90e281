"""How SQLite's and the file system's errors become ours."""

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from protocol.errors import ConfigError, DiskFull, Unavailable

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""A full disk, a full quota, and the file size limit of the process: the same to us."""
_DAMAGED: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_PRIMARY_CODE: Final = 0xFF
"""SQLite keeps the primary result code in the low byte of an extended one."""


class StoreConflict(ValueError):
    """Records contradict what is stored: a task that ends twice, a claim with two awards, a boot that goes back.

    Always a fault of ours, never of a peer or a person, so it is not an ``OverlayError`` and stops the node.
    """


@contextmanager
def translated(folder: Path) -> Generator[None]:
    """Turn errors of the disk under ``folder`` into ``Unavailable`` and a damaged file into ``ConfigError``.

    Raises:
        DiskFull: no space is left; nothing was written.
        Unavailable: the disk is locked by another program or does not answer; nothing was written.
        ConfigError: the file is no SQLite database or is damaged.
        StoreConflict: a uniqueness rule of the schema was broken.
    """
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise StoreConflict(str(error)) from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & _PRIMARY_CODE if isinstance(code, int) else None
        if primary in _DAMAGED:
            raise ConfigError(
                f"{folder}: store.sqlite is damaged or no database ({error}); restore it from a copy or move it away"
            ) from error
        if primary == sqlite3.SQLITE_FULL:
            raise DiskFull(f"the disk that holds {folder} is full") from error
        if isinstance(error, sqlite3.OperationalError) and primary != sqlite3.SQLITE_ERROR:
            raise Unavailable(f"the store in {folder} does not answer: {error}") from error
        raise
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(f"the disk that holds {folder} is full") from error
        raise Unavailable(f"the disk that holds {folder} does not answer: {error}") from error
