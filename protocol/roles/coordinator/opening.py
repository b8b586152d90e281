"""Asks the miners of a recheck for some of the steps that they committed to, and hears their answers.

All drawings are signed -> a beacon that nobody knew then -> Send(open_steps), a few times -> answers, or none -> what
was shown. Whoever asks draws the conclusions: ``rechecking``. Spec: SPEC.md §12.8.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, final

from protocol.crypto.typed_data import digest
from protocol.effects import CancelTimer, Lane, Offence, Send
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.records import Drawing
from protocol.roles.coordinator.roster import Roster
from protocol.roles.coordinator.shared_room import SharedRoom
from protocol.roles.core import Core
from protocol.stake.epoch import beacon_cutoff, epoch_at
from protocol.task.fingerprint import NO_FINGERPRINT, steps_to_open
from protocol.task.steps import AWAY, DECLINED, OPENED, ROOTLESS, SILENT, UNASKED, WRONG, StepsShown, check_shown
from protocol.units import Digest, Epoch, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.codec import RESULT_PLACE, decode, encode
from protocol.wire.messages import MAX_OPENED_STEPS, OpenedSteps, OpenSteps

TIMER: Final = "opening"
MOST_QUESTIONS: Final = 5
"""How often each miner is asked: frames are dropped where an outbox is full, and streams break."""
BEACON_TRIES: Final = 40
"""How often the beacon is looked for, over two epochs: with a chain that stalls nobody is asked."""
MOST_EARLY_MS: Final = 60_000
"""How long (ms) before a beacon is fixed its block may be there to be seen: it is the last one before that moment, and
clocks differ. Of short epochs it is a quarter."""
NAMED: Final = b"opened_steps"
"""Stands in each answer, however it is encoded; to find it in the largest frame takes microseconds."""
MOST_UNASKED: Final = 256
"""Answers that nobody waits for, of one miner within ``UNASKED_MS``, before more are held against it: after a restart
as many may come as there are rechecks."""
UNASKED_MS: Final = 60_000
REMEMBERED: Final = 4096
"""Miners of whom such answers are counted; the one whose first came longest ago is forgotten first."""
Shown = Mapping[int, StepsShown]
"""What was shown, by the place of the drawing."""


@dataclass(slots=True)
class Asked:
    """One drawing whose steps are asked for."""

    place: int
    drawing: Drawing
    root: Digest
    shown: StepsShown | None = None
    asked_in: int = 0
    """The last try of the question in which it was there to be asked; 0 as long as there was none."""


@dataclass(slots=True)
class Question:
    """The steps of one recheck."""

    subject: TaskId
    count: int
    """Steps of the picture."""
    epoch: Epoch
    """The first whose beacon nobody knew when the last drawing came."""
    pause_ms: int
    asked: dict[Digest, Asked]
    """By the digest of the commitment."""
    untold: dict[int, StepsShown] = field(default_factory=dict)
    """What is known without asking, by the place of the drawing."""
    steps: tuple[int, ...] = ()
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Later:
    """Questions about a task that nobody draws again."""

    count: int
    """Steps of the picture."""
    drawing: Drawing
    pauses: tuple[int, ...]
    """Time (ms) until the next question, and after each until the one that follows."""
    pause_ms: int
    """Time between two tries of one."""


@final
class Opening:
    """Questions that are under way, one for a recheck at most."""

    def __init__(self, core: Core, roster: Roster, secret: bytes, on_over: Callable[[TaskId, Shown], None]) -> None:
        """Share the coordinator's miners.

        Args:
            core: The coordinator.
            roster: Its miners.
            secret: What draws the steps, together with a beacon: what nobody else knows.
            on_over: Hears of each question what was shown.
        """
        self._core = core
        self._roster = roster
        self._secret = secret
        self._on_over = on_over
        self._open: dict[TaskId, Question] = {}
        self._later: dict[TaskId, Later] = {}
        """Of tasks that nobody draws again: what is asked about later, or once more."""
        self._room = SharedRoom()
        self._by_commitment: dict[Digest, TaskId] = {}
        self._awaited: Counter[StakingId] = Counter()
        """How many drawings of each miner are asked for, and not answered."""
        self._unasked: dict[StakingId, tuple[UnixMillis, int]] = {}
        """How many answers nobody waited for, of each miner, since when."""

    def __len__(self) -> int:
        """Count those under way, and those that begin later."""
        return len(self._open.keys() | self._later.keys())

    def __contains__(self, subject: TaskId) -> bool:
        """Say whether steps of a recheck are asked for."""
        return subject in self._open

    def begin(self, subject: TaskId, count: int, drawings: Mapping[int, Drawing], pause_ms: int) -> bool:
        """Ask for steps of these drawings as soon as a beacon chooses them; False where there is nothing to ask for.

        Args:
            subject: The recheck.
            count: Steps of the picture.
            drawings: Those whose pictures agree, by their places.
            pause_ms: Time between two questions.
        """
        if subject in self._open:
            return True
        core = self._core
        question = Question(subject, count, self._unknown_epoch(), pause_ms, {})
        for place, drawing in sorted(drawings.items()):
            commitment = decode(drawing.result, RESULT_PLACE).commitment
            if commitment.fingerprint == NO_FINGERPRINT:
                question.untold[place] = StepsShown(ROOTLESS)
            else:
                name_of = digest(core.identity.domain, commitment)
                question.asked[name_of] = Asked(place, drawing, commitment.fingerprint)
        if not question.asked:
            return False
        self._open[subject] = question
        self._by_commitment.update(dict.fromkeys(question.asked, subject))
        self._awaited.update(one.drawing.miner for one in question.asked.values())
        core.set_timer((TIMER, subject, 0), beacon_cutoff(question.epoch, core.params) + pause_ms)
        return True

    def begin_later(self, subject: TaskId, later: Later, account: str, most: int) -> None:
        """Ask for steps of a task that nobody draws again as if it were, unless there is no room for that.

        Were those alone asked who were drawn again, it would be a warning to whoever cheated there.

        Args:
            subject: The task.
            later: What is asked, and when.
            account: Whose task it is: nobody's tasks keep those of others from being asked about.
            most: How many may be under way, with those of rechecks.
        """
        if self._room.lets(account, most - len(self)):
            self._room.take(subject, account)
            self._put_off(subject, later)

    def _put_off(self, subject: TaskId, later: Later) -> None:
        """Ask once the next pause is over, or never again."""
        if later.pauses:
            self._later[subject] = later
            self._core.set_timer((TIMER, subject, 0), UnixMillis(self._core.now + later.pauses[0]))
        else:
            self._room.leave(subject)

    def _unknown_epoch(self) -> Epoch:
        """Give the first epoch whose beacon is fixed so late that no block of it can be there yet."""
        core, epoch = self._core, epoch_at(self._core.now, self._core.params)
        known_until = core.now + min(MOST_EARLY_MS, core.params.epoch_s * 1000 // 4)
        while beacon_cutoff(epoch, core.params) <= known_until:
            epoch = Epoch(epoch + 1)
        return epoch

    def on_timer(self, subject: TaskId) -> None:
        """Choose the steps once the beacon is there; ask whoever has not answered, and end it after some such tries."""
        question, core = self._open.get(subject), self._core
        if question is None:
            self._ask_next(subject)
            return
        question.tries += 1
        if not question.steps and not self._choose(question):
            pause_ms = max(question.pause_ms, core.params.epoch_s * 1000 * 2 // BEACON_TRIES)
            if question.tries >= BEACON_TRIES:
                self._end(question)
            else:
                core.set_timer((TIMER, subject, 0), core.now + pause_ms)
            return
        if question.tries > MOST_QUESTIONS:
            self._end(question)
            return
        self._ask(question)
        core.set_timer((TIMER, subject, 0), core.now + question.pause_ms)

    def on_miner_back(self, miner: StakingId) -> None:
        """Ask a miner whose stream is open again what it was not there to be asked.

        When questions go out everybody can tell: else whoever ends its stream for these moments would always be away.
        """
        if self._awaited[miner]:
            for question in self._open.values():
                if question.steps:
                    self._ask(question)

    def _ask(self, question: Question) -> None:
        """Ask whoever is here and has neither answered nor been asked in this try."""
        for name, asked in question.asked.items():
            known = self._roster.id(asked.drawing.miner)
            if asked.shown is None and known is not None and asked.asked_in < question.tries:
                asked.asked_in = question.tries
                message = OpenSteps(
                    task=asked.drawing.task, attempt=asked.drawing.attempt, commitment=name, steps=question.steps
                )
                self._core.emit(Send(known.peer, message, Lane.NORMAL))

    def _ask_next(self, subject: TaskId) -> None:
        """Begin the next question about a task that nobody draws again."""
        later = self._later.pop(subject, None)
        if later is not None:
            if self.begin(subject, later.count, {0: later.drawing}, later.pause_ms):
                self._later[subject] = replace(later, pauses=later.pauses[1:])
            else:
                self._room.leave(subject)

    def _choose(self, question: Question) -> bool:
        """Draw the steps from the first beacon that is late enough; False while none is known."""
        views = self._core.book.tables.views
        late = min((epoch for epoch in views if epoch >= question.epoch), default=None)
        if late is None:
            return False
        beacon = views[late].beacon
        secret = Digest(hashlib.sha256(self._secret + question.subject).digest())
        question.steps = steps_to_open(beacon, secret, question.count, MAX_OPENED_STEPS)
        question.tries = 1
        return True

    def admit(self, peer: PeerId, miner: StakingId, data: bytes) -> None:
        """Let a frame pass to be read, unless it is an answer for which nobody waits: to read one costs much.

        Raises:
            IgnoredMessage: nobody waits for an answer of this miner, or too many came for which nobody did.
        """
        if NAMED not in data:
            return
        since, count = self._unasked.get(miner, (self._core.now, 0))
        is_flood = count >= MOST_UNASKED and 0 <= self._core.now - since < UNASKED_MS
        if is_flood:
            self._core.judge_peer(peer, Offence.MINOR, "opened_steps.flood")
        if is_flood or not self._awaited[miner]:
            self._count_unasked(miner)
            raise IgnoredMessage("opened_steps.unasked")

    def _count_unasked(self, miner: StakingId) -> None:
        since, count = self._unasked.pop(miner, (self._core.now, 0))
        is_old = not 0 <= self._core.now - since < UNASKED_MS
        self._unasked[miner] = (self._core.now, 1) if is_old else (since, min(count + 1, MOST_UNASKED))
        if len(self._unasked) > REMEMBERED:
            del self._unasked[next(iter(self._unasked))]

    def on_opened(self, peer: PeerId, miner: StakingId, message: OpenedSteps) -> None:
        """Hear an answer; what does not lead to what its miner signed is held against it.

        Raises:
            IgnoredMessage: nobody asked, or not any more, or for other steps.
        """
        try:
            self._hear(peer, miner, message)
        except IgnoredMessage:
            self._count_unasked(miner)
            raise

    def _hear(self, peer: PeerId, miner: StakingId, message: OpenedSteps) -> None:
        subject = self._by_commitment.get(Digest(message.commitment))
        question = self._open.get(subject) if subject is not None else None
        asked = question.asked[Digest(message.commitment)] if question is not None else None
        if question is None or asked is None or asked.drawing.miner != miner or asked.shown is not None:
            raise IgnoredMessage("opened_steps.unasked")
        if not question.steps:
            raise IgnoredMessage("opened_steps.unasked")
        if message.reason is not None:
            asked.shown = StepsShown(DECLINED, message=encode(message))
        else:
            try:
                fingerprints = check_shown(message, question.steps, asked.root, question.count)
                asked.shown = StepsShown(OPENED, fingerprints, encode(message))
            except InvalidMessage as problem:
                asked.shown = StepsShown(WRONG, message=encode(message))
                self._core.judge_peer(peer, Offence.GRAVE, problem.rule)
        self._answered(asked)
        if all(one.shown is not None for one in question.asked.values()):
            self._core.emit(CancelTimer((TIMER, question.subject, 0)))
            self._end(question)

    def _answered(self, asked: Asked) -> None:
        """Wait for one answer less of a miner."""
        self._awaited[asked.drawing.miner] -= 1
        if not self._awaited[asked.drawing.miner]:
            del self._awaited[asked.drawing.miner]

    def _is_heard(self, miner: StakingId) -> bool:
        """Say whether a miner and we hear each other by the table of this epoch; by an older one nobody can tell."""
        core = self._core
        view = core.book.view(epoch_at(core.now, core.params))
        return view is not None and core.own_id() is not None and miner in view.table.miner_index

    def _end(self, question: Question) -> None:
        """Tell what was shown, and by whom nothing."""
        del self._open[question.subject]
        shown = dict(question.untold)
        for name, asked in question.asked.items():
            del self._by_commitment[name]
            if asked.shown is None:
                self._answered(asked)
            was_there = asked.asked_in > 0 and self._is_heard(asked.drawing.miner)
            missing = UNASKED if not question.steps else SILENT if was_there else AWAY
            shown[asked.place] = asked.shown or StepsShown(missing)
        later = self._later.pop(question.subject, None)
        if later is not None:
            self._put_off(question.subject, later)
        else:
            self._on_over(question.subject, shown)
