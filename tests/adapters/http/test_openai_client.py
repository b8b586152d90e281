"""The public ``openai`` client, unmodified, against a real socket."""

import base64

import httpx
import openai
import pytest
import trio

from protocol.effects import Refused
from tests.adapters.http.conftest import Serve, Served
from tests.support.desk import PNG, Workbench
from tests.support.patience import PATIENCE_S


async def call(served: Served, work, **options):
    """Run ``work`` with the synchronous client, in a thread, as apps do."""

    def run():
        with openai.OpenAI(
            base_url=f"{served.url}/v1", api_key="alice", max_retries=0, timeout=PATIENCE_S, **options
        ) as client:
            return work(client)

    return await trio.to_thread.run_sync(run)


async def test_images_generate__plain__gives_a_picture_and_who_made_it(serve: Serve):
    served = await serve()
    answer = await call(served, lambda client: client.images.generate(prompt="a red heart", model="tiny"))
    (image,) = answer.data
    assert base64.b64decode(image.b64_json).startswith(PNG)
    assert image.url is None
    (task,) = served.desk.specifications
    cuckoo = image.model_extra["cuckoo"]
    assert (cuckoo["task"], cuckoo["miner"], cuckoo["receipt"]) == (task.hex(), "7", f"/v1/receipts/{task.hex()}")
    specification = served.desk.specifications[task]
    assert (specification.prompt, specification.model, specification.steps) == ("a red heart", "tiny", 4)
    assert (specification.width, specification.height) == (128, 128)
    assert cuckoo["seed"] == specification.seed
    assert served.desk.detached[task] is False


async def test_images_generate__all_that_clients_send__is_taken(serve: Serve):
    served = await serve()
    answer = await call(
        served,
        lambda client: client.images.generate(
            prompt="a red heart",
            model="gpt-image-1",
            n=3,
            size="64x64",
            quality="high",
            style="vivid",
            user="someone",
            background="auto",
            moderation="low",
            output_format="png",
            response_format="url",
            extra_body={"seed": 41, "steps": 7, "guidance": 3.5, "negative_prompt": "blue"},
        ),
    )
    specifications = list(served.desk.specifications.values())
    assert [specification.seed for specification in specifications] == [41, 42, 43]
    assert {(s.width, s.height, s.steps, s.guidance, s.negative_prompt) for s in specifications} == {
        (64, 64, 7, 3.5, "blue")
    }
    async with httpx.AsyncClient() as anybody:
        for image in answer.data:
            fetched = await anybody.get(image.url)
            assert fetched.status_code == 200
            assert fetched.content.startswith(PNG)
    assert len({image.url for image in answer.data}) == 3


async def test_models__list_and_retrieve__say_what_is_offered(serve: Serve):
    served = await serve()
    listed = await call(served, lambda client: client.models.list().data)
    assert {(model.id, model.object, model.owned_by) for model in listed} == {
        (name, "model", "cuckoo") for name in ("tiny", "gpt-image-1", "dall-e-3")
    }
    assert listed[0].id == "tiny"
    assert all(
        alias.model_extra["cuckoo"] == {**listed[0].model_extra["cuckoo"], "alias_of": "tiny"} for alias in listed[1:]
    )
    assert listed[0].model_extra["cuckoo"]["sizes"] == ["64x64", "128x128"]
    assert listed[0].model_extra["cuckoo"]["max_prompt_tokens"] == 75
    assert (await call(served, lambda client: client.models.retrieve("gpt-image-1"))).id == "tiny"
    with pytest.raises(openai.NotFoundError):
        await call(served, lambda client: client.models.retrieve("absent"))


@pytest.mark.parametrize(
    ("arguments", "error", "code", "param"),
    [
        ({"model": "nothing"}, openai.NotFoundError, "unknown_model", "model"),
        ({"size": "100x100"}, openai.BadRequestError, "size_not_offered", "size"),
        ({"prompt": "  "}, openai.BadRequestError, "prompt_empty", "prompt"),
        ({"prompt": "x" * 2001}, openai.BadRequestError, "prompt_too_long", "prompt"),
        ({"n": 11}, openai.BadRequestError, "invalid_request", "n"),
    ],
)
async def test_images_generate__impossible__raises_what_apps_expect(serve: Serve, arguments, error, code, param):
    served = await serve()
    with pytest.raises(error) as caught:
        await call(served, lambda client: client.images.generate(**{"prompt": "a red heart", **arguments}))
    assert (caught.value.code, caught.value.param) == (code, param)
    assert served.desk.accepted == {}


async def test_images_generate__busy__is_a_rate_limit_error(serve: Serve):
    served = await serve()
    served.desk.refusal = Refused("busy", "20000 tasks wait", 3)
    with pytest.raises(openai.RateLimitError) as caught:
        await call(served, lambda client: client.images.generate(prompt="a red heart"))
    assert caught.value.response.headers["Retry-After"] == "3"


async def test_images_generate__client_gives_up__the_task_is_cancelled(serve: Serve):
    served = await serve(Workbench(draws=False))

    def impatient(client: openai.OpenAI) -> None:
        with pytest.raises(openai.APITimeoutError):
            client.images.generate(prompt="a red heart", n=2, timeout=1.0)

    await call(served, impatient)
    with trio.fail_after(PATIENCE_S):
        cancelled = await served.desk.wait_for_cancelled(2)
    assert set(cancelled) == set(served.desk.accepted)
    assert served.desk.watching == 0


async def test_images_generate__idempotency_key__the_same_call_twice_is_one_task(serve: Serve):
    served = await serve()

    def twice(client: openai.OpenAI):
        headers = {"Idempotency-Key": "order 66"}
        return [client.images.generate(prompt="a red heart", extra_headers=headers) for _ in range(2)]

    first, second = await call(served, twice)
    assert first.data == second.data
    assert len(served.desk.accepted) == 1
