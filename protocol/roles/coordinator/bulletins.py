"""Packing offers, awards and closures into few gossip messages. Spec: SPEC.md §8.3.

py-libp2p costs 1-4 ms of CPU per message and hop whatever its size up to about 16 KiB, so a coordinator sends at
once when it has been quiet for B, and else packs what comes within B. B doubles as long as a message of twice the
time would still hold what comes, and halves when more waits than a message holds, or little. While more tasks wait
than miners are free, nobody waits for an offer, and B is as long as it may be; but half of that where most of these
tasks are not public yet, since miners take them faster than they hear of new ones. It is one pace for all models
together, as the quota that others hold it to is one for all topics.
"""

import heapq
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

from protocol.params import Params
from protocol.units import TaskId, UnixMillis
from protocol.wire.messages import AwardNotice, Closure

MAX_NOTICES: Final = 64
"""Awards or closures in one message, as the wire format bounds them."""
SPARSE: Final = 0.25
"""Share of a message; with less in it the next comes sooner, since waiting saves little."""
HALF: Final = 0.5
"""Share of a message; with less in it the next may come later by as much again and still hold everything."""


@dataclass(slots=True)
class Board:
    """What waits to be published on the topic of one model."""

    model: str
    offers: dict[TaskId, UnixMillis] = field(default_factory=dict)
    """Tasks to offer, with their deadlines: the nearest goes first."""
    awards: list[AwardNotice] = field(default_factory=list)
    closures: list[Closure] = field(default_factory=list)
    """Ends that somebody may still claim a task of."""
    done: list[Closure] = field(default_factory=list)
    """Ends of awarded tasks: nobody claims these any more, so they make no message of their own for a while."""

    def is_pressing(self) -> bool:
        """Say whether somebody waits for what is to tell, or does in vain what it would spare them."""
        return bool(self.offers or self.awards or self.closures)

    def is_empty(self) -> bool:
        """Say whether there is nothing to tell."""
        return not (self.done or self.is_pressing())


class Boards:
    """One board for each model, created when first used; models are bounded by the catalog."""

    def __init__(self, params: Params) -> None:
        """Take the pace from the network's parameters."""
        self._params = params
        self._interval_ms = params.publish_interval_ms
        self._boards: dict[str, Board] = {}
        """The one that was published last stands last, so that each gets its turn."""
        self.due_at = UnixMillis(0)
        """From when on the next message may be published, on whatever topic."""
        self.due_early_at = UnixMillis(0)
        """The same where most of the tasks without a miner wait to be published."""

    @property
    def interval_ms(self) -> int:
        """B as it is now (ms)."""
        return self._interval_ms

    def offers(self) -> int:
        """Count the tasks that are to be offered and are not public yet."""
        return sum(len(board.offers) for board in self._boards.values())

    def board(self, model: str) -> Board:
        """Give the board of a model."""
        return self._boards.setdefault(model, Board(model))

    def next(self) -> Board | None:
        """Give the board whose turn it is, None when there is nothing pressing."""
        return next((board for board in self._boards.values() if board.is_pressing()), None)

    def press_done(self) -> bool:
        """Let the ends of awarded tasks wait no longer for other news; say whether there are any."""
        waiting = [board for board in self._boards.values() if board.done]
        for board in waiting:
            board.closures, board.done = [*board.closures, *board.done], []
        return bool(waiting)

    def _is_crowded(self, board: Board) -> bool:
        """Say whether more waits than one message holds."""
        notices = max(len(board.awards), len(board.closures) + len(board.done))
        return len(board.offers) > self._params.max_offers_per_message or notices > MAX_NOTICES

    def take_notices(self, board: Board) -> tuple[tuple[AwardNotice, ...], tuple[Closure, ...]]:
        """Take as many awards and closures as one message holds."""
        awards, board.awards = tuple(board.awards[:MAX_NOTICES]), board.awards[MAX_NOTICES:]
        closures, board.closures = tuple(board.closures[:MAX_NOTICES]), board.closures[MAX_NOTICES:]
        room = MAX_NOTICES - len(closures)
        done, board.done = tuple(board.done[:room]), board.done[room:]
        return awards, closures + done

    def take_offers(self, board: Board) -> tuple[TaskId, ...]:
        """Take as many offers as one message holds, those with the nearest deadlines."""
        most = self._params.max_offers_per_message
        taken = tuple(board.offers)
        if len(taken) > most:
            taken = tuple(task for task, _ in heapq.nsmallest(most, board.offers.items(), key=itemgetter(1)))
        for task in taken:
            del board.offers[task]
        return taken

    def published(
        self, board: Board, messages: int, offers: int, notices: int, now: UnixMillis, *, in_backlog: bool
    ) -> None:
        """Remember a publication of so many messages at once, and let the pace follow the load.

        Args:
            board: What of its contents was not taken waits on.
            messages: How many went out together.
            offers: How many offers they held.
            notices: How many awards or closures, whichever were more.
            now: The present moment.
            in_backlog: Whether more tasks wait than miners are free.
        """
        params = self._params
        full = max(offers / params.max_offers_per_message, notices / MAX_NOTICES)
        if not board.is_empty() or any(self._is_crowded(waiting) for waiting in self._boards.values()):
            # Packing more is not possible: waiting longer would only make the queue grow.
            self._interval_ms = max(self._interval_ms // 2, params.publish_interval_ms)
        elif in_backlog:
            self._interval_ms = params.publish_interval_max_ms
        elif full < SPARSE:
            self._interval_ms = max(self._interval_ms // 2, params.publish_interval_ms)
        elif full < HALF:
            self._interval_ms = min(self._interval_ms * 2, params.publish_interval_max_ms)
        least_ms = messages * params.publish_interval_ms
        self.due_at = UnixMillis(now + max(least_ms, self._interval_ms))
        early_ms = self._interval_ms // 2 if in_backlog else self._interval_ms
        self.due_early_at = UnixMillis(now + max(least_ms, early_ms))
        self._boards[board.model] = self._boards.pop(board.model)
