"""A client of the images API that costs little: one kept connection, no library between it and the socket."""

import json
import time
from dataclasses import dataclass
from typing import Any, Self

import trio

BODY = json.dumps({"prompt": "a red heart", "response_format": "b64_json"}).encode()
LIMIT_BYTES = 1 << 20


@dataclass
class Answer:
    """One picture that was delivered."""

    begun: float
    """Unix time (s) before the first byte was sent."""
    ended: float
    """Unix time (s) once the last byte was read."""
    task: str


class Client:
    """One connection to a coordinator. ``source`` is the loopback address that it comes from: an account each."""

    def __init__(self, stream: trio.SocketStream, host: str) -> None:
        self._stream = stream
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY

    @classmethod
    async def open(cls, url: str, source: str) -> Self:
        host, _, port = url.removeprefix("http://").partition(":")
        stream = await trio.open_tcp_stream(host, int(port), local_address=source)
        return cls(stream, f"{host}:{port}")

    async def picture(self) -> Answer:
        """Have one picture made and read it.

        Raises:
            RuntimeError: The answer is no picture.
        """
        begun = time.time()
        await self._stream.send_all(self._request)
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            await self._more(received)
        head = bytes(received[:end]).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(received) < end + 4 + length:
            await self._more(received)
        ended = time.time()
        body: dict[str, Any] = json.loads(received[end + 4 :])
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"no picture: {body}")
        return Answer(begun, ended, body["data"][0]["cuckoo"]["task"])

    async def _more(self, received: bytearray) -> None:
        data = await self._stream.receive_some(LIMIT_BYTES)
        if not data:
            raise RuntimeError("the coordinator closed the connection")
        received += data

    async def close(self) -> None:
        await self._stream.aclose()
