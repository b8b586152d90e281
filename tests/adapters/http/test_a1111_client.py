"""The public ``webuiapi`` client of AUTOMATIC1111's web UI, unmodified, against a real socket."""

import json
from base64 import b64encode

import pytest
import trio
import webuiapi
from PIL import Image

from node.adapters.http.openapi_examples import SMALL_PICTURE
from protocol.effects import Refused, Stage, Update
from tests.adapters.http.conftest import Serve, Served, catalog, ring_of
from tests.support.desk import Workbench
from tests.support.pictures import png
from tests.support.records import NOW, digest_of


async def call(served: Served, work, **options):
    """Run ``work`` with the client, in a thread, as apps do."""

    def run():
        client = webuiapi.WebUIApi(port=served.port, username="anybody", password="alice", **options)
        try:
            return work(client)
        finally:
            client.session.close()

    return await trio.to_thread.run_sync(run)


@pytest.fixture
def bench() -> Workbench:
    """Draws pictures that a picture library can open."""
    return Workbench(picture=png(64, 64))


async def test_txt2img__plain__gives_a_picture_and_its_parameters(serve: Serve, bench: Workbench):
    served = await serve(bench, ring_of("alice"), require_key=True)
    result = await call(
        served,
        lambda client: client.txt2img(
            prompt="a red heart", negative_prompt="blue", seed=1003, cfg_scale=7, steps=5, width=64, height=64
        ),
    )
    assert isinstance(result.image, Image.Image)
    assert result.image.size == (64, 64)
    ((task, specification),) = served.desk.specifications.items()
    assert (specification.prompt, specification.negative_prompt, specification.seed) == ("a red heart", "blue", 1003)
    assert (specification.width, specification.steps, specification.guidance) == (64, 5, 7.0)
    assert served.desk.accepted[task].account == "key:alice"
    assert served.desk.detached[task] is False
    info = result.info
    assert (info["seed"], info["all_seeds"], info["width"], info["sd_model_name"]) == (1003, [1003], 64, "tiny")
    assert info["infotexts"] == [
        "a red heart\nNegative prompt: blue\n"
        "Steps: 5, Sampler: Default, CFG scale: 7, Seed: 1003, Size: 64x64, Model: tiny"
    ]
    assert info["cuckoo"][0]["task"] == task.hex()
    assert result.parameters["prompt"] == "a red heart"


async def test_img2img__picture_and_mask__are_a_task_that_begins_from_them(serve: Serve, bench: Workbench):
    served = await serve(bench)
    source, mask = Image.new("RGB", (64, 64), "red"), Image.new("L", (64, 64), "white")
    result = await call(
        served,
        lambda client: client.img2img(
            images=[source], mask_image=mask, prompt="a cat", denoising_strength=0.5, steps=8, width=64, height=64
        ),
    )
    assert len(result.images) == 1
    (specification,) = served.desk.specifications.values()
    assert (specification.work, specification.strength, specification.steps) == ("inpaint", 0.5, 8)
    assert set(served.desk.inputs[0]) == {specification.source, specification.mask}
    assert result.info["denoising_strength"] == 0.5
    assert result.info["infotexts"][0].endswith("Denoising strength: 0.5")
    assert "init_images" not in result.parameters


async def test_img2img__no_size__is_that_of_the_source(serve: Serve, bench: Workbench):
    served = await serve(bench)
    body = {"prompt": "x", "init_images": [b64encode(png(640, 320)).decode()]}
    assert (await served.http.post("/sdapi/v1/img2img", json=body)).status_code == 200
    (specification,) = served.desk.specifications.values()
    assert (specification.width, specification.height, specification.strength) == (128, 64, 0.6)


