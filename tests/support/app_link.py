"""The submit stream of one app without a socket: the test is the app."""

import math

import trio

from node.ports import AppFace
from protocol.errors import InvalidMessage, Unavailable
from protocol.units import PeerId
from protocol.wire.app_messages import AppMessage, CoordinatorMessage, OrderDone
from protocol.wire.codec import COORDINATOR_PLACE, decode, encode
from protocol.wire.sealed_messages import OrderSealed
from tests.support.patience import PATIENCE_S


class MemoryLink:
    """Implements ``node.ports.AppLink``; bytes of pictures are kept by the order's name."""

    def __init__(self, peer: str = "an app", address: str = "127.0.0.1") -> None:
        self.peer = PeerId(peer)
        self.address = address
        self.blamed: list[str] = []
        self.pictures: dict[bytes, bytes] = {}
        self.fault: InvalidMessage | None = None
        self.is_over = trio.Event()
        self._said, self._to_hear = trio.open_memory_channel[bytes](math.inf)
        self._answers, self._heard = trio.open_memory_channel[bytes](math.inf)

    # The coordinator's end.

    async def receive(self, size: int = 0) -> bytes:
        try:
            data = await self._to_hear.receive()
        except trio.EndOfChannel:
            raise Unavailable("gone") from None
        assert not size or len(data) == size
        return data

    async def send(self, data: bytes, body: bytes = b"") -> None:
        message = decode(data, COORDINATOR_PLACE)
        if isinstance(message, OrderDone | OrderSealed):
            assert len(body) == message.size
            self.pictures[message.order] = body
        try:
            await self._answers.send(data)
        except trio.BrokenResourceError:
            raise Unavailable("gone") from None

    def blame(self, rule: str) -> None:
        self.blamed.append(rule)

    async def serve(self, face: AppFace) -> None:
        """Let a coordinator serve this app."""
        try:
            await face.serve(self)
        except InvalidMessage as problem:
            self.fault = problem
        self._answers.close()
        self.is_over.set()

    # The app's end.

    def say(self, message: AppMessage | bytes, body: bytes = b"") -> None:
        self._said.send_nowait(message if isinstance(message, bytes) else encode(message))
        if body:
            self._said.send_nowait(body)

    async def hear(self) -> CoordinatorMessage:
        with trio.fail_after(PATIENCE_S):
            return decode(await self._heard.receive(), COORDINATOR_PLACE)

    async def hear_until(self, kind: str) -> CoordinatorMessage:
        while (message := await self.hear()).kind != kind:
            pass
        return message

    def leave(self) -> None:
        self._said.close()
        self._heard.close()
