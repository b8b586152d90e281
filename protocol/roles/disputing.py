"""Brings disputes on for a node that is reporter, accused, juror, or keeper of one whose first jury nobody draws.

Shared by coordinators and miners. Whatever anybody may call is called here once for each state of a dispute, by
whoever's turn it is: the reporter at once, the accused some blocks later, jurors after these; a keeper hears of it when
its turn comes. An outcome that changes nothing is tried again ever more rarely. What was asked for is on disk as a
transaction of its own name, so that a restart asks for the same. Spec: SPEC.md §12.10.
"""

from dataclasses import dataclass
from typing import Final, final

from protocol.chain_records import Confirmed, ContractCall
from protocol.events import DisputesSeen, Event, Restored, TxConfirmed, TxFailed
from protocol.justice.dispute import DisputeSeen, Seat, Status, Step, due_step, state_name, step_call, vote_call
from protocol.notes import NoteName
from protocol.records import VerdictKept
from protocol.roles.core import Core
from protocol.roles.now_and_then import NowAndThen
from protocol.units import DAY_MS, BlockNumber, StakingId, UnixMillis, Wei
from protocol.wire.statements import VerdictStatement

KEY: Final = "dispute/"
"""What the keys of these transactions begin with."""
ACCUSED_TURN: Final = 4
"""Blocks for which the accused leaves a step to the reporter."""
JUROR_TURN: Final = 8
"""Blocks for which jurors leave it to both; each one up to 14 more, so that they do not all pay for the same."""
JUROR_TURNS: Final = 8
DAYS_PARTS: Final = 4
"""One in so many of a day's calls is kept for what this node alone can say, its verdicts: else who has it drawn, closed
and accused often enough on one day keeps its word out of the dispute that matters. And no more go into disputes of
others: else who reports often and has nobody draw keeps it from having its own jury drawn."""
FIRST_PAUSE: Final = 4
"""Blocks after a call that came to nothing before it is tried again; doubled each time, up to ``LAST_PAUSE``."""
LAST_PAUSE: Final = 1024


@dataclass(frozen=True, slots=True)
class DisputePolicy:
    """What one operator wants done about disputes."""

    takes_part: bool = False
    """Whether this node sends what its disputes want, and judges as a juror; that takes a gas key."""
    gas_price: Wei = Wei(100 * 10**9)
    """While one gas costs more (wei of the chain's coin), nothing is sent."""
    per_day: int = 48
    """Transactions in 24 hours at most."""


@dataclass(slots=True)
class Asked:
    """A step in one state of a dispute, and how far it was brought."""

    dispute: int
    due_since: BlockNumber
    tries: int = 0
    not_before: int = 0
    """Block before which it is not tried again."""
    is_pending: bool = False
    is_done: bool = False


