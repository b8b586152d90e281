"""The native part of the API: tasks that outlive the connection, their news, their receipts."""

from collections import Counter
from functools import partial
from typing import Annotated, final

import trio
from fastapi import APIRouter, Header, Request, Response

from node.adapters.http.accounts import Account
from node.adapters.http.beginnings import beginning_of
from node.adapters.http.errors import RETRY_AFTER_S, ApiError, not_found
from node.adapters.http.events import EventStream
from node.adapters.http.orders import Orders
from node.adapters.http.requests import TaskRequest, decode_picture
from node.adapters.http.settings import HttpSettings
from node.adapters.http.shelf import parse_hex
from node.adapters.http.views import accepted_view, answer, receipt_view, task_view
from node.desk_ports import Desk
from node.ports import StoredTask
from protocol.units import TaskId


def task_routes(orders: Orders, desk: Desk, settings: HttpSettings, stopping: trio.Event) -> APIRouter:
    """Give the routes of tasks and receipts. Each shows a task to the account that handed it in, and to no other."""
    router = APIRouter(tags=["native"])
    places = _Places(settings.max_event_streams, settings.max_event_streams_per_caller)

    async def own(task: str, request: Request) -> StoredTask:
        account: Account = request.state.account
        stored = await desk.find(TaskId(parse_hex(task, "task")))
        if stored is None or not account.owns(stored):
            raise not_found("task")
        return stored

    @router.post("/v1/tasks", status_code=202, summary="Hand in one picture and return at once")
    async def submit(
        body: TaskRequest, request: Request, idempotency_key: Annotated[str | None, Header()] = None
    ) -> Response:
        account: Account = request.state.account
        source, mask = decode_picture(body.source, "source"), decode_picture(body.mask, "mask")
        beginning = await beginning_of(source, mask, body.strength, "source")
        order = await orders.place(
            body,
            account,
            count=1,
            key=idempotency_key,
            detached=True,
            beginning=beginning,
            may_be_disputed=body.may_be_disputed or False,
        )
        request.state.body_is_done()
        return answer(accepted_view(order.tasks[0], order.specifications[0]), 202)

    @router.get("/v1/tasks/{task}", summary="Say how a task stands")
    async def show(task: str, request: Request) -> Response:
        stored = await own(task, request)
        return answer(task_view(stored, desk.waiting(stored.accepted.task)))

    @router.get("/v1/tasks/{task}/events", summary="Follow a task by server-sent events")
    async def events(task: str, request: Request) -> Response:
        stored = await own(task, request)
        account: Account = request.state.account
        places.take(account.bucket)
        return EventStream(desk, stored.accepted.task, stopping, partial(places.release, account.bucket))

    @router.delete("/v1/tasks/{task}", summary="Stop a task")
    async def cancel(task: str, request: Request) -> Response:
        stored = await own(task, request)
        stopped = stored.done is None and stored.failed is None
        if stopped:
            await desk.cancel(stored.accepted.task)
        return answer({"task": stored.accepted.task.hex(), "cancelled": stopped})

    @router.get("/v1/receipts/{task}", summary="Show the signed receipt of a finished task")
    async def receipt(task: str, request: Request) -> Response:
        stored = await own(task, request)
        if stored.done is None:
            raise not_found("receipt: the task has not ended with a picture")
        return answer(receipt_view(stored.done.receipt))

    return router


@final
class _Places:
    """A limit on event streams."""

    def __init__(self, limit: int, caller_limit: int) -> None:
        self._free = limit
        self._caller_limit = caller_limit
        self._taken: Counter[str] = Counter()

    def take(self, caller: str) -> None:
        """Take a place, or answer ``busy``."""
        if self._taken[caller] >= self._caller_limit:
            problem = f"you have {self._caller_limit} event streams open, which is all that one caller may have"
            raise ApiError(429, "busy", problem, retry_after_s=RETRY_AFTER_S)
        if self._free == 0:
            raise ApiError(429, "busy", "too many event streams are open", retry_after_s=RETRY_AFTER_S)
        self._free -= 1
        self._taken[caller] += 1

    def release(self, caller: str) -> None:
        """Give a place back."""
        self._free += 1
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]
