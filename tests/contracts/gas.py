"""The committed gas table: what each operation costs, and a check that it does not creep up.

`make gas` measures anew and writes the table; the tests only compare with it.
"""

import json
import os
from pathlib import Path

TABLE = Path(__file__).parents[2] / "contracts" / "gas.json"
MAX_RISE = 0.05
"""Share by which an operation may cost more than the table says before a person must look at it."""


def compare(contract: str, measured: dict[str, int]) -> None:
    """Hold what one contract's operations cost against the table, or write it there where CUCKOO_GAS is `write`."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    if os.environ.get("CUCKOO_GAS") == "write":
        table[contract] = measured
        TABLE.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n", encoding="utf-8")
        return
    known = table[contract]
    assert list(known) == list(measured), "run make gas"
    risen = {name: (known[name], gas) for name, gas in measured.items() if gas > known[name] * (1 + MAX_RISE)}
    assert not risen, f"gas has risen (table, now): {risen}; look why, then run make gas"
