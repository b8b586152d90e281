"""What pulls of models and LoRAs share: a folder that one alone writes into, room on the disk, one file at a time."""

import fcntl
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from node.model_files.hub import INCOMPLETE, RemoteFile, fetch
from node.model_files.shelf import Shelf, free_bytes
from protocol.errors import ConfigError
from protocol.task.catalog import HubRepository

SPARE_BYTES: Final = 512 * 1024 * 1024
"""Space that a pull leaves free: a full disk stops the miner that uses it."""
LOCK: Final = ".lock"


class Told(Protocol):
    """Whoever shows how a pull goes on."""

    def begin(self, what: str, total: int, done: int) -> None:
        """Say what is being done, and how many bytes of a whole are done."""

    def advance(self, count: int) -> None:
        """Say that so many more bytes are done."""


def require_hub() -> None:
    """Make sure that the hub can be asked.

    Raises:
        ConfigError: Its library is not installed.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError("pulling needs huggingface_hub, which is not installed: pip install 'cuckoo-overlay[miner]'")


@contextmanager
def alone_in(folder: Path, name: str) -> Iterator[None]:
    """Hold the folder of what is being pulled, so that no second pull writes into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be used ({error.strerror}): choose another --models-folder") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"{name} is being pulled already into {folder}: wait for that to end") from None
        try:
            yield
        finally:
            if [path.name for path in folder.glob("*")] == [LOCK]:  # nothing came: it is no partial model
                (folder / LOCK).unlink()
                folder.rmdir()
    finally:
        os.close(lock)


def bytes_here(file: RemoteFile, partial: Path) -> int:
    """Count what is here of a file."""
    for path in (partial / file.name, partial / (file.name + INCOMPLETE)):
        if path.is_file():
            return min(path.stat().st_size, file.size)
    return 0


def require_room(shelf: Shelf, what: str, files: Sequence[RemoteFile], partial: Path) -> None:
    """Refuse to begin what the disk has no room for, or what takes more than the owner lets pulled models take.

    Raises:
        ConfigError: It says what would make room.
    """
    missing = sum(file.size - bytes_here(file, partial) for file in files)
    free = free_bytes(partial)
    if missing + SPARE_BYTES > free:
        raise ConfigError(
            f"{what} needs {missing / 1e9:.1f} GB more and {SPARE_BYTES / 1e9:.1f} GB to spare, {shelf.pulled} "
            f"has {free / 1e9:.1f} GB free: make room, or choose another --models-folder"
        )
    if shelf.limit_bytes == 0:
        return
    present = shelf.pulled_bytes()
    if sum(present.values()) + missing > shelf.limit_bytes:
        others = [name for name in present if name in shelf.catalog.models]
        largest = f": cuckoo models remove {others[0]} frees {present[others[0]] / 1e9:.1f} GB" if others else ""
        raise ConfigError(
            f"engine.pulled_limit_gb: {what} needs {missing / 1e9:.1f} GB more, pulled models have "
            f"{sum(present.values()) / 1e9:.1f} of {shelf.limit_bytes / 1e9:.1f} GB{largest}"
        )


def bring(source: HubRepository, file: RemoteFile, partial: Path, told: Told) -> int:
    """Fetch one file unless all of it is here, and give how many bytes came."""
    target = partial / file.name
    missing = file.size - bytes_here(file, partial)
    if not (target.is_file() and missing == 0):
        fetch(source, file, target, told.advance)
    return missing
