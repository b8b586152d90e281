"""A client of the network for apps: it finds coordinators itself, and brings an order to its picture.

    async with open_client(entry_points, network="mainnet") as client:
        drawn = await client.draw(order_of("a red heart"), tell=print)

No HTTP, no chain: it uses the protocol and the overlay only. ``cuckoo submit --bootstrap`` is made with it.
"""

import random
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import trio

from node.apps.app_coordinators import Coordinators, MayBeAsked
from node.apps.app_links import AppNetwork, Link
from node.ports import Clock, Journal, Ready
from protocol.crypto.keys import NodeKey
from protocol.crypto.sealing import KEY_BYTES
from protocol.errors import InvalidMessage, Unavailable
from protocol.notes import NoteName
from protocol.roles.app_events import (
    AwardChecked,
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
    Tell,
    WakeAt,
)
from protocol.roles.app_order import PATIENCE_MS, AppOrder
from protocol.roles.order_seal import KnownNetwork, OrderSeal, seal_order
from protocol.units import DurationMs, PeerId, TaskId, UnixMillis
from protocol.wire.app_messages import Order, OrderCancelled, OrderDone
from protocol.wire.codec import encode
from protocol.wire.sealed_messages import ShownAward
from protocol.wire.topics import coordinator_key

if TYPE_CHECKING:
    from node.adapters.libp2p.app import AppOverlay

SEED_BITS: Final = 53
"""Seeds that we draw are exact in the numbers of JavaScript too."""
MAX_EVENTS: Final = 1024
"""Events that wait for one order; a coordinator that sends more waits for us."""

NOT_CHECKED: Final = "signatures fit together; NOT CHECKED: that the two are registered, and how the miner was drawn"
"""What is known of an award without a chain."""
CHECK_S: Final = 8.0
"""How long (s) an award may be looked up: less than its coordinator waits for the key."""

Progress = Tell | Moved | KeySealed
"""What is told of an order while it is under way."""
Follower = Callable[[Progress], None]


class AwardChecker(Protocol):
    """Asks a chain whether those who signed for an award are who they say."""

    @property
    def known(self) -> KnownNetwork:
        """Of which network awards must be."""
        ...

    async def check(self, coordinator: PeerId, shown: ShownAward) -> str:
        """Say in one line what was found.

        Raises:
            InvalidMessage: It is not to be believed.
            Unavailable: The chain does not answer.
        """
        ...


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


def order_of(prompt: str, **wishes: Any) -> Order:  # noqa: ANN401 checked by the message
    """Make an order with a name and a seed of its own.

    Raises:
        ValueError: pydantic's, naming the field that is wrong.
    """
    drawn = {"order": secrets.token_bytes(16), "seed": secrets.randbits(SEED_BITS)}
    return Order.model_validate(drawn | {"prompt": prompt} | wishes)


@asynccontextmanager
async def open_client(
    entry_points: tuple[str, ...],
    *,
    network: str,
    secret: bytes | None = None,
    may_be_asked: MayBeAsked | None = None,
    awards: AwardChecker | None = None,
    named: str = "entry_points",
) -> AsyncGenerator["AppClient"]:
    """Join a network as an app, with a key of its own or a new one; leave it at the end.

    Args:
        entry_points: Multiaddresses of nodes to join by, each with ``/p2p/<peer id>``.
        network: Name of the network, as its parameters say: ``mainnet``, ``testnet``, or ``devnet`` for those of
            ``minimal``. By another name no coordinator is found.
        secret: The app's key (32 bytes); drawn where left out.
        may_be_asked: Says whether an order may go to a coordinator; to all where left out.
        awards: Asks a chain about those to whom sealed orders are opened; where left out, only signatures are checked.
        named: What a person who gave the entry points calls them.

    Raises:
        ConfigError: An entry point is wrong; the text begins with what they are ``named``.
    """
    from node.adapters.libp2p.app import AppOverlay  # imported here: costs a second
    from node.adapters.system import SystemClock

    clock = SystemClock()
    own = secret or _new_secret()
    overlay = AppOverlay(entry_points, own, clock, _SILENT, named=named)
    client_of_overlay = AppClient(overlay, network, clock, NodeKey(own), may_be_asked=may_be_asked, awards=awards)
    shield = trio.CancelScope(shield=True)
    try:
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(_run_within, shield, overlay)
                async with client_of_overlay.running() as client:
                    yield client
            finally:
                shield.cancel()  # only now: who is cancelled still tells coordinators that nobody waits any more
    except BaseExceptionGroup as group:
        raise _alone(group) from None  # whoever orders one picture awaits one error


def _alone(error: BaseException) -> BaseException:
    """Give the one error that is in a group, or the group where there are more."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _run_within(
    scope: trio.CancelScope, overlay: "AppOverlay", *, task_status: Ready = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the overlay until ``scope`` is cancelled."""
    with scope:
        await overlay.run(task_status=task_status)


