"""Room for sockets: many systems let a process open 1,024 files unless it asks for more of what it may have."""

import resource
from typing import Final

BESIDE: Final = 1_536
"""Descriptors beside the sockets of peers: a thousand apps, the store, pipes to children, chain nodes, libraries."""


def make_room(peers: int) -> int:
    """Let this process open as many sockets as so many peers need, as far as the system lets it.

    It never takes anything away. What the system allows at most (``ulimit -Hn``) only its administrator raises.

    Returns:
        How many descriptors are missing, 0 where all fit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = peers + BESIDE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return 0
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return wanted - allowed
