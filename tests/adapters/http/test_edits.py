"""Pictures from pictures: the public ``openai`` client, unmodified, and the native API, against a real socket."""

import base64
import hashlib
import io

import httpx
import openai
import pytest
import trio

from node.adapters.http.uploads import UploadRoom
from protocol.params import MAX_INPUT_BYTES
from tests.adapters.http.conftest import Serve, code_of
from tests.adapters.http.test_openai_client import call
from tests.support.desk import PNG, Workbench
from tests.support.patience import PATIENCE_S
from tests.support.pictures import jpeg, png, vp8, webp

SOURCE, MASK = png(64, 64), png(64, 64, seed=5)
EDITS = "/v1/images/edits"


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def named(data: bytes, name: str = "cat.png") -> io.BytesIO:
    """A file as apps open it."""
    file = io.BytesIO(data)
    file.name = name
    return file


async def test_images_edit__image_and_mask__is_an_inpaint_task_with_both(serve: Serve):
    served = await serve()
    answer = await call(
        served,
        lambda client: client.images.edit(
            image=named(SOURCE),
            mask=named(MASK),
            prompt="a red heart",
            model="tiny",
            n=2,
            size="64x64",
            response_format="b64_json",
            user="someone",
            extra_body={"seed": 7, "strength": 0.5, "steps": 8, "guidance": 3.5, "negative_prompt": "blue"},
        ),
    )
    assert len(answer.data) == 2
    assert base64.b64decode(answer.data[0].b64_json).startswith(PNG)
    first, second = served.desk.specifications.values()
    assert (first.work, first.source, first.mask, first.strength) == ("inpaint", digest(SOURCE), digest(MASK), 0.5)
    assert (first.seed, second.seed) == (7, 8)
    assert (first.steps, first.guidance, first.negative_prompt, first.drawn_steps) == (8, 3.5, "blue", 4)
    assert served.desk.inputs == [{digest(SOURCE): SOURCE, digest(MASK): MASK}] * 2
    assert answer.data[0].model_extra["cuckoo"]["strength"] == 0.5


async def test_images_edit__image_alone_as_gpt_image_clients_send_it__is_image_to_image(serve: Serve):
    served = await serve()
    await call(
        served,
        lambda client: client.images.edit(
            image=[named(SOURCE)],
            prompt="a red heart",
            model="gpt-image-1",
            size="auto",
            quality="high",
            background="opaque",
            input_fidelity="high",
            output_format="webp",
            output_compression=80,
            stream=False,
            partial_images=0,
        ),
    )
    (specification,) = served.desk.specifications.values()
    assert (specification.work, specification.model, specification.strength) == ("image_to_image", "tiny", 0.6)
    assert (specification.output, specification.quality, specification.version) == ("webp", 80, 2)


@pytest.mark.parametrize(
    ("source", "size"), [(png(512, 512), (128, 128)), (jpeg(1600, 900), (128, 64)), (webp(vp8(40, 80)), (64, 128))]
)
async def test_images_edit__no_size__is_the_offered_one_of_the_nearest_proportions(serve: Serve, source, size):
    served = await serve()
    await call(served, lambda client: client.images.edit(image=named(source), prompt="a cat", model="tiny"))
    (specification,) = served.desk.specifications.values()
    assert (specification.width, specification.height) == size


@pytest.mark.parametrize(
    ("wanted", "drawn"),
    [("1024x1024", (128, 128)), ("1792x1024", (128, 64)), ("64x64", (64, 64)), ("50x60", (64, 64)), ("0x9", (64, 128))],
)
async def test_images_generate__size_that_is_not_offered__is_the_nearest_where_the_operator_says_so(
    serve: Serve, wanted, drawn
):
    served = await serve(nearest_sizes=True)
    await call(served, lambda client: client.images.generate(prompt="a cat", model="dall-e-3", size=wanted))
    (specification,) = served.desk.specifications.values()
    assert (specification.width, specification.height) == drawn
    with pytest.raises(openai.NotFoundError):
        await call(served, lambda client: client.images.generate(prompt="a cat", model="nothing", size=wanted))


