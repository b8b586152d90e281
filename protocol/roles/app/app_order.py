"""One order of an app, from coordinator to coordinator, until it has its picture. A pure state machine.

The app is with one coordinator at a time. It says to one alone that it takes the picture, and owes to nobody
else; so an order is delivered once at most, whoever dies when. One that falls silent gets a while to come back, so that
work is not done twice either where that can be helped. Spec: SPEC.md §9.9.
"""

import hashlib
from collections import Counter, deque
from dataclasses import replace
from enum import Enum
from typing import Final, final

from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.roles.app.app_events import (
    AwardChecked,
    CheckAward,
    Drawn,
    Due,
    Find,
    Found,
    GivenUp,
    KeySealed,
    LinkDown,
    LinkUp,
    Moved,
    Open,
    OrderEffect,
    OrderEvent,
    Said,
    Say,
    SendInputs,
    Tell,
    WakeAt,
)
from protocol.roles.app.order_ends import AGAIN, ELSEWHERE, FINAL_FAILURES, UNPAID_FAILURES, printable
from protocol.roles.app.order_seal import OrderSeal
from protocol.task.receipt import receipt_problems
from protocol.units import Digest, DurationMs, PeerId, TaskId, UnixMillis
from protocol.wire.app_messages import (
    AnyOrder,
    OrderAccepted,
    OrderCancelled,
    OrderDone,
    OrderInputsWanted,
    OrderNews,
    OrderRefused,
    OrderTaken,
)
from protocol.wire.codec import RECEIPT_PLACE, decode
from protocol.wire.sealed_messages import OrderAwarded, OrderKey, OrderRejection, OrderSealed, ShownAward

PATIENCE_MS: Final = DurationMs(17_000)
"""How long (ms) a coordinator that is gone is waited for: as long as it keeps the task, and till either end notices."""
OPEN_MS: Final = 15_000
"""How long (ms) a coordinator may take to be reached."""
ANSWER_MS: Final = 15_000
"""How long (ms) one may take to say whether it takes an order: it waits for its disk, and other calls with this key."""
REDIAL_MS: Final = 500
"""Pause (ms) before a coordinator that is gone is tried again; one that is started again takes two seconds."""
LOOK_AGAIN_MS: Final = 2_000
"""Pause (ms) before coordinators are looked up again, where none is left."""
SEEK_MS: Final = 40_000
"""How long (ms) an order may be with nobody before it is given up."""
HELD_MS: Final = 1_200_000
"""How long (ms) a coordinator may have an order, however often it takes it anew: twice what a task lives."""
ORDER_MS: Final = 3_600_000
"""How old (ms) an order may be when it goes to yet another coordinator."""
MOST_WINNERS: Final = 24
"""Miners that may have the key of a sealed order at one coordinator: an honest one's attempts end before that."""
MAX_LOSSES: Final = 8
"""How often one may be gone before it is left, however soon it comes back."""
TAKEN_MS: Final = 600_000
"""How long (ms) the one coordinator that was told to deliver is waited for: it may be started again by hand."""


class Phase(Enum):
    """Where an order stands."""

    SEEKING = "seeking"
    OPENING = "opening"
    ASKED = "asked"
    HELD = "held"
    LOST = "lost"
    ENDED = "ended"


