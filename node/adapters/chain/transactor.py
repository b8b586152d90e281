"""Makes the transactions that cores ask for, from one gas key, so that each has exactly one outcome.

::

    requested ──estimate──> signed ──send──> in a block ──deep enough──> outcome
        │                   ^   │ ^              │
        └─ refused          │   └─┘ higher fees  └─ re-organised: sent again
                            └── its nonce went to another transaction: a new one, once that is certain

Rules for editors. A version is on disk before it is sent, so that whatever may be mined is known after a restart. All
versions of a transaction have one nonce, so that one of them at most is mined. A new nonce is given only when none of
the known versions can be mined any more. The lowest free nonce is given first, so that no gap stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from node.adapters.chain.abi import BadCall, events_of, is_revert, reason_of
from node.adapters.chain.answers import CallRefused, is_known, quantity
from node.adapters.chain.contract_calls import ContractCalls
from node.adapters.chain.fees import allowed_gas, bumped, first_fees
from node.adapters.chain.gas_account import Fees, GasAccount
from node.adapters.chain.gas_level import GasLevel
from node.adapters.chain.gas_view import CERTAIN_BLOCKS, GasView, Mined, ask, is_canonical, look
from node.adapters.chain.outcomes import Outcomes
from node.adapters.chain.rpc import JsonRpc
from node.ports import ChainStore, Clock, EventSink, Journal
from protocol.chain_records import Confirmed, Failed, SignedTransaction, Transaction
from protocol.errors import Unavailable
from protocol.notes import NoteName
from protocol.units import Address, Wei

MAX_IN_FLIGHT: Final = 50
"""Transactions of ours that wait to be mined at once: nodes hold 64 of one account for sure."""
LOOK_EVERY_S: Final = 600.0
"""Pause (s) between two looks at the balance while there is nothing to send."""
MAX_PAUSE_S: Final = 30.0
"""Longest pause (s) between two tries while no chain node answers."""
FILLER_GAS: Final = 21_000
"""Gas of the empty transaction that fills a gap."""


@dataclass(frozen=True, slots=True)
class GasPolicy:
    """How we pay."""

    confirmations: int
    """Blocks from its own on after which a transaction counts, 1 for its own alone."""
    max_fee: Wei
    """Most that one gas may ever cost (wei)."""
    bump_after_ms: int
    """How long a transaction may wait to be mined before it pays an eighth more."""
    poll_s: float
    """Pause between two looks while something is under way."""


@final
class Transactor:
    """The transactions of one gas account. ``run`` does everything; nobody else may use the account."""

    def __init__(
        self,
        rpc: JsonRpc,
        account: GasAccount,
        staking: Address,
        *,
        store: ChainStore,
        outcomes: Outcomes,
        clock: Clock,
        journal: Journal,
        policy: GasPolicy,
    ) -> None:
        """Only keep what is needed."""
        self._rpc = rpc
        self._account = account
        self._calls = ContractCalls(rpc, staking)
        self._store = store
        self._outcomes = outcomes
        self._clock = clock
        self._journal = journal
        self._policy = policy
        self._encoded: dict[str, tuple[Address, bytes]] = {}
        self._sent_at: dict[str, int] = {}
        """When the newest version was sent last in this run (unix ms); absent: it has to be sent."""
        self._underpriced: set[str] = set()
        self._mined: set[str] = set()
        self._lost: dict[str, int] = {}
        """Transactions whose nonce another one seems to have used, with the head at which that was first seen."""
        self._doubted: dict[str, int] = {}
        """Transactions that the contract refused while others of ours, up to this nonce, were under way."""
        self._foreign: set[str] = set()
        """Transactions that an earlier gas key signed: they are followed, and have nothing to do with our nonces."""
        self._stuck: set[str] = set()
        self._gap_since: tuple[int, int] | None = None
        self._highest = 0
        self._level = GasLevel(account.address, journal)

    async def run(self, sink: EventSink) -> None:
        """Work until cancelled."""
        pause = self._policy.poll_s
        while True:
            try:
                busy = await self.round(sink)
                pause = self._policy.poll_s
                self._stuck.discard("")
            except Unavailable as error:
                self._note_stuck("", "unavailable", str(error))
                busy, pause = True, min(MAX_PAUSE_S, 2 * pause)
            await self._outcomes.wait(pause if busy else LOOK_EVERY_S)

    async def round(self, sink: EventSink) -> bool:
        """Do what can be done now; says whether there is something under way.

        Raises:
            Unavailable: No chain node answers, or the disk does not.
        """
        opened = await self._encode(await self._outcomes.take(sink), sink)
        hashes = [version.hash for one in opened for version in one.versions]
        view = await look(self._rpc, self._account.address, hashes)
        if view.head < self._highest and self._rpc.leave("behind"):
            raise Unavailable("the chain node is behind what another one has shown us")
        self._highest = view.head
        flying = await self._settle(sorted((one for one in opened if one.versions), key=_nonce), view, sink)
        waiting = [one for one in opened if not one.versions]
        fresh = await self._begin(waiting, flying, view, sink)
        await self._send([*flying, *fresh])
        await self._fill_gap([*flying, *fresh], view)
        self._level.reckon(view, self._fees(view)[0], [*flying, *fresh])
        return bool(opened)

    # What is under way

    async def _settle(self, flying: Sequence[Transaction], view: GasView, sink: EventSink) -> list[Transaction]:
        """End what is deep enough in the chain; give what is still under way, with what must be sent again."""
        deep: list[tuple[Transaction, SignedTransaction, Mined]] = []
        kept: list[Transaction] = []
        changed: list[Transaction] = []
        for one in flying:
            version = next((version for version in one.versions if version.hash in view.mined), None)
            if version is not None:
                mined = view.mined[version.hash]
                self._mined.add(one.key)
                self._lost.pop(one.key, None)
                if view.head - mined.block + 1 >= self._policy.confirmations:
                    deep.append((one, version, mined))
                else:
                    kept.append(one)
                continue
            after = self._missing(one, view)
            changed += [after] if after != one else []
            kept += [after] if after.versions else []
        if changed:
            await self._store.keep_transactions(changed)
        canonical = await is_canonical(self._rpc, [mined for _, _, mined in deep]) if deep else []
        ended = [found for found, good in zip(deep, canonical, strict=True) if good]
        kept += [one for (one, _, _), good in zip(deep, canonical, strict=True) if not good]
        await self._outcomes.end([(found[0], await self._outcome(*found)) for found in ended], sink)
        for one, _, _ in ended:
            self._forget(one.key)
        return sorted(kept, key=_nonce)

    def _missing(self, one: Transaction, view: GasView) -> Transaction:
        """Give what becomes of a transaction that is in no block."""
        if one.key in self._mined:
            self._mined.discard(one.key)
            self._sent_at.pop(one.key, None)
            self._journal.note(NoteName.TX_REPLACED, key=one.key, reason="reorganised")
        if self._clock.now() - self._sent_at.get(one.key, 0) >= self._policy.bump_after_ms:
            self._sent_at.pop(one.key, None)  # nodes may have dropped it: once more, with higher fees or as it is
        if one.key in self._foreign:
            return one  # another account's: a version of ours beside it could take effect as well
        if view.count > _nonce(one):
            first = self._lost.setdefault(one.key, view.head)
            if view.head - first < max(self._policy.confirmations, CERTAIN_BLOCKS):
                return one  # perhaps only this node does not know its receipt
            self._forget(one.key)
            self._journal.note(NoteName.TX_REPLACED, key=one.key, reason="nonce_taken")
            return replace(one, nonce=None, versions=())
        self._lost.pop(one.key, None)
        newest = one.versions[-1]
        cap, tip = self._fees(view)
        due = self._clock.now() - newest.signed_at >= self._policy.bump_after_ms
        too_little = _nonce(one) == view.count or newest.fee_cap < cap
        if one.key not in self._underpriced and not (due and too_little):
            return one
        self._underpriced.discard(one.key)
        if one.key not in self._encoded:
            return one
        fees = bumped(newest.fee_cap, newest.tip, (cap, tip), self._policy.max_fee)
        if fees is None:
            self._note_stuck(one.key, "fee_limit", f"{newest.fee_cap} wei a gas is all that it may cost")
            return one
        self._sent_at.pop(one.key, None)
        self._journal.note(NoteName.TX_REPLACED, key=one.key, reason="fees", fee_cap_wei=str(fees[0]))
        return replace(one, versions=(*one.versions, self._signed(one, _nonce(one), newest.gas, fees, view)))

    async def _outcome(self, one: Transaction, version: SignedTransaction, mined: Mined) -> Confirmed | Failed:
        """Say what a mined transaction came to."""
        if mined.succeeded:
            return Confirmed(mined.block, version.hash, events_of(mined.logs, self._calls.addresses), Wei(mined.fee))
        if mined.gas_used >= version.gas:
            return Failed("reverted", "the transaction ran out of gas")
        if one.key in self._encoded:
            try:
                await self._rpc.call("eth_call", self._call(*self._encoded[one.key]), hex(mined.block))
            except CallRefused as refusal:
                if is_revert(refusal):
                    return Failed("reverted", reason_of(refusal))
        return Failed("reverted", "the contract's state had changed before the transaction was mined")

    # What is new

    async def _encode(self, opened: Sequence[Transaction], sink: EventSink) -> list[Transaction]:
        """Encode calls that were not before; end those that cannot be, and give the others."""
        bad: list[tuple[Transaction, Failed]] = []
        for one in opened:
            if one.key not in self._encoded:
                if one.versions and not self._account.signed(one.versions[0]):
                    self._foreign.add(one.key)
                try:
                    self._encoded[one.key] = await self._calls.encoded(one.call)
                except BadCall as error:
                    if not one.versions:  # what an earlier release signed is followed to its end
                        bad.append((one, Failed("bad_call", str(error)[:300])))
        await self._outcomes.end(bad, sink)
        ended = {one.key for one, _ in bad}
        return [one for one in opened if one.key not in ended]

    async def _begin(
        self, waiting: Sequence[Transaction], flying: Sequence[Transaction], view: GasView, sink: EventSink
    ) -> list[Transaction]:
        """Give nonces and signatures to what the contracts would take; end what they refuse."""
        refused: list[tuple[Transaction, Failed]] = []
        candidates = waiting[: max(0, MAX_IN_FLIGHT - len(flying))]
        calls = [("eth_estimateGas", (self._call(*self._encoded[one.key]), "pending")) for one in candidates]
        estimates = await ask(self._rpc, calls)
        taken = {_nonce(one) for one in flying if one.key not in self._foreign}
        signed: list[Transaction] = []
        for one, estimate in zip(candidates, estimates, strict=True):
            if isinstance(estimate, CallRefused):
                failure = self._refused(one, estimate, taken, view)
                refused += [(one, failure)] if failure is not None else []
                continue
            nonce = view.count
            while nonce in taken:
                nonce += 1
            taken.add(nonce)
            gas = allowed_gas(quantity(estimate, 48))
            signed.append(replace(one, nonce=nonce, versions=(self._signed(one, nonce, gas, self._fees(view), view),)))
        if signed:
            await self._store.keep_transactions(signed)
        await self._outcomes.end(refused, sink)
        return signed

    def _refused(self, one: Transaction, refusal: CallRefused, taken: set[int], view: GasView) -> Failed | None:
        """Say whether a refusal is final: not while transactions before it may still change the contract's mind."""
        if not is_revert(refusal):
            self._note_stuck(one.key, "node", refusal.message)
            return None
        before = self._doubted.get(one.key)
        if before is None and taken and max(taken) >= view.count:
            before = self._doubted[one.key] = max(taken)
        if before is not None and view.count <= before:
            return None
        self._forget(one.key)
        return Failed("refused", reason_of(refusal))

    # Sending

    async def _send(self, flying: Sequence[Transaction]) -> None:
        """Send the newest version of whatever was not sent in this run, in the order of nonces."""
        due = [one for one in sorted(flying, key=_nonce) if one.key not in self._sent_at]
        due = [one for one in due if one.key not in self._mined and one.key not in self._lost]
        calls = [("eth_sendRawTransaction", ("0x" + one.versions[-1].raw.hex(),)) for one in due]
        for one, answer in zip(due, await ask(self._rpc, calls), strict=True):
            words = answer.message.lower() if isinstance(answer, CallRefused) else ""
            if not isinstance(answer, CallRefused) or is_known(answer):
                self._sent_at[one.key] = self._clock.now()
                self._journal.note(NoteName.TX_SENT, key=one.key, nonce=_nonce(one), versions=len(one.versions))
            elif "underpriced" in words or "base fee" in words or "fee too low" in words:
                self._underpriced.add(one.key)
                self._sent_at[one.key] = self._clock.now()
            elif "nonce too low" not in words:  # which the next look explains: it is mined, or another one is
                self._note_stuck(one.key, "node", words)

    async def _fill_gap(self, flying: Sequence[Transaction], view: GasView) -> None:
        """Send an empty transaction when ours wait behind a nonce that nobody uses, as after a deep re-org."""
        nonces = [_nonce(one) for one in flying if one.key not in self._mined | self._foreign]
        if not nonces or min(nonces) <= view.count:
            self._gap_since = None
            return
        if self._gap_since is None or self._gap_since[0] != view.count:
            self._gap_since = view.count, self._clock.now()
        if self._clock.now() - self._gap_since[1] < self._policy.bump_after_ms:
            return  # what was mined there before may come back by itself
        self._gap_since = None
        own = Address(bytes.fromhex(self._account.address[2:]))
        cap, tip = self._fees(view)
        fees = Fees(cap, tip, view.base_fee is None)
        filler = self._account.sign(own, b"", nonce=view.count, gas=FILLER_GAS, fees=fees, now=self._clock.now())
        self._journal.note(NoteName.TX_REPLACED, reason="gap", nonce=view.count)
        await ask(self._rpc, [("eth_sendRawTransaction", ("0x" + filler.raw.hex(),))])

    # Parts

    def _signed(
        self, one: Transaction, nonce: int, gas: int, fees: tuple[Wei, Wei], view: GasView
    ) -> SignedTransaction:
        to, data = self._encoded[one.key]
        price = Fees(*fees, legacy=view.base_fee is None)
        return self._account.sign(to, data, nonce=nonce, gas=gas, fees=price, now=self._clock.now())

    def _fees(self, view: GasView) -> tuple[Wei, Wei]:
        """Give (cap, tip) of a transaction that is signed now."""
        if view.base_fee is None:
            price = Wei(min(view.price, self._policy.max_fee))
            return price, price
        return first_fees(view.base_fee, view.tip, self._policy.max_fee)

    def _call(self, to: Address, data: bytes) -> dict[str, str]:
        return {"from": self._account.address, "to": "0x" + to.hex(), "data": "0x" + data.hex()}

    def _note_stuck(self, key: str, reason: str, detail: str) -> None:
        """Note once that a transaction does not get on."""
        if key not in self._stuck:
            self._stuck.add(key)
            self._journal.note(NoteName.TX_STUCK, key=key, reason=reason, detail=detail[:200])

    def _forget(self, key: str) -> None:
        """Forget what this run remembers of a transaction that ended or begins anew."""
        self._encoded.pop(key, None)
        for kept in (self._underpriced, self._mined, self._stuck, self._foreign):
            kept.discard(key)
        for known in (self._sent_at, self._lost, self._doubted):
            known.pop(key, None)


def _nonce(one: Transaction) -> int:
    """Give the nonce of a transaction that was signed."""
    assert one.nonce is not None, "whatever has a version has a nonce"
    return one.nonce
