"""The files of the portal page, as they lie in the package: no build step, nothing from another host."""

import hashlib
import importlib.resources
from typing import Final

from fastapi import APIRouter, Request, Response

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",  # previews; pictures that it fetched and checked
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may load and ask: this gateway and nothing else. The wallet is no part of the page."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_KINDS: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def file_routes() -> APIRouter:
    """Give the routes of the page at ``/`` and of its files. Addresses in it are relative, as in ``/docs``."""
    router = APIRouter(include_in_schema=False)
    folder = importlib.resources.files("node.adapters.http") / "pages"

    def add(path: str, content: bytes, kind: str) -> None:
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": tag}

        async def serve(request: Request) -> Response:
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers=headers)
            return Response(content, headers=headers, media_type=kind)

        router.add_api_route(path, serve)

    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        kind = _KINDS.get(file.name.rpartition(".")[2])
        if kind is not None:
            add("/" if file.name == "index.html" else f"/portal/{file.name}", file.read_bytes(), kind)
    return router
