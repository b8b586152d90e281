"""A gateway that stops: calls that wait get their pictures, newcomers are told, followers are sent away politely."""

import httpx
import trio
import trio.testing

from tests.adapters.http.conftest import Serve, Served, code_of
from tests.support.desk import Workbench
from tests.support.patience import PATIENCE_S


async def wait_until(served: Served, watching: int) -> None:
    while served.desk.watching < watching:
        await trio.lowlevel.checkpoint()


async def test_drain__call_that_waits__gets_its_picture_while_newcomers_are_refused(serve: Serve):
    served = await serve(Workbench(draws=False))
    answers: list[httpx.Response] = []

    async def draw() -> None:
        answers.append(await served.generate())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(draw)
        (task,) = await served.desk.wait_for_tasks(1)
        await wait_until(served, 1)
        drained = trio.Event()

        async def drain() -> None:
            await served.gateway.drain()
            drained.set()

        nursery.start_soon(drain)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not drained.is_set()
        for path in ("/v1/tasks", "/v1/images/generations", "/sdapi/v1/txt2img"):
            refused = await served.http.post(path, json={"prompt": "x"})
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        ready = await served.http.get("/readyz")
        assert (ready.status_code, ready.json()["reason"]) == (503, "this node is stopping")
        assert (await served.http.get(f"/v1/tasks/{task.hex()}")).json()["status"] == "open"
        await served.desk.finish(task)
        await drained.wait()
    assert answers[0].status_code == 200
    assert len(served.desk.accepted) == 1


async def test_drain__nobody_waits__ends_at_once(serve: Serve):
    served = await serve(Workbench(draws=False))
    await served.http.post("/v1/tasks", json={"prompt": "x"})
    with trio.fail_after(PATIENCE_S):
        await served.gateway.drain()
    assert served.desk.cancelled == [], "nobody waits for it here, and it goes on after the restart"


async def test_drain__follower_of_events__is_told_when_to_come_back(serve: Serve):
    served = await serve(Workbench(draws=False))
    events = (await served.http.post("/v1/tasks", json={"prompt": "x"})).json()["events"]
    async with served.http.stream("GET", events) as response:
        await wait_until(served, 1)
        await served.gateway.drain()
        text = "".join([piece async for piece in response.aiter_text()])
    assert text.endswith("retry: 5000\n: this node is stopping\n\n")
    assert served.desk.watching == 0


async def test_drain__cut_short__the_call_that_still_waits_is_told(serve: Serve):
    served = await serve(Workbench(draws=False))
    answers: list[httpx.Response] = []

    async def draw() -> None:
        answers.append(await served.generate())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(draw)
        await served.desk.wait_for_tasks(1)
        await wait_until(served, 1)
        with trio.move_on_after(0.05) as limit:
            await served.gateway.drain()
        assert limit.cancelled_caught
        served.nursery.cancel_scope.cancel()
    assert code_of(answers[0]) == (503, "stopping", None)
