"""What all answers of server-sent events share: how they begin and end, one writer at a time, signs of life."""

from typing import Final

import trio
from fastapi import Response
from starlette.types import Receive, Send

KEEP_ALIVE_S: Final = 15.0
"""How often (s) a silent stream sends a comment: proxies close what is silent for 30 s or more."""
STILL_HERE: Final = ": still here\n\n"
"""That comment."""


class EventAnswer(Response):
    """An answer that goes on; each kind of it says in ``__call__`` what it tells, and when it is over."""

    media_type = "text/event-stream"

    def __init__(self) -> None:
        """Have nothing sent yet."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._sending = trio.Lock()

    async def begin(self, send: Send) -> None:
        """Send the headers."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def say(self, send: Send, text: str) -> None:
        """Send one event or comment, whole, with the empty line behind it."""
        async with self._sending:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def end(self, send: Send) -> None:
        """Say that nothing more comes."""
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def keep_alive(self, send: Send) -> None:
        """Send a comment now and then, until cancelled."""
        while True:
            await trio.sleep(KEEP_ALIVE_S)
            await self.say(send, STILL_HERE)

    @staticmethod
    async def hear_client(receive: Receive, scope: trio.CancelScope) -> None:
        """Cancel a scope once the listener has left."""
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
