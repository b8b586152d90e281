"""What a coordinator knows of one task that is being drawn again. Spec: SPEC.md §12.8."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from protocol.justice.bundle import CLASSES
from protocol.records import Drawing, RecheckKept
from protocol.task.recheck import Judgement, judge_drawings, limit_between
from protocol.task.steps import StepsJudgement
from protocol.units import StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import SPECIFICATION_PLACE, decode
from protocol.wire.fields import ANY_NUMERICS
from protocol.wire.messages import TaskSpecification


@dataclass(slots=True)
class Recheck:
    """One task that is being drawn again."""

    subject: TaskId
    encoded: bytes
    specification: TaskSpecification
    planned_at: UnixMillis
    due_at: UnixMillis
    drawings: list[Drawing]
    tries: int = 0
    pending: TaskId | None = None
    spent: Wei = Wei(0)
    apart: dict[tuple[int, int], int] = field(default_factory=dict)
    """Distances (parts per million) of two drawings, by their places."""
    judgement: Judgement | None = None
    """What the pictures said, while steps are asked for."""
    steps: StepsJudgement = field(default_factory=lambda: StepsJudgement(is_over=True))
    """What the steps said when they were shown last."""
    repeated: int = 0
    """Drawings that were ordered since the last new one came, all of which came from who had drawn it before."""
    alone: int = 0
    """Looks one after the other at which nobody was here that could draw it too."""
    may_be_disputed: bool = False
    """Whether jurors may see it."""

    @staticmethod
    def restored(record: RecheckKept, pending: TaskId | None) -> "Recheck":
        """Take up one that an earlier run began, with the drawing that is still under way."""
        return Recheck(
            record.subject,
            record.specification,
            decode(record.specification, SPECIFICATION_PLACE),
            record.planned_at,
            record.due_at,
            list(record.drawings),
            record.tries,
            pending,
            record.spent,
            may_be_disputed=record.may_be_disputed,
        )

    def miners(self) -> list[StakingId]:
        """Give who drew it, in the order of the drawings."""
        return [drawing.miner for drawing in self.drawings]

    def numerics(self, place: int) -> str:
        """Give the class of arithmetic in which a drawing came about.

        Of a task that begins from pictures none is known: each miner has them decoded and fitted by libraries of its
        own, whose last digits differ. A class that no engine names is a word for nothing, as it is to jurors.
        """
        named = self.drawings[place].numerics
        return named if named in CLASSES and not self.specification.inputs else ANY_NUMERICS

    def judged(self, *, is_last: bool) -> Judgement:
        """Say what all drawings say; nothing is decided while two of them were not compared.

        Args:
            is_last: Nobody is left that could draw it too.
        """
        pairs = list(combinations(range(len(self.drawings)), 2))
        if not pairs or not self.apart.keys() >= set(pairs):
            return Judgement(is_over=False)
        limits = {
            (one, other): limit_between(self.specification, self.numerics(one), self.numerics(other))
            for one, other in pairs
        }
        return judge_drawings(len(self.drawings), self.apart, limits, is_last=is_last)

    def in_its_numbers(self, place: int, others: Iterable[int]) -> bool:
        """Say whether one of the others draws in the class of a drawing's miner, or that miner names none.

        Prompts can be sought whose pictures other numbers tip over, up to any distance, and jurors of other classes do
        not judge (SPEC.md §12.10). To name none protects nobody.
        """
        own = self.numerics(place)
        return own == ANY_NUMERICS or any(self.numerics(other) == own for other in others)

    def record(
        self, outcome: str = "", odd: tuple[StakingId, ...] = (), far: tuple[StakingId, ...] = ()
    ) -> RecheckKept:
        """Give what is to be kept of it."""
        return RecheckKept(
            subject=self.subject,
            specification=self.encoded,
            planned_at=self.planned_at,
            due_at=self.due_at,
            tries=self.tries,
            pending=self.pending,
            spent=self.spent,
            drawings=tuple(self.drawings),
            outcome=outcome,
            odd=odd,
            far=far,
            may_be_disputed=self.may_be_disputed,
        )
