"""Orders that come over the overlay have the keys, rates, limits and completion of HTTP, and their own owners."""

import pytest

from node.adapters.http import KeyRing, hash_of_key
from node.apps.app_keys import ApiKey
from node.desk_ports import Placed
from protocol.effects import Refused
from protocol.roles.app.order_seal import seal_order
from protocol.units import PeerId, Wei
from protocol.wire.app_messages import Order
from tests.support.desk import PRICE, Workbench

KEY = "cuckoo-key"
APP, OTHER = PeerId("16Uiu2App"), PeerId("16Uiu2Other")
ORDER = Order(order=b"o" * 16, prompt="a red heart", seed=7)
HERE, THERE = "192.0.2.1", "192.0.2.2"


async def nobody(order: Order) -> None:
    """Is asked for pictures that no order names."""
    raise AssertionError(f"{order} begins from none")


def ring(**limits: object) -> KeyRing:
    key = ApiKey(name="n" * 16, label="an app", **limits)  # type: ignore[arg-type]
    return KeyRing({hash_of_key(KEY): key})


async def test_place__order__is_completed_and_waits_for_its_apps_word(serve):
    served = await serve()
    placed = await served.gateway.app_orders(require_key=False).place(ORDER, APP, HERE, nobody)
    assert isinstance(placed, Placed)
    record = served.desk.accepted[placed.task]
    assert record.collected
    assert record.detached
    specification = placed.specification
    assert (specification.model, specification.width, specification.steps, specification.seed) == ("tiny", 128, 4, 7)


async def test_place__all_that_may_be_said__reaches_the_miner(serve):
    served = await serve()
    wishes = {"negative_prompt": "blue", "model": "dall-e-3", "size": (64, 128), "steps": 9, "guidance": 3.0}
    wishes |= {"output": "webp", "quality": 80, "embed_prompt": True, "priority": "high", "scheduler": "DDIMScheduler"}
    order = Order.model_validate(ORDER.model_dump() | wishes)
    refused = await served.gateway.app_orders(require_key=False).place(order, APP, HERE, nobody)
    assert isinstance(refused, Refused)
    assert refused.code == "scheduler_not_offered"
    plain = order.model_copy(update={"scheduler": None})
    placed = await served.gateway.app_orders(require_key=False).place(plain, APP, HERE, nobody)
    assert isinstance(placed, Placed)
    said = placed.specification.model_dump()
    assert {name: said[name] for name in ("negative_prompt", "width", "height", "steps", "guidance", "output")} == {
        "negative_prompt": "blue",
        "width": 64,
        "height": 128,
        "steps": 9,
        "guidance": 3.0,
        "output": "webp",
    }
    assert (said["quality"], said["embed_prompt"], said["model"]) == (80, True, "tiny")
    assert served.desk.accepted[placed.task].priority == "high"


async def test_place__same_order_again__is_the_same_task_for_its_app_alone(serve):
    served = await serve()
    orders = served.gateway.app_orders(require_key=False)
    first = await orders.place(ORDER, APP, HERE, nobody)
    assert await orders.place(ORDER, APP, THERE, nobody) == first
    other = await orders.place(ORDER, OTHER, HERE, nobody)
    assert isinstance(other, Placed)
    assert isinstance(first, Placed)
    assert other.task != first.task
    changed = await orders.place(ORDER.model_copy(update={"prompt": "a blue heart"}), APP, HERE, nobody)
    assert isinstance(changed, Refused)
    assert changed.code == "idempotency_conflict"


async def test_place__task_of_an_app__is_shown_to_nobody_over_http(serve):
    served = await serve(Workbench(draws=False))
    placed = await served.gateway.app_orders(require_key=False).place(ORDER, APP, "127.0.0.1", nobody)
    assert isinstance(placed, Placed)
    for headers in ({}, {"Authorization": f"Bearer app-{APP}"}):
        answer = await served.http.get(f"/v1/tasks/{placed.task.hex()}", headers=headers)
        assert answer.status_code == 404


