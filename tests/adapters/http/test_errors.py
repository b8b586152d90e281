"""Every wrong request has an answer in one shape, and never a 500."""

import json

import httpx
import pytest
import trio

from protocol.effects import Refused
from protocol.errors import Unavailable
from tests.adapters.http.conftest import Serve, code_of, ring_of
from tests.support.desk import Workbench
from tests.support.patience import PATIENCE_S

GENERATIONS = "/v1/images/generations"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "invalid_request", "prompt")),
        ({"prompt": 5}, (400, "invalid_request", "prompt")),
        ({"prompt": ""}, (400, "prompt_empty", "prompt")),
        ({"prompt": "x", "n": 0}, (400, "invalid_request", "n")),
        ({"prompt": "x", "n": "2"}, (400, "invalid_request", "n")),
        ({"prompt": "x", "size": "large"}, (400, "invalid_request", "size")),
        ({"prompt": "x", "size": "64x65"}, (400, "size_not_offered", "size")),
        ({"prompt": "x", "size": "0x0"}, (400, "size_not_offered", "size")),
        ({"prompt": "x", "steps": 51}, (400, "too_many_steps", "steps")),
        ({"prompt": "x", "steps": 0}, (400, "steps_out_of_range", "steps")),
        ({"prompt": "x", "steps": 2.5}, (400, "invalid_request", "steps")),
        ({"prompt": "x", "guidance": 11}, (400, "guidance_too_high", "guidance")),
        ({"prompt": "x", "guidance": -1}, (400, "guidance_out_of_range", "guidance")),
        ({"prompt": "x", "seed": -1}, (400, "invalid_request", "seed")),
        ({"prompt": "x", "seed": 2**63 - 1, "n": 2}, (400, "seed_out_of_range", "seed")),
        ({"prompt": "x", "model": "none"}, (404, "unknown_model", "model")),
        ({"prompt": "x", "model": ""}, (404, "unknown_model", "model")),
        ({"prompt": "x", "model": "large"}, (404, "model_not_pinned", "model")),
        ({"prompt": "x", "stream": "yes"}, (400, "invalid_request", "stream")),
        ({"prompt": "x", "output_format": "jpeg"}, (400, "invalid_request", "output_format")),
        ({"prompt": "x", "colour": "red"}, (400, "invalid_request", "colour")),
        ({"prompt": "x", "response_format": "xml"}, (400, "invalid_request", "response_format")),
        ({"prompt": "x" * 40_000}, (400, "invalid_request", "prompt")),
        ({"prompt": "x", "negative_prompt": "y" * 2001}, (400, "prompt_too_long", "prompt")),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else value[1],
)
async def test_generate__wrong_field__names_it(serve: Serve, body, expected):
    served = await serve()
    assert code_of(await served.http.post(GENERATIONS, json=body)) == expected
    assert served.desk.accepted == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b"[" * 50_000,
        b'{"prompt": "\\ud800"}',
        b'{"\\ud800": 1, "prompt": "x"}',
        b'{"prompt": "x", "model": "\\udfff"}',
        b'{"prompt": "x", "guidance": NaN}',
        b'{"prompt": "x", "guidance": 1e999}',
        b'{"prompt": "x", "seed": ' + b"9" * 6000 + b"}",
        b'{"prompt": "x", "steps": 99999999999999999999}',
    ],
)
async def test_generate__not_even_json_of_ours__is_a_bad_request(serve: Serve, content):
    served = await serve()
    for path in (GENERATIONS, "/v1/tasks"):
        response = await served.http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert code_of(response)[:2] == (400, "invalid_request")
    assert served.desk.accepted == {}


async def test_generate__form_instead_of_json__says_what_to_send(serve: Serve):
    served = await serve()
    response = await served.http.post(GENERATIONS, data={"prompt": "x"})
    assert code_of(response) == (400, "invalid_request", None)
    assert "application/json" in response.json()["error"]["message"]


async def test_generate__size_not_offered__lists_sizes_and_never_repeats_the_prompt(serve: Serve):
    served = await serve()
    response = await served.generate(prompt="my secret wish", size="100x100")
    message = response.json()["error"]["message"]
    assert "64x64, 128x128" in message
    assert "secret" not in response.text
    assert served.journal.notes[-1].fields == {"reason": "size_not_offered"}
    assert "secret" not in repr(served.journal.notes)


@pytest.mark.parametrize(
    ("refusal", "expected", "retry"),
    [
        (Refused("busy", "full", 7), (429, "busy", None), "7"),
        (Refused("busy", "full"), (429, "busy", None), "5"),
        (Refused("disk_full", "the disk is full", 30), (507, "disk_full", None), "30"),
        (Refused("no_miner", "nobody serves it", 2), (503, "no_miner", None), "2"),
        (Refused("escrow_short", "a deposit is missing", 60), (503, "escrow_short", None), "60"),
        (Refused("not_registered", "no stake"), (503, "not_registered", None), "5"),
        (Refused("size_not_offered", "64x64"), (400, "size_not_offered", "size"), None),
    ],
)
async def test_generate__coordinator_refuses__passes_code_and_wait_on(serve: Serve, refusal, expected, retry):
    served = await serve()
    served.desk.refusal = refusal
    response = await served.generate()
    assert code_of(response) == expected
    assert response.headers.get("Retry-After") == retry


