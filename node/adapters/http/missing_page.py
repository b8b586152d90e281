"""What a person reads at an address where nothing is; programs get an error in the shape of the API."""

import hashlib
from base64 import b64encode
from html import escape
from typing import Final

from fastapi import Request, Response

_STYLE: Final = """
:root { color-scheme: light dark; --ground: #f5f4ef; --ink: #18202c; --muted: #596275; --accent: #0b736b; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0e131a; --ink: #e9eef5; --muted: #9aa7ba; --accent: #4fd1c0; }
}
body { margin: 0; min-height: 100vh; display: grid; place-content: center; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; }
main { max-width: 36rem; padding: 24px; }
h1 { margin: 0 0 8px; font-size: 1.8rem; line-height: 1.2; letter-spacing: -0.02em; }
p { margin: 0 0 12px; color: var(--muted); overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: 3px; margin-right: 16px; }
"""
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>No such page · Cuckoo</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>There is no such page</h1>
<p>This coordinator has nothing at <b>{path}</b>. {instead}</p>
<p>{links}</p>
</main>
</body>
</html>
"""
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
    f"frame-ancestors 'none'; style-src 'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}
_SHOWN_CHARACTERS: Final = 200


def is_for_a_person(request: Request) -> bool:
    """Say whether a browser asks for a page to show: it names HTML, which no client of the API does."""
    return request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("accept", "")


def missing_page(path: str, instead: str, *, has_portal: bool) -> Response:
    """Give the page for ``path``.

    Args:
        path: What was asked for.
        instead: What was perhaps meant, as errors say it; may be empty.
        has_portal: Whether there is a page at the gateway's own address.
    """
    home = "../" * (path.count("/") - 1) or "./"  # relative, so that it also leads there under a proxy's prefix
    links = f'<a href="{home}">The network</a>' if has_portal else ""
    links += f'<a href="{home}docs">The API, with examples</a>'
    shown = path if len(path) <= _SHOWN_CHARACTERS else path[:_SHOWN_CHARACTERS] + "…"
    sentence = f"{instead[0].upper()}{instead[1:]}." if instead else ""
    page = _PAGE.format(style=_STYLE, path=escape(shown), instead=escape(sentence), links=links)
    # A path may hold half a surrogate pair, which no UTF-8 can.
    return Response(page.encode(errors="replace"), 404, _HEADERS, media_type="text/html; charset=utf-8")
