"""A miner at work: the clocks of its lease, and what becomes of a task that it loses. Spec: SPEC.md §9, §10."""

from typing import Final, final

from protocol.effects import CancelTimer, Deliver, Send, Stage, Update
from protocol.notes import NoteName
from protocol.roles.abandon_reasons import (
    CONTENT_POLICY,
    INPUT_INVALID,
    NO_CLAIM,
    NO_INPUT,
    NO_KEY,
    SEALED_INVALID,
)
from protocol.roles.coordinator.input_sending import send_inputs
from protocol.roles.coordinator.offering import Offering
from protocol.roles.coordinator.roster import Roster
from protocol.roles.coordinator.settlement import Settlement
from protocol.roles.core import Core
from protocol.task.artifact import largest_picture
from protocol.task.preview import PREVIEW_PACE_MS
from protocol.task.states import AwardedAttempt, Task
from protocol.units import PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.messages import Alive, Cancel

UNREADABLE_TO: Final = 2
"""Attempts that end so before the task does."""
MOST_REFUSALS: Final = 16
"""Miners that may refuse a task by their owners' rules before it ends: each costs an award and its way back."""
RECONNECT_GRACE_MS: Final = 1000
"""How long (ms) a miner whose stream broke may take to come back before its task is offered again."""
MAX_WAIT_MS: Final = 60_000
"""Longest wait (ms) in a miner's queue that we believe: with one job ahead it is one job's time."""
MAX_STEP_MS: Final = 30_000
"""Longest step (ms) that we believe: minutes for a picture are no paid service."""
SPARE_MS: Final = 2 * MAX_STEP_MS
"""Time (ms) for all steps beyond 4 x what the miner's stated speed says: its device may do other things for a while."""
SLOWEST_BYTES_PER_S: Final = 200 * 1024
"""How fast (bytes/s) a picture comes at least: 1.7 Mbit/s, at which the transport gives the largest its two minutes."""
STATES: Final = ("awarded", "queued", "loading", "step", "encoding")
"""States of an attempt in the order in which it goes through them."""
BEFORE_WORK: Final = frozenset({"awarded", "queued", "loading"})


def _place_in_work(progress: tuple[str, int]) -> tuple[int, int]:
    """Give how far an attempt is: only what is further than before counts as progress."""
    return STATES.index(progress[0]), progress[1]


