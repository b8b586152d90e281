"""The quick way of the usual request: it takes what FastAPI takes, and what it does not take is answered by FastAPI."""

from typing import Any

import pytest

from tests.adapters.http.conftest import Serve, code_of
from tests.support.desk import Workbench

PATH = "/v1/images/generations"


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"])
async def test_generate__json_under_whatever_name__is_drawn(serve: Serve, kind: str) -> None:
    served = await serve()
    for key in (None, "once"):
        headers = {"Content-Type": kind} | ({} if key is None else {"Idempotency-Key": key})
        answer = await served.http.post(PATH, content=b'{"prompt": "a red heart", "seed": 7}', headers=headers)
        assert answer.status_code == 200
        task = answer.json()["data"][0]["cuckoo"]["task"]
        again = await served.http.post(PATH, content=b'{"prompt": "a red heart", "seed": 7}', headers=headers)
        assert (again.json()["data"][0]["cuckoo"]["task"] == task) is (key is not None)


@pytest.mark.parametrize(
    ("content", "words", "param"),
    [
        (b"{", "not valid JSON", None),
        (b"\xff", "parsing the body", None),
        (b"[" * 5000, "parsing the body", None),
        (b"7", "must be a JSON object", None),
        (b"", "must be a JSON object", None),
        (b"{}", "prompt is required", "prompt"),
        (b'{"prompt": 7}', "prompt: ", "prompt"),
        (b'{"prompt": "a", "n": "2"}', "n: ", "n"),
        (b'{"prompt": "a", "color": "red"}', "color is not a field", "color"),
        (b'{"prompt": "\\ud800"}', "prompt: ", "prompt"),
    ],
)
async def test_generate__what_is_wrong__is_named_as_in_any_other_request(
    serve: Serve, content: bytes, words: str, param: Any
) -> None:
    served = await serve()
    said = []
    for kind in ("application/json", "application/x+json"):  # the second goes FastAPI's way from the beginning
        answer = await served.http.post(PATH, content=content, headers={"Content-Type": kind})
        status, code, named = code_of(answer)
        assert (status, code, named) == (400, "invalid_request", param)
        said.append(answer.json()["error"]["message"])
    assert said[0] == said[1]
    assert words in said[0]


async def test_generate__no_json_by_its_name__is_not_read_as_json(serve: Serve) -> None:
    served = await serve()
    answer = await served.http.post(PATH, content=b'{"prompt": "a"}', headers={"Content-Type": "text/plain"})
    assert code_of(answer)[0] == 400


@pytest.mark.parametrize("kind", ["application/json", "application/x+json"])
async def test_generate__handler_fails__is_answered_by_name_and_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    bench = Workbench()
    bench.broken = RuntimeError("a mistake of ours")
    served = await serve(bench)
    answer = await served.http.post(PATH, content=b'{"prompt": "a"}', headers={"Content-Type": kind})
    assert code_of(answer) == (500, "internal", None)
    assert "a mistake of ours" in caplog.text
    labels = {"method": "POST", "route": PATH, "status": "500"}
    assert served.registry.get_sample_value("cuckoo_http_requests_total", labels) == 1