@final
class AppOrder:
    """Call ``begin`` once, then ``handle`` for each event."""

    def __init__(self, order: AnyOrder, patience_ms: DurationMs = PATIENCE_MS, seal: OrderSeal | None = None) -> None:
        """Bring ``order`` to its end; a coordinator that is gone has ``patience_ms`` to come back.

        A sealed one is opened with its ``seal``.
        """
        self._order = order
        self._seal = seal
        self._key: tuple[TaskId, OrderKey] | None = None
        """What the last winner was told, and of which task."""
        self._last_asked: tuple[TaskId, int] | None = None
        """Task and attempt of the award that was looked up last, or still is."""
        self._winners: Counter[PeerId] = Counter()
        """How many awards of each coordinator were looked up, to give each winner the key."""
        self._opened: tuple[Digest, bytes] | None = None
        """SHA-256 of the sealed picture that we took last, and the picture."""
        self._patience_ms = patience_ms
        self.phase = Phase.SEEKING
        self.peer: PeerId | None = None
        """With whom it is, or was last."""
        self.taken_by: PeerId | None = None
        """Who was told that the picture is taken from him."""
        self._task: TaskId | None = None
        self._left: deque[PeerId] = deque()
        self._since = UnixMillis(0)
        """Since when it is with nobody."""
        self._begun = UnixMillis(0)
        self._held_until: UnixMillis | None = None
        """Until when its coordinator may have it, once that one has taken it."""
        self._lost_at = UnixMillis(0)
        """When its coordinator was gone first since it last had the order."""
        self._losses = 0
        self._may_send = False
        """Whether the pictures that it begins from did not go out since its coordinator was told of it last."""
        self._why = GivenUp(
            "no_coordinator", "no coordinator was found: is the entry point right, and of the network that was named?"
        )
        self._may_pass = False
        """Whether what stood in the way of the last round of coordinators may pass."""
        self._effects: list[OrderEffect] = []
        self._now = UnixMillis(0)

    def begin(self, now: UnixMillis) -> tuple[OrderEffect, ...]:
        """Look for coordinators."""
        self._begun = self._since = self._now = now
        self._emit(Find(), WakeAt(UnixMillis(now + SEEK_MS)))
        return tuple(self._effects)

    def handle(self, event: OrderEvent, now: UnixMillis) -> tuple[OrderEffect, ...]:
        """Take one event. Nothing that a coordinator says raises."""
        self._now, self._effects = now, []
        if self.phase is not Phase.ENDED:
            match event:
                case Found(peers=peers):
                    self._on_found(peers)
                case LinkUp(peer=peer) if peer == self.peer and self.phase in {Phase.OPENING, Phase.LOST}:
                    self.phase = Phase.ASKED if self._task is None else Phase.LOST
                    self._may_send = True
                    self._emit(Say(peer, self._order))
                    self._wake(ANSWER_MS)
                case LinkDown(peer=peer) if peer == self.peer:
                    self._on_down(peer)
                case Said(peer=peer) if peer == self.peer:
                    self._on_said(peer, event)
                case AwardChecked(peer=peer) if peer == self.peer:
                    self._on_checked(event)
                case Due():
                    self._on_due()
                case _:
                    pass  # of a coordinator that we are with no more
        return tuple(self._effects)

    def _emit(self, *effects: OrderEffect) -> None:
        self._effects.extend(effects)

    def _wake(self, after_ms: int) -> None:
        self._emit(WakeAt(UnixMillis(self._now + after_ms)))

    def _end(self, effect: Drawn | GivenUp) -> None:
        self.phase = Phase.ENDED
        self._emit(effect)

    # Finding a coordinator.
    def _on_found(self, peers: tuple[PeerId, ...]) -> None:
        if self.phase is Phase.SEEKING:
            self._left = deque(peers)
            self._may_pass = not peers
            self._next()

    def _next(self) -> None:
        """Go on to the next coordinator, or look for more in a while."""
        self._task, self._losses, self._held_until = None, 0, None
        is_over = self._now - self._since >= SEEK_MS or self._now - self._begun >= ORDER_MS
        if is_over or not (self._left or self._may_pass):
            self._end(self._why)
        elif self._left:
            self.phase, self.peer = Phase.OPENING, self._left.popleft()
            self._emit(Open(self.peer))
            self._wake(OPEN_MS)
        else:
            self.phase, self.peer = Phase.SEEKING, None
            self._wake(LOOK_AGAIN_MS)

    def _leave(self, why: GivenUp, *, may_pass: bool) -> None:
        """Leave a coordinator that does not draw it."""
        self._emit(Moved(self.peer, f"{why.code}: {why.detail}" if why.detail else why.code))
        self._why = why
        self._may_pass = self._may_pass or may_pass
        self._next()

    # A coordinator that comes and goes.
    def _on_down(self, peer: PeerId) -> None:
        match self.phase:
            case Phase.OPENING:
                self._leave(GivenUp("no_coordinator", f"coordinator {peer} cannot be reached"), may_pass=True)
            case Phase.ASKED | Phase.HELD:
                # It may have taken the order, and be back in a moment.
                self._lost_at = self._now if not self._losses or self.phase is Phase.HELD else self._lost_at
                self.phase, self._losses = Phase.LOST, self._losses + 1
                self._emit(Moved(peer, "the coordinator is gone; waiting for it"))
                self._wake(REDIAL_MS)
            case Phase.LOST:
                self._wake(REDIAL_MS)
            case _:
                pass

    def _on_due(self) -> None:
        match self.phase:
            case Phase.SEEKING if self._now - self._since >= SEEK_MS:
                self._end(self._why)
            case Phase.SEEKING:
                self._emit(Find())
                self._wake(SEEK_MS)
            case Phase.HELD | Phase.LOST if self._held_until is not None and self._now >= self._held_until:
                self._leave_for_good()
            case Phase.OPENING | Phase.ASKED | Phase.HELD if self.peer is not None:
                self._on_down(self.peer)
            case Phase.LOST:
                self._wait_or_leave()
            case _:
                pass

    def _wait_or_leave(self) -> None:
        """Try a coordinator that is gone again, until patience ends: with whom has our word, that is a long time."""
        assert self.peer is not None, "lost is somebody"
        away_ms = self._now - self._lost_at
        if self.taken_by is not None:
            if away_ms >= TAKEN_MS:
                detail = f"coordinator {self.peer} was told to deliver and is gone: it may have paid for the picture"
                self._end(GivenUp("in_doubt", detail))
                return
        elif away_ms >= self._patience_ms or self._losses > MAX_LOSSES:
            self._since = self._now
            self._leave(GivenUp("no_coordinator", f"coordinator {self.peer} is gone"), may_pass=True)
            return
        self._emit(Open(self.peer))
        self._wake(OPEN_MS)

    def _leave_for_good(self) -> None:
        """A coordinator has had the order for as long as any may, whatever it said meanwhile."""
        assert self.peer is not None, "held by somebody"
        detail = f"coordinator {self.peer} has had it for {HELD_MS // 60_000} minutes"
        if self.taken_by is not None:
            self._end(GivenUp("in_doubt", f"{detail}, and was told to deliver: it may have paid for the picture"))
            return
        self._emit(Say(self.peer, OrderCancelled(order=self._order.order)))
        self._since = self._now
        self._leave(GivenUp("timeout", detail), may_pass=False)

    # What a coordinator says.
    def _on_said(self, peer: PeerId, said: Said) -> None:
        match said.message:
            case OrderAccepted(task=task):
                self.phase, self._task = Phase.HELD, task
                self._emit(Tell(peer, said.message))
                if self._key is not None and self._key[0] == task:
                    self._emit(Say(peer, self._key[1]))  # it was started again, and may not have passed it on
                self._hold()
            case OrderInputsWanted() if self.phase is Phase.ASKED and self._may_send:
                self._may_send = False
                self._emit(SendInputs(peer))
                self._hold()
            case OrderRefused(code=code, detail=detail):
                self._on_refused(GivenUp(code, printable(detail)))
            case OrderAwarded(shown=shown) if self.phase is Phase.HELD and self._seal is not None:
                self._on_awarded(peer, shown, self._seal)
            case OrderSealed() if self.phase is Phase.HELD and self._seal is not None:
                self._on_sealed(peer, said.message, said.picture, self._seal)
            case OrderNews(stage="ready") if self._seal is not None:
                pass  # it comes sealed, or not at all
            case OrderNews(stage="ready") if self.phase is Phase.HELD:
                self.taken_by = peer
                self._emit(Say(peer, OrderTaken(order=self._order.order)), Tell(peer, said.message))
            case OrderNews(stage="failed", reason=reason) if self.phase is Phase.HELD:
                self._on_failed(reason or "unknown")
            case OrderNews() if self.phase is Phase.HELD:
                self._emit(Tell(peer, said.message))
            case OrderDone() if self.phase is Phase.HELD:
                self._on_done(peer, said.message, said.picture)
            case _:
                pass  # before it took the order

    def _hold(self) -> None:
        self._held_until = self._held_until or UnixMillis(self._now + HELD_MS)
        self._emit(WakeAt(self._held_until))

    def _on_refused(self, why: GivenUp) -> None:
        if self.phase is Phase.LOST or self.taken_by is not None:
            # It took the order once, and stops or has just begun: it keeps what it took.
            self._lost_at = self._lost_at if self.phase is Phase.LOST else self._now
            self.phase = Phase.LOST
            self._wake(REDIAL_MS)
        elif self.phase is Phase.ASKED and why.code in AGAIN | ELSEWHERE:
            self._since = self._now if self._held_until is not None else self._since  # it was sent our pictures
            self._leave(why, may_pass=why.code in AGAIN)
        elif self.phase is Phase.ASKED:
            self._end(replace(why, is_ours_to_mend=True))

    def _on_failed(self, reason: str) -> None:
        """The task ended without a picture; where nobody was paid, the order is free to go elsewhere."""
        may_be_paid = self.taken_by is not None and reason not in UNPAID_FAILURES
        self.taken_by = None
        self._since = self._now
        why = GivenUp(reason, "the task ended without a picture")
        if reason in FINAL_FAILURES or may_be_paid:
            self._end(why)
        else:
            self._leave(why, may_pass=False)

    def _on_done(self, peer: PeerId, done: OrderDone, picture: bytes) -> None:
        taken = self._opened if self._seal is not None else (done.artifact, picture)
        if taken is not None and taken[0] == done.artifact and self._is_as_promised(done, picture):
            self._end(Drawn(peer, done, taken[1], picture))
        else:
            self._end(GivenUp("wrong_picture", f"coordinator {peer} delivered what its receipt does not name"))

    def _is_as_promised(self, done: OrderDone, picture: bytes) -> bool:
        """Say whether the bytes, their digest and the receipt are of one picture, and of this task."""
        if hashlib.sha256(picture).digest() != done.artifact or done.task != self._task:
            return False
        try:
            receipt = decode(done.receipt, RECEIPT_PLACE)
        except (InvalidMessage, IgnoredMessage):
            return False
        return receipt.statement.task == done.task and not any(
            receipt_problems(receipt, domain=None, coordinator=None, artifact=picture)
        )

    # A sealed order.
    def _on_awarded(self, peer: PeerId, shown: ShownAward, seal: OrderSeal) -> None:
        """A miner waits for the key: it gets it once we know that it may have it, for each award the same."""
        award = shown.award
        if award.task != self._task:
            return
        if self._last_asked is not None and self._last_asked[0] == award.task and self._last_asked[1] >= award.attempt:
            if self._key is not None and (self._key[0], self._key[1].attempt) == (award.task, award.attempt):
                self._emit(Say(peer, self._key[1]))
            return
        # Counted before it is looked up, and not by task: a coordinator may show many at once, and name many tasks.
        if self._winners[peer] >= MOST_WINNERS:
            self._refuse_award(peer, f"shown.winners: {MOST_WINNERS} miners have had the key")
            return
        try:
            seal.check(peer, shown, self._now)
        except InvalidMessage as problem:
            self._refuse_award(peer, str(problem))
        else:
            self._winners[peer] += 1
            self._last_asked = (award.task, award.attempt)
            self._emit(CheckAward(peer, shown))

    def _on_checked(self, event: AwardChecked) -> None:
        """It is known as far as it can be to whom the award went."""
        award = event.shown.award
        if self._seal is None or award.task != self._task or self._last_asked != (award.task, award.attempt):
            return  # it has gone to another since
        if event.problem is not None:
            self._refuse_award(event.peer, event.problem)
            return
        try:
            key = self._seal.key_for(event.shown, self._now)
        except InvalidMessage as problem:
            self._refuse_award(event.peer, str(problem))
            return
        self._key = (award.task, key)
        self._emit(Say(event.peer, key), KeySealed(event.peer, award.miner, award.attempt, event.found))

    def _refuse_award(self, peer: PeerId, problem: str) -> None:
        """Leave a coordinator that gave our order to whom it may not, or does not show to whom."""
        self._emit(Say(peer, OrderCancelled(order=self._order.order)))
        self._leave(GivenUp("award_refused", printable(problem)), may_pass=False)

    def _on_sealed(self, peer: PeerId, message: OrderSealed, sealed: bytes, seal: OrderSeal) -> None:
        """A sealed picture is here: we give our word where it is what we ordered."""
        if message.task != self._task:
            return
        try:
            picture = seal.open(message, sealed)
        except InvalidMessage as problem:
            self._emit(
                Say(peer, OrderRejection(order=self._order.order, attempt=message.attempt)),
                Moved(peer, printable(f"what came cannot be used: {problem}")),
            )
            return
        self.taken_by, self._opened = peer, (message.artifact, picture)
        news = OrderNews(order=self._order.order, stage="ready", attempt=message.attempt)
        self._emit(Say(peer, seal.accept(message)), Tell(peer, news))
