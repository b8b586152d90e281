"""When a miner redeems its vouchers, and which: one transaction at a time, for as many coordinators as it pays for.

Whatever is asked for here may be asked for again: a voucher is cumulative, and the contract pays only what is new. So
nothing but the vouchers has to outlive a restart. Spec: SPEC.md §11.2.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, final

from protocol.chain_records import ContractCall, TransactionRequested
from protocol.events import TxConfirmed, TxFailed
from protocol.notes import NoteName
from protocol.roles.core import Core
from protocol.roles.miner.coverage import Coverage
from protocol.roles.miner.earnings import Earnings
from protocol.roles.now_and_then import NowAndThen
from protocol.units import CAI, DAY_MS, Address, BlockNumber, DurationMs, StakingId, UnixMillis, Wei

KEY: Final = "redeem/"
"""What the keys of these transactions begin with."""
MOST_AT_ONCE: Final = 16
"""Vouchers in one transaction: two million gas at most, which fits a block of any chain; the others are next."""
PATIENCE: Final = 7
"""How many times as long as usual a voucher waits for cheaper gas, and is then redeemed at any price."""
FIRST_PAUSE_MS: Final = 60_000
"""How long (ms) a voucher is left alone that the contract refused; it doubles with each refusal."""
LAST_PAUSE_MS: Final = 6 * 3_600_000


@dataclass(frozen=True, slots=True)
class RedeemPolicy:
    """What one operator finds worth a transaction."""

    has_gas_key: bool = False
    """Whether this node can pay for transactions at all."""
    at: Wei = Wei(100 * CAI)
    """Redeem when so much can be paid out, of all coordinators together (wei)."""
    after: DurationMs = DAY_MS
    """Redeem when something could be for so long (ms)."""
    least: Wei = Wei(CAI)
    """What a coordinator owes below this (wei) is not worth its gas."""
    gas_price: Wei = Wei(50 * 10**9)
    """While one gas costs more (wei of the chain's coin), what is not pressing waits."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A coordinator's voucher that a redemption would gain something by."""

    coordinator: StakingId
    pays: int
    """What it would be paid out now (wei)."""
    since: UnixMillis
    presses: bool
    """Its escrow may soon be gone: neither amount, nor age, nor the price of gas matter."""


@final
class Redeeming:
    """Decides after every event that may matter."""

    def __init__(self, core: Core, earnings: Earnings, coverage: Coverage, policy: RedeemPolicy) -> None:
        """Begin with nothing under way."""
        self._core = core
        self._earnings = earnings
        self._coverage = coverage
        self._policy = policy
        self._flying: dict[str, tuple[StakingId, ...]] = {}
        """Transactions without outcome, and whose vouchers are in them."""
        self._since: dict[StakingId, UnixMillis] = {}
        """From when on each coordinator had something to pay out."""
        self._refusals: dict[StakingId, tuple[int, UnixMillis]] = {}
        """How often the contract refused a coordinator's voucher, and until when it is left alone."""
        self._block, self._outcome_block = BlockNumber(-1), BlockNumber(-1)
        """Up to where we know the contract, and where our last transaction is."""
        self._gas_price = Wei(0)
        self._signed_by: dict[StakingId, tuple[bytes, Address]] = {}
        """Vouchers that were seen to be by the present key of their coordinator."""
        self._reasons = NowAndThen(core)

    def restore(self, record: TransactionRequested) -> None:
        """An earlier run asked for this; its outcome comes."""
        if record.key.startswith(KEY):
            self._flying[record.key] = coordinators_of(record)

    def restore_voucher(self, coordinator: StakingId) -> None:
        """What an earlier run left has waited for long enough: nobody knows since when."""
        self._since[coordinator] = UnixMillis(self._core.now - self._policy.after)

    def paid(self, coordinator: StakingId) -> None:
        """A coordinator has paid: what is left waits from now on."""
        self._since.pop(coordinator, None)

    def seen(self, block: BlockNumber, gas_price: Wei) -> None:
        """The contract is known up to this block."""
        self._block, self._gas_price = block, gas_price

    def on_outcome(self, event: TxConfirmed | TxFailed) -> None:
        """A transaction has its outcome; what it paid comes with its block, where that is not here yet."""
        coordinators = self._flying.pop(event.key, ())
        if not event.key.startswith(KEY):
            return
        if isinstance(event, TxConfirmed):
            self._outcome_block = max(self._outcome_block, event.outcome.block)
            for coordinator in coordinators:
                self._refusals.pop(coordinator, None)
            return
        for coordinator in coordinators:
            count, _ = self._refusals.get(coordinator, (0, 0))
            # One voucher that is not valid refuses all of its transaction: first each is tried alone.
            pause = 0 if len(coordinators) > 1 else min(FIRST_PAUSE_MS * 2 ** min(count, 16), LAST_PAUSE_MS)
            self._refusals[coordinator] = (count + 1, UnixMillis(self._core.now + pause))
        reason, detail = event.outcome.reason, event.outcome.detail
        named = ",".join(map(str, coordinators))
        self._core.note(NoteName.REDEEM_FAILED, coordinators=named, reason=reason, detail=detail)

    def consider(self) -> None:
        """Redeem what is due, unless something is under way, or the chain has not told us yet what the last one did."""
        if self._flying or self._block < max(self._outcome_block, 0):
            return
        due = self._due()
        if not self._is_time(due):
            return
        self._redeem(due)

    def _due(self) -> list[_Due]:
        """Give the vouchers that a redemption would gain something by, those that press first, then the largest."""
        now, found = self._core.now, []
        for coordinator in self._earnings.coordinators():
            unpaid, escrow = self._coverage.unredeemed(coordinator), self._coverage.escrow_of(coordinator)
            if unpaid < max(self._policy.least, 1) or escrow is None:
                continue
            since = self._since.setdefault(coordinator, now)
            shown = self._coverage.payment_of(coordinator)
            held = self._earnings.voucher_of(coordinator)
            is_news = held is not None and (shown is None or held[0].cumulative > shown.acknowledged)
            pays = min(unpaid, escrow.deposited)
            if (not pays and not is_news) or self._refusals.get(coordinator, (0, 0))[1] > now:
                continue
            refused = self._coverage.why_refused(coordinator) is not None
            presses = escrow.withdrawing > 0 or refused or self._is_by_an_old_key(coordinator)
            found.append(_Due(coordinator, pays, since, presses))
        return sorted(found, key=lambda one: (not one.presses, -one.pays, one.coordinator))

    def _is_by_an_old_key(self, coordinator: StakingId) -> bool:
        """Say whether a coordinator has another key now than signed our voucher: that one counts for a while only."""
        held, view = self._earnings.voucher_of(coordinator), self._core.book.current(self._core.now)
        row = view.table.by_id.get(coordinator) if view is not None else None
        if held is None or row is None:
            return False
        signed = (held[1], row.address)
        if self._signed_by.get(coordinator) != signed:
            if not self._core.is_signed(*held, row):
                return True
            self._signed_by[coordinator] = signed
        return False

    def _is_time(self, due: list[_Due]) -> bool:
        """Say whether these are to be redeemed now; what stands in the way is noted."""
        policy, now = self._policy, self._core.now
        if not due:
            return False
        presses = any(one.presses for one in due)
        waited = now - min(one.since for one in due)
        amount = sum(one.pays for one in due)
        if not presses and amount < policy.at and waited < policy.after:
            return False
        if not policy.has_gas_key:
            self._wait("no_gas_key", amount, "set chain.gas_keystore to redeem vouchers from this node")
            return False
        if not presses and self._gas_price > policy.gas_price and waited < PATIENCE * policy.after:
            self._wait("gas_price", amount, f"one gas costs {self._gas_price} wei")
            return False
        return True

    def _redeem(self, due: list[_Due]) -> None:
        """Ask for one transaction with the vouchers of these; whoever was refused before goes alone."""
        together = [one for one in due if one.coordinator not in self._refusals] or due[:1]
        chosen = [one.coordinator for one in together[:MOST_AT_ONCE]]
        vouchers, signatures, about = [], [], []
        for coordinator in chosen:
            held, shown = self._earnings.voucher_of(coordinator), self._coverage.payment_of(coordinator)
            assert held is not None, "it is due"
            voucher, signature = held
            vouchers.append(
                (
                    voucher.coordinator,
                    voucher.miner,
                    voucher.cumulative,
                    voucher.boot,
                    voucher.sequence,
                    voucher.issued_total,
                )
            )
            signatures.append(signature)
            before = (shown.acknowledged, shown.unpaid) if shown is not None else (0, 0)
            about.append(
                (coordinator, voucher.miner, voucher.cumulative, *before, self._refusals.get(coordinator, (0, 0))[0])
            )
        # The same vouchers after the same payments are the same wish, also in another run.
        key = KEY + hashlib.sha256(repr(about).encode()).hexdigest()
        self._flying[key] = tuple(chosen)
        self._core.submit(key, ContractCall("Settlement", "redeem_many", (tuple(vouchers), tuple(signatures))))
        amount = sum(one.pays for one in due if one.coordinator in chosen)
        self._core.note(NoteName.REDEEM_ASKED, key=key, coordinators=",".join(map(str, chosen)), wei=str(amount))

    def _wait(self, reason: str, amount: int, detail: str) -> None:
        """Say now and then why nothing is redeemed though it is time."""
        self._reasons.tell(NoteName.REDEEM_WAITS, reason, wei=str(amount), detail=detail)


def coordinators_of(wish: TransactionRequested) -> tuple[StakingId, ...]:
    """Read whose vouchers a transaction redeems; nobody's where it is another one."""
    arguments = wish.call.arguments if wish.key.startswith(KEY) else ()
    vouchers = arguments[0] if arguments else ()
    return tuple(
        StakingId(voucher[0])
        for voucher in (vouchers if isinstance(vouchers, tuple) else ())
        if isinstance(voucher, tuple) and voucher and isinstance(voucher[0], int)
    )
