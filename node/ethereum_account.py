"""eth_account, without what it does to the whole process.

One of its libraries, raises Python's limit of recursion to 100,000. `json.loads`, which
recurses in C, then ends the process on 100 kB of brackets from any server, so the limit is put back after the import.
"""

import sys
from typing import Final

from eth_account import Account
from eth_account.signers.local import LocalAccount

__all__ = ["Account", "LocalAccount"]

_LIMIT: Final = 1000
"""Python's own."""

sys.setrecursionlimit(_LIMIT)
