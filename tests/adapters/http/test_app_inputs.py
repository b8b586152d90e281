"""Orders over the overlay that begin from pictures: looked at as over HTTP, before and after these are asked for."""

import contextlib
from collections.abc import Mapping

import pytest

from node.adapters.http import KeyRing, hash_of_key
from node.adapters.http.errors import ApiError
from node.adapters.http.uploads import MOST_WASTED, WASTED_S, SharedRoom, UploadRoom
from node.apps.app_keys import ApiKey
from node.desk_ports import Placed
from protocol.effects import Refused
from protocol.errors import Unavailable
from protocol.params import MAX_INPUT_BYTES
from protocol.roles.app_inputs import named
from protocol.task.account import account_within
from protocol.units import Digest, PeerId
from protocol.wire.app_messages import Order
from tests.support.desk import Workbench
from tests.support.pictures import png

APP, OTHER, HERE = PeerId("16Uiu2App"), PeerId("16Uiu2Other"), "192.0.2.1"
SOURCE, MASK = png(200, 100), png(200, 100, seed=5)
EDIT = Order(version=2, order=b"o" * 16, prompt="a blue heart", seed=7, source=named(SOURCE), mask=named(MASK))
FILES = {named(file).digest: file for file in (SOURCE, MASK)}


class App:
    """Sends what it is asked for, and counts how often that was."""

    def __init__(self, files: Mapping[Digest, bytes] | None = FILES) -> None:
        self.files = files
        self.asked = 0

    async def __call__(self, order: Order) -> Mapping[Digest, bytes] | None:
        self.asked += 1
        return self.files


async def place(served, order: Order = EDIT, app: App | None = None, peer: PeerId = APP, **options):
    orders = served.gateway.app_orders(require_key=options.pop("require_key", False), **options)
    return await orders.place(order, peer, HERE, app or App())


async def test_place__edit__is_handed_in_with_its_pictures_and_the_size_nearest_to_its_source(serve):
    served = await serve()
    placed = await place(served)
    assert isinstance(placed, Placed)
    found = placed.specification
    assert (found.work, found.source, found.mask) == ("inpaint", *FILES)
    assert (found.width, found.height, found.strength) == (128, 64, 0.6)
    assert served.desk.inputs == [FILES]
    assert not served.desk.accepted[placed.task].may_be_disputed


async def test_place__same_edit_again__is_found_and_nothing_is_asked_for(serve):
    served = await serve()
    first, again = await place(served), App()
    assert await place(served, app=again) == first
    assert not again.asked
    assert len(served.desk.accepted) == 1
    other = await place(served, peer=OTHER)
    assert isinstance(other, Placed)
    assert other != first, "another app's is another order, and it sends its own"
    assert len(served.desk.inputs) == 2


