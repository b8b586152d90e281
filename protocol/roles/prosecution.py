"""From two statements that contradict each other to a slash on the chain: noticed, kept, checked, shown, settled.

::

    a second word -> Persist(found) -> CheckEvidence ──provable──> SubmitTx + Persist(asked) -> proven
                                             │                            └─ refused, reverted
                                             └─ proven by others, respite, nothing left, refused -> settled

The decision and the wish for a transaction are one commit, so that no crash makes a second one. Whoever signs a
thousand contradictions is on file once, and costs one look into a dictionary each. Spec: SPEC.md §11.4.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from protocol.chain_records import Confirmed, ContractEvent
from protocol.effects import CheckEvidence, Persist
from protocol.events import EvidenceChecked, Provability, TxConfirmed, TxFailed
from protocol.justice.evidence import Evidence, Signed, name_of, of_pair, proof_call
from protocol.justice.witness import Witness
from protocol.notes import NoteName
from protocol.records import CaseChanged, CaseState, EvidenceFound, Record
from protocol.roles.core import EMPTY, Core
from protocol.roles.now_and_then import NowAndThen
from protocol.stake.table import StakeRow
from protocol.units import DAY_MS, Address, Digest, StakingId, UnixMillis, Wei
from protocol.wire.statements import Statement

KEY: Final = "prove/"
"""What the keys of these transactions begin with."""
TIMER: Final = "prove"
MAX_CASES: Final = 256
"""Pieces of evidence in memory; the one that was settled longest ago makes room, and none that is open does."""
REST_MS: Final = DAY_MS
"""For how long (ms) a signer that is on file is not filed again: a proof takes one slash of what is on a node, others
take what comes on it later, so a signer that was proven while it was empty is looked at again."""
LOOK_AGAIN_MS: Final = 600_000
"""Pause (ms) before evidence that waits for cheaper gas, or for another day, is looked at again."""
PATIENCE_MS: Final = 14 * DAY_MS
"""For how long (ms) evidence waits for that."""
PROVEN_BEFORE: Final = "proven and slashed already"
"""In the contract's own words."""
SHORT_NAME: Final = 12
"""Digits of a name that are enough for people."""
NOBODY: Final = Address(bytes(20))


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """What one operator wants done about evidence."""

    proves: bool = False
    """Whether this node shows evidence to the contract by itself; that takes a gas key."""
    gas_price: Wei = Wei(100 * 10**9)
    """While one gas costs more (wei of the chain's coin), evidence waits."""
    per_day: int = 4
    """Transactions in 24 hours at most."""


@dataclass(slots=True)
class Case:
    """One piece of evidence, and how far it has come."""

    name: str
    evidence: Evidence
    found_at: UnixMillis
    state: CaseState = CaseState.FOUND
    changed_at: UnixMillis = UnixMillis(0)
    asked_at: UnixMillis | None = None
    """When it was decided to show it, as far as this run knows."""
    is_checking: bool = False

    @property
    def is_open(self) -> bool:
        """Whether something may still be done about it."""
        return self.state in {CaseState.FOUND, CaseState.ASKED}