@final
class Disputing:
    """All disputes in which one node has a part."""

    def __init__(self, core: Core, policy: DisputePolicy) -> None:
        """Know of none."""
        self._core = core
        self.policy = policy
        self.seen: dict[int, DisputeSeen] = {}
        """As the chain told of them last; those that ended are forgotten."""
        self.verdicts: dict[tuple[int, int], VerdictKept] = {}
        """What this node ever signed as a juror, by dispute and round: never anything else there."""
        self._asked: dict[str, Asked] = {}
        self._calls: list[UnixMillis] = []
        self._block = BlockNumber(0)
        self.at_s = 0
        """The chain's time (unix s) when it was heard of last."""
        self._reasons = NowAndThen(core)

    def hear(self, event: Event) -> None:
        """Take an event of the node's core, of whatever kind."""
        match event:
            case DisputesSeen():
                self._on_seen(event)
            case TxConfirmed() | TxFailed():
                self._on_outcome(event)
            case Restored(records=records):
                for record in records:
                    if isinstance(record, VerdictKept):
                        self.verdicts[record.dispute, record.round] = record
            case _:
                pass

    def part_of(self, seen: DisputeSeen) -> str:
        """Say what this node has to do with a dispute: a stable name."""
        own = self._core.own_row()
        if own is not None and own.id == seen.reporter:
            return "reporter"
        if own is not None and own.id == seen.accused:
            return "accused"
        return "keeper" if seen.is_kept else "juror"

    # What the chain says

    def _on_seen(self, event: DisputesSeen) -> None:
        """Hear how the disputes of this node stand after one more block, and do what is due."""
        self._block, self.at_s = event.block, event.at_s
        # Who sends nothing has no use for the juries of others.
        told = {seen.number: seen for seen in event.disputes if self.policy.takes_part or not seen.is_kept}
        for number in [known for known in self.seen if known not in told]:
            self._forget(number)
        for number, seen in told.items():
            self._tell_change(seen, self.seen.get(number))
            if not seen.status.is_open:
                self._forget(number)
                continue
            self.seen[number] = seen
            self._act(seen, event)

    def _tell_change(self, seen: DisputeSeen, before: DisputeSeen | None) -> None:
        if before is not None and (before.status, before.round) == (seen.status, seen.round):
            return
        if before is None and not seen.status.is_open:
            return  # it ended before this run began
        name = NoteName.DISPUTE_SEEN if seen.status.is_open else NoteName.DISPUTE_ENDED
        self._core.note(
            name,
            dispute=seen.number,
            round=seen.round,
            reason=seen.status.label,
            accused=seen.accused,
            reporter=seen.reporter,
            part=self.part_of(seen),
        )

    def _forget(self, number: int) -> None:
        self.seen.pop(number, None)
        for name in [name for name, asked in self._asked.items() if asked.dispute == number]:
            del self._asked[name]

    # What is due

    def _act(self, seen: DisputeSeen, event: DisputesSeen) -> None:
        """Send what is due in a dispute, if it is our turn."""
        verdict = self.verdicts.get((seen.number, seen.round))
        is_open = seen.status is Status.VOTING and event.at_s < seen.deadline_s
        if verdict is not None and seen.seat is Seat.DRAWN and is_open and verdict.evidence == seen.evidence:
            own = self._core.own_row()
            juror = verdict.juror or (own.id if own is not None else None)
            if juror is not None:  # else the chain knows our key before a table that holds does
                call = vote_call(self.statement(juror, verdict), verdict.signature)
                self._ask(f"{KEY}{seen.number}/{seen.round}/vote", call, seen, event, turn=0)
            return
        step = due_step(seen, event.block, event.at_s)
        if step is not None and (step is Step.DRAW or not seen.is_kept):  # whoever has a part ends it
            self._ask(state_name(seen, step), step_call(seen, step), seen, event, turn=self._turn(seen, step))

    @staticmethod
    def statement(juror: StakingId, verdict: VerdictKept) -> VerdictStatement:
        """Give what was signed."""
        return VerdictStatement(dispute=verdict.dispute, round=verdict.round, juror=juror, verdict=verdict.verdict)

    def _turn(self, seen: DisputeSeen, step: Step) -> int:
        """Say for how many blocks this node leaves a step to others."""
        part = self.part_of(seen)
        if part in {"reporter", "keeper"}:
            return 0
        if part == "accused":
            # It need not pay for its own slash, and is the one who wants any other end most.
            return JUROR_TURN + 2 * JUROR_TURNS if step is Step.EXECUTE else ACCUSED_TURN
        own = self._core.own_row()
        return JUROR_TURN + 2 * ((own.id if own is not None else 0) % JUROR_TURNS)

    def _ask(self, name: str, call: ContractCall, seen: DisputeSeen, event: DisputesSeen, *, turn: int) -> None:
        """Have a step made, once in each state, unless something speaks against it now."""
        asked = self._asked.setdefault(name, Asked(seen.number, event.block))
        if asked.is_pending or asked.is_done or event.block < max(asked.due_since + turn, asked.not_before):
            return
        if not self.policy.takes_part:
            self._wait("not_sent_by_this_node", seen.number)
        elif event.gas_price > self.policy.gas_price:
            self._wait("gas_price", seen.number)
        elif not self._may_call(seen, is_vote=call.function == Step.VOTE.label):
            self._wait("enough_for_today", seen.number)
        else:
            asked.is_pending = True
            self._calls.append(self._core.now)
            self._core.submit(f"{name}/{asked.tries}", call)
            self._core.note(NoteName.DISPUTE_CALLED, dispute=seen.number, round=seen.round, reason=call.function)

    def _may_call(self, seen: DisputeSeen, *, is_vote: bool) -> bool:
        """Say whether one more call is within the day's limit, of which others can draw and close, but not vote."""
        since = self._core.now - DAY_MS
        self._calls = [at for at in self._calls if at > since]
        part = self.policy.per_day // DAYS_PARTS
        most = part if seen.is_kept else self.policy.per_day - (0 if is_vote else part)
        return len(self._calls) < most

    def _wait(self, reason: str, dispute: int) -> None:
        """Say now and then why nothing is done."""
        self._reasons.tell(NoteName.DISPUTE_WAITS, reason, dispute=dispute)

    def _on_outcome(self, event: TxConfirmed | TxFailed) -> None:
        """A transaction has its outcome: the chain says what it changed, and one without effect is tried again."""
        name, _, tries = event.key.rpartition("/")
        asked = self._asked.get(name)
        if asked is None or not tries.isdigit() or int(tries) != asked.tries:
            return
        asked.is_pending = False
        if isinstance(event, TxConfirmed):
            asked.is_done = True
            self._tell_slash(event.outcome)
            return
        pause = min(FIRST_PAUSE * 2**asked.tries, LAST_PAUSE)
        asked.tries, asked.not_before = asked.tries + 1, self._block + pause
        self._core.note(
            NoteName.DISPUTE_CALL_FAILED,
            dispute=asked.dispute,
            reason=event.outcome.reason,
            detail=event.outcome.detail[:200],
        )

    def _tell_slash(self, outcome: Confirmed) -> None:
        for made in outcome.events:
            if made.name == "QuorumSlashed":
                number, signer, slashed = (made.fields.get(name) for name in ("dispute", "id", "slashed"))
                self._core.note(
                    NoteName.DISPUTE_EXECUTED,
                    dispute=int(str(number)),
                    signer=int(str(signer)),
                    slashed_wei=str(slashed),
                    transaction="0x" + outcome.transaction.hex(),
                )
