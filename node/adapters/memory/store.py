"""A store that lasts as long as its object: handing it to a second run is a restart on the same disk."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import final

from node.ports import StoredTask
from protocol.chain_records import (
    ChainPlace,
    ChainStep,
    Payment,
    RowChange,
    SettlementRead,
    Transaction,
    TransactionRequested,
    TransactionSettled,
)
from protocol.justice.evidence import name_of
from protocol.records import (
    ArtifactStored,
    BootStarted,
    CaseChanged,
    ClaimSigned,
    EvidenceFound,
    InputsShared,
    InputStored,
    LeftPaid,
    PayerKept,
    RecheckKept,
    Record,
    ReputationKept,
    ResultCommitted,
    ResultSettled,
    StepsKept,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
    TaskFailed,
    VerdictKept,
    VoucherHeld,
    VoucherIssued,
)
from protocol.units import Digest, StakingId, TaskId, UnixMillis, Wei


@final
class MemoryStore:
    """Implements ``node.ports.Store`` without a disk."""

    def __init__(self) -> None:
        """Start empty."""
        self._boot: BootStarted | None = None
        self._tasks: dict[TaskId, StoredTask] = {}
        self._left: dict[TaskId, LeftPaid] = {}
        self._awards: dict[TaskId, list[TaskAwarded]] = {}
        self._issued: dict[StakingId, VoucherIssued] = {}
        self._held: dict[StakingId, VoucherHeld] = {}
        self._claims: dict[Digest, ClaimSigned] = {}
        self._results: dict[Digest, ResultCommitted] = {}
        self._steps: dict[Digest, StepsKept] = {}
        self._artifacts: dict[Digest, bytes] = {}
        self._ended_at: dict[Digest, UnixMillis] = {}
        """When the last task ended with each artifact."""
        self._inputs: dict[tuple[TaskId, Digest], bytes] = {}
        self._addresses: dict[str, UnixMillis] = {}
        self._place: tuple[str, ChainPlace] | None = None
        self._transactions: dict[str, Transaction] = {}
        self._settlement: SettlementRead | None = None
        self._evidence: dict[str, tuple[EvidenceFound, CaseChanged | None]] = {}
        self._rechecks: dict[TaskId, RecheckKept] = {}
        self._reputations: dict[StakingId, ReputationKept] = {}
        self._payers: dict[StakingId, PayerKept] = {}
        self._verdicts: dict[tuple[int, int], VerdictKept] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        """Nothing to open."""
        yield

    async def load(self) -> tuple[Record, ...]:
        """Give the records that a core needs to go on."""
        records: list[Record] = [self._boot] if self._boot else []
        for stored in self._tasks.values():
            if stored.done is not None:
                records.append(stored.done)
            elif stored.failed is None:
                records.extend([stored.accepted, *self._awards.get(stored.accepted.task, ())])
            elif stored.accepted.task in self._left:
                records.append(self._left[stored.accepted.task])
        records.extend([*self._issued.values(), *self._results.values(), *self._steps.values(), *self._held.values()])
        records.extend(part for case in self._evidence.values() for part in case if part is not None)
        records.extend([*self._rechecks.values(), *self._reputations.values(), *self._payers.values()])
        records.extend(self._verdicts.values())
        records.extend([self._settlement] if self._settlement is not None else [])
        opened = [one for one in self._transactions.values() if not one.settled]
        records.extend(TransactionRequested(one.key, one.call) for one in opened)
        return tuple(records)

    async def persist(self, records: tuple[Record, ...]) -> None:
        """Write all or none."""
        for record in records:
            if isinstance(record, TaskDone | TaskFailed):
                stored = self._tasks[record.task]
                if stored.done is not None or stored.failed is not None:
                    raise ValueError(f"task {record.task.hex()} has ended before")
            if isinstance(record, LeftPaid):
                has_failed = self._tasks[record.task].failed is not None or any(
                    isinstance(other, TaskFailed) and other.task == record.task for other in records
                )
                if not has_failed or record.task in self._left:
                    raise ValueError(f"task {record.task.hex()} has not failed, or was paid already")
            if isinstance(record, TransactionRequested):
                known = self._transactions.get(record.key)
                if known is not None and known.call != record.call:
                    raise ValueError(f"transaction {record.key} is another call already")
            if isinstance(record, VerdictKept):
                signed = self._verdicts.get((record.dispute, record.round), record)
                if signed.verdict != record.verdict:
                    raise ValueError(f"in dispute {record.dispute} another verdict is signed already")
        for record in records:
            self._write(record)

    def _write(self, record: Record) -> None:  # noqa: C901 one line for each record
        match record:
            case BootStarted():
                self._boot = record
            case TaskAccepted():
                self._tasks[record.task] = StoredTask(record, None, None)
            case InputStored(task=task, digest=digest, data=data):
                self._inputs[task, digest] = data
            case InputsShared(task=task, subject=subject):
                shared = {(task, digest): data for (of, digest), data in self._inputs.items() if of == subject}
                self._inputs |= shared
            case TaskAwarded():
                self._awards.setdefault(record.task, []).append(record)
            case TaskDone():
                self._tasks[record.task] = replace(self._tasks[record.task], done=record)
                self._ended_at[record.artifact] = record.finished_at
                self._release(record.task)
            case TaskFailed():
                self._tasks[record.task] = replace(self._tasks[record.task], failed=record)
                self._release(record.task)
            case LeftPaid():
                failed = self._tasks[record.task].failed
                assert failed is not None, "it ends before or with the payment"
                self._left[record.task] = record
                self._ended_at[record.artifact] = failed.finished_at
            case VoucherIssued():
                self._issued[record.miner] = record
            case ArtifactStored():
                self._artifacts[record.digest] = record.data
            case ClaimSigned():
                self._claims[record.claim] = record
            case ResultCommitted():
                self._results[record.award] = record
            case StepsKept():
                self._steps[record.commitment] = record
            case ResultSettled():
                self._results.pop(record.award, None)
            case VoucherHeld():
                before = self._held.get(record.coordinator, record)
                highest = max(before, record, key=lambda held: (held.cumulative, held.boot, held.sequence))
                self._held[record.coordinator] = replace(highest, earned=max(before.earned, record.earned))
            case EvidenceFound(evidence=evidence):
                self._evidence.setdefault(name_of(evidence), (record, None))
            case CaseChanged(name=name):
                if name in self._evidence:
                    self._evidence[name] = (self._evidence[name][0], record)
            case RecheckKept():
                self._rechecks[record.subject] = record
                if record.outcome:
                    self._release(record.subject)
            case ReputationKept():
                self._reputations[record.miner] = record
            case PayerKept():
                self._payers[record.coordinator] = record
            case VerdictKept():
                self._verdicts.setdefault((record.dispute, record.round), record)
            case SettlementRead():
                self._settlement = _merged(self._settlement, record)
            case TransactionRequested(key=key, call=call):
                self._transactions.setdefault(key, Transaction(key, call))
            case TransactionSettled(key=key):
                if key in self._transactions:
                    self._transactions[key] = replace(self._transactions[key], settled=True)

    def _release(self, task: TaskId) -> None:
        """Forget the pictures of a task that ended and is not drawn again any more."""
        recheck = self._rechecks.get(task)
        if recheck is not None and not recheck.outcome:
            return
        self._inputs = {key: data for key, data in self._inputs.items() if key[0] != task}

    async def chain_place(self, contract: str) -> ChainPlace | None:
        """Give how far this contract was followed."""
        return self._place[1] if self._place is not None and self._place[0] == contract else None

    async def keep_chain_step(self, contract: str, step: ChainStep) -> None:
        """Keep a step of the follower."""
        known = await self.chain_place(contract) or ChainPlace(step.settled, (), ())
        anchors = {one.number: one for one in known.anchors if one.number <= step.kept}
        anchors = {number: one for number, one in anchors.items() if number not in step.dropped}
        anchors |= {one.number: one for one in step.anchors}
        changes = [*(change for change in known.changes if change.block <= step.kept), *step.changes]
        self._place = (
            contract,
            ChainPlace(step.settled, tuple(anchors[number] for number in sorted(anchors)), _compacted(changes, step)),
        )

    async def settlement_read(self, contract: str) -> SettlementRead | None:
        """Give how far this Settlement contract is read."""
        return self._settlement if self._settlement is not None and self._settlement.contract == contract else None

    async def open_transactions(self, limit: int) -> tuple[Transaction, ...]:
        """Give the transactions that are not settled, first those with a nonce, as requested."""
        opened = [one for one in self._transactions.values() if not one.settled]
        return tuple(sorted(opened, key=lambda one: one.nonce is None)[:limit])

    async def transaction(self, key: str) -> Transaction | None:
        """Find a transaction."""
        return self._transactions.get(key)

    async def keep_transactions(self, changed: Sequence[Transaction]) -> None:
        """Replace what is known of these transactions."""
        for one in changed:
            self._transactions[one.key] = replace(one, settled=self._transactions[one.key].settled)

    async def task(self, task: TaskId) -> StoredTask | None:
        """Find a task by id."""
        return self._tasks.get(task)

    async def task_by_key(self, idempotency_key: str) -> StoredTask | None:
        """Find a task by its idempotency key."""
        return next((s for s in self._tasks.values() if s.accepted.idempotency_key == idempotency_key), None)

    async def spent(self, account: str, since: UnixMillis) -> Wei:
        """Give the price of all tasks of an account that were accepted since then, without those that failed unpaid."""
        known = self._tasks.items()
        tasks = (stored.accepted for task, stored in known if stored.failed is None or task in self._left)
        return Wei(sum(task.price for task in tasks if task.account == account and task.accepted_at >= since))

    def artifact_at_hand(self, digest: Digest) -> bytes | None:
        """Give an artifact, as all are in memory."""
        return self._artifacts.get(digest)

    async def artifact(self, digest: Digest) -> bytes | None:
        """Read an artifact."""
        return self._artifacts.get(digest)

    async def input(self, digest: Digest) -> bytes | None:
        """Read a picture that an unfinished task begins from."""
        return next((data for (_, named), data in self._inputs.items() if named == digest), None)

    async def expire(self, before: UnixMillis) -> int:
        """Delete artifacts of tasks that ended before this moment, save those of undelivered results, or disputable."""
        self._steps = {key: one for key, one in self._steps.items() if one.kept_at >= before}
        old = {digest for digest, ended_at in self._ended_at.items() if ended_at < before}
        rechecks = [one for one in self._rechecks.values() if one.may_be_disputed]
        odd = {drawn.artifact for one in rechecks for drawn in one.drawings if drawn.miner in one.far}
        needed = odd | {result.artifact for result in self._results.values()}
        gone = (old - needed) & self._artifacts.keys()
        for digest in gone:
            del self._artifacts[digest], self._ended_at[digest]
        return len(gone)

    async def forget(self, before: UnixMillis) -> None:
        """Delete the history of tasks that ended before this moment."""
        self._rechecks = {key: one for key, one in self._rechecks.items() if one.planned_at >= before}
        for coordinator, dealings in list(self._payers.items()):
            if dealings.at < before:
                del self._payers[coordinator]
        for miner, known in list(self._reputations.items()):
            if known.at < before and known.left_out_until < before:
                del self._reputations[miner]
        for task, stored in list(self._tasks.items()):
            end = stored.done or stored.failed
            if end is not None and end.finished_at < before:
                del self._tasks[task]
                self._awards.pop(task, None)
                self._left.pop(task, None)

    async def addresses(self) -> tuple[str, ...]:
        """Give the addresses that worked before, latest first."""
        return tuple(sorted(self._addresses, key=lambda address: -self._addresses[address]))

    async def remember_address(self, address: str, at: UnixMillis) -> None:
        """Keep an address that worked."""
        self._addresses[address] = max(at, self._addresses.get(address, at))


def _compacted(changes: list[RowChange], step: ChainStep) -> tuple[RowChange, ...]:
    """Leave out rows that a newer one of the same node replaced before the settled block."""
    newest = {change.row.id: place for place, change in enumerate(changes) if change.block <= step.settled}
    return tuple(
        change for place, change in enumerate(changes) if change.block > step.settled or newest[change.row.id] == place
    )


def _merged(known: SettlementRead | None, read: SettlementRead) -> SettlementRead:
    """Add what is new of the Settlement contract to what was known."""
    is_more = known is not None and not read.anew and known.contract == read.contract
    before = known if known is not None and is_more else replace(read, payments=(), escrows=())
    escrows = {escrow.coordinator: escrow for escrow in (*before.escrows, *read.escrows)}
    payments: dict[tuple[StakingId, StakingId], Payment] = {
        (payment.coordinator, payment.miner): payment for payment in (*before.payments, *read.payments)
    }
    return replace(read, escrows=tuple(escrows.values()), payments=tuple(payments.values()), anew=True)
