"""eth_account, without what it does to the whole process.

One of its libraries, py_ecc, raises Python's limit of recursion to 100,000. `json.loads`, which recurses in C, then
ends the process on 100 kB of brackets from any server, so the limit is put back after the import.

It also works out tables of another curve as soon as it is imported, for keystores version 4, which we refuse: a quarter
of a second of every start and command that opens a key. Stand-ins are imported in their place.
"""

import sys
from types import ModuleType
from typing import Final

import node.lean_ethereum  # noqa: F401  before eth_account

_LIMIT: Final = 1000
"""Python's own."""
_STAND_INS: Final[dict[str, dict[str, object]]] = {
    "py_ecc.bls": {"G2ProofOfPossession": None},
    "py_ecc.bls12_381": {"curve_order": 0},
}
"""Modules of the other curve, and what eth_keyfile takes from them: no use for keystores version 3."""


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(_STAND_INS[name])
    return module


_mine: Final = {name: _stand_in(name) for name in _STAND_INS if name not in sys.modules}
sys.modules.update(_mine)

from eth_account import Account  # noqa: E402  with the stand-ins in place
from eth_account.signers.local import LocalAccount  # noqa: E402

for _name in _mine:
    del sys.modules[_name]  # whoever wants the real ones gets them

sys.setrecursionlimit(_LIMIT)

__all__ = ["Account", "LocalAccount"]
