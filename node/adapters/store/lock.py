"""One process per folder, held by the kernel so that a crash always releases it."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from protocol.errors import ConfigError


def hold(folder: Path) -> int:
    """Make ``folder`` if need be, and hold it until the returned descriptor is closed.

    Raises:
        ConfigError: another process holds it, or it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = error.strerror
        raise ConfigError(f"data folder {folder} cannot be used ({reason}): choose one that you may write") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise ConfigError(
            f"data folder {folder} is in use by process {holder}: stop it, or give this node a folder of its own"
        ) from error
    with suppress(OSError):  # on a full disk: the kernel's lock holds without a name in it
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
