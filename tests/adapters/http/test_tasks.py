"""Detached tasks: keys that name them, their news, their receipts, and who may see them."""

import base64
import json
from dataclasses import replace

import httpx
import pytest
import trio

from node.adapters.http.views import update_view
from node.desk_ports import Waiting
from protocol.effects import Refused, Stage, Update
from protocol.task.priority import Priority
from protocol.units import TaskId, UnixMillis
from protocol.wire.codec import WORK_PLACE, decode
from protocol.wire.messages import Receipt
from tests.adapters.http.conftest import Serve, Served, code_of, ring_of
from tests.support.desk import MINER, Workbench
from tests.support.patience import PATIENCE_S
from tests.support.records import NOW

BOB = {"Authorization": "Bearer bob"}


async def submit(served: Served, **body: object) -> dict:
    response = await served.http.post("/v1/tasks", json={"prompt": "a red heart", **body})
    assert response.status_code == 202, response.text
    return response.json()


async def test_submit__native__is_detached_and_answers_at_once(serve: Serve):
    served = await serve(Workbench(draws=False))
    answer = await submit(served, seed=9)
    (task,) = served.desk.accepted
    assert answer["task"] == task.hex()
    assert (answer["status"], answer["seed"], answer["model"]) == ("open", 9, "tiny")
    assert served.desk.detached[task] is True
    shown = (await served.http.get(answer["url"])).json()
    assert (shown["status"], shown["price_wei"]) == ("open", str(10**18))
    assert "heart" not in json.dumps(shown)


async def test_show__ended_tasks__say_how(serve: Serve):
    served = await serve(Workbench(draws=False))
    good, bad = (await submit(served))["task"], (await submit(served))["task"]
    first, second = served.desk.accepted
    await served.desk.finish(first)
    await served.desk.fail(second, "attempts_exhausted")
    done = (await served.http.get(f"/v1/tasks/{good}")).json()
    assert (done["status"], done["miner"], done["generation_ms"]) == ("done", str(MINER), 412)
    assert (await served.http.get(done["url"])).headers["content-type"] == "image/png"
    failed = (await served.http.get(f"/v1/tasks/{bad}")).json()
    assert (failed["status"], failed["reason"]) == ("failed", "attempts_exhausted")
    assert code_of(await served.http.get(f"/v1/receipts/{bad}")) == (404, "not_found", None)


async def test_submit__that_may_be_disputed__is_handed_on_and_no_other(serve: Serve):
    served = await serve(Workbench(draws=False))
    await submit(served, may_be_disputed=True)
    await submit(served)
    assert [record.may_be_disputed for record in served.desk.accepted.values()] == [True, False]


async def test_submit__priority__is_handed_on_and_shown(serve: Serve):
    served = await serve(Workbench(draws=False))
    urgent, usual = await submit(served, priority="high"), await submit(served)
    assert [record.priority for record in served.desk.accepted.values()] == [Priority.HIGH, Priority.NORMAL]
    shown = [(await served.http.get(answer["url"])).json()["priority"] for answer in (urgent, usual)]
    assert shown == ["high", "normal"]
    refused = await served.http.post("/v1/tasks", json={"prompt": "a red heart", "priority": "urgent"})
    assert code_of(refused) == (400, "invalid_request", "priority")


async def test_submit__callers__take_places_of_their_own_by_a_name_that_tells_nothing(serve: Serve):
    served = await serve(Workbench(draws=False), ring_of("alice"))
    await submit(served)
    async with served.caller("203.0.113.9") as stranger:
        assert (await stranger.post("/v1/tasks", json={"prompt": "a red heart"})).status_code == 202
    accounts = [record.account for record in served.desk.accepted.values()]
    assert accounts[0] == "key:alice"
    assert len(accounts[1]) == 32
    assert set(accounts[1]) <= set("0123456789abcdef")


async def test_show__task_that_waits__says_why_and_one_that_ended_does_not(serve: Serve):
    served = await serve(Workbench(draws=False))
    answer = await submit(served)
    (task,) = served.desk.accepted
    assert "waiting" not in (await served.http.get(answer["url"])).json()
    served.desk.why = Waiting("offered", 3, {"unclaimed": 2, "no_place": 5})
    shown = (await served.http.get(answer["url"])).json()
    assert shown["waiting"] == {"state": "offered", "offers": 3, "reasons": {"unclaimed": 2, "no_place": 5}}
    await served.desk.finish(task)
    assert "waiting" not in (await served.http.get(answer["url"])).json()


