"""Coordinators that cheat in what is theirs to decide: real cores with one decision taken from them.

Each has a friend, the second miner, or victims, every third one. What they do is what a recorder's audit is to find.
"""

import hashlib
from typing import Final

from protocol.effects import Effect
from protocol.events import Event, GossipReceived, StreamReceived, TaskSubmitted, TimerFired
from protocol.roles.coordinator.awarding import Awarding
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.miner.miner import MinerCore
from protocol.stake.field import Field
from protocol.stake.lottery import award_at, order, slot_ms, ticket
from protocol.task.states import Task
from protocol.units import StakingId
from protocol.wire.codec import WORK_PLACE, decode
from protocol.wire.messages import Claim
from tests.sim.adversaries import Behaviour
from tests.sim.machine import Machine

BUFFERED: Final = 6
"""Tasks that a steering coordinator holds back to choose among."""
TRIES: Final = 8
"""Draws that a rebooting or skipping coordinator looks at before it takes one."""


class Crooked(Behaviour):
    """Changes a core once it is there, in each of its lives."""

    role = "coordinator"

    def __init__(self, share: float = 1.0, friend: int = 5) -> None:
        """Cheat in this share of all chances, for the miner with this staking id."""
        self.share = share
        self.friend = StakingId(friend)
        self._life = 0
        self._chances = 0

    def hears(self, machine: Machine, event: Event) -> bool:
        """Take the decision from the core as soon as it lives."""
        if machine.life != self._life and isinstance(machine.core, CoordinatorCore):
            self._life = machine.life
            self.corrupt(machine.core)
        return True

    def corrupt(self, core: CoordinatorCore) -> None:
        """Take over."""

    def cheats_now(self) -> bool:
        """Draw whether to cheat this time; the same in each run."""
        self._chances += 1
        drawn = hashlib.sha256(self._chances.to_bytes(8, "big")).digest()
        return drawn[0] < 256 * self.share

    def is_victim(self, miner: StakingId) -> bool:
        """Say whether a miner is treated worse."""
        return miner % 3 == 0


def drawn_first(core: CoordinatorCore, boot: int, number: int) -> StakingId | None:
    """Give whom the next task's ticket draws first, in the field as it would be published now."""
    own, view = core.own_id(), core.book.current(core.now)
    if own is None or view is None:
        return None
    members, warm = core.roster.field_of("pocket-emoji", frozenset(), core.now)
    field = Field.of(view.table.miners, members, warm)
    drawn = ticket(core.identity.network_id, view.beacon, own, view.epoch, boot, number)
    ranking = order(view.table.miners, field, drawn, core.params)
    return ranking[0] if ranking else None


class SteeringDear(Crooked):
    """Holds a few tasks back and gives the dearest of them the numbers that draw its friend first."""

    def corrupt(self, core: CoordinatorCore) -> None:
        """Stand between the apps and the numbers."""
        intake, waiting = core._intake, list[TaskSubmitted]()
        take = intake.on_submitted

        def choose(event: TaskSubmitted) -> None:
            waiting.append(event)
            if len(waiting) < BUFFERED:
                return
            if self.cheats_now():
                first = drawn_first(core, intake._boot, intake._number)
                waiting.sort(key=lambda one: one.specification.steps, reverse=first == self.friend)
            take(waiting.pop(0))

        intake.on_submitted = choose  # type: ignore[method-assign]


class CancellingForeign(Crooked):
    """Takes a task back and hands it in again under the next number until its friend is drawn first."""

    def corrupt(self, core: CoordinatorCore) -> None:
        """End each task at once whose draw does not please."""
        intake = core._intake
        take = intake.on_submitted

        def retry(event: TaskSubmitted) -> None:
            for _ in range(TRIES):
                first, before = drawn_first(core, intake._boot, intake._number), set(core._tasks)
                take(event)
                if first in {self.friend, None} or not self.cheats_now():
                    return
                for task in set(core._tasks) - before:
                    core._on_cancelled(task)

        intake.on_submitted = retry  # type: ignore[method-assign]


class LeavingOut(Crooked):
    """Leaves its victims out of the field."""

    def corrupt(self, core: CoordinatorCore) -> None:
        """Look at the field before it is published."""
        honest = core.roster.field_of

        def field_of(model: str, excluded: frozenset[StakingId], now: int) -> tuple[frozenset[StakingId], ...]:
            members, warm = honest(model, excluded, now)  # type: ignore[arg-type]
            if not self.cheats_now():
                return members, warm
            kept = frozenset(miner for miner in members if not self.is_victim(miner))
            return kept, warm & kept

        core.roster.field_of = field_of  # type: ignore[method-assign,assignment]


