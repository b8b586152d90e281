"""What a miner holds of each coordinator: the highest voucher, and the sum of the receipts that it has to cover.

Both are one record, so that a restart forgets neither. A store that is an old copy knows less of both, which holds
nothing against anybody. Two vouchers that contradict each other do, and are evidence. Spec: SPEC.md §11.
"""

from collections.abc import Iterator
from typing import final

from protocol.effects import Persist
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.justice.evidence import Signed, of_vouchers
from protocol.records import VoucherHeld
from protocol.roles.core import Core
from protocol.roles.prosecution import Prosecution
from protocol.stake.table import StakeRow
from protocol.units import StakingId, Wei
from protocol.wire.statements import VoucherStatement


@final
class Earnings:
    """Vouchers held and wei earned, for each coordinator."""

    __slots__ = ("_core", "_earned", "_prosecution", "_vouchers", "changes")

    def __init__(self, core: Core, prosecution: Prosecution) -> None:
        """Begin with nothing; what contradicts itself goes to ``prosecution``."""
        self._core = core
        self._prosecution = prosecution
        self._vouchers: dict[StakingId, tuple[VoucherStatement, bytes]] = {}
        self._earned: dict[StakingId, Wei] = {}
        """What each coordinator gave receipts for (wei), as far as our store knows."""
        self.changes = 0
        """How often a voucher that we hold was replaced: what was worked out from them holds until the next time."""

    def restore(self, record: VoucherHeld, own: StakingId) -> None:
        """Take up what an earlier run held."""
        statement = VoucherStatement(
            coordinator=record.coordinator,
            miner=own,
            cumulative=record.cumulative,
            boot=record.boot,
            sequence=record.sequence,
            issued_total=record.issued_total,
        )
        self._hold(statement, record.signature)
        self._earned[record.coordinator] = record.earned

    def coordinators(self) -> Iterator[StakingId]:
        """Give those of which we hold a voucher."""
        return iter(self._vouchers)

    def voucher_of(self, coordinator: StakingId) -> tuple[VoucherStatement, bytes] | None:
        """Give the highest voucher that we hold of a coordinator."""
        return self._vouchers.get(coordinator)

    def adopt(self, statement: VoucherStatement, signature: bytes) -> None:
        """Take up a higher voucher that its coordinator showed: our store is an old copy. It is checked already."""
        self._compare(statement, signature)
        if statement.cumulative > self._known(statement.coordinator) or statement.coordinator not in self._vouchers:
            self._hold(statement, signature)
            self._core.emit(Persist((self._record(statement.coordinator),)))

    def credit(self, coordinator: StakeRow, price: Wei, voucher: VoucherStatement, signature: bytes) -> VoucherHeld:
        """Count one more receipt, and give the record of what is held now.

        Args:
            coordinator: Who gave the receipt; its signatures are checked already.
            price: What the receipt says that the result was worth (wei).
            voucher: The receipt's voucher, between the two.
            signature: The voucher's signature.

        Raises:
            InvalidMessage: ``receipt.underpaid``: the highest voucher does not cover all receipts; nothing is counted.
            IgnoredMessage: ``receipt.underpaid``, where the coordinator may be honest: it could not adopt the voucher
                that we hold, since that is of a key which it had before.
        """
        self._compare(voucher, signature)
        earned = Wei(self._earned.get(coordinator.id, 0) + price)
        held = self._vouchers.get(coordinator.id)
        if max(self._known(coordinator.id), voucher.cumulative) < earned:
            if held is not None and not self._core.is_signed(*held, coordinator):
                raise IgnoredMessage("receipt.underpaid")
            raise InvalidMessage("receipt.underpaid")
        self._earned[coordinator.id] = earned
        if held is None or voucher.cumulative > held[0].cumulative:
            self._hold(voucher, signature)
        return self._record(coordinator.id)

    def _hold(self, voucher: VoucherStatement, signature: bytes) -> None:
        self._vouchers[voucher.coordinator] = (voucher, signature)
        self.changes += 1

    def _compare(self, statement: VoucherStatement, signature: bytes) -> None:
        """Hold a voucher against what its coordinator signed before: against the one that we hold, and its place.

        It is paid as any other: what its coordinator promised is owed, whatever it said of the total.
        """
        held, signed = self._vouchers.get(statement.coordinator), Signed(statement, signature)
        found = of_vouchers(Signed(*held), signed) if held is not None else None
        if found is not None:
            self._prosecution.file(found)
        self._prosecution.verified(signed)

    def _known(self, coordinator: StakingId) -> int:
        held = self._vouchers.get(coordinator)
        return held[0].cumulative if held is not None else 0

    def _record(self, coordinator: StakingId) -> VoucherHeld:
        voucher, signature = self._vouchers[coordinator]
        return VoucherHeld(
            coordinator=coordinator,
            cumulative=voucher.cumulative,
            boot=voucher.boot,
            sequence=voucher.sequence,
            issued_total=voucher.issued_total,
            signature=signature,
            earned=self._earned.get(coordinator, Wei(0)),
        )
