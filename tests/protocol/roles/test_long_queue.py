"""What a miner can do as often as it likes costs a coordinator no more when many tasks wait."""

import sys
from collections.abc import Callable

import pytest

from protocol.crypto.keys import NodeKey
from protocol.effects import SendEncoded
from protocol.events import Event, StreamClosed, StreamOpened, StreamReceived, TaskSubmitted
from protocol.records import TaskAccepted, TaskAwarded
from protocol.roles.coordinator.awarding import PLACES_PACE_MS
from protocol.wire.codec import encode
from protocol.wire.messages import Award
from tests.protocol.roles.frames import ALICE_ID, BOB_ID, PARAMS, SPECIFICATION, artifact_of, capability, result_of
from tests.protocol.roles.seats import CoordinatorSeat, of_kind, persisted
from tests.support.networks import ALICE, BOB

FEW, MANY = 5, 300


def waiting(count: int) -> CoordinatorSeat:
    """So many tasks wait, and alice has one more."""
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    seat.award()
    for _ in range(count):
        seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))
    seat.wait(1000)
    return seat


def calls(seat: CoordinatorSeat, event: Event) -> int:
    """Count the calls that one event costs."""
    count = 0

    def on_call(_frame: object, what: str, _argument: object) -> None:
        nonlocal count
        count += what == "call"

    sys.setprofile(on_call)
    try:
        seat.core.handle(event, seat.now)
    finally:
        sys.setprofile(None)
    return count


def no_place(seat: CoordinatorSeat) -> Event:
    said = capability(ALICE, ALICE_ID, sequence=seat.now + 1, expires_at=seat.now + 60_000, free=0)
    return StreamReceived(ALICE.peer_id, encode(said))


@pytest.mark.parametrize(
    "event", [lambda _: StreamOpened(ALICE.peer_id), lambda _: StreamClosed(ALICE.peer_id), no_place]
)
def test_handle__what_a_miner_may_repeat__costs_the_same_however_many_tasks_wait(
    event: Callable[[CoordinatorSeat], Event],
) -> None:
    few, many = waiting(FEW), waiting(MANY)
    assert (few.core.waiting(), many.core.waiting()) == (FEW + 1, MANY + 1)
    assert calls(many, event(many)) <= calls(few, event(few)) + 10


class Contest(CoordinatorSeat):
    """Alice and bob with places to spare; bob claims behind alice."""

    def __init__(self) -> None:
        super().__init__(miners=(ALICE, BOB))
        self.said, self.said_at = self.now + 1, self.now
        self.says(BOB, 8)

    def says(self, miner: NodeKey, free: int) -> list[Award]:
        """A miner says how many places are free; gives what that has awarded."""
        self.said += 1
        number = self.number(miner)
        word = capability(miner, number, sequence=self.said, expires_at=self.now + 60_000, places=8, free=free)
        return of_kind(self.say(miner, word), Award)

    def contest(self) -> None:
        """Alice says that she has no place, and that she has; bob claims in his slot behind her, and waits for her."""
        self.says(ALICE, 8)
        while True:
            task = self.submit()
            known = self.core.task(task)  # type: ignore[arg-type]
            assert known is not None
            if known.open is not None and known.open.order == (ALICE_ID, BOB_ID):
                break
        known.open.allowance_ms = 1000
        self.says(ALICE, 0)
        self.said_at = self.now
        self.says(ALICE, 8)
        self.wait(PARAMS.slot_step_ms - 20)
        assert of_kind(self.say(BOB, self.claim(BOB, task)), Award) == []


def test_no_place__said_again_at_once__is_heeded_at_a_pace() -> None:
    seat = Contest()
    seat.contest()
    assert seat.says(ALICE, 0) == []
    assert of_kind(seat.wait(seat.said_at + PLACES_PACE_MS - seat.now - 1), Award) == []
    (award,) = of_kind(seat.wait(1), Award)
    assert award.statement.miner == BOB_ID


def test_no_place__taken_back_within_the_pace__is_waited_for_again() -> None:
    seat = Contest()
    seat.contest()
    seat.says(ALICE, 0)
    seat.says(ALICE, 8)
    assert of_kind(seat.wait(2 * PLACES_PACE_MS), Award) == []


def test_holdings__of_tasks_that_ended__are_forgotten() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    award = seat.award()
    holdings = seat.core._settlement.holdings
    assert holdings.of(ALICE_ID) == (award.statement.task,)
    seat.say(ALICE, result_of(award))
    seat.hear(artifact_of(award))
    assert holdings.of(ALICE_ID) == ()
    assert not holdings._by_miner


def test_stream__closed_and_opened_again__claims_of_before_are_void() -> None:
    seat = Contest()
    seat.contest()
    seat.hear(StreamClosed(BOB.peer_id))
    seat.greet(BOB)
    seat.wait(PLACES_PACE_MS)
    assert seat.says(ALICE, 0) == []


def test_restart__miner_with_an_award_is_back__is_told_through_its_new_stream() -> None:
    seat = CoordinatorSeat()
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None)) + seat.wait(20)
    task = persisted(effects, TaskAccepted)[0].task
    effects += seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300)
    (award,) = of_kind(effects, Award)
    after = CoordinatorSeat((*persisted(effects, TaskAccepted), *persisted(effects, TaskAwarded)))
    done = after.say(ALICE, result_of(award)) + after.hear(artifact_of(award))
    assert [e.peer for e in done if isinstance(e, SendEncoded)] == [ALICE.peer_id]
