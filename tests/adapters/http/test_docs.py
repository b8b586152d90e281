"""The page with the API's documentation: everything on it comes from the gateway."""

import re

import pytest

from tests.adapters.http.conftest import Serve

REFERENCES = re.compile(r"""(?:src|href|url)\s*[=:(]\s*["']?([^"')\s>]+)""")


def references(text: str) -> set[str]:
    return {found for found in REFERENCES.findall(text) if not found.startswith(("data:", "#"))}


async def test_docs__page_and_its_script__name_no_foreign_host_and_only_what_is_there(serve: Serve):
    served = await serve()
    page = await served.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert references(page.text) == {"docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/start.js"}
    script = (await served.http.get("/docs/start.js")).text
    assert references(script) == {"openapi.json"}
    style = (await served.http.get("/docs/swagger-ui.css")).text
    assert not references(style)
    assert "//" not in page.text + script
    kinds = {"docs/swagger-ui.css": "text/css", "docs/swagger-ui-bundle.js": "text/javascript"}
    for name, kind in {**kinds, "docs/start.js": "text/javascript", "openapi.json": "application/json"}.items():
        response = await served.http.get(f"/{name}")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(kind)


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"])
async def test_docs__policy__lets_the_page_reach_the_gateway_alone(serve: Serve, path):
    served = await serve()
    headers = (await served.http.get(path)).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"


async def test_docs__other_names__are_not_found(serve: Serve):
    served = await serve()
    for name in ("redoc.standalone.js", "..%2f__init__.py", "../core.py", "oauth2-redirect"):
        assert (await served.http.get(f"/docs/{name}")).status_code == 404
