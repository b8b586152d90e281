"""What a miner has drawn and is not paid for yet: results on their way, the receipts for them, and who owes some.

Send(result) + artifact, again and again -> receipt and voucher, or a rejection. Spec: SPEC.md §10, §11.
"""

from typing import Final, final

from protocol.crypto.typed_data import digest
from protocol.effects import CancelTimer, Persist, SendArtifact, SendEncoded
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.justice.evidence import Signed
from protocol.notes import NoteName
from protocol.records import ResultCommitted, ResultSettled
from protocol.roles.core import Core
from protocol.roles.miner.credit import PATIENCE, worth
from protocol.roles.miner.earnings import Earnings
from protocol.roles.miner.held_work import RESEND_MS, Delivery
from protocol.roles.miner.payers import Payers
from protocol.roles.prosecution import Prosecution
from protocol.stake.table import StakeRow
from protocol.task.receipt import check_redeemable
from protocol.units import Digest, PeerId, StakingId, TaskId, Wei
from protocol.wire.codec import RESULT_PLACE, decode
from protocol.wire.messages import Receipt, Reject

LAST_RESEND_MS: Final = 80_000
"""The pause doubles up to this (ms): a coordinator that takes nothing does not fill our line for the others."""
RESULT_KEPT_MS: Final = 3_600_000
"""How long (ms) an unacknowledged result is kept and sent again."""


