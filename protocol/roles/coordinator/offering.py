"""Making tasks public: one bulletin for all that a model's topic has to hear. Spec: SPEC.md §7, §8.3."""

from collections.abc import Callable
from typing import Final, final

from protocol.effects import Deliver, Publish, Stage, Update
from protocol.notes import NoteName
from protocol.roles.coordinator.bulletins import Board, Boards
from protocol.roles.coordinator.roster import Roster
from protocol.roles.coordinator.settlement import Settlement
from protocol.roles.coordinator.slot_pace import SlotPace
from protocol.roles.coordinator.solvency import ESCROW_SHORT
from protocol.roles.core import EMPTY, Core
from protocol.stake.epoch import acceptable_epochs
from protocol.stake.field import Field
from protocol.stake.lottery import last_slot_ms, order, slot_ms, ticket
from protocol.stake.table import EpochView
from protocol.task.offer import offer_digest
from protocol.task.states import DrawnFrom, OpenAttempt, Task, TaskState
from protocol.units import Epoch, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.fields import MAX_ATTEMPT
from protocol.wire.messages import AwardNotice, Bulletin, Closure, ClosureReason, Offer
from protocol.wire.specification import Work
from protocol.wire.topics import offers_topic

FIRST_ROUND_PAUSE_MS: Final = 250
"""Pause (ms) after an attempt that nobody claimed; doubles by round: an offer may be lost, so it is made again."""
LAST_ROUND_PAUSE_MS: Final = 4000
BUSY_ROUND_PAUSE_MS: Final = 2000
"""The same where more tasks wait than miners are free: who becomes free remembers the offer, and a new one makes its
claim stale."""
UNWANTED_ROUNDS: Final = 4
"""Attempts in a row that nobody claimed after which miners that are free are taken not to want a task: one offer may be
lost, and a claim, but hardly four."""
DONE_PAUSE_MS: Final = 2000
"""How long (ms) the news that an awarded task is done may wait for a bulletin that is needed anyway: nobody claims it
any more, and each bulletin costs every node a millisecond or more."""
WAITING_PACE_MS: Final = 100
"""Least time (ms) between two passes over all waiting tasks."""
UNCLAIMED: Final = "unclaimed"
"""Why a task waits: nobody claimed an attempt. Miners that skip an offer do so silently, or every one would answer."""


