"""Memory in which what belongs to one simulated machine stands together.

Python's own allocator keeps objects of each size in a place of their own, so that each event of one machine of a
thousand is spread over as many pages as it has sizes of objects: a tenth of a large run was waiting for memory. The C
library's gives out what is asked for in a row. Which of them a process has is settled when it starts.
"""

import os
import sys
from typing import Final

CHOICE: Final = "PYTHONMALLOC"
"""Variable of the environment by which Python chooses."""


def with_system_allocator() -> None:
    """Begin this process anew, with the same arguments, on the C library's allocator, unless one is chosen already.

    What was done so far is done again.
    """
    if CHOICE not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {CHOICE: "malloc"})
