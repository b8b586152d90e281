"""How a request gets to a chain node and its answer back: by httpx, or straight to one on this machine.

httpx knows certificates, proxies and redirects, and takes 0.4 ms of CPU for a request. A node that asks its own chain
node three times a second has no use for these: to loopback, h11 over a kept socket does the same for a fifth.
"""

import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol, Self, final

import h11
import httpx
import trio

from node.adapters.chain.answers import MAX_RESPONSE_BYTES, shown
from protocol.errors import Unavailable

REQUEST_TIMEOUT_S: Final = 10.0
"""Longest silence (s) within a request; `eth_getLogs` over a full chunk takes under 1 s on a healthy node."""
WHOLE_REQUEST_TIMEOUT_S: Final = 30.0
"""Longest request (s), so that a node that sends one byte at a time cannot hold us."""
MAX_KEPT: Final = 4
"""Idle connections to one chain node: what follows the chain, sends, checks and serves people asks at the same time."""
READ_BYTES: Final = 64 * 1024
_HEADERS: Final = ((b"Content-Type", b"application/json"), (b"Accept-Encoding", b"gzip"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    retry_after: str | None
    encoding: str
    """Of the content, as the node names it."""
    content: bytes
    """As it came; of what is beyond MAX_RESPONSE_BYTES only the beginning."""
    is_whole: bool


class Carrier(Protocol):
    """What carries requests."""

    async def post(self, url: str, body: bytes) -> Answer:
        """Send a request and read its answer, within our limits of time and size.

        Raises:
            Unavailable: No answer came.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


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
class HttpxCarrier:
    """Carries to anywhere."""

    def __init__(self, *, trust_env: bool, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Go by the proxies of the environment with ``trust_env``; by ``transport`` where one is given."""
        self._client = httpx.AsyncClient(
            timeout=REQUEST_TIMEOUT_S, headers=dict(_HEADERS), trust_env=trust_env, transport=transport
        )

    async def post(self, url: str, body: bytes) -> Answer:
        """See ``Carrier``."""
        content, status, asked, encoding = bytearray(), 0, None, ""
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
        return Answer(status, asked, encoding, bytes(content), not scope.cancelled_caught)

    async def close(self) -> None:
        """See ``Carrier``."""
        await self._client.aclose()


@final
class _Line:
    """One connection to a chain node."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = h11.Connection(h11.CLIENT)

    def is_quiet(self) -> bool:
        """Say whether it can carry one more request: the other end has neither closed it nor said anything."""
        try:
            os.read(self._stream.socket.fileno(), 1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close it at once."""
        self._stream.socket.close()

    async def ask(self, head: h11.Request, body: bytes) -> tuple[Answer, bool]:
        """Send a request and read its answer; says as well whether the connection can carry another one."""
        protocol = self._protocol
        parts = [protocol.send(head), protocol.send(h11.Data(data=body)), protocol.send(h11.EndOfMessage())]
        response, content, is_whole = None, bytearray(), False
        end = trio.current_time() + WHOLE_REQUEST_TIMEOUT_S
        with trio.CancelScope(deadline=trio.current_time() + REQUEST_TIMEOUT_S) as patience:
            await self._stream.send_all(b"".join(part for part in parts if part))
            while not is_whole and len(content) <= MAX_RESPONSE_BYTES:
                match event := protocol.next_event():
                    case h11.NEED_DATA:
                        protocol.receive_data(await self._stream.receive_some(READ_BYTES))
                        patience.deadline = min(end, trio.current_time() + REQUEST_TIMEOUT_S)
                    case h11.Response():
                        response = event
                    case h11.Data():
                        content += event.data
                    case h11.EndOfMessage():
                        is_whole = True
                    case h11.InformationalResponse():
                        pass  # the answer itself is still to come
                    case _:
                        break  # the other end is gone
        headers = dict(response.headers) if response is not None else {}
        asked, encoding = (headers.get(name, b"").decode("latin-1") for name in (b"retry-after", b"content-encoding"))
        status = response.status_code if response is not None else 0
        may_stay = is_whole and protocol.our_state is h11.DONE and protocol.their_state is h11.DONE
        if may_stay:
            protocol.start_next_cycle()
        return Answer(status, asked or None, encoding, bytes(content), is_whole), may_stay


@final
class LoopbackCarrier:
    """Carries to chain nodes on this machine, without encryption or proxy."""

    def __init__(self) -> None:
        """Open nothing yet: connections are made when needed."""
        self._idle: dict[str, list[_Line]] = {}
        self._targets: dict[str, httpx.URL] = {}

    async def post(self, url: str, body: bytes) -> Answer:
        """See ``Carrier``."""
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = httpx.URL(url)
        headers = [(b"Host", target.netloc), *_HEADERS, (b"Content-Length", b"%d" % len(body))]
        head = h11.Request(method=b"POST", target=target.raw_path, headers=headers)
        try:
            line = await self._line(url, target)
            answer, may_stay = await self._ask(line, head, body)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, h11.RemoteProtocolError) as error:
            raise Unavailable(f"{shown(url)}: {type(error).__name__}: {error}") from error
        idle = self._idle.setdefault(url, [])
        if may_stay and len(idle) < MAX_KEPT:
            idle.append(line)
        else:
            line.close()
        return answer

    async def _line(self, url: str, target: httpx.URL) -> _Line:
        """Give a connection that was kept, or a new one."""
        idle = self._idle.get(url, [])
        while idle:
            line = idle.pop()
            if line.is_quiet():
                return line
            line.close()
        with trio.fail_after(REQUEST_TIMEOUT_S):
            return _Line(await trio.open_tcp_stream(target.host, target.port or 80))

    @staticmethod
    async def _ask(line: _Line, head: h11.Request, body: bytes) -> tuple[Answer, bool]:
        try:
            return await line.ask(head, body)
        except BaseException:
            line.close()  # else what is still to come would be taken for the answer to the next request
            raise

    async def close(self) -> None:
        """See ``Carrier``."""
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()
        await trio.lowlevel.checkpoint()
