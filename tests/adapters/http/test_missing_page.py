"""An address where nothing is: a page for people, JSON for programs."""

import base64
import hashlib
import re

import pytest

from node.adapters.http import Portal
from tests.adapters.http.conftest import Serve, code_of
from tests.support.portal import StandingDesk, StandingNetwork

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
LINK = re.compile(r'<a href="([^"]*)">')


@pytest.mark.parametrize(("path", "home"), [("/nothing", "./"), ("/v1/nothing", "../"), ("/a/b/c", "../../")])
async def test_unknown_page__browser__is_led_to_the_portal_and_the_docs(serve: Serve, path: str, home: str):
    served = await serve(portal=Portal(StandingNetwork(), StandingDesk()))
    answer = await served.http.get(path, headers=BROWSER)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert LINK.findall(answer.text) == [home, f"{home}docs"]
    for link in LINK.findall(answer.text):
        assert (await served.http.get(str(answer.url.join(link)))).status_code == 200


async def test_unknown_page__no_portal__leads_to_the_docs_alone(serve: Serve):
    served = await serve()
    assert LINK.findall((await served.http.get("/nothing", headers=BROWSER)).text) == ["./docs"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_unknown_page__program__gets_json(serve: Serve, accept: str):
    served = await serve()
    assert code_of(await served.http.get("/nothing", headers={"Accept": accept})) == (404, "not_found", None)
    assert code_of(await served.http.post("/nothing", headers=BROWSER)) == (404, "not_found", None)


async def test_unknown_page__what_was_asked_for__is_text_and_nothing_runs(serve: Serve):
    served = await serve()
    answer = await served.http.get("/<script>alert(1)</script>" + "x" * 300, headers=BROWSER)
    assert "<script" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "x" * 201 not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "script-src" not in policy
    style = re.search("<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy, "or the browser shows it bare"


async def test_unknown_page__what_clients_ask_for_by_mistake__says_what_was_meant(serve: Serve):
    served = await serve()
    page = (await served.http.get("/v1/chat/completions", headers=BROWSER)).text
    assert "This network draws pictures, at /v1/images/generations; /docs lists all." in page