@pytest.mark.parametrize(
    ("arguments", "code", "param"),
    [
        ({"image": b"GIF89a" + bytes(50)}, "input_format", "image"),
        ({"image": jpeg(5000, 16)}, "input_pixels", "image"),
        ({"image": b"\x89PNG\r\n\x1a\n" + bytes(MAX_INPUT_BYTES)}, "input_oversize", "image"),
        ({"image": SOURCE, "mask": b"GIF89a"}, "input_format", "mask"),
        ({"image": [SOURCE, MASK]}, "invalid_request", "image"),
        ({"image": SOURCE, "size": "100x100"}, "size_not_offered", "size"),
        ({"image": SOURCE, "n": 11}, "invalid_request", "n"),
        ({"image": SOURCE, "prompt": " "}, "prompt_empty", "prompt"),
        ({"image": SOURCE, "extra_body": {"strength": 1.5}}, "strength_out_of_range", "strength"),
        ({"image": SOURCE, "extra_body": {"strength": "much"}}, "invalid_request", "strength"),
        ({"image": SOURCE, "extra_body": {"scheduler": "heun"}}, "scheduler_not_offered", "scheduler"),
        ({"image": SOURCE, "extra_body": {"surplus": 1}}, "invalid_request", "surplus"),
        ({"image": SOURCE, "output_format": "jpeg"}, "invalid_request", "output_format"),
        ({"image": SOURCE, "extra_body": {"output_quality": 80}}, "quality_unused", "output_quality"),
    ],
)
async def test_images_edit__impossible__names_the_field_and_reaches_no_queue(serve: Serve, arguments, code, param):
    served = await serve()
    files = arguments["image"] if isinstance(arguments["image"], list) else [arguments["image"]]
    pictures = [named(data) for data in files]
    sent = {"prompt": "a cat", "model": "tiny"} | arguments
    sent["image"] = pictures if len(pictures) > 1 else pictures[0]
    if "mask" in arguments:
        sent["mask"] = named(arguments["mask"])
    with pytest.raises(openai.BadRequestError) as caught:
        await call(served, lambda client: client.images.edit(**sent))
    assert (caught.value.code, caught.value.param) == (code, param)
    assert served.desk.accepted == {}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"json": {"prompt": "a cat"}}, 415, None),
        ({"data": {"prompt": "a cat"}}, 415, None),
        ({"files": {"prompt": (None, "a cat")}}, 400, "image"),
        ({"files": {"prompt": (None, "a cat"), "image": (None, "not a file")}}, 400, "image"),
        ({"files": {"image": ("cat.png", SOURCE)}}, 400, "prompt"),
        ({"content": b"--x\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, "prompt"),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data"}}, 400, None),
        ({"files": [("image", ("cat.png", SOURCE))] * 17}, 400, None),
    ],
)
async def test_edits__no_such_form__is_a_bad_request(serve: Serve, body, status, param):
    served = await serve()
    response = await served.http.post(EDITS, **body)
    assert code_of(response)[::2] == (status, param)


async def test_edits__same_key_again__is_the_same_task_and_with_another_picture_a_conflict(serve: Serve):
    served = await serve()

    async def post(picture: bytes) -> httpx.Response:
        form = {"image": ("cat.png", picture), "prompt": (None, "a cat"), "model": (None, "tiny")}
        return await served.http.post(EDITS, files=form, headers={"Idempotency-Key": "order 66"})

    first, second, other = await post(SOURCE), await post(SOURCE), await post(MASK)
    assert first.json()["data"][0]["cuckoo"]["task"] == second.json()["data"][0]["cuckoo"]["task"]
    assert code_of(other) == (409, "idempotency_conflict", "Idempotency-Key")