async def test_img2img__picture_of_usual_size__is_taken(serve: Serve, bench: Workbench):
    served = await serve(bench)
    picture = png(640, 320) + bytes(1_000_000)
    body = {"prompt": "x", "init_images": [b64encode(picture).decode()]}
    assert (await served.http.post("/sdapi/v1/img2img", json=body)).status_code == 200
    assert list(served.desk.inputs[0].values()) == [picture]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"init_images": []}, "invalid_request", "init_images"),
        ({}, "invalid_request", "init_images is required"),
        ({"init_images": ["!"]}, "invalid_request", "not base64"),
        ({"init_images": ["R0lGODlh"]}, "input_format", "init_images"),
        ({"init_images": [SMALL_PICTURE, SMALL_PICTURE]}, "invalid_request", "one picture is taken, not 2"),
        ({"init_images": [SMALL_PICTURE], "mask": "R0lGODlh"}, "input_format", "mask"),
        ({"init_images": [SMALL_PICTURE], "inpainting_mask_invert": 1}, "not_offered", "invert the mask"),
        ({"init_images": [SMALL_PICTURE], "denoising_strength": 0}, "strength_out_of_range", "strength"),
    ],
)
async def test_img2img__impossible__names_the_field(serve: Serve, bench: Workbench, body, code, said):
    served = await serve(bench)
    response = await served.http.post("/sdapi/v1/img2img", json={"prompt": "x", **body})
    assert (response.status_code, response.json()["error"]) == (400, code), response.text
    assert said in response.json()["detail"]


@pytest.mark.parametrize(
    ("sampler", "scheduler", "said"),
    [
        ("Euler a", "EulerAncestralDiscreteScheduler", "Euler a"),
        ("euler a", "EulerAncestralDiscreteScheduler", "Euler a"),
        ("DPM++ 2M Karras", "", "DDIM"),
        ("DDIM", "", "DDIM"),
        ("Default", "", "DDIM"),
        ("no such sampler", "", "DDIM"),
    ],
)
async def test_txt2img__sampler__is_used_where_the_model_has_it_and_told_as_it_was(
    serve: Serve, bench: Workbench, monkeypatch, sampler, scheduler, said
):
    schedulers = {"default_scheduler": "DDIMScheduler", "schedulers": ("EulerAncestralDiscreteScheduler",)}
    known = catalog()
    models = {**known.models, "tiny": known.models["tiny"].model_copy(update=schedulers)}
    monkeypatch.setattr("tests.adapters.http.conftest.catalog", lambda: known.model_copy(update={"models": models}))
    served = await serve(bench)
    result = await call(served, lambda client: client.txt2img(prompt="x", width=64, height=64, sampler_name=sampler))
    (specification,) = served.desk.specifications.values()
    assert (specification.scheduler, result.info["sampler_name"]) == (scheduler, said)
    names = await call(served, lambda client: client.util_get_sampler_names())
    assert names == ["DDIM", "Default", "Euler a"]


async def test_txt2img__batches__are_tasks_with_consecutive_seeds(serve: Serve, bench: Workbench):
    served = await serve(bench)
    result = await call(
        served, lambda client: client.txt2img(prompt="x", seed=5, batch_size=2, n_iter=3, width=64, height=64)
    )
    assert len(result.images) == 6
    assert [one.seed for one in served.desk.specifications.values()] == result.info["all_seeds"] == [5, 6, 7, 8, 9, 10]


async def test_txt2img__nothing_but_a_prompt__default_size_of_clients_is_met_by_the_nearest(serve: Serve, bench):
    served = await serve(bench, nearest_sizes=True)
    result = await call(served, lambda client: client.txt2img(prompt="x"))
    (specification,) = served.desk.specifications.values()
    assert (specification.width, specification.height) == (128, 128) == (result.info["width"], result.info["height"])
    assert result.info["seed"] == specification.seed >= 0


