"""That a run's memory lies in large pages where the system can, and holds what it held."""

import platform
import re
from pathlib import Path

import pytest

from tests.sim.large_pages import PAGE_BYTES, gather_in_large_pages

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
RELEASE = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


def in_large_pages() -> int:
    """Give how many bytes of this process the system says are in large pages."""
    found = re.search(r"^AnonHugePages:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


@pytest.mark.skipif(RELEASE < (6, 1) or not SWITCH.exists(), reason="this system moves nothing when asked")
def test_gather_in_large_pages__memory_in_small_ones__is_moved_and_holds_what_it_held() -> None:
    # Each is below what the allocator asks of the system apart, so that they come to lie in one stretch.
    kept = [number.to_bytes(4, "big") * 8192 for number in range(4 * PAGE_BYTES // 32_768)]
    gathered = gather_in_large_pages()
    assert in_large_pages() >= PAGE_BYTES
    assert gathered >= PAGE_BYTES
    assert all(data == number.to_bytes(4, "big") * 8192 for number, data in enumerate(kept))
