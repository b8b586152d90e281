"""Where the socket is, and how long its name may be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FOLDER: Final = "control"
"""Folder in a node's data folder that nobody but its owner may enter: that is what authenticates who speaks."""
SOCKET: Final = "socket"
MAX_NAME_BYTES: Final = 100
"""Longest name of a socket (bytes): Linux takes 107, macOS 103."""
MAX_FRAME_BYTES: Final = 256 * 1024
"""Longest request or answer, one line of JSON: an answer names at most 64 models with a few numbers each."""


@contextmanager
def short_name(folder: Path) -> Iterator[str]:
    """Give a name of the socket in ``folder`` that the kernel takes, however deep the folder lies.

    Raises:
        OSError: The folder does not exist, or its name is too long on a system without ``/proc``.
    """
    name = str(folder / SOCKET)
    if len(os.fsencode(name)) <= MAX_NAME_BYTES:
        yield name
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