@pytest.mark.parametrize(
    ("arguments", "status", "code", "said"),
    [
        ({"width": 512, "height": 512}, 400, "size_not_offered", "64x64"),
        ({"enable_hr": True}, 400, "not_offered", "enable_hr"),
        ({"restore_faces": True}, 400, "not_offered", "restore_faces"),
        ({"styles": ["oil"]}, 400, "not_offered", "styles"),
        ({"alwayson_scripts": {"ControlNet": {"args": [{"image": ""}]}}}, 400, "not_offered", "ControlNet"),
        ({"batch_size": 8, "n_iter": 3}, 400, "invalid_request", "at most 16"),
        ({"batch_size": 17}, 400, "invalid_request", "batch_size"),
        ({"steps": 51}, 400, "too_many_steps", "50"),
        ({"prompt": ""}, 400, "prompt_empty", "prompt"),
        ({"override_settings": {"sd_model_checkpoint": "none"}}, 404, "unknown_model", "tiny"),
    ],
)
async def test_txt2img__impossible__is_an_error_in_the_shape_that_clients_show(
    serve, bench, arguments, status, code, said
):
    served = await serve(bench)
    with pytest.raises(RuntimeError) as caught:
        await call(
            served, lambda client: client.txt2img(**{"prompt": "x", "width": 64, "height": 64, "steps": 4, **arguments})
        )
    body = json.loads(caught.value.args[1])
    assert (caught.value.args[0], body["error"]) == (status, code)
    assert said in body["detail"]
    assert set(body) == {"error", "detail", "body", "errors"}
    assert served.desk.accepted == {}


@pytest.mark.parametrize("name", ["\ud800", "x" * 257, ["tiny"], 7])
async def test_txt2img__model_that_is_no_name__is_refused_by_its_field(serve: Serve, bench: Workbench, name):
    served = await serve(bench)
    body = {"prompt": "x", "override_settings": {"sd_model_checkpoint": name}}
    response = await served.http.post(
        "/sdapi/v1/txt2img", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request"), response.text
    assert "sd_model_checkpoint" in response.json()["detail"]


@pytest.mark.parametrize("scripts", [{"ControlNet": {"args": []}}, {"ADetailer": {"args": [False]}}, {}])
async def test_txt2img__extension_that_is_off__is_no_hindrance(serve: Serve, bench: Workbench, scripts):
    served = await serve(bench)
    await call(served, lambda client: client.txt2img(prompt="x", width=64, height=64, alwayson_scripts=scripts))
    assert len(served.desk.accepted) == 1


async def test_txt2img__busy_or_no_key__status_tells(serve: Serve, bench: Workbench):
    bench.refusal = Refused("busy", "20000 tasks wait", 3)
    served = await serve(bench, ring_of("bob"))
    response = await served.http.post("/sdapi/v1/txt2img", json={"prompt": "x"})
    assert (response.status_code, response.json()["error"], response.headers["Retry-After"]) == (429, "busy", "3")
    guarded = await serve(bench, ring_of("bob"), require_key=True)
    response = await guarded.http.post("/sdapi/v1/txt2img", json={"prompt": "x"})
    assert (response.status_code, response.json()["error"]) == (401, "invalid_api_key")
    assert response.headers["WWW-Authenticate"] == "Basic"


async def test_options__model_chosen__holds_for_that_caller_alone(serve: Serve, bench: Workbench):
    served = await serve(bench)

    def choose(client: webuiapi.WebUIApi) -> tuple[str, list[str]]:
        client.util_set_model("tiny")
        return client.util_get_current_model(), client.util_get_model_names()

    assert await call(served, choose) == ("tiny", ["tiny"])
    refused = await served.http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "absent"})
    assert (refused.status_code, refused.json()["error"]) == (404, "unknown_model")
    assert (await served.http.post("/sdapi/v1/options", json={"samples_format": "jpg"})).json() == {}


