"""The description of the API is whole and true: every operation, answer and refusal, each with an example."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from node.adapters.http.openapi_errors import REFUSALS, refusals_of
from node.adapters.http.openapi_examples import ANSWERS, DIGEST, MEDIA_TYPES, REQUESTS, TASK
from node.adapters.http.orders import failure
from node.model_files.catalog import load_catalog
from protocol.effects import Stage, Update
from protocol.task.refusals import Impossible
from protocol.units import Digest, UnixMillis
from tests.adapters.http.conftest import Serve, Served
from tests.support.desk import Workbench
from tests.support.patience import PATIENCE_S
from tests.support.pictures import png

ROOT = Path(__file__).parents[3]
SOURCE = Digest(b"\x01" * 32)
OTHER_PLACES = {
    "method_not_allowed",
    "numerics_not_offered",
    "guidance_too_fine",
    "strength_missing",
    "chain_unavailable",
    "sealed_not_taken",
    "not_possible",
}
"""Codes that no operation has: of requests for none, of what no request can say, of the portal's own page, and of
orders over the overlay alone."""


async def document_of(served: Served) -> dict:
    return (await served.http.get("/openapi.json")).json()


def operations(document: dict) -> Iterator[tuple[str, str, dict]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


async def test_openapi__every_operation__shows_request_answer_and_each_refusal(serve: Serve):
    document = await document_of(await serve())
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        body = operation.get("requestBody")
        assert body is None or "example" in next(iter(body["content"].values())), where
        assert all("example" in parameter for parameter in operation.get("parameters", ())), where
        for status, response in operation["responses"].items():
            for kind, content in response.get("content", {}).items():
                assert kind == "image/png" or "example" in content or content.get("examples"), f"{where}: {status}"
        assert {"500"} < set(operation["responses"]), where
        assert "422" not in operation["responses"], where
        assert ("401" in operation["responses"]) is ("security" in operation), where


async def test_openapi__fields_of_requests__say_what_they_do(serve: Serve):
    document = await document_of(await serve())
    for name, schema in document["components"]["schemas"].items():
        if name not in {"Error", "A1111Error"}:
            assert schema["description"], name
            undescribed = [field for field, one in schema["properties"].items() if not one.get("description")]
            assert undescribed == [], name


async def test_openapi__our_tables__speak_of_operations_that_there_are(serve: Serve):
    there = {(method, path) for method, path, _ in operations(await document_of(await serve()))}
    for table in (ANSWERS, REQUESTS, REFUSALS, MEDIA_TYPES):
        assert set(table) <= there
    assert set(ANSWERS) == there


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("prompt_empty", {"prompt": ""}),
        ("prompt_too_long", {"prompt": "x" * 2001}),
        ("size_not_offered", {"size": (512, 512)}),
        ("steps_out_of_range", {"steps": 0}),
        ("too_many_steps", {"steps": 51}),
        ("guidance_out_of_range", {"guidance": -1}),
        ("guidance_too_high", {"guidance": 16}),
        ("scheduler_not_offered", {"scheduler": "x"}),
        ("seed_out_of_range", {"seed": -1}),
        ("quality_unused", {"quality": 50}),
        ("quality_out_of_range", {"output": "webp", "quality": 0}),
        ("unknown_model", {"model": "dall-e-4"}),
        ("model_not_pinned", {"model": "sd-1.5"}),
        ("strength_out_of_range", {"source": SOURCE, "strength": 0}),
        ("strength_too_low", {"source": SOURCE, "strength": 0.01}),
        ("strength_unused", {"strength": 0.5}),
    ],
)
def test_refusals__example_of_a_code__is_what_the_packaged_catalog_says(code: str, asked: dict[str, Any]):
    said = load_catalog().complete(**({"prompt": "x", "seed": 1} | asked))
    (example,) = {one.message for one in refusals_of("post", "/v1/tasks") if one.code == code}
    assert said == Impossible(code, example)


@pytest.mark.parametrize("reason", ["attempts_exhausted", "content_policy"])
def test_refusals__example_of_a_failed_task__is_what_apps_are_told(reason: str):
    told = failure(Update(Stage.FAILED, UnixMillis(0), 0, reason=reason))
    (example,) = (one for one in refusals_of("post", "/v1/images/generations") if one.code == told.code)
    assert example.error == told


def test_refusals__every_code_in_the_source__is_described():
    source = "".join(path.read_text() for path in sorted((ROOT / "node/adapters/http").glob("*.py")))
    source += "".join(path.read_text() for path in sorted((ROOT / "protocol/task").glob("*.py")))
    for path in ("protocol/roles/coordinator/intake.py", "protocol/roles/coordinator/solvency.py", "node/desk.py"):
        source += (ROOT / path).read_text()
    codes = set(re.findall(r'(?:ApiError\(\s*\d+|Impossible\(|Refused\()[\s,]*"(\w+)"', source))
    assert {"busy", "prompt_empty", "size_not_offered", "no_miner", "disk_full"} <= codes, "the source is read"
    described = {refusal.code for key in REFUSALS for refusal in refusals_of(*key)}
    assert codes - described - OTHER_PLACES == set()


@pytest.mark.parametrize(("method", "path"), sorted(ANSWERS))
async def test_examples__made_for_real__succeed_and_have_that_shape(serve: Serve, method: str, path: str):
    served = await serve(Workbench(draws=not path.startswith("/v1/tasks/{task}") or path.endswith("events")))
    address = path.replace("{model}", "gpt-image-1")
    if "{task}" in path:
        task = (await served.http.post("/v1/tasks", json={"prompt": "a red heart"})).json()["task"]
        address = address.replace("{task}", task)
    if "{digest}" in path:
        digest = (await served.generate()).json()["data"][0]["cuckoo"]["artifact"]
        address = address.replace("{digest}", digest)
    body = REQUESTS.get((method, path))
    if path == "/sdapi/v1/options":
        body = {"sd_model_checkpoint": "tiny"}
    form = {} if path != "/v1/images/edits" else {"files": {"image": png(64, 64)}, "data": FORM_FIELDS}
    with trio.fail_after(PATIENCE_S):
        response = await served.http.request(method, address, **(form or {"json": body}))
    assert response.is_success, response.text
    kind = MEDIA_TYPES.get((method, path), "application/json")
    assert response.headers["content-type"].partition(";")[0] == kind
    if kind == "application/json" and path != "/v1/tasks/{task}":
        assert shape(response.json()) == shape(ANSWERS[method, path])


FORM_FIELDS = {name: value for name, value in REQUESTS["post", "/v1/images/edits"].items() if name != "image"}


def shape(value: object) -> object:
    """The names in an answer, without its values; of a list, the names in its first part."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def test_examples__names__are_as_long_as_real_ones():
    assert len(TASK) == len(DIGEST) == 64
