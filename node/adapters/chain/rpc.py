"""JSON-RPC to a chain node over httpx: fail-over, retries, batches, and never an answer from the wrong chain.

The follower uses this alone, without web3: importing web3 costs 1.6 s of CPU and about 30 MB in every process.
"""

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, final

import httpx
import trio

from protocol.errors import ConfigError, Unavailable

Json: TypeAlias = Any  # what a remote node sent: whoever reads a part of it checks that part

REQUEST_TIMEOUT_S: Final = 10.0
"""Longest silence (s) within a request; `eth_getLogs` over a full chunk takes under 1 s on a healthy node."""
WHOLE_REQUEST_TIMEOUT_S: Final = 30.0
"""Longest request (s), so that a node that sends one byte at a time cannot hold us."""
MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
"""Largest answer that is read (bytes): 2,000 blocks full of events are below it."""
FIRST_RETRY_S: Final = 0.1
"""Pause before the second round over the URLs (s); it doubles each round."""
ROUNDS: Final = 3
"""How often every URL is tried before a call fails."""
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}


class CallRefused(Unavailable):
    """The node answered with an error: it does not know the block yet, or finds the request too large."""

    def __init__(self, method: str, code: int, message: str) -> None:
        """Keep what the node said; the message is remote text and is cut."""
        super().__init__(f"{method}: {message[:300]} (code {code})")
        self.code = code


class WrongChain(Unavailable):
    """A URL serves another chain than the one that is configured."""

    def __init__(self, url: str, expected: int, found: int) -> None:
        """Name the URL and both chains."""
        super().__init__(f"{url} serves chain {found}, not {expected}")
        self.url = url
        self.found = found


def shown(url: str) -> str:
    """Give scheme, host and port of a URL: path and query often hold an API key and stay out of texts."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii').rpartition('@')[2]}"


@final
class _Body(httpx.AsyncByteStream):
    """A request's body. httpx's own is a generator, which a failing connection leaves behind unfinished."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the whole body as one part."""
        return _Once(self._data)


@final
class _Once:
    """Iterates over one value."""

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data, self._data = self._data, None
        if data is None:
            raise StopAsyncIteration
        return data


