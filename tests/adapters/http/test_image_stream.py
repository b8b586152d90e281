"""Streams of partial pictures, as the public ``openai`` client reads them, against a real socket."""

import base64

import openai
import pytest
import trio

from protocol.effects import Stage, Update
from tests.adapters.http.conftest import Serve
from tests.adapters.http.test_edits import SOURCE, named
from tests.adapters.http.test_openai_client import call
from tests.support.desk import MINER, PNG, Workbench
from tests.support.patience import PATIENCE_S
from tests.support.records import NOW


def preview(number: int) -> Update:
    return Update(Stage.PROGRESS, NOW, 1, MINER, step=number, steps=9, preview=b"RIFFpreview%d" % number)


async def streamed(served, work, steps):
    """What a client hears of a stream while ``steps`` happen to its task."""
    heard = []

    def follow(client: openai.OpenAI) -> None:
        heard.extend(work(client))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, served, follow)
        with trio.fail_after(PATIENCE_S):
            (task,) = await served.desk.wait_for_tasks(1)
            while not served.desk.watching:
                await trio.sleep(0.01)
            for step in steps:
                if isinstance(step, Update):
                    served.desk.desk.deliver(task, step)
                    await trio.sleep(0.02)
                else:
                    await step(task)
    return heard


async def test_images_generate__stream__partial_pictures_and_then_the_whole(serve: Serve):
    served = await serve(Workbench(draws=False))
    heard = await streamed(
        served,
        lambda client: list(client.images.generate(prompt="a red heart", model="tiny", stream=True, partial_images=2)),
        [Update(Stage.OFFERED, NOW, 0), preview(1), preview(2), preview(3), served.desk.finish],
    )
    assert [event.type for event in heard] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    first, second, last = heard
    assert [(event.partial_image_index, event.output_format) for event in (first, second)] == [(0, "webp"), (1, "webp")]
    assert base64.b64decode(first.b64_json) == b"RIFFpreview1"
    assert base64.b64decode(last.b64_json).startswith(PNG)
    assert (last.size, last.output_format, last.background, last.usage.total_tokens) == ("128x128", "png", "opaque", 0)
    assert last.model_extra["cuckoo"]["miner"] == "7"
    assert served.desk.cancelled == []


async def test_images_edit__stream__has_events_of_its_own(serve: Serve):
    served = await serve(Workbench(draws=False))
    heard = await streamed(
        served,
        lambda client: list(
            client.images.edit(image=named(SOURCE), prompt="a cat", model="tiny", stream=True, partial_images=1)
        ),
        [preview(1), served.desk.finish],
    )
    assert [event.type for event in heard] == ["image_edit.partial_image", "image_edit.completed"]


async def test_images_generate__stream_of_a_quick_picture__is_the_whole_alone(serve: Serve):
    served = await serve()
    heard = []
    await call(
        served,
        lambda client: heard.extend(
            client.images.generate(prompt="a cat", model="tiny", stream=True, partial_images=3)
        ),
    )
    assert [event.type for event in heard] == ["image_generation.completed"]


async def test_images_generate__stream_of_a_task_that_fails__raises_with_the_reason(serve: Serve):
    served = await serve(Workbench(draws=False))

    def work(client: openai.OpenAI) -> list[object]:
        with pytest.raises(openai.APIError, match="attempts_exhausted") as caught:
            list(client.images.generate(prompt="a cat", model="tiny", stream=True))
        return [caught.value.code]

    heard = await streamed(served, work, [lambda task: served.desk.fail(task, "attempts_exhausted")])
    assert heard == ["task_failed"]


async def test_images_generate__stream_is_closed__the_task_is_cancelled(serve: Serve):
    served = await serve(Workbench(draws=False))

    def leave(client: openai.OpenAI) -> None:
        with client.images.generate(prompt="a cat", model="tiny", stream=True, partial_images=1) as stream:
            next(iter(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, served, leave)
        with trio.fail_after(PATIENCE_S):
            (task,) = await served.desk.wait_for_tasks(1)
            while not served.desk.watching:
                await trio.sleep(0.01)
            served.desk.desk.deliver(task, preview(1))
            assert await served.desk.wait_for_cancelled(1) == [task]


async def test_images_generate__stream_while_the_node_stops__says_so(serve: Serve):
    served = await serve(Workbench(draws=False))

    def work(client: openai.OpenAI) -> list[object]:
        with pytest.raises(openai.APIError, match="stopping"):
            list(client.images.generate(prompt="a cat", model="tiny", stream=True))
        return []

    async def stop(_task) -> None:
        served.nursery.cancel_scope.cancel()

    await streamed(served, work, [stop])
    with trio.fail_after(PATIENCE_S):
        await served.desk.wait_for_cancelled(1)


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"stream": True, "n": 2}, "n"),
        ({"partial_images": 1}, "partial_images"),
        ({"stream": True, "partial_images": 4}, "partial_images"),
        ({"stream": True, "response_format": "url"}, "response_format"),
    ],
)
async def test_images_generate__stream_that_cannot_be__is_a_bad_request(serve: Serve, arguments, param):
    served = await serve()
    with pytest.raises(openai.BadRequestError) as caught:
        await call(served, lambda client: client.images.generate(prompt="a cat", model="tiny", **arguments))
    assert (caught.value.code, caught.value.param) == ("invalid_request", param)
    assert served.desk.accepted == {}