@final
class Offering:
    """Puts queued tasks on the board of their model and publishes the boards."""

    def __init__(
        self,
        core: Core,
        tasks: dict[TaskId, Task],
        roster: Roster,
        settlement: Settlement,
        addresses: Callable[[], tuple[str, ...]],
    ) -> None:
        """Share the coordinator's tasks and miners; ``addresses`` gives our own dialable ones."""
        self._core = core
        self._tasks = tasks
        self._roster = roster
        self._settlement = settlement
        self._addresses = addresses
        self._boards = Boards(core.params)
        self.slot_pace = SlotPace(core.params)
        self._wake_at: UnixMillis | None = None
        """When the timer for the next publication fires."""
        self._done_timer_set = False
        self._last_pass = UnixMillis(0)

    def offer(self, task: Task) -> None:
        """Put a queued task on its topic's board, to be published with the next bulletin."""
        self._put(task)
        self._publish_or_wait()

    def _put(self, task: Task) -> None:
        if task.state is not TaskState.QUEUED or task.id not in self._tasks or self._comes_too_soon(task):
            return
        if task.ready is not None:
            return  # a late attempt of it was good, and waits for its app alone
        if not self._settlement.solvency.can_pay(task.price):
            # The escrow was taken back, or nobody has told us of it yet: what it says next brings ``offer_waiting``.
            task.count(ESCROW_SHORT)
            return
        if not self._settlement.app_room.lets(task):
            return
        if task.attempt >= MAX_ATTEMPT:
            self._settlement.fail(task, "attempts_exhausted")
            self.announce_end(task, "failed")
            return
        if task.excluded and not self._may_find_another(task):
            task.excluded = frozenset()  # a second chance beats no chance
        board = self._boards.board(task.specification.model)
        board.offers[task.id] = task.deadline

    def _may_find_another(self, task: Task) -> bool:
        """Say whether a task should wait for a miner that has not failed it.

        Not where all who are left have, nor where others are free and let it lie time and again, as they may have
        reasons of their own. What two miners say of its pictures or seal is worth the wait for a second one.
        """
        specification, now = task.specification, self._core.now
        unable = self._unable(specification.model, specification.work, is_sealed=specification.sealed is not None)
        serving = {miner.id for miner in self._roster.serving(specification.model, now)} - unable
        if not serving:
            return True
        if serving <= task.excluded:
            return False
        if task.rounds < UNWANTED_ROUNDS or task.input_faults:
            return True
        free, _ = self._roster.field_of(specification.model, task.excluded | unable, now)
        return not free

    def _comes_too_soon(self, task: Task) -> bool:
        """Say whether a task is of an epoch that our chain has not come to yet, as after a restart.

        Its draw from an earlier epoch would be none: it waits for its table, which brings ``offer_waiting``.
        """
        current = self._core.book.current(self._core.now)
        return current is None or self._epoch_for(task, current) < task.epoch

    def offer_waiting(self) -> None:
        """Offer every queued task again: something changed that may help.

        A pass goes through all tasks, so it comes at most once in WAITING_PACE_MS, whatever miners say how often.
        """
        core = self._core
        due = self._last_pass + WAITING_PACE_MS
        if core.now < due:
            core.set_timer(("waiting", EMPTY, 0), due)
            return
        self._last_pass = core.now
        for task in list(self._tasks.values()):
            if task.state is TaskState.QUEUED:
                self._put(task)
        self._publish_or_wait()

    def on_publish_timer(self) -> None:
        """The pause is over, or half of it."""
        self._wake_at = None
        self._publish_or_wait()

    def on_done_timer(self) -> None:
        """What news of done tasks no other bulletin took along goes out now."""
        self._done_timer_set = False
        if self._boards.press_done():
            self._publish_or_wait()

    def _publish_or_wait(self) -> None:
        """Publish the board whose turn it is when we were quiet for long enough, else when the pause is over."""
        core = self._core
        own, current, board = core.own_id(), core.book.current(core.now), self._boards.next()
        if own is None or current is None or board is None:
            # While no table lists us, offers stay on the board; ``offer_waiting`` comes with the table that does.
            return
        due_at = self._due_at()
        if due_at <= core.now:
            self._publish(board, own, current)
            due_at = self._due_at()
        if self._boards.next() is not None and (self._wake_at is None or due_at < self._wake_at):
            self._wake_at = due_at
            core.set_timer(("publish", EMPTY, 0), due_at)

    def _due_at(self) -> UnixMillis:
        """Say when to publish, or to look again whether it is time."""
        boards = self._boards
        if self._core.now < boards.due_early_at or boards.due_early_at == boards.due_at:
            return boards.due_early_at
        return boards.due_early_at if 2 * boards.offers() > self._waiting() else boards.due_at

    def _waiting(self) -> int:
        """Count the tasks that miners may have and no miner has, public or not."""
        return len(self._tasks) - self._roster.held() - self._settlement.app_room.waiting()

    def _publish(self, board: Board, own: StakingId, current: EpochView) -> None:
        """Send one message for each (epoch, excluded miners) among the offers; usually that is one."""
        core = self._core
        taken = [self._tasks[task] for task in self._boards.take_offers(board) if task in self._tasks]
        groups: dict[tuple[Epoch, frozenset[StakingId]], list[Task]] = {}
        unable: dict[tuple[Work, bool], frozenset[StakingId]] = {}
        for task in taken:
            work, is_sealed = kind = task.specification.work, task.specification.sealed is not None
            if kind not in unable:
                unable[kind] = self._unable(board.model, work, is_sealed=is_sealed)
            groups.setdefault((self._epoch_for(task, current), task.excluded | unable[kind]), []).append(task)
        if not groups:
            groups[(current.epoch, frozenset())] = []
        # Nobody waits for news of attempts that he may be about to claim.
        is_quiet = not (board.awards or board.closures)
        awards, closures = self._boards.take_notices(board)
        notices = max(len(awards), len(closures))
        waiting = self._waiting()
        fields = {frozenset[StakingId](): self._roster.field_of(board.model, frozenset(), core.now)}
        free = len(fields[frozenset()][0])
        # Nor where there is other work: the next message comes soon then, and who becomes free is to know what waits.
        is_alone = len(taken) == len(self._tasks) <= free
        head_start_ms = core.params.publish_interval_ms if is_quiet and is_alone else 0
        for (epoch, excluded), tasks in groups.items():
            view = core.book.view(epoch) or current
            if excluded not in fields:
                fields[excluded] = self._roster.field_of(board.model, excluded, core.now)
            members, warm = fields[excluded]
            field = Field.of(view.table.miners, members, warm)
            message = Bulletin(
                coordinator=own,
                model=board.model,
                addresses=self._addresses()[:8],
                epoch=view.epoch,
                root=view.table.root,
                field=field.to_bytes(),
                sent_at=core.now,
                offers=tuple(self._open(task, view, field, own, waiting) for task in tasks),
                awards=awards,
                closures=closures,
            )
            awards, closures = (), ()
            first = self._first_of(tasks)
            core.emit(Publish(offers_topic(core.identity.network, board.model), message, first, head_start_ms))
        self._boards.published(board, len(groups), len(taken), notices, core.now, in_backlog=waiting > free)

    def _first_of(self, tasks: list[Task]) -> tuple[PeerId, ...]:
        """Say who is to hear of these offers before others: of each, whose claim is awarded on arrival."""
        drawn = [task.offered.order[0] for task in tasks if task.offered is not None and task.offered.order]
        known = [self._roster.id(miner) for miner in dict.fromkeys(drawn)]
        return tuple(miner.peer for miner in known if miner is not None)

    def _unable(self, model: str, work: Work, *, is_sealed: bool) -> frozenset[StakingId]:
        """List the miners that serve a model, but not for such a task."""
        unable = self._roster.unable(model, work, self._core.now)
        return unable | self._roster.keyless(model, self._core.now) if is_sealed else unable

    def _epoch_for(self, task: Task, current: EpochView) -> Epoch:
        """Give the epoch that a task is drawn from: that of its acceptance while acceptable, else the current one."""
        core = self._core
        if core.book.view(task.epoch) is None or task.epoch not in acceptable_epochs(core.now, core.params):
            return current.epoch
        return task.epoch

    def _open(self, task: Task, view: EpochView, field: Field, own: StakingId, waiting: int) -> Offer:
        """Make the next attempt public; so many tasks, this one with them, have no miner."""
        core, params = self._core, self._core.params
        drawn = ticket(core.identity.network_id, view.beacon, own, task.epoch, task.boot, task.number)
        slot_step_ms = self.slot_pace.slot_step_ms(self._boards.interval_ms)
        allowance_ms = self.slot_pace.allowance_ms()
        task.attempt += 1
        task.rounds += 1
        offer = Offer(
            task=task.id,
            accepted_epoch=task.epoch,
            boot=task.boot,
            number=task.number,
            attempt=task.attempt,
            work=task.specification.work,
            pixels=task.specification.pixels,
            pixel_steps=task.specification.pixel_steps,
            price=task.price,
            deadline=task.deadline,
            slot_step_ms=slot_step_ms,
            allowance_ms=allowance_ms,
        )
        is_sealed = task.specification.sealed is not None
        attempt = task.offered = OpenAttempt(
            published_at=core.now,
            ticket=drawn,
            table=view.table,
            offer=offer_digest(own, view.epoch, view.table.root, field.digest, task.specification.model, offer),
            order=order(view.table.miners, field, drawn, params),
            slot_step_ms=slot_step_ms,
            allowance_ms=allowance_ms,
            clock_set_back=core.clock_set_back,
            drawn_from=DrawnFrom(view.epoch, view.table.root, field.to_bytes(), offer) if is_sealed else None,
        )
        task.move(TaskState.OFFERED)
        ranked = len(attempt.order)
        if waiting <= ranked:
            first, last_slot = FIRST_ROUND_PAUSE_MS, slot_ms(ranked, slot_step_ms) + allowance_ms
        else:
            # Who becomes free claims in its slot, and then who looks ahead.
            every = last_slot_ms(ranked, len(view.table.miners), slot_step_ms)
            first, last_slot = BUSY_ROUND_PAUSE_MS, 2 * every + allowance_ms
        pause = min(first * 2 ** min(task.rounds - 1, 8), LAST_ROUND_PAUSE_MS)
        core.set_timer(("offer", task.id, 0), core.now + last_slot + pause)
        core.note(NoteName.TASK_OFFERED, task.id, attempt=task.attempt, miners=ranked)
        core.emit(Deliver(task.id, Update(Stage.OFFERED, core.now, task.attempt)))
        return offer

    def on_offer_timer(self, task: Task) -> None:
        """Nobody claimed: the message may be lost, or all are busy. Offer again, always."""
        if task.state is TaskState.OFFERED:
            task.count(UNCLAIMED)
            self.requeue(task)
            self.offer(task)

    def announce_end(self, task: Task, reason: ClosureReason) -> None:
        """Tell everybody that a task needs no more claims; what waited for its account's room may go now."""
        for waiting in self._settlement.app_room.next():
            self.offer(waiting)
        board = self._boards.board(task.specification.model)
        board.offers.pop(task.id, None)
        closure = Closure(task=task.id, reason=reason)
        if reason != "done":
            board.closures.append(closure)
            self._publish_or_wait()
            return
        board.done.append(closure)
        if not self._done_timer_set:
            self._done_timer_set = True
            self._core.set_timer(("done", EMPTY, 0), self._core.now + DONE_PAUSE_MS)

    def announce_award(self, task: Task, winner: StakingId) -> None:
        """Tell the others that the attempt has a winner."""
        board = self._boards.board(task.specification.model)
        board.awards.append(AwardNotice(task=task.id, attempt=task.attempt, winner=winner))
        self._publish_or_wait()

    def requeue(self, task: Task) -> None:
        """Close the public attempt or the lease; the task waits for its next offer."""
        task.move(TaskState.QUEUED)
