"""Cores that sign what contradicts itself, for processes whose evidence others are to find: each takes one decision."""

from collections.abc import Callable
from typing import Final

from protocol.effects import Send
from protocol.records import ResultCommitted
from protocol.roles.coordinator.settlement import Settlement
from protocol.roles.miner.delivering import Delivering
from protocol.units import CAI, Digest, PeerId, StakingId, Wei
from protocol.wire.codec import RESULT_PLACE, decode
from protocol.wire.statements import VoucherStatement

TOTAL: Final = Wei(50 * CAI)
"""What a coordinator that understates says that it has promised in all, whatever it has."""
TOO_MUCH: Final = Wei(10**6 * CAI)
"""What a coordinator promises that has no such escrow."""


def commit_twice() -> None:
    """Let a miner sign for two results of each award."""
    honest = Delivering.begin

    def begin(self: Delivering, peer: PeerId, committed: ResultCommitted, named: tuple[StakingId, Digest]) -> None:
        honest(self, peer, committed, named)
        result = decode(committed.result, RESULT_PLACE)
        other = result.commitment.model_copy(update={"artifact": b"\x07" * 32})
        changed = result.model_copy(update={"commitment": other, "signature": self._core.sign(other)})
        self._core.emit(Send(peer, changed))

    Delivering.begin = begin  # type: ignore[method-assign]


def understate() -> None:
    """Let a coordinator's total stand still while its promises rise."""
    _promise(lambda voucher: {"issued_total": TOTAL})


def promise_too_much() -> None:
    """Let a coordinator promise what no escrow of its covers."""
    _promise(lambda voucher: {"cumulative": TOO_MUCH, "issued_total": TOO_MUCH})


def _promise(changes: Callable[[VoucherStatement], dict[str, Wei]]) -> None:
    honest = Settlement._next_voucher

    def next_voucher(self: Settlement, coordinator: StakingId, miner: StakingId, price: Wei) -> VoucherStatement:
        voucher = honest(self, coordinator, miner, price)
        return voucher.model_copy(update=changes(voucher))

    Settlement._next_voucher = next_voucher  # type: ignore[method-assign]


CHEATS: Final[dict[str, Callable[[], None]]] = {
    "commit-twice": commit_twice,
    "understate": understate,
    "promise-too-much": promise_too_much,
}
