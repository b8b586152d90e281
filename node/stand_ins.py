"""Imports libraries without those of their parts that are costly and never used here."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def stand_ins(modules: Mapping[str, Mapping[str, object]]) -> Iterator[None]:
    """Let modules be imported, within a ``with``, as if they held these names alone.

    Those that are loaded already stay what they are; of the others whoever wants the real ones afterwards gets them.
    """
    mine = {name: ModuleType(name) for name in modules if name not in sys.modules}
    for name, module in mine.items():
        vars(module).update(modules[name])
    sys.modules.update(mine)
    try:
        yield
    finally:
        for name in mine:
            del sys.modules[name]
