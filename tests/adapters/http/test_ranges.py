"""Pictures by digest: whole, in part, not at all where the app has them, and gone once they have expired."""

import pytest

from tests.adapters.http.conftest import Serve, Served, code_of


async def drawn(served: Served) -> tuple[str, bytes]:
    """The path of a picture, and the picture."""
    digest = (await served.generate()).json()["data"][0]["cuckoo"]["artifact"]
    path = f"/v1/artifacts/{digest}"
    return path, (await served.http.get(path)).content


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-3", slice(0, 4)),
        ("bytes=4-", slice(4, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=2-99999", slice(2, None)),
        ("bytes=-99999", slice(0, None)),
    ],
)
async def test_artifact__one_range__is_that_part(serve: Serve, asked: str, part: slice):
    served = await serve()
    path, whole = await drawn(served)
    response = await served.http.get(path, headers={"Range": asked})
    assert (response.status_code, response.content) == (206, whole[part])
    first, last, _ = part.indices(len(whole))
    assert response.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(whole)}"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=5-2", "bytes=-", "lines=1-2", "bytes=a-b", "", "bytes=1"])
async def test_artifact__no_range_that_we_serve__is_the_whole(serve: Serve, asked: str):
    served = await serve()
    path, whole = await drawn(served)
    response = await served.http.get(path, headers={"Range": asked})
    assert (response.status_code, response.content) == (200, whole)
    assert response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=99999-", "bytes=99999-100000", "bytes=-0"])
async def test_artifact__range_behind_its_end__is_refused_with_its_size(serve: Serve, asked: str):
    served = await serve()
    path, whole = await drawn(served)
    response = await served.http.get(path, headers={"Range": asked})
    assert code_of(response) == (416, "range_not_satisfiable", None)
    assert response.headers["Content-Range"] == f"bytes */{len(whole)}"


async def test_artifact__range_of_another_version__is_the_whole(serve: Serve):
    served = await serve()
    path, whole = await drawn(served)
    headers = {"Range": "bytes=0-3", "If-Range": '"another"'}
    assert (await served.http.get(path, headers=headers)).content == whole
    headers["If-Range"] = f'"{path.rpartition("/")[2]}"'
    assert (await served.http.get(path, headers=headers)).content == whole[:4]


@pytest.mark.parametrize("known", ["{tag}", '"x", {tag}', "W/{tag}", "*"])
async def test_artifact__known_already__is_not_sent(serve: Serve, known: str):
    served = await serve()
    path, _ = await drawn(served)
    tag = f'"{path.rpartition("/")[2]}"'
    response = await served.http.get(path, headers={"If-None-Match": known.format(tag=tag), "Range": "bytes=0-3"})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == tag


async def test_artifact__head__tells_its_size_alone(serve: Serve):
    served = await serve()
    path, whole = await drawn(served)
    response = await served.http.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Length"] == str(len(whole))
    assert (await served.http.get("/healthz")).status_code == 200, "the connection goes on"


async def test_artifact__expired__is_gone_by_its_digest_and_from_a_repeated_answer(serve: Serve):
    served = await serve()
    body = {"prompt": "a red heart", "response_format": "url"}
    headers = {"Idempotency-Key": "once"}
    first = await served.http.post("/v1/images/generations", json=body, headers=headers)
    served.desk.store._artifacts.clear()
    gone = await served.http.get(first.json()["data"][0]["url"])
    assert code_of(gone) == (404, "not_found", None)
    assert "expired" in gone.json()["error"]["message"]
    del body["response_format"]
    again = await served.http.post("/v1/images/generations", json=body, headers=headers)
    assert code_of(again) == (410, "artifact_expired", None)