@final
class JsonRpc:
    """Calls that go to the first URL that works. Close it, or use it as an async context manager."""

    def __init__(self, urls: Sequence[str], *, chain_id: int | None = None) -> None:
        """Take the URLs in order of preference; with ``chain_id``, none that serves another chain is believed.

        Raises:
            ConfigError: No URL, or one that is not http or https.
        """
        if not urls:
            raise ConfigError("chain.rpc_urls is empty: give the URL of a chain node, as http://127.0.0.1:8545")
        for url in urls:
            _check_url(url)
        self.urls: Final = tuple(urls)
        self._chain_id = chain_id
        self._verified: set[str] = set()
        self._current = 0
        self._numbers = itertools.count(1)
        # A proxy from the environment is meant for the Internet and never reaches our own loopback.
        local = all(httpx.URL(url).host in _LOOPBACK for url in urls)
        self._client = httpx.AsyncClient(
            timeout=REQUEST_TIMEOUT_S, headers={"Content-Type": "application/json"}, trust_env=not local
        )

    async def __aenter__(self) -> Self:
        """Open nothing yet: connections are made when needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def call(self, method: str, *params: Json, repeat: bool = True) -> Json:
        """Call one method. ``repeat`` False for what must not be sent twice.

        Raises:
            CallRefused: The node answered with an error.
            Unavailable: No URL gave a usable answer.
        """
        body = self._body(method, params)
        return _result(method, await self.exchange(json.dumps(body).encode(), repeat=repeat))

    async def batch(self, calls: Sequence[tuple[str, Sequence[Json]]]) -> list[Json]:
        """Call several methods in one HTTP request; results in the order of the calls. For reads only.

        Raises:
            CallRefused: The node answered any of them with an error.
            Unavailable: No URL gave a usable answer.
        """
        bodies = [self._body(method, params) for method, params in calls]
        answer = await self.exchange(json.dumps(bodies).encode(), repeat=True)
        if not isinstance(answer, list):
            raise CallRefused("batch", 0, str(answer))
        by_number = {item.get("id"): item for item in answer if isinstance(item, dict)}
        return [_result(method, by_number.get(body["id"])) for (method, _), body in zip(calls, bodies, strict=True)]

    async def probe(self) -> dict[str, int | Unavailable]:
        """Ask every URL for its chain id, at the same time: its answer, or why there is none."""
        found: dict[str, int | Unavailable] = {}

        async def ask(url: str) -> None:
            try:
                found[url] = await self._chain_of(url)
            except Unavailable as error:
                found[url] = error

        async with trio.open_nursery() as nursery:
            for url in self.urls:
                nursery.start_soon(ask, url)
        return found

    async def exchange(self, body: bytes, *, repeat: bool) -> Json:
        """Send an encoded request to the first URL that works, and decode the answer."""
        failure: Unavailable | None = None
        for attempt in range(ROUNDS * len(self.urls) if repeat else 1):
            if attempt and attempt % len(self.urls) == 0:
                await trio.sleep(FIRST_RETRY_S * 2 ** (attempt // len(self.urls) - 1))
            url = self.urls[self._current]
            try:
                await self._verify(url)
                return await self._post(url, body)
            except Unavailable as error:
                failure = error
                self._current = (self._current + 1) % len(self.urls)
        assert failure is not None
        raise failure

    async def _verify(self, url: str) -> None:
        """Make sure once per URL that it serves our chain."""
        if self._chain_id is None or url in self._verified:
            return
        found = await self._chain_of(url)
        if found != self._chain_id:
            raise WrongChain(shown(url), self._chain_id, found)
        self._verified.add(url)

    async def _chain_of(self, url: str) -> int:
        """Ask one URL for its chain id."""
        answer = await self._post(url, json.dumps(self._body("eth_chainId", ())).encode())
        return quantity(_result("eth_chainId", answer))

    async def _post(self, url: str, body: bytes) -> Json:
        """Send one HTTP request and decode the answer."""
        content = bytearray()
        status = 0
        try:
            # Left by cancellation, never by an exception inside the loop: httpx would leave its generators open.
            with trio.move_on_after(WHOLE_REQUEST_TIMEOUT_S) as scope:
                request = self._client.build_request("POST", url, content=body)
                request.stream = _Body(body)
                async with aclosing(await self._client.send(request, stream=True)) as response:
                    async for part in response.aiter_bytes():
                        content += part
                        if len(content) > MAX_RESPONSE_BYTES:
                            scope.cancel()
                    status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{shown(url)}: {type(error).__name__}: {error}") from error
        if len(content) > MAX_RESPONSE_BYTES:
            raise Unavailable(f"{shown(url)}: answer larger than {MAX_RESPONSE_BYTES} bytes")
        if scope.cancelled_caught:
            raise Unavailable(f"{shown(url)}: no whole answer in {WHOLE_REQUEST_TIMEOUT_S:.0f} s")
        # Some providers send a JSON-RPC error with status 400, so only statuses that are theirs alone fail over.
        if status in {401, 403, 404, 429} or status >= 500:
            raise Unavailable(f"{shown(url)}: HTTP {status}")
        try:
            return json.loads(content)
        except ValueError as error:
            raise Unavailable(f"{shown(url)}: answer is not JSON (HTTP {status})") from error

    def _body(self, method: str, params: Sequence[Json]) -> dict[str, Json]:
        """Frame one call."""
        return {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": list(params)}


def quantity(value: Json) -> int:
    """Read a JSON-RPC quantity, as ``0x1f``."""
    try:
        return int(value, 16)
    except (TypeError, ValueError) as error:
        raise Unavailable(f"the chain node sent {value!r:.80} for a number") from error


def octets(value: Json, length: int | None = None) -> bytes:
    """Read JSON-RPC data, as ``0x1f2e``, of an exact length where one is given."""
    try:
        data = bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, TypeError, ValueError) as error:
        raise Unavailable(f"the chain node sent {value!r:.80} for bytes") from error
    if length is not None and len(data) != length:
        raise Unavailable(f"the chain node sent {len(data)} bytes instead of {length}")
    return data


def _check_url(url: str) -> None:
    """Refuse what is not an http or https URL."""
    try:
        parsed = httpx.URL(url)
        good = parsed.scheme in {"http", "https"} and bool(parsed.host)
    except httpx.InvalidURL:
        good = False
    if not good:
        raise ConfigError(f"chain.rpc_urls: {url!r} is not an http or https URL, as http://127.0.0.1:8545")


def _result(method: str, answer: Json) -> Json:
    """Take the result out of one JSON-RPC answer."""
    if not isinstance(answer, dict):
        raise Unavailable(f"{method}: the chain node sent no JSON-RPC answer")
    error = answer.get("error")
    if error is not None:
        detail = error if isinstance(error, dict) else {"message": str(error)}
        code = detail.get("code", 0)
        raise CallRefused(method, code if isinstance(code, int) else 0, str(detail.get("message", "")))
    if "result" not in answer:
        raise Unavailable(f"{method}: the chain node sent neither result nor error")
    return answer["result"]
