"""What each node said first about each thing, so that a second, different word is noticed at once.

Only statements whose signature was checked are remembered, and nobody's words push out those of others beyond a bound
of his own: memory has a limit for each signer and for all together, the oldest goes first, and every question is one
look into a dictionary. Spec: SPEC.md §11.4.
"""

from collections import OrderedDict
from typing import Final, final

from protocol.justice.evidence import PAIRS, Signed
from protocol.units import StakingId
from protocol.wire.statements import Statement

IN_ALL: Final = 4096
"""Statements that are remembered: about 6 MB, and minutes of a busy coordinator."""
OF_ONE: Final = 512
"""Of one signer."""
Place = tuple[type[Statement], tuple[object, ...]]
"""Which struct, and about what."""
_ABOUT: Final[dict[type[Statement], tuple[str, tuple[str, ...]]]] = {
    kind.STATEMENT: (kind.SIGNER, kind.ABOUT) for kind in PAIRS
}


@final
class Witness:
    """A bounded memory of first statements."""

    def __init__(self, in_all: int = IN_ALL, of_one: int = OF_ONE) -> None:
        """Begin with nothing."""
        self._in_all = in_all
        self._of_one = of_one
        self._first: OrderedDict[tuple[StakingId, Place], Signed[Statement]] = OrderedDict()
        self._of_signer: dict[StakingId, OrderedDict[Place, None]] = {}

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._first)

    def first(self, statement: Statement) -> Signed[Statement] | None:
        """Give what its signer said first about the same thing, None when nothing is remembered."""
        return self._first.get(_key(statement))

    def remember(self, signed: Signed[Statement]) -> None:
        """Keep a statement, whose signature is checked, as the first; one that is known changes nothing."""
        key = _key(signed.statement)
        if key in self._first:
            return
        signer, place = key
        own = self._of_signer.setdefault(signer, OrderedDict())
        if len(own) >= self._of_one:
            oldest, _ = own.popitem(last=False)
            del self._first[signer, oldest]
        elif len(self._first) >= self._in_all:
            (other, oldest), _ = self._first.popitem(last=False)
            # Both are in the order in which they came, so it is the oldest of its signer too.
            del self._of_signer[other][oldest]
            if not self._of_signer[other] and other != signer:
                del self._of_signer[other]
        own[place] = None
        self._first[key] = signed


def _key(statement: Statement) -> tuple[StakingId, Place]:
    """Give who says it, and about what."""
    kind = type(statement)
    signer, about = _ABOUT[kind]
    return StakingId(getattr(statement, signer)), (kind, tuple(getattr(statement, name) for name in about))
