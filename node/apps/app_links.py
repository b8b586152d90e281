"""Streams of an app to coordinators: one each, which carries all its orders there."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, Protocol, final

import trio

from protocol.errors import IgnoredMessage, InvalidMessage, Unavailable
from protocol.roles.app.app_events import LinkDown, LinkUp, OrderEvent, Said
from protocol.units import PeerId
from protocol.wire.app_messages import CoordinatorMessage, OrderDone, OrderInput
from protocol.wire.codec import COORDINATOR_PLACE, decode, encode
from protocol.wire.sealed_messages import OrderSealed

MAX_FRAMES: Final = 1024
"""Frames that wait for one coordinator to read them; one that reads nothing is found gone."""
LAST_WORDS_S: Final = 1.0
"""How long (s) an order that is given up tries to say so."""
MAX_SENDINGS: Final = 1024
"""Orders whose pictures wait to be sent to one coordinator; of more it gets none, and they go elsewhere in time."""

Parts = Iterator[tuple[OrderInput, bytes]]
"""Pictures in parts, each behind the message that announces it."""


class AppStream(Protocol):
    """A submit stream to a coordinator. Everything raises ``Unavailable`` once it is over."""

    async def send(self, data: bytes, body: bytes = b"") -> None:
        """Send one frame, and behind it a body that it announces."""
        ...

    async def receive(self) -> bytes:
        """Wait for one frame."""
        ...

    async def receive_body(self, size: int) -> bytes:
        """Wait for the bytes that the last frame announced."""
        ...

    async def close(self) -> None:
        """End the stream."""
        ...


class AppNetwork(Protocol):
    """What an app needs of the overlay."""

    async def find(self, key: str) -> tuple[PeerId, ...]:
        """Look up who provides a key of the DHT."""
        ...

    async def open(self, peer: PeerId) -> AppStream:
        """Open a submit stream, or raise ``Unavailable``."""
        ...


class Hearer(Protocol):
    """One order under way, as a link sees it."""

    @property
    def name(self) -> bytes:
        """The order's 16 bytes."""
        ...

    def post(self, event: OrderEvent) -> None:
        """Take an event in."""
        ...

    async def wait_for_room(self) -> None:
        """Wait until it can take in one more."""
        ...

    def cancel(self, peer: PeerId) -> None:
        """Tell this coordinator that nobody waits for it any more, if it is with it and that may be said."""
        ...


@final
class Link:
    """The stream to one coordinator, with the orders that it carries."""

    def __init__(self, peer: PeerId, links: "dict[PeerId, Link]") -> None:
        self._peer = peer
        self._links = links
        self._orders: dict[bytes, Hearer] = {}
        self._is_up = False
        self._send, self._waiting = trio.open_memory_channel[bytes](MAX_FRAMES)
        self._send_parts, self._parts = trio.open_memory_channel[tuple[Parts, Callable[[], bool]]](MAX_SENDINGS)

    def join(self, hearer: Hearer) -> None:
        """Let an order hear this coordinator."""
        self._orders[hearer.name] = hearer
        if self._is_up:
            hearer.post(LinkUp(self._peer))

    def leave(self, hearer: Hearer) -> None:
        """Let it hear no more."""
        self._orders.pop(hearer.name, None)

    def say(self, data: bytes) -> None:
        """Send a frame in its turn."""
        with suppress(trio.WouldBlock):
            self._send.send_nowait(data)

    def send_inputs(self, parts: Parts, are_wanted: Callable[[], bool]) -> None:
        """Send pictures behind those of other orders, between frames, for as long as they are wanted."""
        with suppress(trio.WouldBlock):
            self._send_parts.send_nowait((parts, are_wanted))

    async def run(self, overlay: AppNetwork) -> None:
        """Have a stream until it is over, and tell all orders on it of both."""
        try:
            stream = await overlay.open(self._peer)
        except Unavailable:
            self._end()
            return
        self._is_up = True
        for hearer in list(self._orders.values()):
            hearer.post(LinkUp(self._peer))
        is_cancelled = True
        try:
            async with trio.open_nursery() as both:
                both.start_soon(self._write, stream, both.cancel_scope)
                both.start_soon(self._write_inputs, stream, both.cancel_scope)
                await self._read(stream)
                both.cancel_scope.cancel()
            is_cancelled = False  # the stream is over, and who is on it waits for its coordinator, or goes elsewhere
        finally:
            if is_cancelled:
                for hearer in list(self._orders.values()):
                    hearer.cancel(self._peer)
            with trio.move_on_after(LAST_WORDS_S, shield=True):
                await self._say_last(stream)
            self._end()
            await stream.close()

    async def _say_last(self, stream: AppStream) -> None:
        """Say what is left to say."""
        with suppress(Unavailable, trio.WouldBlock):
            while True:
                await stream.send(self._waiting.receive_nowait())

    def _end(self) -> None:
        if self._links.get(self._peer) is self:
            del self._links[self._peer]
        for hearer in list(self._orders.values()):
            hearer.post(LinkDown(self._peer))

    async def _write(self, stream: AppStream, scope: trio.CancelScope) -> None:
        try:
            async for data in self._waiting:
                with trio.CancelScope(shield=True):  # what is taken out is said, also the word that all is over
                    await stream.send(data)
        except Unavailable:
            scope.cancel()

    async def _write_inputs(self, stream: AppStream, scope: trio.CancelScope) -> None:
        try:
            async for parts, are_wanted in self._parts:
                for message, part in parts:
                    if not are_wanted():
                        break
                    with trio.CancelScope(shield=True):  # a part that is cut off would swallow the last words
                        await stream.send(encode(message), part)
                    await trio.lowlevel.checkpoint_if_cancelled()
        except Unavailable:
            scope.cancel()

    async def _read(self, stream: AppStream) -> None:
        """Hear a coordinator until it is gone, or says what none may say."""
        with suppress(Unavailable, InvalidMessage):
            while True:
                with suppress(IgnoredMessage):  # of a later release
                    message = decode(await stream.receive(), COORDINATOR_PLACE)
                    size = message.size if isinstance(message, OrderDone | OrderSealed) else 0
                    picture = await stream.receive_body(size) if size else b""
                    await self._hear(message, picture)

    async def _hear(self, message: CoordinatorMessage, picture: bytes) -> None:
        hearer = self._orders.get(message.order)
        if hearer is not None:
            await hearer.wait_for_room()
            hearer.post(Said(self._peer, message, picture))
