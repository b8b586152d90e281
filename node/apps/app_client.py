"""A client of the network for apps: it finds coordinators itself, and brings an order to its picture.

    async with open_client(entry_points, network="mainnet") as client:
        drawn = await client.draw(order_of("a red heart"), tell=print)

No HTTP, no chain: it uses the protocol and the overlay only. ``cuckoo submit --bootstrap`` is made with it.
"""

import hashlib
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import trio

from node.apps.app_coordinators import Coordinators, MayBeAsked
from node.apps.app_links import AppNetwork, Link, Parts
from node.apps.app_under_way import Follower, OrderFailed, OrderUnderWay, Picture, Progress
from node.ports import Clock, Journal, Ready
from protocol.crypto.keys import NodeKey
from protocol.crypto.sealing import KEY_BYTES
from protocol.errors import InvalidMessage, Unavailable
from protocol.notes import NoteName
from protocol.roles.app.app_events import AwardChecked, CheckAward
from protocol.roles.app.app_order import PATIENCE_MS, AppOrder
from protocol.roles.app.order_seal import KnownNetwork, OrderSeal, seal_order
from protocol.roles.app_inputs import named as named_input
from protocol.units import Digest, DurationMs, PeerId, UnixMillis
from protocol.wire.app_messages import SECOND_VERSION_FIELDS, Order
from protocol.wire.sealed_messages import ShownAward
from protocol.wire.topics import coordinator_key

if TYPE_CHECKING:
    from node.adapters.libp2p.app import AppOverlay

__all__ = ["AppClient", "AwardChecker", "OrderFailed", "Picture", "Progress", "open_client", "order_of"]

SEED_BITS: Final = 53
"""Seeds that we draw are exact in the numbers of JavaScript too."""
NOT_CHECKED: Final = "signatures fit together; NOT CHECKED: that the two are registered, and how the miner was drawn"
"""What is known of an award without a chain."""
CHECK_S: Final = 8.0
"""How long (s) an award may be looked up: less than its coordinator waits for the key."""


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


def order_of(
    prompt: str,
    *,
    source: bytes | None = None,
    mask: bytes | None = None,
    **wishes: Any,  # noqa: ANN401 checked by the message
) -> Order:
    """Make an order with a name and a seed of its own.

    Args:
        prompt: What the picture shows.
        source: A file to begin from, which the order names; ``draw`` is given it, too.
        mask: A file of the same size, likewise: where it is transparent, or else light, the source is drawn anew.
        wishes: Fields of ``protocol.wire.app_messages.Order``.

    Raises:
        ValueError: pydantic's, naming the field that is wrong.
    """
    drawn = {"order": secrets.token_bytes(16), "seed": secrets.randbits(SEED_BITS)}
    begun = {name: named_input(file) for name, file in (("source", source), ("mask", mask)) if file is not None}
    said = wishes | begun
    for name in SECOND_VERSION_FIELDS:
        if said.get(name) is None or said[name] is False:
            said.pop(name, None)
    version = 2 if said.keys() & SECOND_VERSION_FIELDS else 1
    return Order.model_validate(drawn | {"prompt": prompt, "version": version} | said)


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
        pictures: Iterable[bytes] = (),
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
            pictures: The files that the order names, source and mask; each coordinator that is asked gets them.

        Raises:
            OrderFailed: There is no picture; the text says why.
            ValueError: These are not the files that the order names, or a sealed one names some.
        """
        files = {Digest(hashlib.sha256(file).digest()): file for file in pictures}
        if files.keys() != {one.digest for one in order.inputs}:
            raise ValueError("pictures: give the files that the order names as source and mask, and no others")
        if not sealed:
            return await OrderUnderWay(self, AppOrder(order, patience_ms), order, tell, files).run()
        content_key = secrets.token_bytes(KEY_BYTES)
        closed = seal_order(order, content_key)
        known = self._awards.known if self._awards is not None else None
        seal = OrderSeal(closed, content_key, self._own, secrets.token_bytes, known)
        return await OrderUnderWay(self, AppOrder(closed, patience_ms, seal), order, tell).run()

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

    def join(self, peer: PeerId, order: OrderUnderWay) -> None:
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

    def send_inputs(self, peer: PeerId, parts: Parts, are_wanted: Callable[[], bool]) -> None:
        """Send a coordinator the pictures of an order, for as long as they are wanted."""
        link = self._links.get(peer)
        if link is not None:
            link.send_inputs(parts, are_wanted)

    def leave(self, order: OrderUnderWay) -> None:
        """Let an order hear nobody any more."""
        for link in self._links.values():
            link.leave(order)


class _Silent:
    """A journal for an app: what matters to it is told to its follower."""

    def note(self, name: NoteName, task: bytes | None = None, **fields: str | int) -> None:
        """Keep nothing."""
        del name, task, fields


_SILENT: Final[Journal] = _Silent()