@final
class Prosecution:
    """All evidence that one node knows."""

    def __init__(self, core: Core, policy: ProofPolicy) -> None:
        """Begin with nothing on file."""
        self._core = core
        self._policy = policy
        self._witness = Witness()
        self._cases: dict[str, Case] = {}
        """In the order in which they were found."""
        self._last_of: dict[StakingId, Case] = {}
        """The newest case of each signer."""
        self._reasons = NowAndThen(core)

    def restore(self, records: Iterable[Record]) -> None:
        """Take up what earlier runs found, and go on with what is open."""
        for record in records:
            match record:
                case EvidenceFound(evidence=evidence, found_at=found_at):
                    self._add(Case(name_of(evidence), evidence, found_at))
                case CaseChanged(name=name) if name in self._cases:
                    self._change(self._cases[name], record)
                case _:
                    pass
        for case in self._cases.values():
            self._check(case)

    # Noticing

    def verified(self, signed: Signed[Statement]) -> None:
        """Hear a statement whose signature is checked: the first about its subject is remembered."""
        first = self._witness.first(signed.statement)
        if first is None:
            self._witness.remember(signed)
        elif first.statement != signed.statement:
            self._compare(first, signed)

    def unverified(self, signed: Signed[Statement], row: StakeRow) -> None:
        """Hear a statement that is refused, or comes too late: it counts where another one is remembered.

        Args:
            signed: As it came; its signature is checked only where it would prove something.
            row: Who is said to have signed it.
        """
        first = self._witness.first(signed.statement)
        if first is None or first.statement == signed.statement or self._is_on_file(row.id):
            return
        if self._core.is_signed(signed.statement, signed.signature, row):
            self._compare(first, signed)

    def _compare(self, first: Signed[Statement], second: Signed[Statement]) -> None:
        found = of_pair(first, second)
        if found is not None:
            self.file(found)

    def is_false(self, node: StakingId) -> bool:
        """Say whether a node is known to have signed statements that contradict each other."""
        return node in self._last_of

    # Cases

    def file(self, evidence: Evidence) -> None:
        """Keep evidence whose signatures are checked, say so, and act on it; once for each signer in a long while."""
        core, signer = self._core, evidence.signer
        if self._is_on_file(signer) or name_of(evidence) in self._cases:
            return
        if not self._has_room():
            self._reasons.tell(NoteName.EVIDENCE_DROPPED, "full", signer=signer)
            return
        case = Case(name_of(evidence), evidence, core.now)
        self._add(case)
        core.emit(Persist((EvidenceFound(evidence, core.now),)))
        core.note(NoteName.EVIDENCE_FOUND, signer=signer, reason=evidence.KIND.label, evidence=case.name[:SHORT_NAME])
        if not self._policy.proves:
            self._reasons.tell(NoteName.EVIDENCE_WAITS, "not_sent_by_this_node", signer=signer)
        self._check(case)

    def _is_on_file(self, signer: StakingId) -> bool:
        last = self._last_of.get(signer)
        return last is not None and (last.is_open or self._core.now < last.found_at + REST_MS)

    def _has_room(self) -> bool:
        """Make room for one more case where that costs nothing that is open."""
        if len(self._cases) < MAX_CASES:
            return True
        closed = [case for case in self._cases.values() if not case.is_open]
        if not closed:
            return False
        oldest = min(closed, key=lambda case: case.changed_at)
        del self._cases[oldest.name]
        if self._last_of.get(oldest.evidence.signer) is oldest:
            del self._last_of[oldest.evidence.signer]
        return True

    def _add(self, case: Case) -> None:
        if self._has_room():
            self._cases[case.name] = self._last_of[case.evidence.signer] = case

    def _check(self, case: Case) -> None:
        """Ask the chain, of what is open and was not asked for."""
        if self._policy.proves and case.state is CaseState.FOUND and not case.is_checking:
            case.is_checking = True
            self._core.emit(CheckEvidence(case.evidence))

    def on_checked(self, event: EvidenceChecked) -> None:
        """The chain answered: show it, wait, or let it be."""
        case = self._cases.get(event.name)
        if case is None or case.state is not CaseState.FOUND:
            return
        case.is_checking = False
        if event.answer is Provability.ALREADY_PROVEN:
            self._settle(case, CaseState.ALREADY_PROVEN, event.detail)
        elif event.answer is not Provability.PROVABLE:
            self._settle(case, CaseState.GIVEN_UP, f"{event.answer}: {event.detail}")
        elif event.receiver == NOBODY:
            self._wait(case, "not_registered")
        elif event.gas_price > self._policy.gas_price:
            self._wait(case, "gas_price")
        elif self._asked_lately() >= self._policy.per_day:
            self._wait(case, "enough_for_today")
        else:
            self._ask(case, event.receiver)

    def _asked_lately(self) -> int:
        since = self._core.now - DAY_MS
        return sum(case.asked_at is not None and case.asked_at > since for case in self._cases.values())

    def _wait(self, case: Case, reason: str) -> None:
        """Look again later, unless it has waited for too long."""
        if self._core.now > case.found_at + PATIENCE_MS:
            self._settle(case, CaseState.GIVEN_UP, f"waited in vain: {reason}")
            return
        self._reasons.tell(NoteName.EVIDENCE_WAITS, reason, signer=case.evidence.signer)
        self._core.set_timer((TIMER, EMPTY, 0), self._core.now + LOOK_AGAIN_MS)

    def on_timer(self) -> None:
        """Look again at what waits."""
        for case in self._cases.values():
            self._check(case)

    def _ask(self, case: Case, receiver: Address) -> None:
        """Have it shown to the contract; wish and decision are one commit."""
        core = self._core
        self._become(case, CaseChanged(case.name, CaseState.ASKED, core.now))
        core.submit(KEY + case.name, proof_call(case.evidence, receiver))
        core.note(NoteName.EVIDENCE_ASKED, signer=case.evidence.signer, evidence=case.name[:SHORT_NAME])

    def on_outcome(self, event: TxConfirmed | TxFailed) -> None:
        """A transaction has its outcome."""
        case = self._cases.get(event.key.removeprefix(KEY)) if event.key.startswith(KEY) else None
        if case is None or case.state is not CaseState.ASKED:
            return
        if isinstance(event, TxConfirmed):
            self._proven(case, event.outcome)
        elif PROVEN_BEFORE in event.outcome.detail:
            self._settle(case, CaseState.ALREADY_PROVEN, event.outcome.detail)
        else:
            self._settle(case, CaseState.GIVEN_UP, f"{event.outcome.reason}: {event.outcome.detail}")

    def _proven(self, case: Case, outcome: Confirmed) -> None:
        slashed = _amount(outcome.events, "ProvenSlashed", "slashed")
        bounty = _amount(outcome.events, "Slashed", "bounty")
        core, transaction = self._core, Digest(outcome.transaction)
        self._become(case, CaseChanged(case.name, CaseState.PROVEN, core.now, "", transaction, slashed, bounty))
        core.note(
            NoteName.EVIDENCE_PROVEN,
            signer=case.evidence.signer,
            reason=case.evidence.KIND.label,
            slashed_wei=str(slashed),
            bounty_wei=str(bounty),
            transaction="0x" + transaction.hex(),
        )

    def _settle(self, case: Case, state: CaseState, detail: str) -> None:
        """End it without a proof of ours."""
        self._become(case, CaseChanged(case.name, state, self._core.now, detail))
        self._core.note(NoteName.EVIDENCE_SETTLED, signer=case.evidence.signer, reason=state.value, detail=detail[:200])

    def _become(self, case: Case, changed: CaseChanged) -> None:
        self._change(case, changed)
        self._core.emit(Persist((changed,)))

    @staticmethod
    def _change(case: Case, changed: CaseChanged) -> None:
        case.state, case.changed_at = changed.state, changed.at
        if changed.state in {CaseState.ASKED, CaseState.PROVEN}:
            case.asked_at = case.asked_at or changed.at


def _amount(events: Iterable[ContractEvent], name: str, field: str) -> Wei:
    """Read an amount (wei) out of the events of a transaction; 0 where it made no such event."""
    found = next((event.fields.get(field) for event in events if event.name == name), 0)
    return Wei(found if isinstance(found, int) else 0)