@final
class Delivering:
    """Results that are signed, until their coordinators acknowledge or reject them."""

    __slots__ = ("_core", "_deliveries", "_earnings", "_prosecution", "_streams", "credit", "payers")

    def __init__(
        self, core: Core, streams: dict[PeerId, StakingId], earnings: Earnings, prosecution: Prosecution
    ) -> None:
        """Share the open work streams of the miner core, the book of its vouchers, and what it knows of evidence."""
        self._core = core
        self._streams = streams
        self._earnings = earnings
        self._prosecution = prosecution
        self._deliveries: dict[tuple[TaskId, int], Delivery] = {}
        self.payers = Payers()
        self.credit = self.payers.credit

    def has(self, task: TaskId) -> bool:
        """Say whether a result of a task is on its way."""
        return any(key[0] == task for key in self._deliveries) if self._deliveries else False

    def award(self, key: tuple[TaskId, int]) -> Digest | None:
        """Give the digest of the award under which an attempt's result was made; None when none is on its way."""
        delivery = self._deliveries.get(key)
        return None if delivery is None else delivery.committed.award

    def price(self, coordinator: StakingId) -> int:
        """Give the price (wei) of all that is on its way to a coordinator."""
        sent = (one.committed for one in self._deliveries.values())
        return sum(one.price or 0 for one in sent if one.coordinator == coordinator)

    def undelivered(self) -> int:
        """Count the results that their coordinators have not acknowledged."""
        return len(self._deliveries)

    def trust(self, coordinator: StakingId) -> Wei:
        """Give up to which price (wei) offers of a coordinator are heard, beside the receipts that it owes us."""
        return self.credit.room(coordinator, self._overdue(coordinator, PATIENCE), self._core.now)

    def trust_now(self, coordinator: StakingId) -> Wei:
        """Give the same for claims: one that never paid us is waited for, however short a receipt is due."""
        patience_ms = PATIENCE if self.credit.has_paid(coordinator) else 0
        return self.credit.room(coordinator, self._overdue(coordinator, patience_ms), self._core.now)

    def _overdue(self, coordinator: StakingId, patience_ms: int) -> int:
        """Give what results are worth (wei) that a coordinator has not answered for so long (ms)."""
        if not self._deliveries:
            return 0
        since = self._core.now - patience_ms
        sent = (delivery.committed for delivery in self._deliveries.values())
        return sum(worth(one.price) for one in sent if one.coordinator == coordinator and one.committed_at <= since)

    def restore(self, committed: ResultCommitted) -> None:
        """Take up a result of an earlier run."""
        self._deliveries[(committed.task, committed.attempt)] = Delivery(committed)
        # Also for a coordinator that never comes back: it is kept for an hour, not for ever.
        self._core.set_timer(("resend", committed.task, committed.attempt), self._core.now + RESEND_MS)

    def begin(self, peer: PeerId, committed: ResultCommitted, named: tuple[StakingId, Digest]) -> None:
        """Send a result for the first time; what asks for it to be kept was emitted before.

        Args:
            peer: Its coordinator.
            committed: The result.
            named: Who signed its commitment, and the digest of that.
        """
        delivery = self._deliveries[(committed.task, committed.attempt)] = Delivery(committed, named)
        self._send(peer, delivery)

    def on_hello(self, peer: PeerId, coordinator: StakingId) -> None:
        """A coordinator is (back) on the line: it gets what it has not acknowledged."""
        for delivery in self._deliveries.values():
            if delivery.committed.coordinator == coordinator:
                self._send(peer, delivery)

    def _send(self, peer: PeerId, delivery: Delivery) -> None:
        core, sent = self._core, delivery.committed
        core.emit(SendArtifact(peer, sent.task, sent.attempt, sent.artifact), SendEncoded(peer, sent.result))
        core.set_timer(("resend", sent.task, sent.attempt), core.now + delivery.pause_ms)
        delivery.pause_ms = min(2 * delivery.pause_ms, LAST_RESEND_MS)
        core.note(NoteName.RESULT_SENT, sent.task, attempt=sent.attempt)

    def on_timer(self, key: tuple[TaskId, int]) -> None:
        """No receipt yet: send again while there is a stream, and give up after an hour."""
        delivery = self._deliveries.get(key)
        if delivery is None:
            return
        sent = delivery.committed
        if self._core.now - sent.committed_at > RESULT_KEPT_MS:
            self.payers.left_unpaid(sent.coordinator, sent.price, self._core.now)
            self._settle(delivery)
            return
        peer = next((peer for peer, id_ in self._streams.items() if id_ == sent.coordinator), None)
        if peer is not None:
            self._send(peer, delivery)
        else:
            self._core.set_timer(("resend", *key), self._core.now + RESEND_MS)

    def on_receipt(self, coordinator: StakeRow, message: Receipt) -> None:
        """Take a receipt and its voucher, both signed by the coordinator and never less than before.

        Raises:
            InvalidMessage: a signature or figure is wrong.
            IgnoredMessage: it is about nothing that we wait for, or nobody is to blame that it pays nothing.
        """
        core, statement, voucher = self._core, message.statement, message.voucher
        delivery = self._deliveries.get((statement.task, statement.attempt))
        if delivery is None:
            if statement.coordinator == coordinator.id:
                self._prosecution.unverified(Signed(statement, message.signature), coordinator)
            raise IgnoredMessage("receipt.unknown")
        miner, commitment = delivery.named or self._named(delivery.committed)
        if statement.coordinator != coordinator.id or statement.miner != miner:
            raise InvalidMessage("receipt.parties")
        if statement.commitment != commitment:
            raise InvalidMessage("receipt.commitment")
        if voucher.coordinator != coordinator.id or voucher.miner != statement.miner:
            raise InvalidMessage("receipt.voucher")
        core.check_signature(statement, message.signature, coordinator, "receipt.signature")
        core.check_signature(voucher, message.voucher_signature, coordinator, "receipt.voucher_signature")
        self._prosecution.verified(Signed(statement, message.signature))
        check_redeemable(voucher)
        if delivery.committed.price is not None and statement.price != delivery.committed.price:
            raise InvalidMessage("receipt.price")
        # The highest voucher covers all that was receipted: showing an old one again pays nothing.
        held = self._earnings.credit(coordinator, statement.price, voucher, message.voucher_signature)
        self.payers.paid(coordinator.id, statement.price, core.now)
        kept = self.payers.record(coordinator.id, core.now)
        self._forget(delivery)
        # Until it is on disk the result counts as owed: after a crash it is sent again, and the same receipt comes.
        core.emit(Persist((kept, ResultSettled(delivery.committed.award), held), may_wait=True))
        core.note(NoteName.RECEIPT_RECEIVED, statement.task, coordinator=coordinator.id, wei=statement.price)

    def _named(self, committed: ResultCommitted) -> tuple[StakingId, Digest]:
        """Give who signed the commitment of an earlier run, and its digest."""
        commitment = decode(committed.result, RESULT_PLACE).commitment
        return commitment.miner, digest(self._core.identity.domain, commitment)

    def on_reject(self, coordinator: StakingId, message: Reject) -> None:
        """The coordinator does not take the result: nothing is owed, and it is not sent again."""
        delivery = self._deliveries.get((message.task, message.attempt))
        if delivery is not None and delivery.committed.coordinator == coordinator:
            # Also where another was first: we cannot tell that from a lie, and a receipt makes up for it.
            self.payers.rejected(coordinator, delivery.committed.price, self._core.now)
            self._settle(delivery)
            self._core.note(NoteName.RESULT_REJECTED, message.task, reason=message.reason, attempt=message.attempt)

    def _settle(self, delivery: Delivery) -> None:
        kept = self.payers.record(delivery.committed.coordinator, self._core.now)
        self._forget(delivery)
        self._core.emit(Persist((kept, ResultSettled(delivery.committed.award))))

    def _forget(self, delivery: Delivery) -> None:
        del self._deliveries[(delivery.committed.task, delivery.committed.attempt)]
        self._core.emit(CancelTimer(("resend", delivery.committed.task, delivery.committed.attempt)))
