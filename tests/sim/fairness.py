"""Is the draw of a whole run fair? Each offer's first place against its exact chances, and each award's winner.

The chances come from what is public: the bulletin's field, the table, the ticket. Of the miners that the ticket does
not drop, those of the first block (warm ones, if there are any and the ticket does not ignore warmth) are drawn first
with their share of that block's stake.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import sqrt

import scipy

from protocol.effects import Note, Publish
from protocol.notes import NoteName
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.miner.miner import MinerCore
from protocol.stake.field import MEMBER, WARM, Field
from protocol.stake.lottery import ignores_warmth, order, ticket
from protocol.units import StakingId, TaskId
from protocol.wire.messages import Bulletin, Offer
from protocol.wire.statements import NO_RANK
from tests.sim.machine import Machine
from tests.sim.world import World

LEAST_EXPECTED = 5.0
"""Expected first places below which the chi-square distribution is no good description: such miners count together."""


@dataclass
class Fairness:
    """Watches the first attempt of every task of a world."""

    world: World
    drawn: Counter[StakingId] = field(default_factory=Counter)
    """First places that each miner had."""
    due: defaultdict[StakingId, float] = field(default_factory=lambda: defaultdict(float))
    """First places that it had to expect."""
    offers: int = 0
    awards: int = 0
    passed_over: list[tuple[str, TaskId]] = field(default_factory=list)
    """Miners that were free and better placed than the winner, and had heard the offer."""

    def __post_init__(self) -> None:
        """Begin to watch."""
        self._machines = {machine.staking_id: machine for machine in self.world.everybody}
        self.world.watch(Publish, self._on_publish)
        self.world.watch(Note, self._on_note)

    # The draw

    def _on_publish(self, _machine: Machine, effect: Publish) -> None:
        message = effect.message
        for offer in (
            message.offers if isinstance(message, Bulletin) else ()
        ):  # nor an objection, which honest ones make
            if offer.attempt == 0:
                self._count(message.coordinator, message.epoch, message.field, offer)

    def _count(self, coordinator: StakingId, epoch: int, encoded: bytes, offer: Offer) -> None:
        world = self.world
        view = world.chain.view(epoch)  # type: ignore[arg-type]
        said = Field.from_bytes(encoded, len(view.table.miners))
        place = (coordinator, offer.accepted_epoch, offer.boot, offer.number)
        drawn = ticket(world._network_id, view.beacon, *place)
        ranking = order(view.table.miners, said, drawn, world.params)
        stakes = [
            {row.id: row.stake for row, code in zip(view.table.miners, said.codes, strict=True) if code in codes}
            for codes in ((MEMBER, MEMBER | WARM), (MEMBER | WARM,))
        ]
        everyone, warm = ({one: stakes[block][one] for one in ranking if one in stakes[block]} for block in (0, 1))
        block = everyone if ignores_warmth(drawn, world.params) or not warm else warm
        if len(block) < 2:
            # There was nothing to draw.
            return
        whole = sum(block.values())
        for miner, stake in block.items():
            self.due[miner] += stake / whole
        self.drawn[ranking[0]] += 1
        self.offers += 1

    def chi_square(self) -> float:
        """Give the chance that a fair draw strays as far as this one from what was due.

        Places of offers with different fields have less variance than those of one multinomial draw, so the true
        chance is no lower.
        """
        rare = [miner for miner, due in self.due.items() if due < LEAST_EXPECTED]
        common = [miner for miner in self.due if miner not in rare]
        drawn = [self.drawn[miner] for miner in common] + [sum(self.drawn[miner] for miner in rare)] * bool(rare)
        due = [self.due[miner] for miner in common] + [sum(self.due[miner] for miner in rare)] * bool(rare)
        return float(scipy.stats.chisquare(drawn, due).pvalue)

    def variation(self) -> float:
        """Give the share of first places that fell to others than was due (total variation)."""
        return sum(abs(self.drawn[miner] - due) for miner, due in self.due.items()) / (2 * self.offers)

    def most_variation(self) -> float:
        """Give what a fair draw of so many offers among so many miners may have."""
        return 0.6 * sqrt(len(self.due) / self.offers)

    # The award

    def _on_note(self, machine: Machine, note: Note) -> None:
        if note.name is not NoteName.TASK_AWARDED or note.task is None:
            return
        self.awards += 1
        core = machine.core
        assert isinstance(core, CoordinatorCore)
        task = core.task(note.task)
        assert task is not None
        assert task.offered is not None
        rank = int(note.fields["rank"])
        better = task.offered.order if rank == NO_RANK else task.offered.order[:rank]
        for miner in better:
            if self._could_claim(self._machines[miner], note.task):
                self.passed_over.append((self._machines[miner].name, note.task))
                return

    @staticmethod
    def _could_claim(machine: Machine, task: TaskId) -> bool:
        """Say whether a miner had a place for a task, whose offer it heard."""
        core = machine.core
        if not isinstance(core, MinerCore) or machine.jobs:
            return False
        claims = core._claiming._claims
        return set(claims) <= {task} and (task in claims or task in core._claiming._offers)
