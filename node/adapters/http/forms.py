"""Reads ``multipart/form-data``: fields as text, files as bytes, all in memory and within limits.

The body as a whole was measured at the door, so that no file here is larger than that.
"""

from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from node.adapters.http.errors import ApiError, invalid
from protocol.params import MAX_INPUT_BYTES

MAX_FILES: Final = 16
"""As many pictures as OpenAI's clients may send, so that too many can be told by name."""
MAX_FIELDS: Final = 64
MAX_FIELD_BYTES: Final = 64 * 1024


class _InMemory(MultiPartParser):
    """Never writes a file to the disk: what apps send is theirs, and /tmp is everybody's."""

    spool_max_size = 4 * MAX_INPUT_BYTES


@dataclass(frozen=True, slots=True)
class Form:
    """What a form held."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[bytes]] = field(default_factory=dict)

    def file(self, name: str, *, needed: bool = False) -> bytes | None:
        """Give the one file of this name; clients write ``name[]`` where they could send several.

        Raises:
            ApiError: There are several, or none and one is needed, or it came as text.
        """
        found = self.files.get(name, []) + self.files.get(f"{name}[]", [])
        if len(found) > 1:
            raise invalid(f"{name}: one picture is taken, not {len(found)}", name)
        if name in self.fields or (needed and not found):
            raise invalid(f"{name} is required, as a file", name)
        return found[0] if found else None


async def read_form(request: Request) -> Form:
    """Read the body of a request as a form.

    Raises:
        ApiError: It is none, or has too many parts.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(415, "invalid_request", "send a form, with Content-Type: multipart/form-data")
    stream = request.stream()
    try:
        async with aclosing(stream):
            parser = _InMemory(
                request.headers, stream, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
            )
            parts = await parser.parse()
    except MultiPartException as problem:
        raise invalid(f"the form cannot be read: {problem.message}") from problem
    fields: dict[str, str] = {}
    files: defaultdict[str, list[bytes]] = defaultdict(list)
    try:
        for name, value in parts.multi_items():
            if isinstance(value, UploadFile):
                files[name].append(await value.read())
            else:
                fields[name] = value
    finally:
        await parts.close()
    return Form(fields, dict(files))
