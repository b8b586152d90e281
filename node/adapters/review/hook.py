"""Asks a program of the operator, over HTTP, whether a prompt may be ordered and a picture be shown.

It is asked by ``POST`` with a JSON object, ``{"kind": "prompt", "model", "work", "prompt", "negative_prompt"}`` or
``{"kind": "picture", "picture"}`` in base64, and answers 200 with ``{"refused": false}``, or with ``true`` and why, in
a line that the app is told: ``"reason"``.
"""

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, final

import httpx
import trio

from protocol.errors import Unavailable
from protocol.wire.messages import TaskSpecification

MAX_ANSWER_BYTES: Final = 16 * 1024
MAX_REASON_CHARACTERS: Final = 300
CONNECTIONS: Final = 8
"""Questions at once; others wait for one of them."""
UNPACKED: Final = {"Accept-Encoding": "identity"}
"""What is packed has another size than it says."""
NO_REASON: Final = "it is not allowed here"


@final
class HttpHook:
    """Implements both ports of ``node.apps.content_review``."""

    def __init__(self, url: str, limit_s: float) -> None:
        """Ask at ``url``, and wait for an answer no longer than ``limit_s`` seconds. ``opened`` comes before use."""
        self._url = url
        self._limit_s = limit_s
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Hold connections as long as the block runs."""
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        async with httpx.AsyncClient(timeout=self._limit_s, limits=limits, trust_env=False) as client:
            self._client = client
            yield
            self._client = None

    async def refuse_prompt(self, specification: TaskSpecification) -> str | None:
        """Say why such a picture is not to be ordered; None lets it pass.

        Raises:
            Unavailable: There is no answer, or none that makes sense.
        """
        return await self._ask(
            {
                "kind": "prompt",
                "model": specification.model,
                "work": specification.work,
                "prompt": specification.prompt,
                "negative_prompt": specification.negative_prompt,
            }
        )

    async def refuse_picture(self, picture: bytes) -> str | None:
        """Say why a picture is not to be shown; None lets it pass.

        Raises:
            Unavailable: As for ``refuse_prompt``.
        """
        return await self._ask({"kind": "picture", "picture": base64.b64encode(picture).decode()})

    async def _ask(self, question: Mapping[str, str]) -> str | None:
        assert self._client is not None, "opened() comes first"
        received, status = bytearray(), 0
        try:
            # Left by cancellation, never by an exception inside the loop: httpx would leave its generators open.
            with trio.move_on_after(self._limit_s) as scope:
                async with self._client.stream("POST", self._url, json=question, headers=UNPACKED) as answer:
                    status = answer.status_code
                    async for piece in answer.aiter_bytes():
                        received += piece
                        if len(received) > MAX_ANSWER_BYTES:
                            scope.cancel()
        except httpx.HTTPError as error:
            raise Unavailable(f"content.hook does not answer ({type(error).__name__})") from error
        if len(received) > MAX_ANSWER_BYTES:
            raise Unavailable(f"content.hook answers with more than {MAX_ANSWER_BYTES} bytes")
        if scope.cancelled_caught:
            raise Unavailable(f"content.hook does not answer within {self._limit_s:g} s")
        if status != httpx.codes.OK:
            raise Unavailable(f"content.hook answers with status {status}")
        try:
            told = json.loads(received)
        except (ValueError, RecursionError) as error:
            raise Unavailable("content.hook answers with what is no JSON") from error
        refused = told.get("refused") if isinstance(told, dict) else None
        if not isinstance(refused, bool):
            raise Unavailable('content.hook answers without "refused": true or false')
        if not refused:
            return None
        reason = told.get("reason")
        return " ".join(reason.split())[:MAX_REASON_CHARACTERS] or NO_REASON if isinstance(reason, str) else NO_REASON
