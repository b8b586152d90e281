"""A coordinator's service of apps that come over the overlay, over the real desk."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from node.apps import app_service
from node.apps.app_service import AppService
from node.apps.content_review import ReviewedDesk
from node.desk_ports import Desk, FetchInputs, Placed
from protocol.effects import Accepted, Refused, Stage, Update
from protocol.errors import Unavailable
from protocol.events import AppLeft, AppReturned, TaskTaken
from protocol.units import Digest, PeerId
from protocol.wire.app_messages import Order, OrderAccepted, OrderCancelled, OrderDone, OrderNews, OrderRefused
from protocol.wire.app_messages import OrderTaken as Taken
from protocol.wire.messages import TaskSpecification
from tests.protocol.roles.frames import SPECIFICATION
from tests.support.app_link import MemoryLink
from tests.support.clock import HandClock
from tests.support.desk import PRICE, Workbench
from tests.support.journal import RecordingJournal
from tests.support.records import NOW

NAME = b"o" * 16
ORDER = Order(order=NAME, prompt="a red heart", seed=7)


class Service(AppService):
    """Hands orders in as they are, under their own names."""

    def __init__(self, bench: Workbench, desk: Desk | None = None) -> None:
        self.bench = bench
        self.notes = RecordingJournal()
        super().__init__(desk or bench.desk, self._place, HandClock(NOW), self.notes)

    async def _place(self, order: Order, peer: PeerId, address: str, fetch: FetchInputs) -> Placed | Refused:
        inputs = await fetch(order) if order.inputs else {}
        if inputs is None:
            return Refused("timeout", "the pictures did not arrive")
        answer = await self.desk.submit(
            SPECIFICATION,
            detached=True,
            idempotency_key=f"{peer} {order.order.hex()}",
            account=address,
            collected=True,
            inputs=inputs,
        )
        return Placed(answer.task, SPECIFICATION) if isinstance(answer, Accepted) else answer


@pytest.fixture
def bench() -> Workbench:
    return Workbench()


@pytest.fixture
def service(bench: Workbench) -> Service:
    return Service(bench)


@pytest.fixture
def app(service: Service, nursery: trio.Nursery) -> MemoryLink:
    link = MemoryLink()
    nursery.start_soon(link.serve, service)
    return link


async def test_serve__order__is_told_until_it_is_ready_and_ends_on_the_apps_word(
    app: MemoryLink, bench: Workbench, service: Service
) -> None:
    app.say(ORDER)
    accepted = await app.hear()
    assert isinstance(accepted, OrderAccepted)
    assert (accepted.order, accepted.price) == (NAME, PRICE)
    assert await app.hear() == OrderNews(order=NAME, stage="queued", attempt=0)
    ready = await app.hear()
    assert isinstance(ready, OrderNews)
    assert ready.stage == "ready"
    assert not bench.ends
    app.say(Taken(order=NAME))
    done = await app.hear_until("order_done")
    assert isinstance(done, OrderDone)
    assert done.task == accepted.task
    assert app.pictures[NAME] == await bench.desk.artifact(done.artifact)
    assert bench.heard_of_app == [AppReturned(accepted.task), TaskTaken(accepted.task)]
    await trio.testing.wait_all_tasks_blocked()
    assert not service.followed_by


class Refusing:
    """Refuses every prompt, or every picture."""

    async def refuse_prompt(self, specification: TaskSpecification) -> str | None:
        await trio.lowlevel.checkpoint()
        return "no hearts"

    async def refuse_picture(self, picture: bytes) -> str | None:
        await trio.lowlevel.checkpoint()
        return "no hearts"


async def test_serve__prompt_that_the_operator_refuses__is_told_with_the_reason(
    bench: Workbench, nursery: trio.Nursery
) -> None:
    link = MemoryLink()
    desk = ReviewedDesk(bench.desk, (Refusing(),), (), RecordingJournal())
    nursery.start_soon(link.serve, Service(bench, desk))
    link.say(ORDER)
    detail = "content policy: no hearts"
    assert await link.hear() == OrderRefused(order=NAME, code="content_policy_violation", detail=detail)
    assert not bench.accepted


async def test_serve__picture_that_the_operator_withholds__is_told_as_failed_and_not_sent(
    bench: Workbench, nursery: trio.Nursery
) -> None:
    link = MemoryLink()
    desk = ReviewedDesk(bench.desk, (), (Refusing(),), RecordingJournal())
    nursery.start_soon(link.serve, Service(bench, desk))
    link.say(ORDER)
    ready = await link.hear_until("order_news")
    while isinstance(ready, OrderNews) and ready.stage != "ready":
        ready = await link.hear_until("order_news")
    link.say(Taken(order=NAME))
    told = await link.hear_until("order_news")
    while isinstance(told, OrderNews) and told.stage != "failed":
        told = await link.hear_until("order_news")
    assert isinstance(told, OrderNews)
    assert told.reason == "picture_refused"
    assert link.pictures == {}


async def test_serve__two_orders__share_a_stream(app: MemoryLink) -> None:
    other = ORDER.model_copy(update={"order": b"p" * 16})
    app.say(ORDER)
    app.say(other)
    assert {(await app.hear_until("order_accepted")).order for _ in range(2)} == {NAME, other.order}
    app.say(Taken(order=NAME))
    app.say(Taken(order=other.order))
    assert {(await app.hear_until("order_done")).order for _ in range(2)} == {NAME, other.order}


class SlowLink(MemoryLink):
    """An app that takes no picture until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_take = trio.Event()

    async def send(self, data: bytes, body: bytes = b"") -> None:
        if body:
            await self.may_take.wait()
        await super().send(data, body)


