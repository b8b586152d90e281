"""Parts of a file that never changes, as RFC 9110 §14 has it: one range; where more are asked for, the whole."""

import re
from typing import Final

from fastapi import Request, Response

from node.adapters.http.errors import ApiError

_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


def file_answer(request: Request, data: bytes, etag: str, media_type: str) -> Response:
    """Answer with a file that is named by its digest, or a part of it; with nothing where the client has it already.

    ``etag`` comes in its quotes. Caches may keep the answer for ever: nothing else will ever have this name.
    """
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    part = None
    if request.headers.get("if-range", etag) == etag:
        part = _part(request.headers.get("range", ""), len(data))
    if part is not None and part.start >= len(data):
        answer = ApiError(416, "range_not_satisfiable", f"the file has {len(data)} bytes").response()
        answer.headers["Content-Range"] = f"bytes */{len(data)}"
        return answer
    status = 200
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(data)}"
        data, status = data[part.start : part.stop], 206
    headers["Content-Length"] = str(len(data))
    return Response(b"" if request.method == "HEAD" else data, status, headers, media_type=media_type)


def _part(text: str, size: int) -> range | None:
    """Read a Range header; None for the whole, also where the text is none that we serve."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or found[0].endswith("=-"):
        return None
    if not found[1]:
        last = int(found[2])
        return range(max(0, size - last), size) if last else range(size, size)
    first = int(found[1])
    stop = min(int(found[2]) + 1, size) if found[2] else size
    if found[2] and int(found[2]) < first:
        return None
    return range(first, stop)
