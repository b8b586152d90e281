"""The one call that a busy coordinator answers hundreds of times a second, answered before FastAPI sees it.

FastAPI passes each request through its layers, and looks for what a handler wants by way of its general rules: that
costs as much as placing the order does. What is right is read here in a few steps; all else is left to FastAPI, which
says what is wrong.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar, final

from fastapi import Request, Response
from pydantic import BaseModel

from node.adapters.http.door import Application, Message, Receive, Send, replay
from node.adapters.http.errors import INTERNAL, answered

BodyT = TypeVar("BodyT", bound=BaseModel)

JSON_TYPES: Final = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})
"""How clients say that a body is JSON; whoever says it otherwise is understood as well, less quickly."""


@final
class QuickRoute(Generic[BodyT]):
    """An ASGI application: one route, and another application for all else."""

    def __init__(
        self,
        path: str,
        model: type[BodyT],
        endpoint: Callable[[BodyT, Request, str | None], Awaitable[Response]],
        usual: Application,
    ) -> None:
        """Answer ``POST`` at ``path``.

        Args:
            path: Has a route in ``usual`` too.
            model: Strict about what it takes, so that it takes the same here as in FastAPI's hands.
            endpoint: The handler; it is called with the body, the request and its ``Idempotency-Key``. What it raises
                is answered as anywhere.
            usual: Answers all other requests, and this one where it is wrong.
        """
        self.path: Final = path
        """Under which its requests are counted."""
        self._model = model
        self._endpoint = endpoint
        self._usual = usual

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if scope["path"] != self.path or scope["method"] != "POST" or not _is_json(request):
            await self._usual(scope, receive, send)
            return
        data = await request.body()
        try:
            body = self._model.model_validate(json.loads(data))
        except (ValueError, RecursionError):
            await self._usual(scope, replay(data, receive), send)
            return
        scope["route"] = self
        try:
            answer = await self._endpoint(body, request, request.headers.get("idempotency-key"))
        except Exception as error:
            problem = answered(error)
            await problem.response(self.path)(scope, receive, send)
            if problem is INTERNAL:
                raise  # so that the server logs the traceback
            return
        await answer(scope, receive, send)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type") in JSON_TYPES
