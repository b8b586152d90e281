"""What a coordinator's service of apps does with sealed orders, over the real desk."""

import hashlib

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from node.apps.app_service import AppService
from node.desk_ports import FetchInputs, Placed
from protocol.effects import Accepted, Refused, Stage, Update
from protocol.events import Acceptance, AppReturned, KeyGiven, PictureRejected, TaskTaken
from protocol.records import ArtifactStored
from protocol.units import Digest, PeerId, StakingId, TaskId
from protocol.wire.app_messages import AnyOrder, OrderAccepted, OrderDone, OrderNews
from protocol.wire.sealed_messages import (
    OrderAcceptance,
    OrderAwarded,
    OrderKey,
    OrderRejection,
    OrderSealed,
)
from tests.protocol.roles.sealing import NAME, ORDER, SEALED, Shown
from tests.support.app_link import MemoryLink
from tests.support.clock import HandClock
from tests.support.desk import MINER, Workbench
from tests.support.journal import RecordingJournal
from tests.support.records import NOW

SHOWN = Shown().shown
CIPHERTEXT = b"what nobody here can read" * 40
ARTIFACT = Digest(hashlib.sha256(CIPHERTEXT).digest())
CLAIMED = Update(Stage.CLAIMED, NOW, 0, MINER, award=SHOWN)
READY = Update(Stage.READY, NOW, 0, MINER, artifact=ARTIFACT)


class Service(AppService):
    """Hands sealed orders in as they are."""

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench.desk, self._place, HandClock(NOW), RecordingJournal())

    async def _place(self, order: AnyOrder, peer: PeerId, address: str, _: FetchInputs) -> Placed | Refused:
        answer = await self.desk.submit(
            SEALED, detached=True, idempotency_key=f"{peer} {order.order.hex()}", account=address, collected=True
        )
        return Placed(answer.task, SEALED) if isinstance(answer, Accepted) else answer


class SealedBench(Workbench):
    """Its tasks wait until the test says what becomes of them."""

    def __init__(self) -> None:
        super().__init__(draws=False, picture=CIPHERTEXT)


@pytest.fixture
def bench() -> SealedBench:
    return SealedBench()


@pytest.fixture
def service(bench: SealedBench) -> Service:
    return Service(bench)


async def accepted(service: Service, nursery: trio.Nursery) -> tuple[MemoryLink, TaskId]:
    link = MemoryLink()
    nursery.start_soon(link.serve, service)
    link.say(ORDER)
    message = await link.hear()
    assert isinstance(message, OrderAccepted)
    return link, message.task


async def test_serve__sealed_order_is_awarded__shows_the_award_and_hands_the_key_on(
    service: Service, bench: SealedBench, nursery: trio.Nursery
) -> None:
    link, task = await accepted(service, nursery)
    bench.desk.deliver(task, CLAIMED)
    assert await link.hear_until("order_awarded") == OrderAwarded(order=NAME, shown=SHOWN)
    link.say(OrderKey(order=NAME, attempt=0, award=b"a" * 32, sealed_key=b"k" * 80))
    await wait_all_tasks_blocked()
    assert bench.heard_of_app == [AppReturned(task), KeyGiven(task, 0, Digest(b"a" * 32), b"k" * 80)]


async def test_serve__sealed_picture_is_ready__is_sent_before_the_word_and_again_after_it(
    service: Service, bench: SealedBench, nursery: trio.Nursery
) -> None:
    link, task = await accepted(service, nursery)
    await bench.store.persist((ArtifactStored(ARTIFACT, CIPHERTEXT),))
    bench.desk.deliver(task, READY)
    shown = await link.hear_until("order_sealed")
    assert shown == OrderSealed(
        order=NAME, task=task, attempt=0, artifact=ARTIFACT, media_type="image/png", size=len(CIPHERTEXT)
    )
    assert link.pictures[NAME] == CIPHERTEXT
    link.say(OrderAcceptance(order=NAME, attempt=0, signature=b"s" * 65))
    done = await link.hear_until("order_done")
    assert isinstance(done, OrderDone)
    assert TaskTaken(task, Acceptance(link.peer, 0, b"s" * 65)) in bench.heard_of_app


async def test_serve__sealed_picture_is_rejected__is_handed_on(
    service: Service, bench: SealedBench, nursery: trio.Nursery
) -> None:
    link, task = await accepted(service, nursery)
    link.say(OrderRejection(order=NAME, attempt=0))
    await wait_all_tasks_blocked()
    assert bench.heard_of_app[-1] == PictureRejected(task, 0)


async def test_serve__sealed_picture_that_has_expired__is_not_announced(
    service: Service, bench: SealedBench, nursery: trio.Nursery
) -> None:
    link, task = await accepted(service, nursery)
    bench.desk.deliver(task, READY)
    bench.desk.deliver(task, Update(Stage.FAILED, NOW, reason="not_taken"))
    told = await link.hear_until("order_news")
    while isinstance(told, OrderNews) and told.stage == "queued":
        told = await link.hear_until("order_news")
    assert isinstance(told, OrderNews)
    assert told.stage == "failed"


async def test_serve__app_comes_back_while_its_key_is_awaited__is_shown_the_award_again(
    service: Service, bench: SealedBench, nursery: trio.Nursery
) -> None:
    first, task = await accepted(service, nursery)
    bench.desk.deliver(task, CLAIMED)
    await first.hear_until("order_awarded")
    first.leave()
    second, _ = await accepted(service, nursery)
    assert await second.hear_until("order_awarded") == OrderAwarded(order=NAME, shown=SHOWN)


@pytest.mark.parametrize(
    "later",
    [Update(Stage.QUEUED, NOW, 0), Update(Stage.CLAIMED, NOW, 1, StakingId(2)), READY],
    ids=["taken back", "another has it", "drawn"],
)
async def test_deliver__award_is_over__is_kept_no_more(bench: SealedBench, later: Update) -> None:
    task = TaskId(b"t" * 32)
    bench.desk.deliver(task, CLAIMED)
    bench.desk.deliver(task, Update(Stage.PROGRESS, NOW, 0, MINER, reason="queued"))
    kept = [update.award for update in bench.desk._stories[task]]
    assert SHOWN in kept
    bench.desk.deliver(task, later)
    assert SHOWN not in [update.award for update in bench.desk._stories[task]]


async def test_serve__app_on_the_line_gives_no_key__is_held_against_it(
    service: Service, bench: SealedBench, nursery: trio.Nursery
) -> None:
    link, task = await accepted(service, nursery)
    bench.desk.deliver(task, CLAIMED)
    bench.desk.deliver(task, Update(Stage.FAILED, NOW, reason="app_gone"))
    while (told := await link.hear()) and not (isinstance(told, OrderNews) and told.stage == "failed"):
        pass
    await wait_all_tasks_blocked()
    assert link.blamed == ["submit.app_gone"]
