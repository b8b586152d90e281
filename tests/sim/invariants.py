"""What holds at every moment of every run, whatever goes wrong and whoever cheats; each event is checked as it comes.

The checks keep their own small account of what was persisted and sent, so each costs the same however long the run.
Machines that cheat may do to themselves what they like: only what honest machines promise is checked.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from protocol.effects import Deliver, Persist, Send, SendEncoded, Stage, StartJob
from protocol.records import (
    ClaimSigned,
    EvidenceFound,
    LeftPaid,
    RecheckKept,
    Record,
    ResultCommitted,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
    TaskFailed,
    VoucherHeld,
    VoucherIssued,
)
from protocol.roles.coordinator.app_room import GIVEN_UP
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.coordinator.rechecking import MOST_OPEN
from protocol.roles.look_ahead import LOOK_AHEAD
from protocol.roles.miner.claiming import MAX_OPEN_OFFERS
from protocol.roles.miner.miner import MinerCore
from protocol.roles.miner.urgency import MAX_HEARD_PER_COORDINATOR
from protocol.task.steps import DECLINED
from protocol.units import Digest, Role, StakingId, TaskId
from protocol.wire.codec import WORK_PLACE, decode
from protocol.wire.messages import Award, Claim, Decline, Receipt
from tests.sim.machine import Machine
from tests.sim.world import World

ANSWERS_PER_CLAIM: Final = 2
"""Awards and declines for one claim: two when its frame came twice."""
ANSWERS_TO_SPARE: Final = 8
"""More of them for one task, sent to claims of miners that cheat or whose disk is an old copy."""
MOST_CLAIMS: Final = 64
"""Claims for one task by honest miners for each attempt so far, where latencies are those that the network's numbers
are chosen for: slots keep all others silent."""


class Violation(AssertionError):
    """A promise was broken."""

    def __init__(self, promise: str, *facts: object) -> None:
        """Name the promise, and the facts of this case."""
        self.promise = promise
        shown = (fact.hex()[:16] if isinstance(fact, bytes) else str(fact) for fact in facts)
        super().__init__(" ".join((promise, *shown)))


def require(holds: object, promise: str, *facts: object) -> None:
    """Raise ``Violation`` unless it holds."""
    if not holds:
        raise Violation(promise, *facts)


@dataclass
class Account:
    """What we have seen of one task."""

    coordinator: StakingId
    price: int
    ended: str = ""
    paid: bool = False
    told: str = ""
    attempt: int = -1
    """Last that was claimed."""
    awards: dict[int, StakingId] = field(default_factory=dict)
    claims: int = 0
    answers: int = 0


class Invariants:
    """Watches one world; raises ``Violation`` in the middle of the event that breaks a promise."""

    def __init__(self, world: World, most_claims: int = MOST_CLAIMS) -> None:
        """Begin to watch; ``most_claims`` is how many one attempt of a task may cost."""
        self.most_claims = most_claims
        self._world = world
        self.accounts: dict[TaskId, Account] = {}
        self.ended = 0
        """Tasks of honest coordinators that have ended."""
        self._claims: dict[Digest, str] = {}
        """Who signed each claim."""
        self._awarded: dict[Digest, tuple[TaskId, int]] = {}
        self._sent: dict[Digest, Award] = {}
        self._results: dict[tuple[str, Digest], bytes] = {}
        self._receipts: dict[TaskId, bytes] = {}
        self._issued: defaultdict[tuple[StakingId, StakingId], int] = defaultdict(int)
        self._claimed: set[tuple[TaskId, int, StakingId, bytes]] = set()
        self.cheaters = any(machine.behaviour is not None for machine in world.everybody)
        self._names = {machine.staking_id: machine for machine in world.everybody if machine.staking_id}
        for effect, watcher in (
            (Persist, self._on_persist),
            (Send, self._on_send),
            (SendEncoded, self._on_send_encoded),
            (StartJob, self._on_start_job),
            (Deliver, self._on_deliver),
        ):
            world.watch(effect, watcher)
        world.now_and_then(self._look)
        world.on_judged = self._on_judged

    # What is on disk

    def _on_persist(self, machine: Machine, effect: Persist) -> None:
        if machine.behaviour is None:
            for record in effect.records:
                self._on_record(machine, record, effect.records)

    def _on_record(self, machine: Machine, record: Record, together: tuple[Record, ...]) -> None:
        match record:
            case TaskAccepted(task=task, price=price):
                require(task not in self.accounts, "a task is accepted twice", task)
                self.accounts[task] = Account(machine.staking_id, price)
            case ClaimSigned(claim=claim):
                require(claim not in self._claims, "a claim is signed twice", claim)
                self._claims[claim] = machine.name
            case TaskAwarded():
                self._on_awarded(machine, record)
            case TaskDone() | TaskFailed():
                self._on_end(machine, record, together)
            case LeftPaid(task=task):
                require(
                    self.accounts[task].ended in GIVEN_UP | {"deadline"},
                    "a task is paid that its app did not leave",
                    task,
                )
                self._on_paid(machine, record, together)
            case VoucherIssued() if len(together) == 1:
                most = self._issued[(machine.staking_id, record.miner)]
                require(record.cumulative <= most, "a voucher is adopted that nobody issued", machine.name)
            case VoucherHeld(coordinator=coordinator, cumulative=cumulative):
                if self._names[coordinator].behaviour is None:
                    most = self._issued[(coordinator, machine.staking_id)]
                    require(cumulative <= most, "a miner holds more than was issued", machine.name)
            case EvidenceFound(evidence=evidence):
                signer = self._names[evidence.signer]
                honest = signer.behaviour is None
                require(not honest, "an honest node contradicts itself", signer.name, evidence.KIND.label)
            case ResultCommitted(award=award, result=result):
                known = self._results.setdefault((machine.name, award), result)
                require(known == result, "two results are signed for one award", award)
            case RecheckKept(subject=subject, odd=odd, drawings=drawings):
                is_paid = any(isinstance(one, TaskDone | LeftPaid) and one.task == subject for one in together)
                is_paid = is_paid or bool(self.accounts[subject].paid)
                require(is_paid, "a task is drawn again of which there is no picture", subject)
                honest = {miner for miner in odd if self._names[miner].paints is None}
                declined = {one.miner for one in drawings if one.steps == DECLINED}
                honest -= {miner for miner in declined if self._names[miner].set_back}
                require(not honest, "an honest miner is the odd one", subject, *sorted(honest))
            case _:
                pass

    def _on_awarded(self, machine: Machine, record: TaskAwarded) -> None:
        account, winner = self.accounts[record.task], self._names[record.miner]
        require(not account.ended, "an award after the end", record.task)
        require(record.attempt > max(account.awards, default=-1), "an attempt is awarded twice", record.task)
        require(record.claim not in self._awarded, "two awards for one claim", record.claim)
        if winner.behaviour is None:
            require(
                self._claims.get(record.claim) == winner.name, "an award for a claim that nobody signed", record.task
            )
        assert machine.core is not None
        book, now = machine.core.book, machine.core.now
        row = book.row(winner.key.address, now)
        eligible = row is not None and row.active and row.role is Role.MINER and row.id == record.miner
        require(eligible, "an award to a miner that may not work", winner.name)
        self._awarded[record.claim] = (record.task, record.attempt)
        account.awards[record.attempt] = record.miner

    def _on_end(self, machine: Machine, record: TaskDone | TaskFailed, together: tuple[Record, ...]) -> None:
        account = self.accounts[record.task]
        require(not account.ended, "a task ends twice", record.task)
        self.ended += 1
        account.ended = "done" if isinstance(record, TaskDone) else record.reason
        if isinstance(record, TaskDone):
            self._on_paid(machine, record, together)

    def _on_paid(self, machine: Machine, record: TaskDone | LeftPaid, together: tuple[Record, ...]) -> None:
        account = self.accounts[record.task]
        issued = [other for other in together if isinstance(other, VoucherIssued)]
        require(not account.paid, "a task is paid twice", record.task)
        account.paid = True
        require(account.awards.get(record.attempt) == record.miner, "somebody without the award is paid", record.task)
        require(len(issued) == 1 and issued[0].miner == record.miner, "not one voucher for one picture", record.task)
        pair = (machine.staking_id, record.miner)
        require(
            issued[0].cumulative == self._issued[pair] + account.price, "a voucher is not one price more", record.task
        )
        self._issued[pair] = issued[0].cumulative

    # What is sent

    def _on_send(self, machine: Machine, effect: Send) -> None:
        if machine.behaviour is not None:
            return
        message = effect.message
        if isinstance(message, Award):
            claim = message.statement.claim
            require(self._sent.setdefault(claim, message) == message, "two awards are sent for one claim", claim)
            require(claim in self._awarded, "an award leaves before it is on disk", claim)
            self._answer(message.statement.task)
        elif isinstance(message, Claim):
            said = message.statement
            claim_key = (said.task, said.attempt, said.miner, said.nonce)
            require(claim_key not in self._claimed, "one claim is sent twice", said.task)
            self._claimed.add(claim_key)
            if said.task in self.accounts:
                account = self.accounts[said.task]
                account.claims, account.attempt = account.claims + 1, max(account.attempt, said.attempt)
                most = self.most_claims * (account.attempt + 1)
                require(account.claims <= most, "claims for one task grow", said.task)
        elif isinstance(message, Decline):
            self._answer(message.statement.task)

    def _answer(self, task: TaskId) -> None:
        """One task costs no more messages than its claims ask for: nobody makes us talk without end."""
        account = self.accounts.get(task)
        if account is not None:
            account.answers += 1
            most = ANSWERS_TO_SPARE + ANSWERS_PER_CLAIM * account.claims
            require(account.answers <= most or self.cheaters, "more answers than claims ask for", task, account.answers)

    def _on_send_encoded(self, machine: Machine, effect: SendEncoded) -> None:
        if machine.behaviour is not None or machine.role is not Role.COORDINATOR:
            return
        message = decode(effect.data, WORK_PLACE)
        if isinstance(message, Receipt):
            task = message.statement.task
            require(self._receipts.setdefault(task, effect.data) == effect.data, "two receipts of one task", task)
            require(self.accounts[task].paid, "a receipt before the end is on disk", task)

    def _on_start_job(self, machine: Machine, effect: StartJob) -> None:
        if machine.behaviour is None:
            require(
                len(machine.jobs) < machine.places + LOOK_AHEAD, "more jobs than places and look-ahead", effect.task
            )

    def _on_deliver(self, machine: Machine, effect: Deliver) -> None:
        account = self.accounts.get(effect.task)
        if machine.behaviour is not None or account is None:
            return
        require(not account.told, "an app hears more after the end", effect.task)
        if effect.update.stage in (Stage.DONE, Stage.FAILED):
            account.told = effect.update.stage
            require(account.ended, "an app hears of an end that is not on disk", effect.task)

    @staticmethod
    def _on_judged(machine: Machine, peer: Machine, rule: str) -> None:
        """Nobody honest holds anything against anybody honest."""
        honest = peer.behaviour is None and not peer.at_fault
        require(machine.behaviour is not None or not honest, "an honest peer is judged", machine.name, peer.name, rule)

    # What is remembered

    def _look(self, machine: Machine) -> None:
        if machine.behaviour is None:
            self.check_memory(machine)

    def check_memory(self, machine: Machine) -> None:
        """Whatever others sent, a machine remembers no more than its limits say."""
        core, nodes = machine.core, len(self._world.everybody)
        if core is None:
            return
        require(len(core._early_hellos) <= nodes, "kept greetings grow", machine.name)
        if isinstance(core, MinerCore):
            claiming, working = core._claiming, core._working
            offers = len(claiming._offers)
            require(offers <= MAX_OPEN_OFFERS, "open offers grow", machine.name)
            most = max(claiming._heard.values(), default=0)
            require(most <= MAX_HEARD_PER_COORDINATOR, "open offers of one coordinator grow", machine.name)
            taken = len(claiming._claims) + len(working._jobs)
            require(taken <= machine.places + LOOK_AHEAD, "claims and jobs exceed places and look-ahead", machine.name)
            clocks = offers + len(claiming._claims) + working.delivering.undelivered() + 2 * nodes + 8
            require(len(machine.timers) <= clocks, "timers grow", machine.name, len(machine.timers))
        elif isinstance(core, CoordinatorCore):
            tasks = core.waiting()
            require(tasks <= self._world.params.max_queued_tasks, "tasks grow", machine.name)
            require(len(core.roster) <= nodes, "the roster grows", machine.name)
            rechecks = len(core._rechecking)
            require(rechecks <= MOST_OPEN, "rechecks grow", machine.name)
            questions = len(core._rechecking.opening)
            require(questions <= 2 * MOST_OPEN, "questions for steps grow", machine.name)
            clocks = 4 * tasks + rechecks + questions + nodes + 8
            require(len(machine.timers) <= clocks, "timers grow", machine.name, len(machine.timers))

    # The end of a run

    def check_end(self) -> None:
        """Once everything is calm, every accepted task has ended, and what is promised is what is held."""
        held: dict[tuple[StakingId, StakingId], int] = {}
        for machine in self._world.everybody:
            for record in machine.store._held.values():
                held[(record.coordinator, machine.staking_id)] = record.cumulative
        for task, account in self.accounts.items():
            require(account.ended, "a task has no end", task)
        for pair, cumulative in self._issued.items():
            if self._names[pair[1]].behaviour is None:
                require(held.get(pair, 0) == cumulative, "what is promised and what is held differ", pair)