async def test_place__other_order_by_the_same_name__is_refused_and_nothing_is_asked_for(serve):
    served = await serve()
    await place(served)
    app = App()
    for changes in ({"strength": 0.9}, {"mask": None}, {"source": named(b"another")}):
        refused = await place(served, EDIT.model_copy(update=changes), app)
        assert isinstance(refused, Refused)
        assert refused.code == "idempotency_conflict"
    assert not app.asked


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "no-such"}, "unknown_model"),
        ({"model": "large"}, "model_not_pinned"),
        ({"source": None}, "source_missing"),
        ({"strength": 0.0}, "strength_out_of_range"),
        ({"source": None, "mask": None, "strength": 0.5}, "strength_unused"),
        ({"steps": 51}, "too_many_steps"),
        ({"size": (96, 96)}, "size_not_offered"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_place__edit_that_nobody_can_do__is_refused_before_a_byte_is_asked_for(serve, changes, code):
    served, app = await serve(), App()
    refused = await place(served, EDIT.model_copy(update=changes), app)
    assert isinstance(refused, Refused)
    assert (refused.code, app.asked) == (code, 0)


async def test_place__edit_without_a_key_where_one_is_required__is_asked_for_nothing(serve):
    key = ApiKey(name="n" * 16, label="an app")
    served, app = await serve(ring=KeyRing({hash_of_key("cuckoo-key"): key})), App()
    for given in (None, "wrong"):
        refused = await place(served, EDIT.model_copy(update={"api_key": given}), app, require_key=True)
        assert isinstance(refused, Refused)
        assert refused.code == "invalid_api_key"
    assert not app.asked
    assert isinstance(await place(served, EDIT.model_copy(update={"api_key": "cuckoo-key"}), app), Placed)


async def test_place__edit_while_the_node_stops__is_asked_for_nothing(serve):
    served, app = await serve(), App()
    await served.gateway.drain()
    refused = await place(served, app=app)
    assert isinstance(refused, Refused)
    assert (refused.code, app.asked) == ("stopping", 0)


async def test_place__edit_faster_than_a_caller_may__is_asked_for_nothing(serve):
    served, app = await serve(requests_per_minute_per_key=1), App()
    orders = served.gateway.app_orders(require_key=False)
    assert isinstance(await orders.place(EDIT, APP, HERE, app), Placed)
    refused = await orders.place(EDIT.model_copy(update={"order": b"p" * 16}), OTHER, HERE, app)
    assert isinstance(refused, Refused)
    assert (refused.code, app.asked) == ("rate_limited", 1)


@pytest.mark.parametrize(
    ("file", "code"),
    [(b"no picture", "input_format"), (png(8, 8), "input_pixels"), (png(4097, 16), "input_pixels")],
    ids=["no picture", "too small", "too large"],
)
async def test_place__picture_that_http_refuses__is_refused_by_the_same_name(serve, file, code):
    served = await serve()
    order = EDIT.model_copy(update={"source": named(file), "mask": None})
    refused = await place(served, order, App({named(file).digest: file}))
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert not served.desk.accepted


async def test_place__pictures_do_not_come__is_refused_as_one_that_may_be_sent_again(serve):
    served = await serve()
    refused = await place(served, app=App(None))
    assert isinstance(refused, Refused)
    assert refused.code == "timeout"
    assert not served.desk.accepted


async def test_place__word_for_jurors__stands_with_the_task(serve):
    served = await serve()
    order = Order(version=2, order=b"o" * 16, prompt="a red heart", seed=7, may_be_disputed=True)
    app = App()
    placed = await place(served, order, app)
    assert isinstance(placed, Placed)
    assert served.desk.accepted[placed.task].may_be_disputed
    assert not app.asked


class Sneaking(App):
    """While its pictures are on their way, another order of the same caller comes."""

    def __init__(self, served, orders, number: int) -> None:
        super().__init__()
        self.served, self.orders, self.number = served, orders, number
        self.answer: object = None

    async def __call__(self, order: Order) -> Mapping[Digest, bytes] | None:
        if self.number:
            inner = Sneaking(self.served, self.orders, self.number - 1)
            other = EDIT.model_copy(update={"order": bytes([self.number]) * 16})
            self.answer = await self.orders.place(other, PeerId(f"app {self.number}"), HERE, inner)
        return await super().__call__(order)


async def test_place__many_keys_of_one_address_send_at_once__have_half_of_the_room_together(serve):
    size = sum(map(len, FILES.values()))
    served = await serve(max_uploading_bytes=4 * size)
    orders = served.gateway.app_orders(require_key=False)
    app = Sneaking(served, orders, 2)
    assert isinstance(await orders.place(EDIT, APP, HERE, app), Placed)
    assert isinstance(app.answer, Placed), "two have a place"
    assert len(served.desk.accepted) == 2
    assert isinstance(await orders.place(EDIT.model_copy(update={"order": b"z" * 16}), APP, HERE, App()), Placed)


async def test_place__room_is_taken_by_uploads_over_http__is_busy(serve):
    served = await serve(max_uploading_bytes=1000)
    served.gateway._door.uploads.take(900)
    refused = await place(served)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.retry_after_s) == ("busy", 10)


async def test_place__desk_cannot_answer__room_is_free_again(serve):
    bench = Workbench()
    bench.broken = Unavailable("the store does not answer")
    served = await serve(bench)
    free = served.gateway._door.uploads.free
    refused = await place(served)
    assert isinstance(refused, Refused)
    assert served.gateway._door.uploads.free == free


class Timer:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def wasted(shared: SharedRoom, size: int, account: str) -> bool:
    """Take room and let it come to nothing; say whether there was any."""
    try:
        with shared.held(size, account), contextlib.ExitStack() as stack:
            stack.callback(_fail)
    except Unavailable:
        return True
    except ApiError:
        return False
    raise AssertionError("it fails")


def _fail() -> None:
    raise Unavailable("gone")


def test_held__sent_in_vain__counts_for_a_minute_as_its_accounts():
    room, timer = UploadRoom(100), Timer()
    shared = SharedRoom(room, timer)
    assert [wasted(shared, 20, "ann") for _ in range(5)] == [True, True, True, True, False]
    assert wasted(shared, 20, "ben")
    assert room.free == 100
    timer.now = WASTED_S
    assert wasted(shared, 20, "ann")


def test_held__taken_and_handed_in__is_free_at_once():
    shared = SharedRoom(UploadRoom(100), Timer())
    for _ in range(10):
        with shared.held(50, "ann"), pytest.raises(ApiError), shared.held(1, "ann"):
            raise AssertionError("half of all is taken")
    assert not shared._of


def test_held__accounts_of_one_network__have_three_quarters_together():
    shared = SharedRoom(UploadRoom(100), Timer())
    with contextlib.ExitStack() as stack:
        for number in range(3):
            stack.enter_context(shared.held(25, account_within("network", str(number))))
        assert not wasted(shared, 1, account_within("network", "3"))
        assert wasted(shared, 12, "ann")


def test_held__in_vain_more_often_than_is_remembered__oldest_is_forgotten():
    shared = SharedRoom(UploadRoom(2 * MAX_INPUT_BYTES), Timer())
    assert all(wasted(shared, 1, "ann") for _ in range(MOST_WASTED + 10))
    assert len(shared._wasted) <= MOST_WASTED
    assert shared._of["ann"] == len(shared._wasted)