@final
class Assignment:
    """Tasks that miners hold, one lease at a time."""

    def __init__(
        self, core: Core, tasks: dict[TaskId, Task], roster: Roster, settlement: Settlement, offering: Offering
    ) -> None:
        """Share the coordinator's tasks and miners."""
        self._core = core
        self._tasks = tasks
        self._roster = roster
        self._settlement = settlement
        self._offering = offering

    def on_alive(self, task: Task, award: AwardedAttempt, message: Alive) -> None:
        """Renew the lease; a new state or step also moves the progress deadline."""
        core, now = self._core, self._core.now
        award.last_alive = now
        task.offered = None
        progress = (message.state, min(message.step, task.specification.steps))
        if message.state == "queued" and not award.inputs_sent:
            # Not with the award: a stream of their own may be quicker than it, and nobody awaits them yet.
            send_inputs(core, task, award, award.peer)
        if message.state == "queued":
            award.stated_wait_ms = max(award.stated_wait_ms, min(message.wait_ms, MAX_WAIT_MS))
        if _place_in_work(progress) > _place_in_work(award.progress):
            self._look_at_start(award, message)
            if message.state == "step" and award.steps_end_by is None:
                # Each step by itself may be slow, all of them may not.
                steps_ms = self._steps_ms(task, award)
                award.steps_end_by = UnixMillis(now + steps_ms + SPARE_MS) if steps_ms is not None else None
            award.progress = progress
            award.progress_deadline = UnixMillis(now + self._progress_limit_ms(task, message))
            update = Update(
                Stage.PROGRESS,
                now,
                award.attempt,
                award.miner,
                message.step,
                message.steps,
                reason=message.state,
            )
            core.emit(Deliver(task.id, update))
        self._set_lease_timer(task, award)

    def on_preview(self, task: Task, award: AwardedAttempt, data: bytes) -> None:
        """Show the app what its picture may become, no more often than an honest miner speaks."""
        core, (state, step) = self._core, award.progress
        if task.specification.sealed is not None:
            core.note(NoteName.MESSAGE_IGNORED, task.id, rule="preview.sealed", miner=award.miner)
            return
        if core.now - award.previewed_at < PREVIEW_PACE_MS:
            core.note(NoteName.MESSAGE_IGNORED, task.id, rule="preview.pace", miner=award.miner)
            return
        award.previewed_at = core.now
        steps = task.specification.steps
        update = Update(Stage.PROGRESS, core.now, award.attempt, award.miner, step, steps, reason=state, preview=data)
        core.emit(Deliver(task.id, update))

    def _look_at_start(self, award: AwardedAttempt, message: Alive) -> None:
        """At the first sign of a step: who took longer to it than its stated wait and a lease had nothing in memory."""
        if award.progress[0] not in BEFORE_WORK or message.state in BEFORE_WORK:
            return
        step_ms = min(message.wait_ms, MAX_STEP_MS) if message.state == "step" else 0
        took_ms = self._core.now - award.awarded_at - award.stated_wait_ms - step_ms
        if took_ms > self._core.params.lease_ms:
            self._roster.conduct.was_cold(award.miner, self._core.now)

    def _progress_limit_ms(self, task: Task, message: Alive) -> int:
        """How long (ms) the stated state may last before the miner counts as hung."""
        params = self._core.params
        match message.state:
            case "queued":
                return 2 * min(message.wait_ms, MAX_WAIT_MS) + params.lease_ms
            case "loading":
                return self._loading_limit_ms(task)
            case "step":
                return 4 * min(message.wait_ms, MAX_STEP_MS) + params.step_grace_ms
            case "encoding":
                return params.step_grace_ms + params.lease_ms

    def _loading_limit_ms(self, task: Task) -> int:
        return self._core.identity.catalog.models[task.specification.model].loading_limit_ms

    def _steps_ms(self, task: Task, award: AwardedAttempt) -> int | None:
        """Give 4 x the time (ms) that all steps take at the speed that a miner states, None where it states none."""
        known = self._roster.id(award.miner)
        served = known.serves(task.specification.model, self._core.now) if known is not None else None
        return None if served is None else 4 * 1000 * task.specification.pixel_steps // served.pixel_steps_per_s

    def _ends_by(self, award: AwardedAttempt) -> UnixMillis:
        """Give when an attempt is too slow, whatever its miner says; its bytes have a time of their own."""
        if award.result is not None:
            return UnixMillis(award.last_alive + self._core.params.lease_ms)
        latest = UnixMillis(award.awarded_at + self._core.params.attempt_limit_ms)
        return latest if award.steps_end_by is None else min(latest, award.steps_end_by)

    def _why_lost(self, award: AwardedAttempt) -> str | None:
        """Say which clock of a lease has run out, None while none has."""
        now = self._core.now
        if now >= award.last_alive + self._core.params.lease_ms:
            return "silent"
        if now >= award.progress_deadline:
            return f"stuck_{award.progress[0]}"
        return "slow" if now >= self._ends_by(award) else None

    def _set_lease_timer(self, task: Task, award: AwardedAttempt) -> None:
        if task.ready is not None:
            return  # the miner has done its part
        at = min(award.last_alive + self._core.params.lease_ms, award.progress_deadline, self._ends_by(award))
        self._core.set_timer(("lease", task.id, 0), at)

    def on_lease_timer(self, task: Task) -> None:
        """Take the task from a miner that is silent, hangs or dawdles."""
        award = task.holder
        if award is None or task.ready is not None:
            return
        why = self._why_lost(award)
        if why is None:
            self._set_lease_timer(task, award)
            return
        self._core.note(NoteName.TASK_LEASE_EXPIRED, task.id, miner=award.miner, attempt=award.attempt, reason=why)
        self.take_back(task, award, "lease_expired", silent=why == "silent")

    def on_deadline(self, task: Task) -> None:
        """A task fails while a miner has it: who could have ended it, by its own word, lost a lease."""
        award = task.holder
        steps_ms = self._steps_ms(task, award) if award is not None else None
        if award is None or award.result is not None or steps_ms is None:
            return
        params = self._core.params
        before_ms = award.stated_wait_ms + self._loading_limit_ms(task)
        if self._core.now - award.awarded_at > before_ms + steps_ms + params.step_grace_ms + params.lease_ms:
            self._hold_against(award, "deadline")

    def on_result(self, task: Task, award: AwardedAttempt, size: int) -> None:
        """The commitment is here and ``size`` bytes are on their way: one more lease, and the time that they take."""
        most = largest_picture(task.specification.width, task.specification.height)
        award.last_alive = UnixMillis(self._core.now + 1000 * min(size, most) // SLOWEST_BYTES_PER_S)
        award.progress_deadline = max(
            award.progress_deadline, UnixMillis(award.last_alive + self._core.params.lease_ms)
        )
        self._set_lease_timer(task, award)
        self._roster.deliver(task.id, award.miner)

    def on_miner_gone(self, miner: StakingId) -> None:
        """A work stream broke: its miner's tasks are taken back soon unless it returns."""
        for name in self._settlement.holdings.of(miner):
            task = self._tasks[name]
            award = task.holder
            if award is not None and award.miner == miner:
                grace = self._core.now + RECONNECT_GRACE_MS - self._core.params.lease_ms
                award.last_alive = UnixMillis(min(award.last_alive, grace))
                self._set_lease_timer(task, award)

    def on_miner_back(self, miner: StakingId, peer: PeerId) -> None:
        """A work stream opened: the miner's tasks speak through it from now on."""
        for name in self._settlement.holdings.of(miner):
            task = self._tasks[name]
            for award in task.awards.values():
                if award.miner == miner:
                    award.peer = peer
            holder = task.holder
            if holder is not None and holder.miner == miner:
                self._roster.hold(task.id, miner)
                # It has time for its next sign of life, and all together no more than a lease.
                grace = self._core.now + 2 * self._core.params.alive_interval_ms - self._core.params.lease_ms
                holder.last_alive = max(holder.last_alive, UnixMillis(grace))
                self._set_lease_timer(task, holder)

    def cancel(self, task: Task, award: AwardedAttempt, reason: str) -> None:
        """Stop a miner whose work is no longer wanted. One that is not on the line hears it when it speaks again."""
        self._roster.release(task.id, award.miner)
        if self._roster.id(award.miner) is not None:
            self.stop(award.peer, task.id, award.attempt, reason)

    def stop(self, peer: PeerId, task: TaskId, attempt: int, reason: str) -> None:
        """Tell a miner that this attempt is not wanted (any more)."""
        self._core.emit(Send(peer, Cancel(task=task, attempt=attempt, reason=reason)))

    def on_abandoned(self, task: Task, award: AwardedAttempt, reason: str) -> None:
        """A miner gives its attempt back. What it does not hold it cannot give back."""
        if award is not task.holder or task.ready is not None:
            return
        specification = task.specification
        may_be = {INPUT_INVALID: bool(specification.inputs), SEALED_INVALID: specification.sealed is not None}
        if may_be.get(reason, False):
            self._on_unreadable(task, award, reason)
        elif reason in {NO_CLAIM, NO_INPUT, NO_KEY} and award.miner not in task.forgiven:
            # Its claim had expired when the award came, or what we sent was lost: it is not to blame, and may claim.
            task.forgiven |= {award.miner}
            self.cancel(task, award, reason)
            task.count(reason)
            self._offer_again(task, reason)
        elif reason == CONTENT_POLICY and self._is_refusal(task, award):
            self._on_refused(task, award)
        else:
            self.take_back(task, award, reason)

    def _is_refusal(self, task: Task, award: AwardedAttempt) -> bool:
        """Say whether a task is refused by an owner's rules: at once, once for each task, and not one after another."""
        # A sealed task can be read only once its key is there; until then its miner says that it waits.
        before_work = {"awarded"} if task.specification.sealed is None else {"awarded", "queued"}
        readable_at = max(award.awarded_at, award.sealed_key_at)
        at_once = award.progress[0] in before_work and self._core.now <= readable_at + self._core.params.lease_ms
        return at_once and award.miner not in task.refused_by and self._roster.conduct.may_refuse(award.miner)

    def _on_refused(self, task: Task, award: AwardedAttempt) -> None:
        """A miner does not draw this: others may, and where none is left the app is told why at once.

        It uses up none of the task's attempts, which are for what goes wrong, but there is a limit of its own.
        """
        award.artifact = award.artifact_digest = None
        task.refused_by |= {award.miner}
        task.excluded |= {award.miner}
        task.count(CONTENT_POLICY)
        self.cancel(task, award, CONTENT_POLICY)
        serving = self._roster.serving(task.specification.model, self._core.now)
        is_last = bool(serving) and all(miner.id in task.refused_by for miner in serving)
        if not is_last and len(task.refused_by) < MOST_REFUSALS:
            self._offer_again(task, CONTENT_POLICY)
            return
        self._end(task, CONTENT_POLICY)

    def _on_unreadable(self, task: Task, award: AwardedAttempt, reason: str) -> None:
        """A miner cannot decode or open what its app gave it, which our own look does not show.

        Nobody is paused for that, or apps could have miners paused; and one miner's word ends no task.
        """
        if self._is_at_odds(task, award, reason):
            if reason == SEALED_INVALID:
                self._settlement.untaken.add(task)  # two miners waited for a key that opens nothing
            self._end(task, reason)
        else:
            self._offer_again(task, reason)

    def _is_at_odds(self, task: Task, award: AwardedAttempt, reason: str) -> bool:
        """Take an attempt from a miner where it or the app is at fault; say whether it is so for the second time."""
        task.count(reason)
        task.input_faults += 1
        task.excluded |= {award.miner}
        self.cancel(task, award, reason)
        return task.input_faults >= UNREADABLE_TO

    def _end(self, task: Task, reason: str) -> None:
        self._settlement.fail(task, reason)
        self._offering.announce_end(task, "failed")

    def on_not_accepted(self, task: Task, award: AwardedAttempt, reason: str) -> None:
        """An app cannot use what a miner drew for it alone: another may draw it, as with what cannot be decoded.

        What the miner sent counts no more, also if it comes again.
        """
        holder, is_second = task.holder, self._is_at_odds(task, award, reason)
        if is_second:
            if holder is not None and holder is not award:
                self.cancel(task, holder, reason)
            self._end(task, reason)
            return
        if holder is award:
            self._offer_again(task, reason)
        elif holder is not None:
            holder.last_alive = self._core.now  # its clocks rested
            self._set_lease_timer(task, holder)
        else:
            self._offering.offer(task)
        self._settlement.holdings.take_back(task, award.attempt)

    def take_back(self, task: Task, award: AwardedAttempt, reason: str, *, silent: bool = False) -> None:
        """End a lease, leave its miner out for this task, and offer it again, or fail it after too many.

        A miner is ``silent`` of whom nothing was heard for a whole lease.
        """
        core, holder = self._core, task.holder
        award.artifact = award.artifact_digest = None  # it comes again with its result, if ever
        task.count(reason)
        task.excluded |= {award.miner}
        self._hold_against(award, reason, silent=silent)
        if award is not holder:
            self.stop(award.peer, task.id, award.attempt, reason)
            return
        self.cancel(task, award, reason)
        task.failures += 1
        if task.failures >= core.params.max_attempts:
            self._end(task, "attempts_exhausted")
            return
        self._offer_again(task, reason)

    def _hold_against(self, award: AwardedAttempt, reason: str, *, silent: bool = False) -> None:
        """A lease was lost: its miner is left out for a while."""
        now, state = self._core.now, award.progress[0]
        pause_ms = self._roster.conduct.lost_lease(
            award.miner, now, started=state not in BEFORE_WORK, silent=silent and state != "loading"
        )
        if pause_ms:
            self._core.note(NoteName.MINER_PAUSED, miner=award.miner, reason=reason, ms=pause_ms)

    def _offer_again(self, task: Task, reason: str) -> None:
        """The lease has ended: the task waits for its next offer."""
        core = self._core
        core.emit(CancelTimer(("lease", task.id, 0)))
        self._offering.requeue(task)
        core.emit(Deliver(task.id, Update(Stage.QUEUED, core.now, task.attempt, reason=reason)))
        self._offering.offer(task)