async def test_generate__disk_full__is_unavailable(serve: Serve):
    served = await serve()
    served.desk.broken = Unavailable("the disk is full")
    response = await served.generate()
    assert code_of(response) == (503, "unavailable", None)
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("out_of_memory", (502, "task_failed", None)),
        ("deadline", (504, "timeout", None)),
        ("no_miner", (503, "no_miner", None)),
        ("content_policy", (400, "content_policy", "prompt")),
    ],
)
async def test_generate__task_fails__says_why_and_stops_the_others(serve: Serve, reason, expected):
    served = await serve(Workbench(draws=False))
    async with trio.open_nursery() as nursery:

        async def fail_one() -> None:
            first, _ = await served.desk.wait_for_tasks(2)
            await served.desk.fail(first, reason)

        nursery.start_soon(fail_one)
        response = await served.generate(n=2)
    assert code_of(response) == expected
    assert reason in response.json()["error"]["message"].replace(" ", "_")
    assert set(served.desk.ends) == set(served.desk.accepted)


async def test_generate__nobody_draws__times_out_and_cancels(serve: Serve):
    served = await serve(Workbench(draws=False), task_timeout_s=0.05)
    response = await served.generate()
    assert code_of(response) == (504, "timeout", None)
    assert response.headers["x-should-retry"] == "false"
    assert served.desk.cancelled == list(served.desk.accepted)


async def test_any__unknown_page_or_method__has_the_same_shape(serve: Serve):
    served = await serve()
    assert code_of(await served.http.get("/nothing")) == (404, "not_found", None)
    assert code_of(await served.http.get("/v1/nothing")) == (404, "not_found", None)
    response = await served.http.delete(GENERATIONS)
    assert code_of(response) == (405, "method_not_allowed", None)
    assert response.headers["Allow"] == "POST"
    assert response.json()["error"]["message"] == "DELETE is not offered here: send POST"


@pytest.mark.parametrize("name", ["x", "00", "zz" * 32, "00" * 33, "0 " * 32, "%00", "..%2f..%2fetc"])
@pytest.mark.parametrize("page", ["/v1/tasks/{}", "/v1/tasks/{}/events", "/v1/receipts/{}", "/v1/artifacts/{}"])
async def test_get__name_that_cannot_exist__is_not_found(serve: Serve, page, name):
    served = await serve()
    assert code_of(await served.http.get(page.format(name)))[:2] == (404, "not_found")


async def test_post__body_too_large__is_refused_before_it_is_kept(serve: Serve):
    served = await serve(max_body_bytes=1000)
    assert code_of(await served.generate(prompt="x" * 2000)) == (413, "body_too_large", None)

    async def endless():
        for _ in range(400):
            yield b"x" * 4096

    response = await served.http.post(GENERATIONS, content=endless())
    assert code_of(response) == (413, "body_too_large", None)
    assert served.desk.accepted == {}


async def test_post__body_never_ends__times_out(serve: Serve):
    served = await serve(body_timeout_s=0.05)
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        await stream.send_all(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        with trio.fail_after(PATIENCE_S):
            assert b"408" in await stream.receive_some(4096)


async def test_key_required__wrong_or_none__is_unauthorised(serve: Serve):
    served = await serve(ring=ring_of("right"), require_key=True)
    assert code_of(await served.generate()) == (401, "invalid_api_key", None)
    assert code_of(await served.http.get("/v1/models")) == (401, "invalid_api_key", None)
    async with httpx.AsyncClient(base_url=served.url) as stranger:
        assert code_of(await stranger.get("/v1/models")) == (401, "invalid_api_key", None)
        for header in ("Bearer", "Basic right", "right", "Bearer  wrong", "Bearer ümlaut".encode("latin-1")):
            response = await stranger.get("/v1/models", headers={"Authorization": header})
            assert code_of(response)[:2] == (401, "invalid_api_key")
        for page in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
            assert (await stranger.get(page)).status_code == 200
        good = {"Authorization": "Bearer right"}
        assert (await stranger.post(GENERATIONS, json={"prompt": "x"}, headers=good)).status_code == 200


async def test_rate__too_many_submissions__wait_is_told_and_other_keys_go_on(serve: Serve):
    served = await serve(ring=ring_of("alice", "bob"), requests_per_minute_per_key=2)
    assert [(await served.generate()).status_code for _ in range(2)] == [200, 200]
    response = await served.generate()
    assert code_of(response) == (429, "rate_limited", None)
    assert 1 <= int(response.headers["Retry-After"]) <= 30
    assert (await served.http.get("/v1/models")).status_code == 200, "reading is not counted"
    bob = {"Authorization": "Bearer bob"}
    assert (await served.http.post(GENERATIONS, json={"prompt": "x"}, headers=bob)).status_code == 200


async def test_rate__made_up_keys__count_as_one_address(serve: Serve):
    served = await serve(requests_per_minute_per_key=2)
    codes = [
        (
            await served.http.post("/v1/tasks", json={"prompt": "x"}, headers={"Authorization": f"Bearer {n}"})
        ).status_code
        for n in range(3)
    ]
    assert codes == [202, 202, 429]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/images/generations", "base_url ends in /v1"),
        ("/v1/v1/images/generations", "base_url ends in /v1"),
        ("/v1/images/variations", "send the picture to /v1/images/edits"),
        ("/v1/chat/completions", "this network draws pictures, at /v1/images/generations"),
        ("/elsewhere", "there is no such page; /docs lists all"),
    ],
)
async def test_any_path__that_clients_ask_for_by_mistake__says_where_to_look(serve: Serve, path: str, hint: str):
    served = await serve()
    answer = await served.http.post(path, json={})
    assert code_of(answer) == (404, "not_found", None)
    assert hint in answer.json()["error"]["message"]
