"""Serves apps that come over the overlay: hands in their orders, tells them how these stand, hears their word.

A part of a coordinator beside its HTTP gateway. What an app sends is bounded here: orders at once, and how long it may
say nothing. Spec: SPEC.md §9.9.
"""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import trio

from node.apps.app_uploads import Uploads
from node.desk import LAST_STAGES
from node.desk_ports import Desk, FetchInputs, Placed
from node.ports import AppLink, Clock, Journal
from protocol.effects import Refused, Stage, Update
from protocol.errors import IgnoredMessage, InvalidMessage, Unavailable
from protocol.events import Acceptance, KeyGiven, PictureRejected
from protocol.notes import NoteName
from protocol.roles.coordinator.collecting import NOT_TAKEN
from protocol.roles.coordinator.sealed_tasks import APP_GONE
from protocol.units import Digest, PeerId, TaskId
from protocol.wire.app_messages import (
    MAX_DETAIL,
    AnyOrder,
    AppMessage,
    CoordinatorMessage,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderDone,
    OrderInput,
    OrderInputsWanted,
    OrderNews,
    OrderRefused,
    OrderTaken,
)
from protocol.wire.codec import APP_PLACE, decode, encode
from protocol.wire.messages import TaskSpecification
from protocol.wire.sealed_messages import (
    OrderAcceptance,
    OrderAwarded,
    OrderKey,
    OrderRejection,
    OrderSealed,
    SealedOrder,
)

MAX_ORDERS: Final = 256
"""Orders of one app at once; each costs a task of this program and some news a second."""
IDLE_S: Final = 60.0
"""How long (s) a stream without an order is kept."""
LEAVE_S: Final = 1.0
"""How long (s) the core may take to hear that an app is gone."""
_REASON: Final = re.compile(r"[a-z0-9_]{1,48}")

PlaceOrder = Callable[[AnyOrder, PeerId, str, FetchInputs], Awaitable[Placed | Refused]]


@dataclass(frozen=True, slots=True)
class _Followed:
    """An order that was accepted."""

    task: TaskId
    specification: TaskSpecification


@final
class AppService:
    """Implements ``node.ports.AppFace`` over the desk of one coordinator."""

    def __init__(self, desk: Desk, place: PlaceOrder, clock: Clock, journal: Journal) -> None:
        """Serve ``desk``; ``place`` hands in an order of an app that calls from an address, or finds its task.

        It has the app asked for the pictures that the order begins from, where these are needed.
        """
        self.desk = desk
        self.place = place
        self.clock = clock
        self.journal = journal
        self.followed_by: dict[TaskId, _Session] = {}
        """On which stream each unfinished task is followed: an app that comes back may have two for a while."""

    async def serve(self, link: AppLink) -> None:
        """Serve one app until its stream is over.

        Raises:
            InvalidMessage: It sent what no honest app sends.
        """
        await _Session(self, link).run()