@pytest.mark.parametrize(("key", "code"), [(None, "invalid_api_key"), ("wrong", "invalid_api_key"), (KEY, None)])
async def test_place__keys_are_required__known_ones_are_served(serve, key, code):
    served = await serve(ring=ring())
    orders = served.gateway.app_orders(require_key=True)
    answer = await orders.place(ORDER.model_copy(update={"api_key": key}), APP, HERE, nobody)
    assert getattr(answer, "code", None) == code


async def test_place__more_than_a_key_may_a_minute__is_refused_with_what_it_sends_over_http(serve):
    served = await serve(ring=ring(requests_per_minute=2))
    orders = served.gateway.app_orders(require_key=True)
    await served.generate(key="a", prompt="x")  # of another account
    answers = []
    for number in range(2):
        order = ORDER.model_copy(update={"order": bytes([number]) * 16, "api_key": KEY})
        answers.append(await orders.place(order, APP, HERE, nobody))
    assert all(isinstance(answer, Placed) for answer in answers)
    over_http = await served.http.post("/v1/tasks", json={"prompt": "x"}, headers={"Authorization": f"Bearer {KEY}"})
    assert over_http.status_code == 429


async def test_place__without_a_key__rate_is_of_the_address_whatever_keys_it_draws(serve):
    served = await serve(requests_per_minute_per_key=2)
    orders = served.gateway.app_orders(require_key=False)
    codes = []
    for number in range(3):
        answer = await orders.place(ORDER, PeerId(f"app {number}"), HERE, nobody)
        codes.append(getattr(answer, "code", None))
    assert codes == [None, None, "rate_limited"]
    assert isinstance(await orders.place(ORDER, APP, THERE, nobody), Placed)


async def test_place__dearer_than_the_key_may_spend__is_refused(serve):
    served = await serve(ring=ring(wei_per_day=Wei(PRICE - 1)))
    answer = await served.gateway.app_orders(require_key=True).place(
        ORDER.model_copy(update={"api_key": KEY}), APP, HERE, nobody
    )
    assert isinstance(answer, Refused)
    assert answer.code == "spend_limit"


async def test_place__node_stops__is_refused_so_that_another_is_asked(serve):
    served = await serve()
    await served.gateway.drain()
    answer = await served.gateway.app_orders(require_key=False).place(ORDER, APP, HERE, nobody)
    assert isinstance(answer, Refused)
    assert answer.code == "stopping"


async def test_place__sealed_order__is_completed_around_what_nobody_here_reads(serve):
    served = await serve()
    orders = served.gateway.app_orders(require_key=False)
    sealed = seal_order(ORDER.model_copy(update={"steps": 9}), b"c" * 32)
    placed = await orders.place(sealed, APP, HERE, nobody)
    assert isinstance(placed, Placed)
    found = placed.specification
    assert (found.model, found.width, found.steps, found.guidance) == ("tiny", 128, 9, 2.0)
    assert (found.sealed, found.prompt, found.seed, found.version) == (sealed.sealed, "", 0, 3)
    assert b"heart" not in served.desk.accepted[placed.task].specification
    assert await orders.place(sealed, APP, HERE, nobody) == placed, "the same order is the same task"
    again = await orders.place(seal_order(ORDER.model_copy(update={"steps": 9}), b"d" * 32), APP, HERE, nobody)
    assert isinstance(again, Refused)
    assert again.code == "idempotency_conflict"


async def test_place__sealed_order_of_what_no_model_draws__is_refused_by_name(serve):
    served = await serve()
    sealed = seal_order(ORDER.model_copy(update={"steps": 200}), b"c" * 32)
    refused = await served.gateway.app_orders(require_key=False).place(sealed, APP, HERE, nobody)
    assert isinstance(refused, Refused)
    assert refused.code == "too_many_steps"


async def test_place__sealed_order_where_none_are_taken__is_refused_by_name(serve):
    served = await serve()
    orders = served.gateway.app_orders(require_key=False, take_sealed=False)
    refused = await orders.place(seal_order(ORDER, b"c" * 32), APP, HERE, nobody)
    assert isinstance(refused, Refused)
    assert refused.code == "sealed_not_taken"
    assert isinstance(await orders.place(ORDER, APP, HERE, nobody), Placed)
