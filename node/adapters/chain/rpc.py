"""JSON-RPC to a chain node over httpx: fail-over, retries, batches, and never an answer from the wrong chain."""

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self, final

import httpx
import trio

from node.adapters.chain.answers import (
    MAX_RESPONSE_BYTES,
    TOO_MANY_REQUESTS,
    AnswerTooLarge,
    CallRefused,
    Json,
    RateLimited,
    WrongChain,
    asked_rest_s,
    decoded,
    inflated,
    is_rate_limit,
    quantity,
    result_of,
    shown,
)
from node.adapters.chain.endpoints import Endpoint, Endpoints, Report
from protocol.errors import ConfigError, Unavailable

REQUEST_TIMEOUT_S: Final = 10.0
"""Longest silence (s) within a request; `eth_getLogs` over a full chunk takes under 1 s on a healthy node."""
WHOLE_REQUEST_TIMEOUT_S: Final = 30.0
"""Longest request (s), so that a node that sends one byte at a time cannot hold us."""
MAX_WAIT_S: Final = 5.0
"""How long (s) a call waits for a URL that rests, before it fails."""
ROUNDS: Final = 3
"""How often every URL is tried before a call fails."""
_BUSY: Final = 503
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}


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

    def __init__(
        self,
        urls: Sequence[str],
        *,
        chain_id: int | None = None,
        report: Report | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Take the URLs in order of preference; with ``chain_id``, none that serves another chain is believed.

        Args:
            urls: Of chain nodes.
            chain_id: The chain that all of them are to serve.
            report: Told of each URL that is left, and why; the URL comes without path and password.
            transport: Carries the requests; httpx's own where None.

        Raises:
            ConfigError: No URL, or one that is not http or https.
        """
        if not urls:
            raise ConfigError("chain.rpc_urls is empty: give the URL of a chain node, as http://127.0.0.1:8545")
        for url in urls:
            _check_url(url)
        self.urls: Final = tuple(urls)
        self._chain_id = chain_id
        tell = report or (lambda _url, _trouble: None)
        self._endpoints = Endpoints(urls, lambda url, trouble: tell(shown(url), trouble))
        self._last: Endpoint | None = None
        self._numbers = itertools.count(1)
        # A proxy from the environment is meant for the Internet and never reaches our own loopback.
        local = all(httpx.URL(url).host in _LOOPBACK for url in urls)
        self._client = httpx.AsyncClient(
            timeout=REQUEST_TIMEOUT_S,
            headers={"Content-Type": "application/json", "Accept-Encoding": "gzip"},
            trust_env=not local,
            transport=transport,
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
        return result_of(method, await self.exchange(json.dumps(body).encode(), repeat=repeat))

    async def batch(self, calls: Sequence[tuple[str, Sequence[Json]]]) -> list[Json]:
        """Call several methods in one HTTP request; results in the order of the calls. For what may be sent twice.

        Raises:
            CallRefused: The node answered any of them with an error.
            Unavailable: No URL gave a usable answer.
        """
        answers = await self.batch_each(calls)
        for answer in answers:
            if isinstance(answer, CallRefused):
                raise answer
        return answers

    async def batch_each(self, calls: Sequence[tuple[str, Sequence[Json]]]) -> list[Json | CallRefused]:
        """As ``batch``, but each call has its own result or refusal.

        Raises:
            CallRefused: The node takes no batches.
            Unavailable: No URL gave a usable answer.
        """
        bodies = [self._body(method, params) for method, params in calls]
        answer = await self.exchange(json.dumps(bodies).encode(), repeat=True)
        if not isinstance(answer, list):
            raise CallRefused("batch", 0, str(answer))
        # Only whole numbers, which is what we sent: an id may be anything, also what no dictionary takes as a key.
        by_number = {item["id"]: item for item in answer if isinstance(item, dict) and isinstance(item.get("id"), int)}
        results: list[Json | CallRefused] = []
        for (method, _), body in zip(calls, bodies, strict=True):
            try:
                results.append(result_of(method, by_number.get(body["id"])))
            except CallRefused as refusal:
                results.append(refusal)
        return results

    async def survey(self, method: str) -> dict[str, Json | Unavailable]:
        """Ask every URL that does not rest, at the same time: its answer, or why there is none."""
        found: dict[str, Json | Unavailable] = {}

        async def ask(endpoint: Endpoint) -> None:
            try:
                found[endpoint.url] = result_of(method, await self._post(endpoint, self._encoded(method)))
            except Unavailable as error:
                found[endpoint.url] = error

        async with trio.open_nursery() as nursery:
            for endpoint in self._endpoints:
                if endpoint.rests_until <= trio.current_time():
                    nursery.start_soon(ask, endpoint)
        return found

    async def probe(self) -> dict[str, int | Unavailable]:
        """Ask every URL for its chain id, at the same time: its answer, or why there is none."""
        found: dict[str, int | Unavailable] = {}
        for url, answer in (await self.survey("eth_chainId")).items():
            try:
                found[url] = answer if isinstance(answer, Unavailable) else quantity(answer)
            except Unavailable as error:
                found[url] = error
            if isinstance(found[url], int) and self._chain_id not in {None, found[url]}:
                self._endpoints.wrong_chain(self._endpoints.find(url))
        return found

    def leave(self, trouble: str, url: str | None = None) -> bool:
        """Ask others for a while than the URL given, or the one that answered last; False when there is no other.

        Args:
            trouble: Stable name of what is wrong with it, for the report.
            url: As in ``urls``.
        """
        endpoint = self._last if url is None else self._endpoints.find(url)
        return endpoint is not None and self._endpoints.leave(endpoint, trouble)

    @property
    def current(self) -> str | None:
        """The URL that answered last."""
        return self._last.url if self._last else None

    async def exchange(self, body: bytes, *, repeat: bool) -> Json:
        """Send an encoded request to the best URL, then to others while it fails, and decode the answer.

        Raises:
            Unavailable: No URL gave a usable answer, or all rest for longer than MAX_WAIT_S.
        """
        failure: Unavailable | None = None
        for _ in range(ROUNDS * len(self._endpoints) if repeat else 1):
            endpoint = await self._ready(failure)
            try:
                await self._verify(endpoint)
                began = trio.current_time()
                answer = await self._usable(endpoint, body)
            except RateLimited as error:
                self._endpoints.limited(endpoint, error.asked_s)
                failure = error
            except WrongChain as error:
                self._endpoints.wrong_chain(endpoint)
                failure = error
            except Unavailable as error:
                self._endpoints.failed(endpoint)
                failure = error
            else:
                self._endpoints.answered(endpoint, trio.current_time() - began)
                self._last = endpoint
                return answer
        assert failure is not None
        raise failure

    async def _ready(self, failure: Unavailable | None) -> Endpoint:
        """Give the best URL, once one has rested."""
        while (endpoint := self._endpoints.best()) is None:
            wait = self._endpoints.wait_s()
            if wait > MAX_WAIT_S:
                raise failure or Unavailable(f"no chain node may be asked for another {wait:.0f} s")
            await trio.sleep(wait)
        return endpoint

    async def _usable(self, endpoint: Endpoint, body: bytes) -> Json:
        """Send one request, and tell a limit of the rate from an answer."""
        answer = await self._post(endpoint, body)
        if any(is_rate_limit(item) for item in (answer if isinstance(answer, list) else [answer])):
            raise RateLimited(f"{shown(endpoint.url)}: it says that our rate is too high", None)
        return answer

    async def _verify(self, endpoint: Endpoint) -> None:
        """Make sure once, and again after each failure, that a URL serves our chain."""
        if self._chain_id is None or endpoint.verified:
            return
        found = quantity(result_of("eth_chainId", await self._usable(endpoint, self._encoded("eth_chainId"))))
        if found != self._chain_id:
            raise WrongChain(shown(endpoint.url), self._chain_id, found)
        endpoint.verified = True

    async def _post(self, endpoint: Endpoint, body: bytes) -> Json:
        """Send one HTTP request and decode the answer."""
        url, content, status, asked, encoding = endpoint.url, bytearray(), 0, None, ""
        try:
            # Left by cancellation, never by an exception inside the loop: httpx would leave its generators open.
            with trio.move_on_after(WHOLE_REQUEST_TIMEOUT_S) as scope:
                request = self._client.build_request("POST", url, content=body)
                request.stream = _Body(body)
                async with aclosing(await self._client.send(request, stream=True)) as response:
                    encoding = response.headers.pop("Content-Encoding", "")  # so that httpx hands on what came
                    async for part in response.aiter_bytes():
                        content += part
                        if len(content) > MAX_RESPONSE_BYTES:
                            scope.cancel()
                    status, asked = response.status_code, response.headers.get("Retry-After")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{shown(url)}: {type(error).__name__}: {error}") from error
        if len(content) > MAX_RESPONSE_BYTES:
            raise AnswerTooLarge(shown(url), MAX_RESPONSE_BYTES)
        if scope.cancelled_caught:
            raise Unavailable(f"{shown(url)}: no whole answer in {WHOLE_REQUEST_TIMEOUT_S:.0f} s")
        if status == TOO_MANY_REQUESTS or (status == _BUSY and asked is not None):
            raise RateLimited(f"{shown(url)}: HTTP {status}", asked_rest_s(asked))
        # Some providers send a JSON-RPC error with status 400, so only statuses that are theirs alone fail over.
        if status in {401, 403, 404} or status >= 500:
            raise Unavailable(f"{shown(url)}: HTTP {status}")
        plain = inflated(bytes(content), encoding, MAX_RESPONSE_BYTES)
        if plain is None:
            raise AnswerTooLarge(shown(url), MAX_RESPONSE_BYTES)
        try:
            return decoded(plain)
        except ValueError as error:
            raise Unavailable(f"{shown(url)}: answer is not JSON (HTTP {status})") from error

    def _encoded(self, method: str) -> bytes:
        """Encode a call without parameters."""
        return json.dumps(self._body(method, ())).encode()

    def _body(self, method: str, params: Sequence[Json]) -> dict[str, Json]:
        """Frame one call."""
        return {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": list(params)}


def _check_url(url: str) -> None:
    """Refuse what is not an http or https URL."""
    try:
        parsed = httpx.URL(url)
        good = parsed.scheme in {"http", "https"} and bool(parsed.host)
    except httpx.InvalidURL:
        good = False
    if not good:
        raise ConfigError(f"chain.rpc_urls: {url!r} is not an http or https URL, as http://127.0.0.1:8545")
