"""A client of a coordinator's API: submit, follow, fetch. What the commands ``submit`` and ``demo`` share."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, final

import httpx
import trio

from protocol.errors import ConfigError, Unavailable

TIMEOUT_S: Final = 30.0
"""How long (s) to wait for an answer. Event streams say something every 15 s."""

RECONNECTS: Final = 5
"""How often a broken event stream is opened again; a stream tells a task's story from its beginning."""

END_S: Final = 1.0
"""How long (s) we wait for a coordinator to end the news of a task that has ended."""
RECONNECT_DELAY_S: Final = 1.0
"""How long (s) to wait before that: a coordinator restarts in about two."""

MAX_EVENT_CHARACTERS: Final = 64 * 1024
"""Longest line of an event stream."""

LAST_STAGES: Final = frozenset({"done", "failed"})

Json = dict[str, Any]  # Any: decoded JSON of a server, read field by field


@final
class ApiClient:
    """Talks to one coordinator. Use as an async context manager."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """Take the address of the API, as ``http://127.0.0.1:8000``, or with the ``/v1`` that OpenAI clients want."""
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"--api: {url!r} is no HTTP address: write it as http://127.0.0.1:8000")
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError("--api-key: has characters that no API key has: copy it again, without blanks around it")
        self.url: Final = url.rstrip("/").removesuffix("/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        local = httpx.URL(self.url).host in {"127.0.0.1", "localhost", "::1"}
        # A proxy of the environment leads to the Internet, never to this machine.
        self._client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=TIMEOUT_S, trust_env=not local)

    async def __aenter__(self) -> Self:
        """Connections are made when needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def submit(self, order: Mapping[str, object]) -> Json:
        """Hand in one picture as a detached task; gives its description, with ``task`` and ``seed``.

        Raises:
            ConfigError: The coordinator says that this can never work.
            Unavailable: It cannot be reached, or cannot take the task now.
        """
        return await self._json("POST", "/v1/tasks", json=dict(order))

    async def generate(self, order: Mapping[str, object]) -> Json:
        """Make one picture as OpenAI clients do, in one request; gives ``{"b64_json", "cuckoo": {"task", …}}``.

        Raises:
            ConfigError, Unavailable: As ``submit``.
        """
        answer = await self._json("POST", "/v1/images/generations", json=dict(order))
        first: Json = answer["data"][0]
        return first

    async def updates(self, task: str) -> AsyncIterator[Json]:
        """Follow a task to its end. After a broken connection the story begins again.

        Raises:
            Unavailable: The coordinator stays away.
        """
        for attempt in range(RECONNECTS + 1):
            try:
                async with self._client.stream("GET", f"/v1/tasks/{task}/events") as response:
                    if response.status_code != httpx.codes.OK:
                        await response.aread()
                        raise _refusal(response)
                    lines = response.aiter_lines()
                    async for line in lines:
                        if not line.startswith("data:"):
                            continue
                        if len(line) > MAX_EVENT_CHARACTERS:
                            raise Unavailable(
                                f"{self.url} sent an event of more than {MAX_EVENT_CHARACTERS} characters"
                            )
                        update: Json = json.loads(line.removeprefix("data:"))
                        yield update
                        if update["stage"] in LAST_STAGES:
                            # Read to the end, which is here already: httpx does not close what is left half read.
                            with trio.move_on_after(END_S), suppress(httpx.TransportError):
                                async for _ in lines:
                                    pass
                            return
            except httpx.TransportError as error:
                if attempt == RECONNECTS:
                    raise self._unreachable(error) from error
            await trio.sleep(RECONNECT_DELAY_S)
        raise Unavailable(f"{self.url} ended the news of the task {RECONNECTS + 1} times before the task ended")

    async def task(self, task: str) -> Json:
        """Say how a task stands."""
        return await self._json("GET", f"/v1/tasks/{task}")

    async def receipt(self, task: str) -> Json:
        """Give the receipt of a finished task."""
        return await self._json("GET", f"/v1/receipts/{task}")

    async def models(self) -> list[Json]:
        """List what the network offers now."""
        answer = await self._json("GET", "/v1/models")
        models: list[Json] = answer["data"]
        return models

    async def picture(self, path: str) -> bytes:
        """Fetch a picture, as ``url`` of the last update names it."""
        try:
            response = await self._client.get(path)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.status_code != httpx.codes.OK:
            raise _refusal(response)
        return response.content

    def address_of(self, path: str) -> str:
        """Give the whole address of what ``url`` of an update names."""
        return path if "://" in path else self.url + path

    async def _json(self, method: str, path: str, **arguments: Any) -> Json:  # noqa: ANN401 handed on to httpx as they are
        """Make one request that answers JSON."""
        try:
            response = await self._client.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise _refusal(response)
        try:
            answer: Json = response.json()
        except ValueError:
            raise Unavailable(f"{self.url}{path} does not answer JSON: is this a coordinator's API?") from None
        return answer

    def _unreachable(self, error: httpx.TransportError) -> Unavailable:
        """Say that nobody answers."""
        return Unavailable(f"no answer from {self.url}: {type(error).__name__}: is it running? (--api URL)")


def _refusal(response: httpx.Response) -> ConfigError | Unavailable:
    """Turn an error answer into ours: what the app must change, or what may work later."""
    try:
        body = response.json()["error"]
        text = f"{body['code']}: {body['message']}"
        if response.status_code == httpx.codes.UNAUTHORIZED:
            text += "; here: --api-key KEY, or the variable CUCKOO_API_KEY"
    except (ValueError, KeyError, TypeError):
        text = f"HTTP {response.status_code} from {response.request.url}: is this a coordinator's API?"
    later = response.status_code >= 500 or response.status_code == httpx.codes.TOO_MANY_REQUESTS
    return Unavailable(text) if later else ConfigError(text)