@final
class _Session:
    """One stream of one app."""

    def __init__(self, service: AppService, link: AppLink) -> None:
        self._service = service
        self._link = link
        self._orders: dict[bytes, _Followed | None] = {}
        """Orders under way; None while it is being handed in."""
        self._were_over: set[bytes] = set()
        """Of these, whose tasks had ended before this stream asked for them."""
        self._uploads = Uploads()
        self._fault: InvalidMessage | None = None
        self._delivering = trio.Lock()
        """Held by the order whose picture is on its way: an app that reads slowly has the others left on the disk."""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await self._hear_all(nursery)
            nursery.cancel_scope.cancel()
        # Not when this node stops: then they are all gone at once, and have their time after the restart.
        heard_at = self._service.clock.now()
        for followed in self._orders.values():
            if followed is not None and self._service.followed_by.get(followed.task) is self:
                del self._service.followed_by[followed.task]
                with trio.move_on_after(LEAVE_S):
                    await self._service.desk.left(followed.task, heard_at)
        if self._fault is not None:
            raise self._fault

    async def _hear_all(self, nursery: trio.Nursery) -> None:
        """Hear the app until it has left, says nothing for long, or says what none may say."""
        while True:
            data = b""
            try:
                with trio.move_on_after(math.inf if self._orders else IDLE_S):
                    data = await self._link.receive()
                if not data:
                    return
                await self._hear(decode(data, APP_PLACE), nursery)
            except IgnoredMessage as problem:
                self._service.journal.note(NoteName.MESSAGE_IGNORED, rule=problem.rule, peer=self._link.peer)
            except InvalidMessage as problem:
                self._fault = problem
                return
            except Unavailable:
                return

    async def _hear(self, message: AppMessage, nursery: trio.Nursery) -> None:
        followed, desk = self._orders.get(message.order), self._service.desk
        match message:
            case Order() | SealedOrder() if message.order in self._orders:
                raise IgnoredMessage("submit.twice")
            case Order() | SealedOrder() if len(self._orders) >= MAX_ORDERS:
                detail = f"{MAX_ORDERS} orders of yours are under way on this stream; wait for some to end"
                await self._say(OrderRefused(order=message.order, code="busy", detail=detail))
            case Order() | SealedOrder():
                self._orders[message.order] = None
                nursery.start_soon(self._bring_to_its_end, message, nursery.cancel_scope)
            case OrderInput():
                self._uploads.take(message, await self._link.receive(message.size))
            case OrderCancelled() if followed is None:
                self._uploads.end(message.order)
                raise IgnoredMessage("submit.unknown_order")
            case _ if followed is None:
                raise IgnoredMessage("submit.unknown_order")  # it has ended, which the app does not know yet
            case OrderTaken():
                await desk.take(followed.task)
            case OrderCancelled():
                await desk.cancel(followed.task)
            case OrderKey(attempt=attempt, award=award, sealed_key=sealed_key):
                await desk.hear_of_sealed(KeyGiven(followed.task, attempt, award, sealed_key))
            case OrderAcceptance(attempt=attempt, signature=signature):
                await desk.take(followed.task, Acceptance(self._link.peer, attempt, signature))
            case OrderRejection(attempt=attempt):
                await desk.hear_of_sealed(PictureRejected(followed.task, attempt))

    async def _bring_to_its_end(self, order: AnyOrder, scope: trio.CancelScope) -> None:
        """Hand an order in and tell all about it; ends the session where the app is gone."""
        try:
            if await self._is_accepted(order):
                await self._follow(order.order)
        except Unavailable:
            scope.cancel()
            return
        followed = self._orders.pop(order.order)
        self._were_over.discard(order.order)
        if followed is not None and self._service.followed_by.get(followed.task) is self:
            del self._service.followed_by[followed.task]

    async def _is_accepted(self, order: AnyOrder) -> bool:
        service = self._service
        try:
            placed = await service.place(order, self._link.peer, self._link.address, self._fetch)
        except Unavailable as error:  # not the app's line, but what it asks for
            placed = Refused("unavailable", str(error))
        if isinstance(placed, Refused):
            detail = placed.detail[:MAX_DETAIL]
            await self._say(OrderRefused(order=order.order, code=_stable(placed.code) or "refused", detail=detail))
            return False
        self._orders[order.order] = _Followed(placed.task, placed.specification)
        if await self._is_over(placed.task):
            self._were_over.add(order.order)
        service.followed_by[placed.task] = self
        await service.desk.returned(placed.task)
        price = service.desk.price(placed.specification)
        await self._say(OrderAccepted(order=order.order, task=placed.task, price=price))
        return True

    async def _fetch(self, order: Order) -> Mapping[Digest, bytes] | None:
        """Have the app send the pictures that an order begins from; None where they do not come."""
        with self._uploads.expected(order) as upload:
            await self._say(OrderInputsWanted(order=order.order))
            return await upload.wait()

    async def _follow(self, order: bytes) -> None:
        followed = self._orders[order]
        assert followed is not None, "it was accepted"
        is_sealed = followed.specification.sealed is not None
        async with self._service.desk.watch(followed.task) as updates:
            async for update in updates:
                if update.stage is Stage.DONE:
                    await self._deliver(order, followed, update)
                elif update.stage is Stage.READY and is_sealed:
                    await self._show(order, followed, update)
                else:
                    await self._say(_news(order, update))
                if update.award is not None:
                    await self._say(OrderAwarded(order=order, shown=update.award))
                if update.reason in {NOT_TAKEN, APP_GONE} and order not in self._were_over:
                    self._link.blame(f"submit.{update.reason}")

    async def _show(self, order: bytes, followed: _Followed, update: Update) -> None:
        """Give the app a sealed picture, which it alone can look at before it takes it."""
        assert update.artifact is not None, "READY names its artifact"
        async with self._delivering:
            picture = await self._service.desk.artifact(update.artifact)
            if picture is None:
                return  # it has expired: the task ends, since nobody takes it
            message = OrderSealed(
                order=order,
                task=followed.task,
                attempt=update.attempt,
                artifact=update.artifact,
                media_type=followed.specification.media_type,
                size=len(picture),
            )
            await self._link.send(encode(message), picture)

    async def _is_over(self, task: TaskId) -> bool:
        """Say whether a task has ended already: an app that asks for it again was not on the line then."""
        latest = self._service.desk.latest(task)
        if latest is not None:
            return latest.stage in LAST_STAGES
        stored = await self._service.desk.find(task)
        return stored is None or stored.done is not None or stored.failed is not None

    async def _deliver(self, order: bytes, followed: _Followed, update: Update) -> None:
        """Give the app its picture and receipt."""
        assert update.artifact is not None, "DONE names its artifact"
        assert update.miner is not None, "DONE names its miner"
        assert update.receipt is not None, "DONE has its receipt"
        async with self._delivering:
            picture, reason = None, "artifact_expired"
            try:
                picture = await self._service.desk.artifact(update.artifact)
            except Unavailable:  # nobody can say now whether it may be shown
                reason = "not_reviewed"
            if picture is None:
                await self._say(OrderNews(order=order, stage="failed", attempt=update.attempt, reason=reason))
                return
            done = OrderDone(
                order=order,
                task=followed.task,
                attempt=update.attempt,
                miner=update.miner,
                artifact=update.artifact,
                media_type=followed.specification.media_type,
                receipt=update.receipt,
                size=len(picture),
            )
            await self._link.send(encode(done), picture)

    async def _say(self, message: CoordinatorMessage) -> None:
        await self._link.send(encode(message))


def _news(order: bytes, update: Update) -> OrderNews:
    """Say how a task stands."""
    return OrderNews.model_validate(
        {
            "order": order,
            "stage": update.stage.value,
            "attempt": update.attempt,
            "miner": update.miner,
            "step": update.step,
            "steps": update.steps,
            "reason": _stable(update.reason),
            "preview": update.preview,
        }
    )


def _stable(reason: str | None) -> str | None:
    """Give a reason that has the form of a stable name."""
    return reason if reason is not None and _REASON.fullmatch(reason) else None