async def test_tasks__source_and_mask_in_base64__is_an_inpaint_task(serve: Serve):
    served = await serve()
    encoded = base64.b64encode(SOURCE).decode()
    body = {"prompt": "a cat", "model": "tiny", "strength": 0.5, "output_format": "webp", "embed_prompt": True}
    response = await served.http.post(
        "/v1/tasks",
        json={**body, "source": encoded, "mask": f"data:image/png;base64,{base64.b64encode(MASK).decode()}"},
    )
    assert response.status_code == 202, response.text
    assert (response.json()["work"], response.json()["output_format"]) == ("inpaint", "webp")
    (specification,) = served.desk.specifications.values()
    assert (specification.source, specification.mask) == (digest(SOURCE), digest(MASK))
    assert specification.embed_prompt
    for wrong, code, param in (
        ({"source": "not base64!"}, "invalid_request", "source"),
        ({"source": base64.b64encode(b"GIF").decode()}, "input_format", "source"),
        ({"mask": encoded}, "source_missing", "source"),
        ({}, "strength_unused", "strength"),
    ):
        assert code_of(await served.http.post("/v1/tasks", json={**body, **wrong})) == (400, code, param)


async def test_tasks__largest_source_and_mask__fit_into_a_body(serve: Serve):
    served = await serve()
    large = [png(64, 64, seed)[:-12] + b"x" * (MAX_INPUT_BYTES - len(png(64, 64, seed)) + 12) for seed in (1, 2)]
    source, mask = (base64.b64encode(data).decode() for data in large)
    body = {"prompt": "a cat" * 300, "model": "tiny", "source": source, "mask": mask}
    response = await served.http.post("/v1/tasks", json=body, timeout=PATIENCE_S)
    assert response.status_code == 202, response.text
    assert served.desk.inputs[0] == {digest(data): data for data in large}


async def test_generations__body_with_a_picture__is_too_large_there(serve: Serve):
    served = await serve()
    response = await served.generate(prompt="a cat", source=base64.b64encode(bytes(100_000)).decode())
    assert code_of(response) == (413, "body_too_large", None)


async def test_edits__more_pictures_than_memory_has_room_for__is_busy_until_one_is_read(serve: Serve):
    served = await serve(Workbench(draws=False), max_uploading_bytes=300_000)
    form = {"image": ("cat.png", png(64, 64) + bytes(200_000)), "prompt": (None, "a cat"), "model": (None, "tiny")}
    stalled = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stalled:
        head = f"POST {EDITS} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        await stalled.send_all(f"{head}Content-Length: 200000\r\n\r\n".encode() + b"x" * 1000)
        with trio.fail_after(PATIENCE_S):
            while served.gateway._door.uploads.free == 300_000:
                await trio.sleep(0.01)
        response = await served.http.post(EDITS, files=form)
        assert code_of(response) == (429, "busy", None)
        assert response.headers["Retry-After"]
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE_S):
            while served.gateway._door.uploads.free != 300_000:
                await trio.sleep(0.01)
        nursery.start_soon(lambda: served.http.post(EDITS, files=form))
        await served.desk.wait_for_tasks(1)
        with trio.fail_after(PATIENCE_S):
            while served.gateway._door.uploads.free != 300_000:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


def test_upload__released_twice__gives_its_room_back_once():
    room = UploadRoom(100)
    upload = room.take(60)
    upload.release()
    upload.release()
    assert room.take(100)


async def test_artifact__webp__is_served_as_one(serve: Serve):
    served = await serve()
    data = webp(vp8(64, 64))
    from protocol.records import ArtifactStored

    await served.desk.store.persist((ArtifactStored(digest(data), data),))
    response = await served.http.get(f"/v1/artifacts/{digest(data).hex()}")
    assert (response.headers["Content-Type"], response.content) == ("image/webp", data)


async def test_openapi__edits__describes_its_form(serve: Serve):
    served = await serve()
    described = (await served.http.get("/openapi.json")).json()["paths"][EDITS]["post"]["requestBody"]
    fields = described["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"image", "mask", "prompt", "n", "size", "response_format", "strength"} <= fields.keys()
