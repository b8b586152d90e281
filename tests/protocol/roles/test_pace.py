"""How often a coordinator speaks, however much it has to say."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from protocol.crypto.envelope import seal
from protocol.effects import Effect, Publish
from protocol.events import StreamOpened, TaskSubmitted
from protocol.gossip.admission import ACCEPTED, BURST_S
from protocol.gossip.quota import Quota
from protocol.roles.coordinator.bulletins import Boards
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.task.catalog import Catalog
from protocol.units import TaskId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import AwardNotice, Bulletin, Capability, CapabilityUpdate, Closure, ServedModel
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import (
    ALICE_ID,
    CAROL_ID,
    MODEL,
    NETWORK_ID,
    NOW,
    PARAMS,
    SPECIFICATION,
    hello,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat
from tests.support.networks import ALICE, BOB, CAROL

NAMES = ("first", "second", "third")
CATALOG = Catalog(models={name: MODEL.model_copy(update={"name": name}) for name in NAMES}, default="first")
LOAD_MS = 2500
"""So long does a message per topic and interval use up the burst that a quota allows."""
STEP_MS = PARAMS.publish_interval_ms // 2
LONGEST_MS = PARAMS.publish_interval_max_ms


class ThreeModels(CoordinatorSeat):
    """Carol's coordinator with a catalog of three models, all served by alice."""

    def __init__(self) -> None:
        super().__init__(miners=())
        self.identity = replace(self.identity, catalog=CATALOG)
        self.core = CoordinatorCore(self.identity, tuple)
        self.start()
        served = tuple(
            ServedModel(model=name, digest=MODEL.digest, warm=True, pixel_steps_per_s=10**7, max_batch=1)
            for name in NAMES
        )
        fields = {"miner": ALICE_ID, "sequence": 1, "expires_at": self.now + 60_000, "models": served}
        rest = {"free_places": 1, "places": 1, "price_floor": Wei(0), "addresses": ()}
        body = encode(Capability.model_validate(fields | rest))
        self.hear(StreamOpened(ALICE.peer_id))
        self.say(ALICE, hello(ALICE_ID))
        self.say(ALICE, CapabilityUpdate(body=body, signature=seal(ALICE, NETWORK_ID, body)))


def published(seat: ThreeModels, tasks_at_once: int = 1) -> list[Bulletin]:
    """Submit tasks for every model in every step, and give what is gossiped."""
    effects = []
    for step in range(LOAD_MS // STEP_MS):
        for request in range(tasks_at_once * len(NAMES)):
            work = SPECIFICATION.model_copy(update={"model": NAMES[request % len(NAMES)], "seed": step})
            effects += seat.hear(TaskSubmitted(1, work, True, None))
        effects += seat.wait(STEP_MS)
    return [effect.message for effect in effects if isinstance(effect, Publish)]


def verdicts(messages: list[Bulletin]) -> set[str]:
    """What another node says to all this at the moment at which it was sent."""
    judge = MinerSeat().core
    return {
        judge.judge(offers_topic(PARAMS.name, m.model), encode(m), CAROL.peer_id, UnixMillis(m.sent_at)).rule
        for m in messages
    }


def test_offers__of_three_models_under_load__all_come_and_none_meets_the_quota() -> None:
    messages = published(ThreeModels())
    assert verdicts(messages) == {ACCEPTED}
    for name in NAMES:
        times = [message.sent_at for message in messages if message.model == name and message.offers]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        longest = 2 * len(NAMES) * PARAMS.publish_interval_max_ms
        assert times[-1] - times[0] >= LOAD_MS - longest, "no gap at either end is longer than those between"
        assert max(gaps) <= longest
        assert len({offer.task for m in messages if m.model == name for offer in m.offers}) > 100


def test_offers__many_exclusions_in_one_flush__put_the_next_one_off() -> None:
    seat = ThreeModels()
    for _ in range(3):
        seat.hear(TaskSubmitted(1, SPECIFICATION.model_copy(update={"model": "first"}), True, None))
    for number, task in enumerate(seat.core._tasks.values()):
        task.excluded = frozenset({seat.number(BOB)}) if number == 1 else frozenset()
    effects = seat.wait(PARAMS.publish_interval_ms)
    seat.hear(TaskSubmitted(1, SPECIFICATION.model_copy(update={"model": "second"}), True, None))
    effects += seat.wait(100)
    sent = [effect.message.sent_at for effect in effects if isinstance(effect, Publish)]
    assert len(sent) == 3, "one more field, one more message"
    assert sent[0] == sent[1]
    assert sent[2] >= sent[0] + 2 * PARAMS.publish_interval_ms


@pytest.mark.parametrize("in_backlog", [False, True])
def test_published__many_messages_at_once__next_one_comes_no_sooner_than_the_quota_allows(in_backlog: bool) -> None:
    boards = Boards(PARAMS)
    boards.published(boards.board("first"), 20, 20, 0, NOW, in_backlog=in_backlog)
    assert boards.due_at == boards.due_early_at == NOW + 20 * PARAMS.publish_interval_ms


def test_published__more_wait_than_are_free__next_one_comes_as_late_as_may_be() -> None:
    boards = Boards(PARAMS)
    boards.published(boards.board("first"), 1, 1, 0, NOW, in_backlog=True)
    assert boards.due_at == NOW + PARAMS.publish_interval_max_ms
    boards.published(boards.board("first"), 1, 1, 0, NOW, in_backlog=False)
    assert boards.due_at == boards.due_early_at == NOW + PARAMS.publish_interval_max_ms // 2


def offered_at(effects: Iterable[Effect]) -> list[tuple[int, int]]:
    """When offers are published, and how many."""
    sent = [effect.message for effect in effects if isinstance(effect, Publish)]
    return [(message.sent_at, len(message.offers)) for message in sent if message.offers]


def backlog(seat: CoordinatorSeat, unpublished: int) -> bytes:
    """Make two tasks public for one free miner, the second now, and have so many more wait; gives the first."""
    first = seat.submit()
    assert offered_at(seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))) == [(seat.now, 1)]
    for _ in range(unpublished):
        assert offered_at(seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))) == []
    return first


