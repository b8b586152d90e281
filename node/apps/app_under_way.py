"""One order of an app under way: its machine (``protocol.roles.app.app_order``), its clock, and who is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final

import trio

from protocol.errors import Unavailable
from protocol.roles.app.app_events import (
    CheckAward,
    Drawn,
    Due,
    Find,
    Found,
    GivenUp,
    KeySealed,
    Moved,
    Open,
    OrderEffect,
    OrderEvent,
    Say,
    SendInputs,
    Tell,
    WakeAt,
)
from protocol.roles.app.app_order import AppOrder, Phase
from protocol.roles.app_inputs import parts_of
from protocol.units import Digest, PeerId, TaskId, UnixMillis
from protocol.wire.app_messages import Order, OrderCancelled, OrderDone
from protocol.wire.codec import encode

if TYPE_CHECKING:
    from node.apps.app_client import AppClient

MAX_EVENTS: Final = 1024
"""Events that wait for one order; a coordinator that sends more waits for us."""

NO_PICTURES: Final[Mapping[Digest, bytes]] = MappingProxyType({})
"""Of an order that begins from none."""

Progress = Tell | Moved | KeySealed
"""What is told of an order while it is under way."""
Follower = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """What an order brought."""

    task: TaskId
    coordinator: PeerId
    """Who drew the receipt up, and pays the miner."""
    data: bytes
    done: OrderDone
    """With the receipt, encoded, and who drew it."""
    delivered: bytes
    """What the receipt is of: the picture, or of a sealed order what its miner sealed."""


class OrderFailed(Unavailable):
    """An order ended without a picture; ``code`` is stable, and ``is_ours_to_mend`` says that no try can help."""

    def __init__(self, code: str, detail: str, *, is_ours_to_mend: bool = False) -> None:
        """Name why; ``detail`` is for people."""
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.is_ours_to_mend = is_ours_to_mend


@final
class OrderUnderWay:
    """One order under way: the machine, its clock, and who is told."""

    def __init__(
        self,
        client: "AppClient",
        machine: AppOrder,
        order: Order,
        tell: Follower,
        pictures: Mapping[Digest, bytes] = NO_PICTURES,
    ) -> None:
        """Bring ``order`` to its end, as ``machine`` decides; ``pictures`` are those that it names."""
        self.name = order.order
        self._order = order
        self._pictures = pictures
        self._asked = 0
        """How often coordinators were turned to: pictures are sent to the one that is asked last, as it was then."""
        self._client = client
        self._machine = machine
        self._tell = tell
        self._send, self._events = trio.open_memory_channel[OrderEvent](MAX_EVENTS + 64)
        self._heard = trio.Event()
        self._is_over = False
        self._wake_at: UnixMillis | None = None
        self._has_sought = False
        self._end: Drawn | GivenUp | None = None

    def post(self, event: OrderEvent) -> None:
        """Take an event in; there is room, since what coordinators say waits for it."""
        self._send.send_nowait(event)

    async def wait_for_room(self) -> None:
        """Hold a coordinator back that says more than is heard."""
        while self._send.statistics().current_buffer_used >= MAX_EVENTS and not self._is_over:
            self._heard = trio.Event()
            await self._heard.wait()

    def cancel(self, peer: PeerId) -> None:
        """Tell a coordinator that nobody waits for it any more, if it is with that one, and that has not our word."""
        if self._machine.peer == peer and self._machine.taken_by is None:
            self._client.say(peer, encode(OrderCancelled(order=self.name)))

    async def run(self) -> Picture:
        """Wait for its end.

        Raises:
            OrderFailed: There is no picture.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._perform(self._machine.begin(self._client.now()), nursery)
                while self._end is None:
                    event = await self._next()
                    self._heard.set()
                    self._perform(self._machine.handle(event, self._client.now()), nursery)
                nursery.cancel_scope.cancel()
        finally:
            self._is_over = True
            self._heard.set()
            if self._end is None and self._machine.peer is not None:
                self.cancel(self._machine.peer)
            self._client.leave(self)
        end: Drawn | GivenUp | None = self._end
        if isinstance(end, Drawn):
            return Picture(end.done.task, end.peer, end.picture, end.done, end.delivered)
        assert end is not None, "the loop ends with it"
        raise OrderFailed(end.code, end.detail, is_ours_to_mend=end.is_ours_to_mend)

    async def _next(self) -> OrderEvent:
        """Give the next event, or the moment that the machine waits for."""
        wait_s = 0.0 if self._wake_at is None else (self._wake_at - self._client.now()) / 1000
        with trio.move_on_after(max(0.0, wait_s)) as patience:
            if self._wake_at is None:
                patience.deadline = float("inf")
            return await self._events.receive()
        self._wake_at = None
        return Due()

    def _perform(self, effects: tuple[OrderEffect, ...], nursery: trio.Nursery) -> None:
        for effect in effects:
            match effect:
                case Find():
                    nursery.start_soon(self._find)
                case Open(peer=peer):
                    self._asked += 1
                    self._client.join(peer, self)
                case Say(peer=peer, message=message):
                    self._client.say(peer, encode(message))
                case SendInputs(peer=peer):
                    self._client.send_inputs(peer, parts_of(self._order, self._pictures), self._still_asking())
                case WakeAt(at=at):
                    self._wake_at = at
                case Tell() | Moved() | KeySealed():
                    self._tell(effect)
                case CheckAward():
                    nursery.start_soon(self._check, effect)
                case Drawn() | GivenUp():
                    self._end = effect

    def _still_asking(self) -> Callable[[], bool]:
        """Give what says whether the coordinator that is asked now has not answered yet."""
        asked = self._asked
        return lambda: self._asked == asked and self._machine.phase is Phase.ASKED and not self._is_over

    async def _check(self, asked: CheckAward) -> None:
        self.post(await self._client.check(asked))

    async def _find(self) -> None:
        again, self._has_sought = self._has_sought, True
        self.post(Found(await self._client.coordinators.find(again=again)))