async def test_events__whole_life__comes_in_order_and_ends(serve: Serve):
    served = await serve(Workbench(draws=False))
    answer = await submit(served)
    (task,) = served.desk.accepted
    events = []
    with trio.fail_after(PATIENCE_S):
        async with served.http.stream("GET", answer["events"]) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    events.append(line.removeprefix("event: "))
                    if events == ["queued"]:
                        await served.desk.finish(task)
                if line.startswith("data: "):
                    last = json.loads(line.removeprefix("data: "))
    assert events == ["queued", "claimed", "progress", "done"]
    assert last["url"] == f"/v1/artifacts/{served.desk.ends[task].artifact.hex()}"
    assert last["receipt"] == f"/v1/receipts/{task.hex()}"


def test_update_view__with_a_preview__shows_it_as_a_browser_takes_it():
    update = Update(Stage.PROGRESS, UnixMillis(5), step=3, steps=9, preview=b"RIFF")
    assert update_view(TaskId(bytes(32)), update)["preview"] == "data:image/webp;base64,UklGRg=="
    assert "preview" not in update_view(TaskId(bytes(32)), replace(update, preview=None))


async def test_events__listener_leaves__nobody_follows_and_the_task_lives(serve: Serve):
    served = await serve(Workbench(draws=False), max_event_streams=1)
    answer = await submit(served)
    listener = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with listener:
        request = f"GET {answer['events']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n\r\n"
        await listener.send_all(request.encode())
        received = b""
        while b"event: queued" not in received:
            received += await listener.receive_some()
        assert code_of(await served.http.get(answer["events"])) == (429, "busy", None)
    with trio.fail_after(PATIENCE_S):
        while served.desk.watching:
            await trio.sleep(0.001)
    assert served.desk.cancelled == []
    await served.desk.finish(next(iter(served.desk.accepted)))
    assert (await served.http.get(answer["events"])).text.count("event: ") == 4


async def test_cancel__open_task__stops_it_and_an_ended_one_stays(serve: Serve):
    served = await serve(Workbench(draws=False))
    first = (await submit(served))["task"]
    assert (await served.http.delete(f"/v1/tasks/{first}")).json() == {"task": first, "cancelled": True}
    assert (await served.http.delete(f"/v1/tasks/{first}")).json() == {"task": first, "cancelled": False}
    assert len(served.desk.cancelled) == 1


async def test_receipt__finished__shows_every_signed_field_and_the_bytes(serve: Serve):
    served = await serve()
    task = (await submit(served))["task"]
    (done,) = served.desk.ends.values()
    shown = (await served.http.get(f"/v1/receipts/{task}")).json()
    assert base64.b64decode(shown["encoded"]) == done.receipt
    receipt = decode(done.receipt, WORK_PLACE)
    assert isinstance(receipt, Receipt)
    for part, statement in ((shown["statement"], receipt.statement), (shown["voucher"], receipt.voucher)):
        assert part.pop("struct") == statement.TYPE
        assert set(part) == set(type(statement).model_fields)
        for name, text in part.items():
            value = getattr(statement, name)
            assert (bytes.fromhex(text) if isinstance(value, bytes) else int(text)) == value
    assert shown["signature"] == receipt.signature.hex()


@pytest.mark.parametrize("page", ["/v1/tasks/{}", "/v1/tasks/{}/events", "/v1/receipts/{}"])
async def test_owner__another_key_or_none__finds_nothing(serve: Serve, page):
    served = await serve()
    tasks = [(await submit(served))["task"], (await served.generate()).json()["data"][0]["cuckoo"]["task"]]
    for task in tasks:
        assert (await served.http.get(page.format(task))).status_code == 200
        assert code_of(await served.http.get(page.format(task), headers=BOB)) == (404, "not_found", None)
        async with httpx.AsyncClient(base_url=served.url) as stranger:
            assert code_of(await stranger.get(page.format(task))) == (404, "not_found", None)
            assert code_of(await stranger.delete(f"/v1/tasks/{task}")) == (404, "not_found", None)
    assert served.desk.cancelled == []


async def test_owner__no_key_from_elsewhere__finds_nothing_and_stops_nothing(serve: Serve):
    served = await serve(Workbench(draws=False))
    async with served.caller("198.51.101.7") as one, served.caller("198.51.101.8") as other:
        task = (await one.post("/v1/tasks", json={"prompt": "x"})).json()["task"]
        for page in ("/v1/tasks/{}", "/v1/tasks/{}/events", "/v1/receipts/{}"):
            assert code_of(await other.get(page.format(task)))[:2] == (404, "not_found")
        assert code_of(await other.delete(f"/v1/tasks/{task}"))[:2] == (404, "not_found")
        assert served.desk.cancelled == []
        assert (await one.delete(f"/v1/tasks/{task}")).json()["cancelled"] is True


async def test_key__two_callers_without_api_key__do_not_meet(serve: Serve):
    served = await serve()
    async with served.caller("198.51.101.7") as one, served.caller("198.51.101.8") as other:
        for caller in (one, other, one):
            response = await caller.post("/v1/tasks", json={"prompt": "x"}, headers={"Idempotency-Key": "k"})
            assert response.status_code == 202
    assert len(served.desk.accepted) == 2


