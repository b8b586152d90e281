"""What another process holds in memory: searched for what it must not know."""

from io import FileIO
from pathlib import Path

PIECE_BYTES = 16 * 1024 * 1024


def memory_holds(pid: int, secret: bytes) -> bool:
    """Say whether these bytes stand anywhere in the memory that a process may write."""
    regions = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with FileIO(f"/proc/{pid}/mem") as memory:
        for region in regions:
            place, rights = region.split()[:2]
            if rights.startswith("rw") and _region_holds(memory, place, secret):
                return True
    return False


def _region_holds(memory: FileIO, place: str, secret: bytes) -> bool:
    first, last = (int(part, 16) for part in place.split("-"))
    before = b""
    for start in range(first, last, PIECE_BYTES):
        try:
            memory.seek(start)
            piece = memory.read(min(PIECE_BYTES, last - start))
        except OSError:  # a region that went away, or that nobody may read
            return False
        if secret in before + piece:
            return True
        before = piece[-len(secret) :]
    return False
