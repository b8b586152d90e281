"""Web pages that call from a browser: those of the named origins may, and read what they need of every answer."""

import httpx
import pytest

from tests.adapters.http.conftest import Serve, Served

PAGE = "https://app.example"


async def preflight(served: Served, origin: str, path: str = "/v1/images/generations") -> httpx.Response:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    async with httpx.AsyncClient(base_url=served.url) as browser:
        return await browser.options(path, headers={"Origin": origin, **asked})


async def test_preflight__named_origin__may_call_without_a_key_yet(serve: Serve):
    served = await serve(cors_origins=(PAGE,), require_key=True)
    response = await preflight(served, PAGE)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()
    assert response.headers["Access-Control-Max-Age"] == "600"
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example", "https://app.example.evil"])
async def test_preflight__other_origin__may_not(serve: Serve, origin: str):
    served = await serve(cors_origins=(PAGE,))
    response = await preflight(served, origin)
    assert response.status_code == 400
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_answer__named_origin__reads_also_refusals_and_their_headers(serve: Serve):
    served = await serve(cors_origins=(PAGE,), require_key=True)
    response = await served.http.get("/v1/models", headers={"Origin": PAGE})
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (401, PAGE)
    assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]


async def test_answer__all_origins__any_page_may(serve: Serve):
    served = await serve(cors_origins=("*",))
    assert (await served.http.get("/v1/models", headers={"Origin": PAGE})).headers["Access-Control-Allow-Origin"] == "*"


async def test_answer__nothing_configured__no_page_may(serve: Serve):
    served = await serve()
    response = await served.http.get("/v1/models", headers={"Origin": PAGE})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.lower().startswith("access-control")]
    assert (await preflight(served, PAGE)).status_code == 405
