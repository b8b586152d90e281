"""What tests of the chain adapter share: a sink, and a cable to a chain node that can be cut at chosen requests."""

from collections.abc import Callable

import httpx
import trio

from protocol.events import Event, StakeChanged, TxConfirmed, TxFailed
from protocol.stake.table import EpochView
from tests.support.patience import PATIENCE_S


class Sink:
    """Keeps what was posted and wakes who waits for it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = trio.Event()

    async def post(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()
        self._changed = trio.Event()
        await trio.lowlevel.checkpoint()

    @property
    def views(self) -> list[EpochView]:
        return [event.view for event in self.events if isinstance(event, StakeChanged)]

    @property
    def outcomes(self) -> list[TxConfirmed | TxFailed]:
        return [event for event in self.events if isinstance(event, TxConfirmed | TxFailed)]

    async def wait_until(self, good: Callable[["Sink"], object]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not good(self):
                await self._changed.wait()


class Cable(httpx.AsyncBaseTransport):
    """Carries requests to a real node. Those that hold ``cut`` are lost on the way there, ``mute`` on the way back."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.cut: bytes | None = None
        self.mute: bytes | None = None
        self.bodies: list[bytes] = []
        self.edit: Callable[[bytes], bytes] = lambda answer: answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.bodies.append(body)
        if self.cut is not None and self.cut in body:
            raise httpx.ConnectError("cut")
        response = await self.inner.handle_async_request(request)
        if self.mute is not None and self.mute in body:
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("muted")
        answer = self.edit(await response.aread())
        await response.aclose()
        return httpx.Response(response.status_code, content=answer)

    async def aclose(self) -> None:
        await self.inner.aclose()
