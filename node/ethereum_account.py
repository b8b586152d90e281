"""eth_account, without what it does to the whole process.

One of its libraries, py_ecc, raises Python's limit of recursion to 100,000. `json.loads`, which recurses in C, then
ends the process on 100 kB of brackets from any server, so the limit is put back after the import.

It also works out tables of another curve as soon as it is imported, for keystores version 4, which we refuse: a quarter
of a second of every start and command that opens a key. Stand-ins are imported in their place.
"""

import sys
from typing import Final

import node.lean_ethereum  # noqa: F401  before eth_account
from node.stand_ins import stand_ins

_LIMIT: Final = 1000
"""Python's own."""
_STAND_INS: Final[dict[str, dict[str, object]]] = {
    "py_ecc.bls": {"G2ProofOfPossession": None},
    "py_ecc.bls12_381": {"curve_order": 0},
}
"""Modules of the other curve, and what eth_keyfile takes from them: no use for keystores version 3."""


with stand_ins(_STAND_INS):
    from eth_account import Account
    from eth_account.signers.local import LocalAccount

sys.setrecursionlimit(_LIMIT)

__all__ = ["Account", "LocalAccount"]