async def test_serve__app_that_reads_slowly__has_one_picture_in_memory_and_all_in_the_end(
    bench: Workbench, service: Service, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Digest] = []
    artifact = service.desk.artifact

    async def counted(digest: Digest) -> bytes | None:
        read.append(digest)
        return await artifact(digest)

    monkeypatch.setattr(service.desk, "artifact", counted)
    app, names = SlowLink(), {bytes([number]) * 16 for number in range(5)}
    nursery.start_soon(app.serve, service)
    for name in names:
        app.say(ORDER.model_copy(update={"order": name}))
        while (await app.hear_until("order_news")).stage != "ready":  # type: ignore[union-attr]
            pass
        app.say(Taken(order=name))
    await wait_all_tasks_blocked()
    assert len(bench.ends) == len(names)
    assert len(read) == 1
    app.may_take.set()
    assert {(await app.hear_until("order_done")).order for _ in names} == names


async def test_serve__refused__says_why(app: MemoryLink, bench: Workbench) -> None:
    bench.refusal = Refused("busy", "x" * 2000, 5)
    app.say(ORDER)
    refused = await app.hear()
    assert isinstance(refused, OrderRefused)
    assert (refused.code, refused.detail) == ("busy", "x" * 600)


async def test_serve__more_orders_than_one_may_have__next_is_refused(
    app: MemoryLink, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_service, "MAX_ORDERS", 1)
    bench.draws = False
    app.say(ORDER)
    app.say(ORDER.model_copy(update={"order": b"p" * 16}))
    answers = [await app.hear(), await app.hear_until("order_accepted")]
    (refused,) = [answer for answer in answers if answer.kind == "order_refused"]
    assert isinstance(refused, OrderRefused)
    assert (refused.order, refused.code) == (b"p" * 16, "busy")
    assert len(bench.accepted) == 1


async def test_serve__same_order_again_on_the_stream__is_ignored(
    app: MemoryLink, bench: Workbench, service: Service
) -> None:
    bench.draws = False
    app.say(ORDER)
    await app.hear_until("order_accepted")
    app.say(ORDER)
    app.say(Taken(order=b"u" * 16))
    app.say(ORDER.model_copy(update={"order": b"p" * 16}))
    await app.hear_until("order_accepted")
    app.leave()
    await app.is_over.wait()
    assert [note.fields["rule"] for note in service.notes.notes] == ["submit.twice", "submit.unknown_order"]


@pytest.mark.parametrize("data", [b"garbage", b"\x81\xa4kind\xa5alive", bytes(2000)])
async def test_serve__what_no_app_sends__ends_the_stream_and_is_held_against_it(app: MemoryLink, data: bytes) -> None:
    app.say(data)
    await app.is_over.wait()
    assert app.fault is not None
    assert app.fault.rule.startswith("message.")


async def test_serve__app_leaves__its_unfinished_orders_are_told_to_the_core(
    app: MemoryLink, bench: Workbench, service: Service
) -> None:
    bench.draws = False
    app.say(ORDER)
    accepted = await app.hear_until("order_accepted")
    assert isinstance(accepted, OrderAccepted)
    app.leave()
    await app.is_over.wait()
    assert bench.heard_of_app[-1] == AppLeft(accepted.task, NOW)
    assert not bench.cancelled
    assert not service.followed_by


async def test_serve__app_comes_back_before_its_first_stream_is_over__is_not_gone(
    app: MemoryLink, bench: Workbench, service: Service, nursery: trio.Nursery
) -> None:
    bench.draws = False
    app.say(ORDER)
    first = await app.hear_until("order_accepted")
    again = MemoryLink()
    nursery.start_soon(again.serve, service)
    again.say(ORDER)
    second = await again.hear_until("order_accepted")
    assert isinstance(first, OrderAccepted)
    assert isinstance(second, OrderAccepted)
    assert first.task == second.task
    app.leave()
    await app.is_over.wait()
    assert not [event for event in bench.heard_of_app if isinstance(event, AppLeft)]
    bench.desk.deliver(first.task, Update(Stage.READY, NOW, 1))
    again.say(Taken(order=NAME))
    assert (await again.hear_until("order_done")).order == NAME


