"""The overlay as an app sees it: it finds coordinators in the DHT and opens submit streams. It listens to nobody.

An app has no stake table, so it believes the entry points that it was given: they name registered peers only, and who
these name in turn. Whoever wants to be sure looks a coordinator up in the staking contract.
"""

from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from node.adapters.libp2p.dht import OverlayDht
from node.adapters.libp2p.dialling import Dialler
from node.adapters.libp2p.discovery import Discovery
from node.adapters.libp2p.framing import STREAM_ERRORS, LengthFrames, frame
from node.adapters.libp2p.host import build_host, close_everything, guard_dials, guard_streams
from node.adapters.libp2p.identity import key_pair_of, to_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from node.adapters.libp2p.patches import apply_patches
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.relay_client import Circuits
from node.adapters.libp2p.settings import CheckedSettings, parse_endpoints
from node.adapters.libp2p.submits import STEP_BYTES, SUBMIT
from node.ports import Clock, Journal, Ready
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError, InvalidMessage, Unavailable
from protocol.events import Event, ProvidersFound
from protocol.gossip.verdict import Verdict
from protocol.params import MAX_MESSAGE_BYTES
from protocol.stake.standing import Standing
from protocol.units import PeerId, TaskId, UnixMillis

OPEN_S: Final = 10.0
"""Dial and negotiate within this (s)."""
WRITE_S: Final = 3.0
"""A coordinator that does not take what an app says within this (s) is left: it is small."""
PART_S: Final = 10.0
"""The same for a part of a picture: an app's line may be slow."""
BODY_STEP_S: Final = 20.0
"""Each step of a picture, or its rest, must be here within this (s)."""
MAX_CONNECTIONS: Final = 64


@final
class AppStream:
    """A submit stream to one coordinator."""

    def __init__(self, stream: MuxedStream) -> None:
        self._stream = stream
        self._frames = LengthFrames(stream, MAX_MESSAGE_BYTES)
        self._writing = trio.Lock()
        self._is_cut = False
        """Whether something was sent in part, behind which nothing could be read."""

    async def send(self, data: bytes, body: bytes = b"") -> None:
        """Send one frame, and behind it a body that it announces; nothing comes between them.

        Raises:
            Unavailable: The stream is over.
        """
        try:
            async with self._writing:
                if self._is_cut:
                    raise Unavailable("cut")
                await self._stream.write_within(PART_S if body else WRITE_S, frame(data) + body)
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            self._is_cut = True
            raise Unavailable(type(error).__name__) from error

    async def receive(self) -> bytes:
        """Wait for one frame.

        Raises:
            Unavailable: The stream is over, or what came is no frame.
        """
        try:
            return await self._frames.read()
        except (*STREAM_ERRORS, InvalidMessage) as error:
            raise Unavailable(type(error).__name__) from error

    async def receive_body(self, size: int) -> bytes:
        """Wait for as many bytes as the last frame announced.

        Raises:
            Unavailable: The stream is over, or too slow.
        """
        body = bytearray()
        try:
            while len(body) < size:
                with trio.fail_after(BODY_STEP_S):
                    body += await self._frames.read_exactly(min(STEP_BYTES, size - len(body)))
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            raise Unavailable(type(error).__name__) from error
        return bytes(body)

    async def close(self) -> None:
        """End the stream."""
        self._stream.abandon()


