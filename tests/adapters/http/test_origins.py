"""Pages of other sites do not act through the browser of somebody who calls without a key."""

import httpx
import pytest
import trio

from tests.adapters.http.conftest import Serve, Served, code_of
from tests.support.desk import Workbench

OWN = "https://pictures.example"
EVIL = "https://evil.example"


def page(origin: str | None = None, site: str | None = None) -> dict[str, str]:
    """What a browser says of the page that calls; old ones, and those without TLS, say the origin alone."""
    named = {"Origin": origin, "Sec-Fetch-Site": site}
    return {name: value for name, value in named.items() if value is not None}


async def interrupt(served: Served, headers: dict[str, str]) -> httpx.Response:
    """The request that any page can make with a plain form: no preflight asks whether it may."""
    async with httpx.AsyncClient(base_url=served.url) as browser:
        return await browser.post(
            "/sdapi/v1/interrupt", content=b"x=1", headers={"Content-Type": "text/plain", **headers}
        )


@pytest.mark.parametrize(
    "headers",
    [
        page(EVIL),
        page(EVIL, "cross-site"),
        page("https://other.pictures.example", "same-site"),
        page("null"),
        page("null", "cross-site"),
        page(None, "cross-site"),
        page("http://127.0.0.1:1"),
        page("https://127.0.0.1"),
        page("http://["),
        page("nonsense"),
    ],
)
async def test_interrupt__page_of_another_site__is_refused_and_stops_nothing(serve: Serve, headers: dict[str, str]):
    served = await serve(Workbench(draws=False))
    async with httpx.AsyncClient(base_url=served.url) as app, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: app.post("/sdapi/v1/txt2img", json={"prompt": "mine"}))
        (mine,) = await served.desk.wait_for_tasks(1)
        refused = await interrupt(served, headers)
        assert (refused.status_code, refused.json()["error"]) == (403, "foreign_origin")
        assert served.desk.cancelled == []
        await served.desk.finish(mine)


@pytest.mark.parametrize("path", ["/sdapi/v1/progress", "/v1/tasks/{task}"])
async def test_door__name_that_was_made_to_mean_this_machine__reads_nothing(serve: Serve, path: str):
    served = await serve(Workbench(draws=False))
    task = (await served.http.post("/v1/tasks", json={"prompt": "a"})).json()["task"]
    async with httpx.AsyncClient(base_url=served.url) as browser:
        refused = await browser.get(path.format(task=task), headers={"Host": "evil.example:8080"})
        assert refused.status_code == 403
        assert "foreign_origin" in refused.text
        for name in ("localhost:8080", "[::1]:8080", "cuckoo.localhost", "127.0.0.1", "coordinator:8080"):
            assert (await browser.get("/sdapi/v1/progress", headers={"Host": name})).status_code == 200
        keyed = {"Host": "evil.example", "Authorization": "Bearer whatever"}
        assert (await browser.get("/sdapi/v1/progress", headers=keyed)).status_code == 200


async def test_door__page_of_another_site__hands_in_chooses_and_deletes_nothing(serve: Serve):
    served = await serve(Workbench(draws=False))
    task = (await served.http.post("/v1/tasks", json={"prompt": "a"})).json()["task"]
    async with httpx.AsyncClient(base_url=served.url, headers=page(EVIL, "cross-site")) as browser:
        for path, body in {
            "/v1/images/generations": {"prompt": "a"},
            "/v1/tasks": {"prompt": "a"},
            "/sdapi/v1/txt2img": {"prompt": "a"},
            "/sdapi/v1/options": {"sd_model_checkpoint": "tiny"},
        }.items():
            assert (await browser.post(path, json=body)).status_code == 403
        assert code_of(await browser.delete(f"/v1/tasks/{task}"))[:2] == (403, "foreign_origin")
        assert (await browser.get("/v1/models")).status_code == 200, "it cannot read the answer"


@pytest.mark.parametrize(
    "settings",
    [{"cors_origins": (EVIL,)}, {"cors_origins": ("*",)}],
)
async def test_interrupt__page_that_the_operator_named__may(serve: Serve, settings):
    served = await serve(**settings)
    assert (await interrupt(served, page(EVIL, "cross-site"))).status_code == 200
    assert (await interrupt(served, page(EVIL))).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        page(None, "none"),
        page("http://HOST", "same-origin"),
        page("http://HOST"),
        page(OWN),
        page(f"{OWN}:443"),
        page(OWN, "same-origin"),
    ],
)
async def test_interrupt__own_page_or_no_page_at_all__may(serve: Serve, headers: dict[str, str]):
    served = await serve(public_url=f"{OWN}/api")
    told = {name: value.replace("HOST", f"127.0.0.1:{served.port}") for name, value in headers.items()}
    assert (await interrupt(served, told)).status_code == 200


async def test_interrupt__page_that_presents_a_key__may(serve: Serve):
    served = await serve()
    headers = {"Authorization": "Bearer alice", **page(EVIL, "cross-site")}
    assert (await interrupt(served, headers)).status_code == 200


async def rebound(served: Served, name: str, **more: str) -> httpx.Response:
    """A page whose own name was made to mean 127.0.0.1, so that all is of one origin to the browser."""
    host = f"{name}:{served.port}"
    return await interrupt(served, {"Host": host, **page(f"http://{host}"), **more})


@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "same-origin"}])
async def test_interrupt__name_that_was_made_to_mean_this_machine__is_refused(serve: Serve, site: dict[str, str]):
    served = await serve()
    assert (await rebound(served, "evil.example", **site)).status_code == 403
    for own in ("127.0.0.1", "localhost", "app.localhost", "[::1]"):
        assert (await rebound(served, own, **site)).status_code == 200
    known = await serve(public_url="http://pictures.example")
    assert (await rebound(known, "evil.example", **site)).status_code == 200, "behind a proxy any name may be its own"