async def test_events__one_caller_has_many_open__others_may_still_follow(serve: Serve):
    served = await serve(Workbench(draws=False), ring_of("alice", "bob"), max_event_streams_per_caller=2)
    mine = await submit(served)
    theirs = (await served.http.post("/v1/tasks", json={"prompt": "x"}, headers=BOB)).json()
    async with served.http.stream("GET", mine["events"]), served.http.stream("GET", mine["events"]):
        refused = await served.http.get(mine["events"])
        assert code_of(refused) == (429, "busy", None)
        assert "2 event streams" in refused.json()["error"]["message"]
        async with served.http.stream("GET", theirs["events"], headers=BOB) as response:
            assert response.status_code == 200
    with trio.fail_after(PATIENCE_S):
        while served.desk.watching:
            await trio.sleep(0.001)
    async with served.http.stream("GET", mine["events"]) as response:
        assert response.status_code == 200, "places are given back"


async def test_key__same_request__same_task_on_both_faces_and_after_restart(serve: Serve):
    served = await serve()
    headers = {"Idempotency-Key": "order 66"}
    body = {"prompt": "a red heart"}
    first = (await served.http.post("/v1/tasks", json=body, headers=headers)).json()
    second = (await served.generate(key="order 66")).json()["data"][0]["cuckoo"]
    restarted = await serve(Workbench(store=served.desk.store))
    third = (await restarted.generate(key="order 66")).json()["data"][0]["cuckoo"]
    assert first["task"] == second["task"] == third["task"]
    assert first["seed"] == third["seed"]
    assert len(served.desk.accepted) == 1
    assert served.desk.detached == {next(iter(served.desk.accepted)): True}


async def test_key__another_request__is_a_conflict(serve: Serve):
    served = await serve()
    assert (await served.generate(key="k", n=2)).status_code == 200
    for other in ({"prompt": "blue"}, {"n": 1}, {"seed": 5}, {"steps": 9}, {"size": "64x64"}):
        response = await served.generate(key="k", **{"n": 2, **other})
        assert code_of(response) == (409, "idempotency_conflict", "Idempotency-Key"), other
        assert response.headers["x-should-retry"] == "false"
    assert len(served.desk.accepted) == 2


async def test_key__two_apps__do_not_meet(serve: Serve):
    served = await serve()
    await served.generate(key="k")
    response = await served.http.post("/v1/tasks", json={"prompt": "blue"}, headers={**BOB, "Idempotency-Key": "k"})
    assert response.status_code == 202
    assert len(served.desk.accepted) == 2


async def test_key__many_at_once__are_one_task(serve: Serve):
    served = await serve(Workbench(draws=False))
    answers: list[str] = []

    async def one() -> None:
        answers.append((await served.generate(key="k")).json()["data"][0]["cuckoo"]["task"])

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(one)
        (task,) = await served.desk.wait_for_tasks(1)
        while served.desk.watching < 10:
            await trio.sleep(0.001)
        await served.desk.finish(task)
    assert answers == [task.hex()] * 10


async def test_key__crash_between_two_pictures__the_rest_is_made(serve: Serve):
    served = await serve()
    served.desk.refusal, served.desk.takes = Refused("busy", "full", 1), 1
    assert code_of(await served.generate(key="k", n=2, seed=1)) == (429, "busy", None)
    restarted = await serve(Workbench(store=served.desk.store))
    again = await restarted.generate(key="k", n=2, seed=1)
    assert again.status_code == 200
    assert [image["cuckoo"]["seed"] for image in again.json()["data"]] == [1, 2]
    assert len(served.desk.accepted) == len(restarted.desk.accepted) == 1


async def test_key__app_leaves__the_task_goes_on(serve: Serve):
    served = await serve(Workbench(draws=False))
    with pytest.raises(httpx.ReadTimeout):
        await served.http.post(
            "/v1/images/generations", json={"prompt": "x"}, headers={"Idempotency-Key": "k"}, timeout=1.0
        )
    with trio.fail_after(PATIENCE_S):
        while served.desk.watching:
            await trio.sleep(0.001)
    (task,) = served.desk.accepted
    assert served.desk.cancelled == []
    await served.desk.finish(task)
    assert (await served.generate(key="k", prompt="x")).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, b"\xff\xfe", b"a\tb"])
async def test_key__malformed__is_named(serve: Serve, key):
    served = await serve()
    response = await served.http.post("/v1/tasks", json={"prompt": "x"}, headers={"Idempotency-Key": key})
    assert code_of(response) == (400, "invalid_request", "Idempotency-Key")


async def test_key__picture_expired__says_so(serve: Serve):
    served = await serve()
    await served.generate(key="k")
    assert await served.desk.store.expire(UnixMillis(NOW + 1)) == 1
    assert code_of(await served.generate(key="k")) == (410, "artifact_expired", None)