async def test_serve__order_of_before__is_found_with_its_end(
    app: MemoryLink, service: Service, nursery: trio.Nursery
) -> None:
    app.say(ORDER)
    await app.hear_until("order_news")
    await app.hear_until("order_news")
    app.say(Taken(order=NAME))
    done = await app.hear_until("order_done")
    again = MemoryLink()
    nursery.start_soon(again.serve, service)
    again.say(ORDER)
    assert await again.hear_until("order_done") == done
    assert again.pictures == app.pictures


async def test_serve__cancelled__reaches_the_core(app: MemoryLink, bench: Workbench) -> None:
    bench.draws = False
    app.say(ORDER)
    await app.hear_until("order_accepted")
    app.say(OrderCancelled(order=NAME))
    while (news := await app.hear_until("order_news")).stage != "failed":  # type: ignore[union-attr]
        pass
    assert isinstance(news, OrderNews)
    assert news.reason == "cancelled"


async def test_serve__picture_is_not_taken__is_held_against_the_app(app: MemoryLink, bench: Workbench) -> None:
    app.say(ORDER)
    accepted = await app.hear()
    assert isinstance(accepted, OrderAccepted)
    await bench.fail(accepted.task, "not_taken")
    while (await app.hear()).stage != "failed":  # type: ignore[union-attr]
        pass
    app.leave()
    await app.is_over.wait()
    assert app.blamed == ["submit.not_taken"]


@pytest.mark.parametrize("is_remembered", [True, False], ids=["in this run", "in an earlier run"])
async def test_serve__order_whose_picture_was_not_taken_before__is_told_so_and_nobody_is_judged(
    app: MemoryLink, bench: Workbench, service: Service, nursery: trio.Nursery, is_remembered: bool
) -> None:
    app.say(ORDER)
    accepted = await app.hear()
    assert isinstance(accepted, OrderAccepted)
    app.leave()
    await app.is_over.wait()
    await bench.fail(accepted.task, "not_taken")
    if not is_remembered:
        bench.desk._finished.clear()
    again = MemoryLink()
    nursery.start_soon(again.serve, service)
    again.say(ORDER)
    while (news := await again.hear_until("order_news")).stage != "failed":  # type: ignore[union-attr]
        pass
    assert news.reason == "not_taken"  # type: ignore[union-attr]
    again.leave()
    await again.is_over.wait()
    assert again.blamed == [], "it was gone when its picture came"


async def test_serve__says_nothing_for_long__is_let_go_unless_it_has_an_order(
    app: MemoryLink,
    bench: Workbench,
    service: Service,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    bench.draws = False
    app.say(ORDER)
    idle = MemoryLink("another")
    nursery.start_soon(idle.serve, service)
    await trio.sleep(app_service.IDLE_S + 1)
    assert idle.is_over.is_set()
    assert not app.is_over.is_set()


async def test_serve__reason_that_is_no_name__is_left_out(app: MemoryLink, bench: Workbench) -> None:
    bench.draws = False
    app.say(ORDER)
    accepted = await app.hear()
    assert isinstance(accepted, OrderAccepted)
    bench.desk.deliver(accepted.task, Update(Stage.OFFERED, NOW, reason="Not a stable name!"))
    while (news := await app.hear()).stage != "offered":  # type: ignore[union-attr]
        pass
    assert isinstance(news, OrderNews)
    assert news.reason is None


async def test_serve__picture_that_nobody_can_look_at_now__fails_by_name_and_the_stream_goes_on(
    app: MemoryLink, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody_answers(_digest: Digest) -> bytes | None:
        raise Unavailable("the reviewer does not answer")

    monkeypatch.setattr(service.desk, "artifact", nobody_answers)
    app.say(ORDER)
    while (await app.hear_until("order_news")).stage != "ready":  # type: ignore[union-attr]
        pass
    app.say(Taken(order=NAME))
    while (news := await app.hear()).kind != "order_news" or news.stage != "failed":  # type: ignore[union-attr]
        pass
    assert isinstance(news, OrderNews)
    assert news.reason == "not_reviewed"
    app.say(ORDER.model_copy(update={"order": b"p" * 16}))
    assert (await app.hear_until("order_accepted")).order == b"p" * 16


async def test_serve__coordinator_that_cannot_take_it_now__refuses_and_the_stream_goes_on(
    app: MemoryLink, bench: Workbench
) -> None:
    bench.broken = Unavailable("the store does not answer")
    app.say(ORDER)
    refused = await app.hear()
    assert isinstance(refused, OrderRefused)
    assert refused.code == "unavailable"
    bench.broken = None
    app.say(ORDER)
    assert (await app.hear_until("order_accepted")).order == NAME
