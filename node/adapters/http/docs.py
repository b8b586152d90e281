"""The page ``/docs``: Swagger UI from this machine. It works without the Internet, and tells nobody who reads it."""

import importlib.resources
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response
from starlette.responses import FileResponse

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",  # icons in its style sheet; pictures that it fetched
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may load and ask: this gateway and nothing else."""
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_FILES: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
"""What the page needs of the package fastapi-offline, which carries Swagger UI as it was published."""
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Cuckoo API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
"""Starts the page; a file of its own, since the policy allows no script inside the page. No outside validator.

Swagger UI is dark by a class of the page, which only its own top bar would set.
"""


def docs_routes() -> APIRouter:
    """Give the routes of the page. All addresses in it are relative, so that it also works under a proxy's prefix."""
    router = APIRouter(include_in_schema=False)
    folder = Path(str(importlib.resources.files("fastapi_offline"))) / "static"

    @router.get("/docs")
    async def page() -> Response:
        return Response(_PAGE, headers=_HEADERS, media_type="text/html")

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, headers=_HEADERS, media_type="text/javascript")

    def add(name: str, kind: str) -> None:
        async def serve() -> Response:
            return FileResponse(folder / name, headers=_HEADERS, media_type=kind)

        router.add_api_route(f"/docs/{name}", serve)

    for name, kind in _FILES.items():
        add(name, kind)
    return router