async def test_lists__all_that_the_client_knows__are_answered(serve: Serve, bench: Workbench):
    served = await serve(bench)

    def read(client: webuiapi.WebUIApi) -> None:
        (model,) = client.get_sd_models()
        digest = catalog().models["tiny"].digest
        assert digest is not None
        assert (model["title"], model["sha256"], model["hash"]) == ("tiny", digest.hex(), digest.hex()[:10])
        assert client.util_get_sampler_names() == ["Default"]
        assert client.util_get_scheduler_names() == ["automatic"]
        assert client.get_scripts() == {"txt2img": [], "img2img": []}
        assert client.get_embeddings() == {"loaded": {}, "skipped": {}}
        for absent in (client.get_loras, client.get_upscalers, client.get_sd_vae, client.get_face_restorers):
            assert absent() == []
        for absent in (client.get_hypernetworks, client.get_latent_upscale_modes, client.get_prompt_styles):
            assert absent() == []
        assert client.get_realesrgan_models() == []
        assert client.get_cmd_flags() == {}
        client.refresh_checkpoints()
        client.util_wait_for_ready(check_interval=0.1)

    await call(served, read)


async def test_progress__request_under_way__tells_step_preview_and_time(serve: Serve):
    served = await serve(Workbench(draws=False))

    async def ask() -> dict:
        return await call(served, lambda client: client.get_progress())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_draw_two, served)
        first, second = await served.desk.wait_for_tasks(2)
        assert (await ask())["progress"] == 0.0
        update = Update(Stage.PROGRESS, NOW, 1, step=1, steps=4, preview=png(8, 8))
        served.desk.desk.deliver(first, update)
        shown = await ask()
        assert shown["progress"] == 0.125
        assert shown["eta_relative"] >= 0
        state = shown["state"]
        assert (state["job_count"], state["job_no"], state["sampling_step"], state["sampling_steps"]) == (2, 0, 1, 4)
        assert shown["current_image"].startswith("iVBOR")
        hidden = await served.http.get("/sdapi/v1/progress?skip_current_image=true")
        assert hidden.json()["current_image"] is None
        async with served.caller("203.0.113.9") as stranger:
            assert (await stranger.get("/sdapi/v1/progress")).json()["state"]["job_count"] == 0
        await served.desk.finish(second)
        assert (await ask())["state"]["job_no"] == 1
        await served.desk.finish(first)
    idle = await ask()
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0.0, 0, None)


async def _draw_two(served: Served) -> None:
    body = {"prompt": "x", "batch_size": 2, "width": 64, "height": 64, "send_images": False}
    response = await served.http.post("/sdapi/v1/txt2img", json=body)
    assert (response.status_code, response.json()["images"]) == (200, [])


@pytest.mark.parametrize("how", ["interrupt", "skip"])
async def test_interrupt__own_requests__end_and_those_of_others_do_not(serve: Serve, how: str):
    served = await serve(Workbench(draws=False))
    answers: dict[str, int] = {}

    async def draw(name: str, client) -> None:
        response = await client.post("/sdapi/v1/txt2img", json={"prompt": name})
        answers[name] = response.status_code

    async with served.caller("203.0.113.9") as stranger, trio.open_nursery() as nursery:
        nursery.start_soon(draw, "theirs", stranger)
        (theirs,) = await served.desk.wait_for_tasks(1)
        nursery.start_soon(draw, "mine", served.http)
        _, mine = await served.desk.wait_for_tasks(2)
        while served.desk.watching < 2:
            await trio.lowlevel.checkpoint()
        await call(served, lambda client: getattr(client, how)())
        assert set(await served.desk.wait_for_cancelled(1)) == {mine}
        await served.desk.finish(theirs)
    assert answers == {"mine": 502, "theirs": 200}


async def test_options__more_callers_than_are_remembered__the_longest_unused_is_forgotten(serve, bench, monkeypatch):
    monkeypatch.setattr("node.adapters.http.a1111.MAX_CHOICES", 1)
    served = await serve(bench)
    for key in ("one", "two"):
        headers = {"Authorization": f"Bearer {key}"}
        chosen = await served.http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny"}, headers=headers)
        assert chosen.status_code == 200
    assert digest_of("tiny").hex() == (await served.http.get("/sdapi/v1/options")).json()["sd_checkpoint_hash"]
