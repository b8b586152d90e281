"""A run's memory in large pages: a thousand nodes' objects lie in far more small ones than a processor looks up fast.

Each event touches some dozens of objects of one node, and the next event is another node's. In pages of 4 KiB most of
those places have to be looked up in memory first, which costs a run some per cent of its time, more of it in a
virtual machine.
"""

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = 2 * 1024 * 1024
"""A large page, where small ones have 4 KiB."""
_COLLAPSE: Final = 25
"""MADV_COLLAPSE of madvise(2): copy what there is into large pages now, whatever the system does by itself."""


def gather_in_large_pages() -> int:
    """Move what this process has allocated so far into large pages; what is there already stays.

    Where the system cannot (it takes Linux 6.1, and free memory), all stays as it is and costs more time.

    Returns:
        How many bytes are in large pages now.
    """
    if sys.platform != "linux":
        return 0
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(end - begin for begin, end in _allocated() if advise(begin, end - begin, _COLLAPSE) == 0)


def _allocated() -> Iterator[tuple[int, int]]:
    """Give (begin, end) of the whole large pages in all memory that is no file's."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access, _, _, inode, *name = line.split()
        if access == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
            begin, end = (int(place, 16) for place in span.split("-"))
            begin, end = -(-begin // PAGE_BYTES) * PAGE_BYTES, end // PAGE_BYTES * PAGE_BYTES
            if begin < end:
                yield begin, end