class IgnoringClaims(Crooked):
    """Is deaf to the claims of its victims."""

    def hears(self, machine: Machine, event: Event) -> bool:
        """Drop their claims."""
        super().hears(machine, event)
        if not isinstance(event, StreamReceived) or not isinstance(machine.core, CoordinatorCore):
            return True
        known = machine.core.roster.peer(event.peer)
        is_claim = known is not None and self.is_victim(known.id) and isinstance(decode(event.data, WORK_PLACE), Claim)
        return not is_claim or not self.cheats_now()


class Overruling(Crooked):
    """Waits for its friend's claim, gives the task to it, and declines who was drawn before it."""

    def corrupt(self, core: CoordinatorCore) -> None:
        """Decide awards."""
        awarding: Awarding = core._awarding
        honest = awarding.award_if_due
        overruled: dict[bytes, bool] = {}

        def award_if_due(task: Task) -> None:
            attempt = task.open
            if attempt is None or not attempt.claims:
                return
            key = task.id + bytes([task.attempt])
            if not overruled.setdefault(key, self.cheats_now()):
                honest(task)
                return
            friend = attempt.claims.get(self.friend)
            patience = attempt.published_at + slot_ms(len(attempt.order), attempt.slot_step_ms) + attempt.allowance_ms
            if friend is not None and friend.rank is not None:
                # Not before better ranks have had their time: who looks at a clock sees nothing.
                due = award_at(friend.rank, core.now, attempt.published_at, attempt.slot_step_ms, attempt.allowance_ms)
                if core.now >= due and awarding._why_unfit(task, self.friend) is None:
                    awarding._award(task, attempt, friend)
                else:
                    core.set_timer(("award", task.id, 0), max(due, core.now + 1))
            elif core.now >= patience or self.friend not in attempt.order:
                honest(task)
            else:
                core.set_timer(("award", task.id, 0), patience)

        awarding.award_if_due = award_if_due  # type: ignore[method-assign]


class AwardingEarly(Crooked):
    """Gives a task to its friend as soon as that claims, before its slot too, whatever ranks stand before it."""

    def corrupt(self, core: CoordinatorCore) -> None:
        """Decide awards, and find its friend never early."""
        awarding: Awarding = core._awarding
        honest, honest_early = awarding.award_if_due, awarding._is_early

        def award_if_due(task: Task) -> None:
            attempt = task.open
            friend = attempt.claims.get(self.friend) if attempt is not None else None
            if attempt is not None and friend is not None and awarding._why_unfit(task, self.friend) is None:
                awarding._award(task, attempt, friend)
            else:
                honest(task)

        def is_early(task: Task | None, claim: Claim) -> bool:
            return claim.statement.miner != self.friend and honest_early(task, claim)

        awarding.award_if_due = award_if_due  # type: ignore[method-assign]
        awarding._is_early = is_early  # type: ignore[method-assign]


class EarlyFriend(Behaviour):
    """Claims at once what the first coordinator offers, as agreed with it, and of the others as all do."""

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Move the slots of its friend's offers to now."""
        core = machine.core
        if not isinstance(event, GossipReceived) or not isinstance(core, MinerCore):
            return effects
        for offer in core._claiming._offers.values():
            if offer.coordinator == 1:
                offer.slot_at = offer.second_slot_at = core.now
        core._claiming._fresh_from = core._claiming._ahead_from = 0
        return effects + core.handle(TimerFired(("slot", b"", 0)), core.now)


class Rebooting(Crooked):
    """Begins a new boot whenever the next number does not draw its friend first."""

    def corrupt(self, core: CoordinatorCore) -> None:
        """Choose the boot."""
        intake = core._intake
        take = intake.on_submitted

        def redraw(event: TaskSubmitted) -> None:
            if self.cheats_now():
                for _ in range(TRIES):
                    if drawn_first(core, intake._boot, intake._number) == self.friend:
                        break
                    intake._boot = core._settlement.boot = intake._boot + 1
                    intake._number = 0
            take(event)

        intake.on_submitted = redraw  # type: ignore[method-assign]


class Skipping(Crooked):
    """Leaves out the numbers that do not draw its friend first."""

    def corrupt(self, core: CoordinatorCore) -> None:
        """Choose the number."""
        intake = core._intake
        take = intake.on_submitted

        def skip(event: TaskSubmitted) -> None:
            if self.cheats_now():
                for _ in range(TRIES):
                    if drawn_first(core, intake._boot, intake._number) == self.friend:
                        break
                    intake._number += 1
            take(event)

        intake.on_submitted = skip  # type: ignore[method-assign]