@pytest.mark.parametrize(("unpublished", "after_ms"), [(2, LONGEST_MS), (3, LONGEST_MS // 2)])
def test_offers__more_wait_unpublished_than_are_public__come_in_half_the_longest_time(
    unpublished: int, after_ms: int
) -> None:
    seat = CoordinatorSeat()
    backlog(seat, unpublished)
    due = seat.now + after_ms
    assert offered_at(seat.wait(LONGEST_MS)) == [(due, unpublished)]


def test_offers__public_ones_are_taken_until_more_wait_unpublished__come_then() -> None:
    seat = CoordinatorSeat()
    first = backlog(seat, unpublished=2)
    assert offered_at(seat.wait(LONGEST_MS // 2 + 10)) == []
    assert offered_at(seat.say(ALICE, seat.claim(ALICE, first))) == [(seat.now, 2)]


def test_offers__public_ones_are_taken_before_half_the_longest_time_is_over__come_no_sooner() -> None:
    seat = CoordinatorSeat()
    first = backlog(seat, unpublished=2)
    due = seat.now + LONGEST_MS // 2
    assert offered_at(seat.say(ALICE, seat.claim(ALICE, first)) + seat.wait(LONGEST_MS)) == [(due, 2)]


def test_offers__of_a_long_queue__go_out_by_thousands_a_second_in_small_messages_and_none_meets_the_quota() -> None:
    seat = CoordinatorSeat()
    for _ in range(4000):
        seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))
    messages = [effect.message for effect in seat.wait(1000) if isinstance(effect, Publish)]
    assert len({offer.task for message in messages for offer in message.offers}) >= 2000
    assert max(len(encode(message)) for message in messages) <= 16 * 1024
    rules = {
        MinerSeat().core.judge(offers_topic(PARAMS.name, m.model), encode(m), CAROL.peer_id, UnixMillis(m.sent_at)).rule
        for m in messages[:: len(messages) // 8]
    }
    assert rules == {ACCEPTED}


class Load:
    """The boards of one coordinator under so many tasks a second, each with its offer, award and closure."""

    def __init__(self, tasks_per_s: int, models: int = 1, *, in_backlog: bool = False) -> None:
        self.in_backlog = in_backlog
        self.boards = Boards(PARAMS)
        self.quota = Quota(-(-1000 // PARAMS.publish_interval_ms), BURST_S, 1)
        self.tasks_per_s = tasks_per_s
        self.models = models
        self.now = NOW
        self.came = 0
        self.said = 0
        self.messages = 0
        self.refused = 0
        self.waited_ms = 0
        self._since: dict[TaskId, int] = {}

    def run(self, milliseconds: int, *, stalled: bool = False) -> None:
        """Let time pass; while stalled the node comes to nothing."""
        for _ in range(milliseconds):
            self.now = UnixMillis(self.now + 1)
            while self.came * 1000 < (self.now - NOW) * self.tasks_per_s:
                self._task()
            if not stalled and self.boards.due_at <= self.now:
                self._publish()

    def _task(self) -> None:
        task = TaskId(self.came.to_bytes(32, "big"))
        board = self.boards.board(NAMES[self.came % self.models])
        board.offers[task] = UnixMillis(0)
        board.awards.append(AwardNotice(task=task, attempt=0, winner=ALICE_ID))
        board.done.append(Closure(task=task, reason="done"))
        self._since[task] = self.now
        self.came += 1

    def _publish(self) -> None:
        board = self.boards.next()
        if board is None:
            return
        offers, (awards, closures) = self.boards.take_offers(board), self.boards.take_notices(board)
        notices = max(len(awards), len(closures))
        self.boards.published(board, 1, len(offers), notices, self.now, in_backlog=self.in_backlog)
        self.messages += 1
        self.refused += not self.quota.take(CAROL_ID, 1, self.now)
        self.waited_ms = max([self.waited_ms, *(self.now - self._since.pop(task) for task in offers)])
        self.said += len(offers)


@pytest.mark.parametrize("in_backlog", [False, True])
@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("tasks_per_s", [1, 50, 300, 550, 1000, 2000])
def test_pace__any_load_up_to_the_goal__keeps_up_within_the_quota(
    tasks_per_s: int, models: int, in_backlog: bool
) -> None:
    load = Load(tasks_per_s, models, in_backlog=in_backlog)
    load.run(10_000)
    assert load.waited_ms <= 2 * models * PARAMS.publish_interval_max_ms
    assert load.came - load.said <= tasks_per_s * load.waited_ms / 1000
    assert load.refused == 0
    assert load.messages <= load.came * 2 + 1


@pytest.mark.parametrize("tasks_per_s", [300, 600, 1200])
def test_pace__after_a_stall__works_the_queue_off_instead_of_growing_it(tasks_per_s: int) -> None:
    load = Load(tasks_per_s)
    load.run(1000)
    load.run(1000, stalled=True)
    load.run(1500)
    load.waited_ms = 0
    load.run(3000)
    assert load.waited_ms <= 2 * PARAMS.publish_interval_max_ms
    assert load.refused == 0


def test_pace__more_than_fits_for_a_minute__never_meets_the_quota() -> None:
    load = Load(5000)
    load.run(60_000)
    assert load.said >= 2000 * 60
    assert load.came - load.said > 10_000, "what waits is looked through for each message, so it is not far too much"
    assert load.refused == 0


def test_pace__one_model_crowded_and_one_half_full__does_not_slow_the_crowded_one_down() -> None:
    load = Load(0, models=2)
    load.boards._interval_ms = PARAMS.publish_interval_max_ms
    for step in range(2000):
        for number in range(3):
            load.boards.board(NAMES[0]).offers[TaskId((3 * step + number).to_bytes(32, "big"))] = UnixMillis(0)
        if step % 3 == 0:
            load.boards.board(NAMES[1]).offers[TaskId((10**6 + step).to_bytes(32, "big"))] = UnixMillis(0)
        load.now = UnixMillis(load.now + 1)
        board = load.boards.next()
        if board is not None and load.boards.due_at <= load.now:
            taken = load.boards.take_offers(board)
            load.boards.published(board, 1, len(taken), 0, load.now, in_backlog=False)
            load.said += len(taken) if board.model == NAMES[0] else 0
    assert load.said >= 2000 * 1.9, "two seconds, less the first messages"


def test_pace__some_load__packs_more_into_fewer_messages() -> None:
    load = Load(1500)
    load.run(5000)
    assert load.messages < 5000 / PARAMS.publish_interval_ms * 0.75
