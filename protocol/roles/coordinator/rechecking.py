"""Finished tasks that are drawn again by other miners, to see whether the pictures are what was paid for.

end of a task -> by lot: RecheckKept -> minutes later: an ordinary task -> ComparePictures -> where they agree:
``opening`` of steps -> agreed, or one more drawing -> who was odd loses standing. The app's task has ended before any
of this begins. Spec: SPEC.md §12.8.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from typing import Final, final

from protocol.effects import Accepted, ComparePictures, Persist
from protocol.events import PicturesCompared, TaskSubmitted
from protocol.notes import NoteName
from protocol.records import Drawing, RecheckKept, Record, ReputationKept, TaskAccepted
from protocol.roles.coordinator.intake import Intake, price_of
from protocol.roles.coordinator.opening import TIMER as OPENING
from protocol.roles.coordinator.opening import Later, Opening, Shown
from protocol.roles.coordinator.recheck import Recheck
from protocol.roles.coordinator.reputation import GRAVE, SLIGHT
from protocol.roles.coordinator.roster import Roster
from protocol.roles.coordinator.sampling import QUESTIONS, RecheckPolicy, Spending, question_pauses, recheck_lot
from protocol.roles.coordinator.shared_room import SharedRoom
from protocol.roles.core import Core
from protocol.task.recheck import ENOUGH, MOST_DRAWINGS, Judgement
from protocol.task.states import AwardedAttempt, Task, TaskState
from protocol.task.steps import StepsJudgement, judge_beside, judge_steps
from protocol.units import DAY_MS, Address, DurationMs, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import TaskSpecification

MOST_OPEN: Final = 256
"""Rechecks under way at once: at one in fifty, of 13,000 tasks within their minutes of delay."""
MOST_TRIES: Final = 12
"""Drawings of one recheck that are ordered or put off before it ends undecided."""
MOST_REPEATED: Final = 6
"""Drawings ordered one after the other that all came from who had drawn it before: then nobody else is there to ask. A
friend of a cheat that is here and takes no work, or a cheat that draws most itself, must not keep it open for ever."""
MOST_ALONE: Final = 2
"""Looks, a shortest delay apart at least, at which nobody else was here: then nobody is. At a single one all may be on
their way back, from a line that broke or a restart, and whose friend is back first has not the last word."""
LONGEST_MS: Final = DurationMs(DAY_MS // 2)
"""A recheck that is older (ms) ends undecided: its pictures are deleted a day after they came."""
MOST_WITH_INPUTS: Final = 16
"""Those of tasks that begin from pictures, which stay on the disk until then: 256 MiB of the largest."""
NOBODY: Final = 0
"""Request number of submissions for which nobody waits: apps count from 1."""


@final
class Rechecking:
    """Plans rechecks, orders their drawings and draws the conclusions."""

    def __init__(self, core: Core, roster: Roster, intake: Intake, policy: RecheckPolicy | None) -> None:
        """Share the coordinator's miners; without a policy nothing is drawn again, and what is under way ends."""
        self._core = core
        self._roster = roster
        self._intake = intake
        self._policy = policy
        self._secret = core.identity.entropy(32) if policy is not None else b""
        self._open: dict[TaskId, Recheck] = {}
        self._by_pending: dict[TaskId, Recheck] = {}
        self._spending = Spending()
        self.opening = Opening(core, roster, self._secret, self._on_shown)
        self._room = SharedRoom()

    # Beginning of a run

    def restore(self, records: tuple[Record, ...]) -> None:
        """Take up what earlier runs thought of miners and had drawn again; tasks are restored apart."""
        now = self._core.now
        tasks = {record.task for record in records if isinstance(record, TaskAccepted)}
        for record in records:
            if isinstance(record, ReputationKept):
                self._roster.conduct.reputation.restore(record)
                if record.left_out_until > now:
                    self._roster.conduct.leave_out(record.miner, now, record.left_out_until)
            elif isinstance(record, RecheckKept):
                self._spending.add(record.planned_at, record.spent)
                if not record.outcome:
                    self._take_up(record, tasks)

    def _take_up(self, record: RecheckKept, tasks: set[TaskId]) -> None:
        """Go on with a recheck, if its owner still wants that."""
        recheck = Recheck.restored(record, record.pending if record.pending in tasks else None)
        if self._policy is None or (recheck.specification.inputs and not self._policy.with_inputs):
            self._core.emit(Persist((replace(record, outcome="undecided"),)))
            return
        self._open[recheck.subject] = recheck
        if recheck.pending is not None:
            self._by_pending[recheck.pending] = recheck
        elif len(recheck.drawings) > 1:
            self._compare(recheck)
        else:
            self._core.set_timer(("recheck", recheck.subject, 0), recheck.due_at)

    def __len__(self) -> int:
        """Count those under way."""
        return len(self._open)

    # The end of a task

    def on_end(self, task: Task, award: AwardedAttempt | None) -> None:
        """A task has ended, perhaps one that we had drawn again."""
        now, reputation = self._core.now, self._roster.conduct.reputation
        if award is not None and award.result is not None:
            reputation.delivered(award.miner, now)
        recheck = self._by_pending.pop(task.id, None)
        if recheck is not None:
            self._on_drawn(recheck, task, award)
        elif award is not None:
            self._spending.ended(now, task.price)

    def plan(self, task: Task, award: AwardedAttempt) -> tuple[Record, ...]:
        """Draw by lot whether a task that ends now is looked at: its miner cannot know, nor when.

        Returns:
            What is to be on disk together with its end, so that the pictures that it begins from are still there.
        """
        core, policy, specification = self._core, self._policy, task.specification
        if policy is None or award.result is None or task.id in self._by_pending or specification.sealed is not None:
            return ()
        if not self._has_room(task) or (specification.inputs and not policy.with_inputs):
            return ()
        drawn, delay = recheck_lot(self._secret, task.id, 0)
        account = self._roster.conduct.reputation.of(award.miner, core.now)
        chance = policy.chance(account.passed, account.doubt)
        if drawn >= chance + QUESTIONS:
            return ()
        first, due = self._drawing(task, award), UnixMillis(core.now + policy.delay(delay))
        if drawn >= chance or not self._others(specification, {award.miner}):
            pauses = question_pauses(policy, self._secret, task.id)
            question = Later(specification.drawn_steps, first, pauses, policy.earliest)
            self.opening.begin_later(task.id, question, task.account, MOST_OPEN)
            return ()
        recheck = Recheck(task.id, task.encoded, task.specification, core.now, due, [first])
        may_be_shown = task.may_be_disputed or policy.all_may_be_disputed
        recheck.may_be_disputed = may_be_shown and not specification.inputs  # which no juror takes
        self._open[task.id] = recheck
        self._room.take(task.id, task.account)
        core.note(NoteName.RECHECK_PLANNED, task.id, miner=award.miner, ms=due - core.now)
        core.set_timer(("recheck", task.id, 0), due)
        return (recheck.record(),)

    def _has_room(self, task: Task) -> bool:
        """Say whether one more task may be looked at: of no account so many that few are left for all others."""
        free = MOST_OPEN - len(self._open)
        if task.specification.inputs:
            is_gone = task.state is TaskState.FAILED  # and what it began from with it
            known = sum(bool(recheck.specification.inputs) for recheck in self._open.values())
            free = 0 if is_gone else min(free, MOST_WITH_INPUTS - known)
        return self._room.lets(task.account, free)

    def _drawing(self, task: Task, award: AwardedAttempt) -> Drawing:
        assert award.result is not None, "it delivered"
        said, numerics = award.said, award.numerics
        if said is None:
            # Of an award by an earlier run nothing better is known than what its miner says now.
            said, numerics = self._roster.word_of(award.miner, task.specification.model, self._core.now)
        word = encode(said) if said is not None else b""
        artifact, result = award.result.commitment.artifact, encode(award.result)
        return Drawing(task.id, award.attempt, award.miner, artifact, result, numerics, capability=word)

    def _others(self, specification: TaskSpecification, drew: Iterable[StakingId]) -> bool:
        """Say whether a miner is here that could do this work, and is of no owner whose miners did it."""
        model, now = specification.model, self._core.now
        unable, owners = self._roster.unable(model, specification.work, now), self._owners(drew)
        could = (miner.id for miner in self._roster.serving(model, now) if miner.id not in unable)
        return any(not owners >= self._owners([miner]) for miner in could)

    def _owners(self, miners: Iterable[StakingId]) -> set[Address | StakingId]:
        """Give whose miners these are: all that one owner has are one witness."""
        return {self._core.book.owner(miner, self._core.now) for miner in miners}

    def _is_last(self, recheck: Recheck) -> bool:
        """Say whether nobody is left to ask: nobody else is here for a while, or these are never drawn."""
        is_alone = recheck.alone >= MOST_ALONE and not self._others(recheck.specification, recheck.miners())
        return recheck.repeated >= MOST_REPEATED or is_alone

    # The next drawing

    def on_timer(self, what: str, subject: TaskId) -> None:
        """Order the next drawing of a recheck (``recheck``), or ask for steps of its drawings (``opening``)."""
        if what == OPENING:
            self.opening.on_timer(subject)
        else:
            self._draw_again(subject)

    def _draw_again(self, subject: TaskId) -> None:
        """Order the next drawing: as any task, for whichever miner its draw names."""
        recheck, policy, now = self._open.get(subject), self._policy, self._core.now
        if recheck is None or policy is None or recheck.pending is not None:
            return
        if recheck.tries >= MOST_TRIES or now - recheck.planned_at > LONGEST_MS:
            self._give_up(recheck)
            return
        price = price_of(recheck.specification, self._core.params)
        limit = self._spending.most(now) if policy.daily_limit is None else policy.daily_limit
        if not self._spending.admits(now, price, limit):
            self._put_off(policy, recheck, "daily_limit")
        elif self._others(recheck.specification, recheck.miners()):
            recheck.alone = 0
            self._order(policy, recheck, price)
        else:
            recheck.alone += 1
            if recheck.alone == MOST_ALONE and len(recheck.drawings) > 1:
                self._compare(recheck)
            else:
                self._put_off(policy, recheck, "nobody_else")

    def _order(self, policy: RecheckPolicy, recheck: Recheck, price: Wei) -> None:
        again = recheck.subject if recheck.specification.inputs else None
        answer = self._intake.on_submitted(TaskSubmitted(NOBODY, recheck.specification, True, again=again))
        if not isinstance(answer, Accepted):
            self._put_off(policy, recheck, answer.code)
            return
        recheck.pending = answer.task
        recheck.tries += 1
        recheck.spent = Wei(recheck.spent + price)
        self._by_pending[answer.task] = recheck
        self._spending.add(self._core.now, price)
        self._core.emit(Persist((recheck.record(),)))
        self._core.note(NoteName.RECHECK_ORDERED, recheck.subject, wei=str(price), drawn=len(recheck.drawings))

    def _put_off(self, policy: RecheckPolicy, recheck: Recheck, reason: str) -> None:
        """Try again some minutes later."""
        recheck.tries += 1
        self._core.note(NoteName.RECHECK_PUT_OFF, recheck.subject, reason=reason)
        self._wait(policy, recheck)

    def _wait(self, policy: RecheckPolicy, recheck: Recheck) -> None:
        _, delay = recheck_lot(self._secret, recheck.subject, recheck.tries)
        recheck.due_at = UnixMillis(self._core.now + policy.delay(delay))
        self._core.emit(Persist((recheck.record(),)))
        self._core.set_timer(("recheck", recheck.subject, 0), recheck.due_at)

    def _on_drawn(self, recheck: Recheck, task: Task, award: AwardedAttempt | None) -> None:
        """A task that was drawn again has ended; by a miner that drew it before it was one more ordinary task."""
        recheck.pending = None
        if award is None or award.result is None:
            if self._policy is not None:
                self._wait(self._policy, recheck)
        elif self._owners([award.miner]) <= self._owners(recheck.miners()):
            # That drawing was counted when it was ordered.
            recheck.repeated += 1
            self._core.note(NoteName.RECHECK_PUT_OFF, recheck.subject, reason="same_miner")
            if len(recheck.drawings) > 1 and self._is_last(recheck):
                self._compare(recheck)
            elif self._policy is not None:
                self._wait(self._policy, recheck)
        else:
            recheck.repeated = 0
            recheck.drawings.append(self._drawing(task, award))
            self._core.emit(Persist((recheck.record(),)))
            self._compare(recheck)

    # What the pictures say

    def _compare(self, recheck: Recheck) -> None:
        """Have all pictures compared that were not; equal files need no look."""
        drawings, asked = recheck.drawings, False
        for one, other in combinations(range(len(drawings)), 2):
            if (one, other) in recheck.apart:
                continue
            if drawings[one].artifact == drawings[other].artifact:
                recheck.apart[one, other] = 0
            else:
                self._core.emit(ComparePictures(recheck.subject, drawings[one].artifact, drawings[other].artifact))
                asked = True
        if not asked:
            self._conclude(recheck)

    def on_compared(self, event: PicturesCompared) -> None:
        """Hear how far apart two pictures are."""
        recheck = self._open.get(event.subject)
        if recheck is None or event.subject in self.opening:
            return  # over, or judged
        drawings, files = recheck.drawings, (event.one, event.other)
        pairs = list(combinations(range(len(drawings)), 2))
        unknown = [pair for pair in pairs if pair not in recheck.apart]
        news = [pair for pair in unknown if (drawings[pair[0]].artifact, drawings[pair[1]].artifact) == files]
        if not news:
            return  # of two equal files one answer said it for both
        if event.apart is None:
            self._end(recheck, "not_comparable")
            return
        recheck.apart.update(dict.fromkeys(news, event.apart))
        if recheck.pending is None and len(recheck.apart) == len(pairs):
            self._conclude(recheck)

    def _conclude(self, recheck: Recheck) -> None:
        """End a recheck whose drawings say enough, or have it drawn once more."""
        drawings, judgement = recheck.drawings, recheck.judged(is_last=self._is_last(recheck))
        recheck.judgement = judgement
        if not judgement.is_over:
            if self._policy is not None:
                self._wait(self._policy, recheck)
            return
        alike = {place: drawings[place] for place in judgement.agreeing | judgement.slightly_off}
        count = recheck.specification.drawn_steps
        if self._policy is None or not self.opening.begin(recheck.subject, count, alike, self._policy.earliest):
            self._settle(recheck, judgement, StepsJudgement(is_over=True))

    def _give_up(self, recheck: Recheck) -> None:
        """No more is ordered: what the pictures say holds, also where nobody cleared up what the steps do."""
        judgement = recheck.judged(is_last=self._is_last(recheck))
        if judgement.is_over:
            self._settle(recheck, judgement, recheck.steps)
        else:
            self._end(recheck, "undecided")

    def _on_shown(self, subject: TaskId, shown: Shown) -> None:
        """Hear what the miners whose pictures agree showed of their steps; ask one more where two contradict."""
        recheck, policy = self._open.get(subject), self._policy
        if recheck is None:
            return  # it ended meanwhile
        judgement, drawings = recheck.judgement, recheck.drawings
        assert judgement is not None, "steps are asked for when the pictures are judged"
        numerics = {place: recheck.numerics(place) for place in shown}
        agreeing = {place: one for place, one in shown.items() if place in judgement.agreeing}
        steps = judge_steps(agreeing, numerics, is_last=self._is_last(recheck))
        steps = recheck.steps = judge_beside(steps, shown, numerics)
        for place, name in steps.names.items():
            drawings[place] = replace(drawings[place], steps=name, opened=shown[place].message)
            apart = steps.apart.get(place, 0)
            self._core.note(
                NoteName.RECHECK_STEPS, subject, miner=drawings[place].miner, reason=name or "unasked", apart=apart
            )
        if not steps.is_over and len(drawings) < MOST_DRAWINGS and policy is not None:
            self._wait(policy, recheck)
        else:
            self._settle(recheck, judgement, steps)

    def _settle(self, recheck: Recheck, judgement: Judgement, steps: StepsJudgement) -> None:
        """Draw the conclusions of pictures and steps."""
        now, reputation, drawings = self._core.now, self._roster.conduct.reputation, recheck.drawings
        must_open = self._policy is not None and self._policy.must_open
        far = {place for place in judgement.far_off if recheck.in_its_numbers(place, judgement.agreeing)}
        slight = judgement.slightly_off - steps.agreed | judgement.far_off - far | steps.odd(must_open=must_open)
        odd = sorted(slight | far | steps.wrong)
        alike = sorted((judgement.agreeing | judgement.slightly_off).difference(odd))
        passed = [place for place in alike if steps.worth(place)]
        for place in passed:
            reputation.passed_recheck(drawings[place].miner, now, steps.worth(place))
        for place in odd:
            self._hold_against(recheck, place, GRAVE if place in far | steps.wrong else SLIGHT)
        known = sorted((*passed, *odd))
        self._core.emit(Persist(tuple(reputation.record(drawings[place].miner, now) for place in known)))
        if odd:
            shown = sorted(far) if len(judgement.agreeing) >= ENOUGH else ()  # a bond is worth no less
            names = (tuple(drawings[place].miner for place in places) for places in (odd, shown))
            self._end(recheck, "odd_one_out", *names)
        else:
            self._end(recheck, "agreed" if passed else "undecided")

    def _hold_against(self, recheck: Recheck, place: int, weight: float) -> None:
        """A miner was the odd one out: it is looked at more often, and left out where that comes again and again."""
        core, conduct, drawing = self._core, self._roster.conduct, recheck.drawings[place]
        miner, is_too_much = drawing.miner, conduct.reputation.was_odd(drawing.miner, core.now, weight)
        core.note(
            NoteName.RECHECK_ODD,
            recheck.subject,
            miner=miner,
            apart=min(ppm for pair, ppm in recheck.apart.items() if place in pair),
            artifact=drawing.artifact.hex(),
            steps=drawing.steps or "unasked",
        )
        if not is_too_much or self._policy is None or not self._may_leave_out(recheck.specification.model, miner):
            return
        until = UnixMillis(core.now + self._policy.pause)
        conduct.reputation.leave_out(miner, until)
        conduct.leave_out(miner, core.now, until)
        core.note(NoteName.MINER_PAUSED, miner=miner, reason="recheck", ms=self._policy.pause)

    def _may_leave_out(self, model: str, miner: StakingId) -> bool:
        """Say whether at most half of those who serve a model are left out then: more cannot all be the odd ones."""
        now, reputation = self._core.now, self._roster.conduct.reputation
        serving = {known.id for known in self._roster.serving(model, now)}
        left_out = {known for known in serving if reputation.is_left_out(known, now)} | {miner}
        return 2 * len(left_out) <= len(serving)

    def _end(
        self, recheck: Recheck, outcome: str, odd: tuple[StakingId, ...] = (), far: tuple[StakingId, ...] = ()
    ) -> None:
        """Close a recheck; what was drawn and signed stays on disk with the history."""
        core = self._core
        del self._open[recheck.subject]
        self._room.leave(recheck.subject)
        core.emit(Persist((recheck.record(outcome, odd, far),)))
        core.note(
            NoteName.RECHECK_ENDED,
            recheck.subject,
            reason=outcome,
            miner=recheck.drawings[0].miner,
            drawn=len(recheck.drawings),
            wei=str(recheck.spent),
            ms=core.now - recheck.planned_at,
        )