def _new_secret() -> bytes:
    """Draw a key. Of 2^256 texts all but one in 2^128 are keys of the curve."""
    return secrets.token_bytes(32)


@final
class AppClient:
    """Orders pictures of a network, several at once if need be."""

    def __init__(
        self,
        overlay: AppNetwork,
        network: str,
        clock: Clock,
        own: NodeKey,
        *,
        may_be_asked: MayBeAsked | None = None,
        awards: AwardChecker | None = None,
    ) -> None:
        """Order by ``overlay`` of the network of this name, with the key by which it speaks.

        ``may_be_asked`` may leave coordinators out, ``awards`` winners of sealed orders.
        """
        self._own = own
        self._awards = awards
        self._overlay = overlay
        self._clock = clock
        self._random = random.SystemRandom()
        self.coordinators = Coordinators(overlay, coordinator_key(network), self._random, may_be_asked)
        """To whom orders may go."""
        self._links: dict[PeerId, Link] = {}
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["AppClient"]:
        """Be able to order."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    async def draw(
        self,
        order: Order,
        tell: Follower = lambda _: None,
        *,
        patience_ms: DurationMs = PATIENCE_MS,
        sealed: bool = False,
    ) -> Picture:
        """Bring one order to its picture, from coordinator to coordinator if need be.

        One that is cancelled from outside tells its coordinator so.


        Args:
            order: What to draw; the same order again, by the same key, is the same task at the same coordinator.
            tell: Called for each piece of news.
            patience_ms: How long (ms) a coordinator that is gone is waited for before another is asked; with less than
                ``PATIENCE_MS`` the first may still have a miner at work, which is paid by nobody then.
            sealed: Whether only the miner that draws it may read it, and no coordinator. This program must stay on the
                line then, since it gives the key to each winner; and as that is drawn for this call, a second call with
                the same order is refused.

        Raises:
            OrderFailed: There is no picture; the text says why.
        """
        if not sealed:
            return await _OrderUnderWay(self, AppOrder(order, patience_ms), order.order, tell).run()
        content_key = secrets.token_bytes(KEY_BYTES)
        closed = seal_order(order, content_key)
        known = self._awards.known if self._awards is not None else None
        seal = OrderSeal(closed, content_key, self._own, secrets.token_bytes, known)
        return await _OrderUnderWay(self, AppOrder(closed, patience_ms, seal), order.order, tell).run()

    async def check(self, asked: CheckAward) -> AwardChecked:
        """Look an award up, as far as that can be."""
        if self._awards is None:
            return AwardChecked(asked.peer, asked.shown, NOT_CHECKED)
        try:
            with trio.fail_after(CHECK_S):
                found = await self._awards.check(asked.peer, asked.shown)
        except (InvalidMessage, Unavailable, trio.TooSlowError) as error:
            return AwardChecked(asked.peer, asked.shown, "", str(error) or "the chain takes too long to answer")
        return AwardChecked(asked.peer, asked.shown, found)

    def now(self) -> UnixMillis:
        """Give the present."""
        return self._clock.now()

    def join(self, peer: PeerId, order: "_OrderUnderWay") -> None:
        """Let an order hear a coordinator, by a stream that all orders share."""
        assert self._nursery is not None, "it runs"
        link = self._links.get(peer)
        if link is None:
            link = self._links[peer] = Link(peer, self._links)
            self._nursery.start_soon(link.run, self._overlay)
        link.join(order)

    def say(self, peer: PeerId, data: bytes) -> None:
        """Send to a coordinator; nothing happens where the stream is gone, which is told by itself."""
        link = self._links.get(peer)
        if link is not None:
            link.say(data)

    def leave(self, order: "_OrderUnderWay") -> None:
        """Let an order hear nobody any more."""
        for link in self._links.values():
            link.leave(order)


@final
class _OrderUnderWay:
    """One order under way: the machine, its clock, and who is told."""

    def __init__(self, client: AppClient, machine: AppOrder, name: bytes, tell: Follower) -> None:
        self.name = name
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
                    self._client.join(peer, self)
                case Say(peer=peer, message=message):
                    self._client.say(peer, encode(message))
                case WakeAt(at=at):
                    self._wake_at = at
                case Tell() | Moved() | KeySealed():
                    self._tell(effect)
                case CheckAward():
                    nursery.start_soon(self._check, effect)
                case Drawn() | GivenUp():
                    self._end = effect

    async def _check(self, asked: CheckAward) -> None:
        self.post(await self._client.check(asked))

    async def _find(self) -> None:
        again, self._has_sought = self._has_sought, True
        self.post(Found(await self._client.coordinators.find(again=again)))


class _Silent:
    """A journal for an app: what matters to it is told to its follower."""

    def note(self, name: NoteName, task: TaskId | None = None, **fields: str | int) -> None:
        """Keep nothing."""
        del name, task, fields


_SILENT: Final[Journal] = _Silent()
