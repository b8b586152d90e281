"""Pictures that orders begin from, on an app's stream: asked for, bounded, cut off, and handed in with their order."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.apps.app_uploads import UPLOAD_S
from protocol.roles.app_inputs import named, parts_of
from protocol.wire.app_messages import Order, OrderCancelled, OrderInput, OrderInputsWanted, OrderRefused
from tests.node.apps.test_app_service import ORDER, Service
from tests.support.app_link import MemoryLink
from tests.support.desk import Workbench
from tests.support.pictures import png, with_remark

SOURCE, MASK = with_remark(png(64, 48), "x" * 100_000), png(64, 48, seed=5)
FILES = {named(file).digest: file for file in (SOURCE, MASK)}


def edit(number: int = 1) -> Order:
    begun = {"version": 2, "source": named(SOURCE), "mask": named(MASK), "order": number.to_bytes(16, "big")}
    return ORDER.model_copy(update=begun)


@pytest.fixture
def bench() -> Workbench:
    return Workbench(draws=False)


@pytest.fixture
def service(bench: Workbench) -> Service:
    return Service(bench)


@pytest.fixture
def app(service: Service, nursery: trio.Nursery) -> MemoryLink:
    link = MemoryLink()
    nursery.start_soon(link.serve, service)
    return link


def send(app: MemoryLink, order: Order) -> None:
    for message, part in parts_of(order, FILES):
        app.say(message, part)


async def test_serve__order_that_begins_from_pictures__has_them_sent_and_handed_in(
    app: MemoryLink, bench: Workbench
) -> None:
    app.say(edit())
    assert await app.hear() == OrderInputsWanted(order=edit().order)
    assert not bench.accepted, "nothing is taken of which a part is missing"
    send(app, edit())
    assert (await app.hear()).kind == "order_accepted"
    assert bench.inputs == [FILES]


async def test_serve__parts_of_two_orders_between_each_other__both_are_put_together(
    app: MemoryLink, bench: Workbench
) -> None:
    for number in (1, 2):
        app.say(edit(number))
        await app.hear_until("order_inputs_wanted")
    for one, other in zip(parts_of(edit(1), FILES), parts_of(edit(2), FILES), strict=True):
        app.say(*one)
        app.say(*other)
    for _ in range(2):
        await app.hear_until("order_accepted")
    assert bench.inputs == [FILES, FILES]


@pytest.mark.parametrize(
    ("message", "part", "rule"),
    [
        (OrderInput(order=edit().order, digest=named(MASK).digest, size=len(MASK)), b"x" * len(MASK), "input.digest"),
        (OrderInput(order=edit().order, digest=named(b"else").digest, size=4), b"else", "input.unexpected"),
        (OrderInput(order=edit().order, digest=named(MASK).digest, size=9999), bytes(9999), "input.unexpected"),
        (OrderInput(order=b"?" * 16, digest=named(MASK).digest, size=4), b"else", "submit.stray_input"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_serve__bytes_that_no_app_sends__end_the_stream_and_are_held_against_it(
    app: MemoryLink, bench: Workbench, message: OrderInput, part: bytes, rule: str
) -> None:
    app.say(edit())
    await app.hear()
    app.say(message, part)
    await app.is_over.wait()
    assert app.fault is not None
    assert app.fault.rule == rule
    assert not bench.accepted


async def test_serve__bytes_of_no_order_at_all__end_the_stream(app: MemoryLink) -> None:
    app.say(OrderInput(order=b"?" * 16, digest=named(MASK).digest, size=4), b"else")
    await app.is_over.wait()
    assert app.fault is not None
    assert app.fault.rule == "submit.stray_input"


async def test_serve__pictures_that_do_not_come__are_cut_off_and_what_was_on_its_way_is_forgiven(
    app: MemoryLink, bench: Workbench, autojump_clock: MockClock
) -> None:
    app.say(edit())
    await app.hear()
    (message, part), *rest = parts_of(edit(), FILES)
    app.say(message, part)
    began = trio.current_time()
    with trio.fail_after(2 * UPLOAD_S):
        refused = await app._heard.receive()
    assert b"timeout" in refused
    assert trio.current_time() - began == pytest.approx(UPLOAD_S, abs=0.1)
    for late in rest:
        app.say(*late)
    await wait_all_tasks_blocked()
    assert not app.is_over.is_set()
    app.say(message, part)
    await app.is_over.wait()
    assert app.fault is not None, "more than it was ever asked for"
    assert not bench.accepted


async def test_serve__pictures_behind_those_of_another_order__have_their_time_from_when_these_are_here(
    app: MemoryLink, bench: Workbench, autojump_clock: MockClock
) -> None:
    for number in (1, 2):
        app.say(edit(number))
        await app.hear_until("order_inputs_wanted")
    for number in (1, 2):
        await trio.sleep(UPLOAD_S - 1)
        send(app, edit(number))
        await app.hear_until("order_accepted")
    assert bench.inputs == [FILES, FILES]


async def test_serve__order_is_taken_back_while_its_pictures_come__they_are_waited_for_no_longer(
    app: MemoryLink, bench: Workbench
) -> None:
    app.say(edit())
    await app.hear()
    app.say(OrderCancelled(order=edit().order))
    assert isinstance(await app.hear(), OrderRefused)
    send(app, edit())
    app.say(ORDER)
    assert (await app.hear()).kind == "order_accepted", "what was on its way is passed over"
    assert bench.inputs == [{}]


async def test_serve__app_leaves_while_its_pictures_come__nothing_is_handed_in(
    app: MemoryLink, bench: Workbench
) -> None:
    app.say(edit())
    await app.hear()
    app.leave()
    await app.is_over.wait()
    assert not bench.accepted
    assert not bench.heard_of_app