@final
class AppOverlay:
    """A libp2p host that dials and never listens. Implements ``node.apps.app_links.AppNetwork``."""

    def __init__(
        self,
        entry_points: tuple[str, ...],
        secret: bytes,
        clock: Clock,
        journal: Journal,
        *,
        named: str = "entry_points",
    ) -> None:
        """Check the entry points; nothing is opened before ``run``.

        Args:
            entry_points: Multiaddresses with ``/p2p/<peer id>`` of nodes to join by.
            secret: The app's key (32 bytes), a libp2p identity like a node's and registered nowhere.
            clock: For bans.
            journal: Where everything is noted.
            named: What whoever gave the entry points calls them.

        Raises:
            ConfigError: An entry point is wrong; the text begins with that name, and says the fix.
        """
        endpoints = parse_endpoints(named, entry_points)
        if not endpoints:
            raise ConfigError(f"{named}: at least one entry point is needed, as a bootstrap prints it")
        self._settings = CheckedSettings((), (), endpoints, MAX_CONNECTIONS)
        self._secret = secret
        self._clock = clock
        self._journal = journal
        self._found: dict[str, tuple[PeerId, ...]] = {}
        self._looked_up: dict[str, trio.Event] = {}
        self._dialler: Dialler | None = None
        self._discovery: Discovery | None = None
        self._new_stream: Callable[[PeerId], Awaitable[MuxedStream]] | None = None
        self._watch: Callable[[PeerId, bool], None] = lambda _peer, _on: None

    @property
    def peer_id(self) -> PeerId:
        """Our own peer id: as who the app orders."""
        return NodeKey(self._secret).peer_id

    async def run(self, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        """Join by the entry points until cancelled; reports started at once."""
        apply_patches()
        host = build_host(key_pair_of(self._secret), self._settings)
        async with trio.open_nursery() as outer:
            shield = trio.CancelScope(shield=True)

            async def serve() -> None:
                peers = Peers(host, self._settings, self.peer_id, _EVERYBODY, self, self._journal, self._clock)
                self._dialler = Dialler(host, self._settings, peers, self._journal, self._clock, _NO_BOOK)
                Circuits(host, self._settings, peers, self._dialler, self._journal, self._clock)
                guard_streams(host, lambda _stream: False)
                guard_dials(host, peers.is_banned)
                with shield:
                    async with trio.open_nursery() as nursery:
                        dht = OverlayDht(host, peers.may_serve, peers.judge, nursery)
                        self._discovery = Discovery(host, dht, peers, self._dialler, self, nursery)
                        async with host.run(listen_addrs=()):
                            nursery.start_soon(peers.run)
                            nursery.start_soon(dht.run)
                            nursery.start_soon(self._dialler.run)
                            self._watch = peers.watch
                            task_status.started()
                            await trio.sleep_forever()

            async def new_stream(peer: PeerId) -> MuxedStream:
                return muxed_of(await host.new_stream(to_libp2p(peer), [SUBMIT]))

            self._new_stream = new_stream
            outer.start_soon(serve)
            try:
                await trio.sleep_forever()
            finally:
                await close_everything(host)
                shield.cancel()

    async def find(self, key: str) -> tuple[PeerId, ...]:
        """Look up who provides a key of the DHT, for some seconds; empty where nobody is found."""
        assert self._discovery is not None, "it runs"
        looked_up = self._looked_up.get(key)
        if looked_up is None:
            looked_up = self._looked_up[key] = trio.Event()
            self._discovery.find(key)
        await looked_up.wait()
        return self._found.get(key, ())

    async def open(self, peer: PeerId) -> AppStream:
        """Open a submit stream.

        Raises:
            Unavailable: It cannot be reached, or serves no apps.
        """
        assert self._dialler is not None, "it runs"
        assert self._new_stream is not None, "it runs"
        try:
            with trio.fail_after(OPEN_S):
                if not await self._dialler.reach(peer):
                    raise Unavailable(f"no address of {peer} answers")
                stream = await self._new_stream(peer)
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            raise Unavailable(f"{peer}: {type(error).__name__}") from error
        self._watch(peer, True)
        return AppStream(stream)

    async def post(self, event: Event) -> None:
        """Hear what the parts tell: of all that, only look-ups."""
        if isinstance(event, ProvidersFound):
            self._found[event.key] = event.peers
            looked_up = self._looked_up.pop(event.key, None)
            if looked_up is not None:
                looked_up.set()


class _Everybody:
    """A gatekeeper without a stake table: whoever is named may be asked, and nothing is taken from anybody."""

    def judge(self, topic: str, data: bytes, signer: PeerId) -> Verdict:
        del topic, data, signer
        return Verdict.IGNORE

    def standing(self, peer: PeerId) -> Standing:
        del peer
        return Standing.BOOTSTRAP

    def is_stranger(self, peer: PeerId) -> bool:
        del peer
        return False

    def expects_artifact(self, peer: PeerId, task: TaskId, attempt: int, size: int) -> bool:
        del peer, task, attempt, size
        return False


class _NoBook:
    """An address book that keeps nothing: an app begins with its entry points."""

    async def addresses(self) -> tuple[str, ...]:
        return ()

    async def remember_address(self, address: str, at: UnixMillis) -> None:
        del address, at


_EVERYBODY: Final = _Everybody()
_NO_BOOK: Final = _NoBook()
