"""The overlay of one node over py-libp2p: what the rest of the program sees of it.

Rules for editors: this file only puts the parts together. No libp2p type leaves this folder.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, final

import trio
from libp2p.abc import INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.tools.anyio_service import background_trio_service

from node.adapters.libp2p.artifacts import Artifacts
from node.adapters.libp2p.autonat import AutoNat
from node.adapters.libp2p.budget import Budgets
from node.adapters.libp2p.bundles import Bundles
from node.adapters.libp2p.dht import OverlayDht
from node.adapters.libp2p.dialling import Dialler
from node.adapters.libp2p.discovery import Discovery
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.gossip import OverlayPubsub, gossip_of
from node.adapters.libp2p.host import (
    build_host,
    close_everything,
    guard_dials,
    guard_streams,
    remember_addresses,
    swarm_of,
)
from node.adapters.libp2p.identity import from_libp2p, key_pair_of
from node.adapters.libp2p.muxer import OverlayMuxer
from node.adapters.libp2p.outgoing import at_once
from node.adapters.libp2p.patches import apply_patches
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.relay_client import Circuits
from node.adapters.libp2p.relay_service import RelayService
from node.adapters.libp2p.settings import AddressBook, OverlaySettings, check, check_ports_free
from node.adapters.libp2p.submits import Submits
from node.adapters.libp2p.work import WorkStreams
from node.disputes.ports import BundleFace
from node.ports import AppFace, Clock, EventSink, Gatekeeper, GossipRecorder, Journal, Reach, Ready
from protocol.crypto.keys import NodeKey
from protocol.effects import Lane, Offence
from protocol.errors import ConfigError, Unavailable
from protocol.notes import NoteName
from protocol.params import MAX_MESSAGE_BYTES
from protocol.stake.standing import Standing
from protocol.units import Digest, PeerId, TaskId

MAX_EARLY: Final = 1024
"""Commands that wait until we are ready; messages of ours beyond them are dropped. A coordinator publishes a hundred
a second at most."""
MAX_SUBSCRIPTIONS: Final = 1024
"""Subscriptions that wait to be told to peers."""

STREAMS_PER_S: Final = 100
STREAMS_BURST: Final = 500
"""Streams that one peer may open: each costs up to 3 ms. js-libp2p opens one for each question to the DHT; ours are
kept and carry all that is frequent. Each hundred more are an offence."""


class _Parts:
    """What exists while the transport runs."""

    def __init__(
        self,
        peers: Peers,
        dialler: Dialler,
        pubsub: OverlayPubsub,
        work: WorkStreams,
        artifacts: Artifacts,
        discovery: Discovery,
        bundles: Bundles,
    ) -> None:
        self.bundles = bundles
        self.peers = peers
        self.dialler = dialler
        self.pubsub = pubsub
        self.work = work
        self.artifacts = artifacts
        self.discovery = discovery


@final
class OverlayTransport:
    """``node.ports.Transport`` over TCP, Noise, Yamux, GossipSub and Kademlia."""

    def __init__(
        self,
        settings: OverlaySettings,
        secret: bytes,
        clock: Clock,
        journal: Journal,
        address_book: AddressBook,
        recorder: GossipRecorder | None = None,
    ) -> None:
        """Check the settings; nothing is opened before ``run``.

        Args:
            settings: Where to listen and whom to join.
            secret: The 32-byte node key.
            clock: For the times in the address book.
            journal: Where everything is noted.
            address_book: Where addresses that worked are kept; ``node.ports.Store`` will do.
            recorder: Who writes down the gossip that is accepted or our own, if anybody.

        Raises:
            ConfigError: A setting is wrong; the text names it and the fix.
            ValueError: The secret is no secp256k1 key.
        """
        self._settings = check(settings)
        self._peer_id = NodeKey(secret).peer_id
        self._key_pair = key_pair_of(secret)
        self._clock = clock
        self._journal = journal
        self._book = address_book
        self._recorder = recorder
        self._addresses: tuple[str, ...] = ()
        self._reach: Reach = "unknown"
        self._closing = False
        self._parts: _Parts | None = None
        self._app_face: AppFace | None = None
        self._bundle_face: BundleFace | None = None
        self._early: list[Callable[[], None]] = []
        self._subscriptions, self._to_subscribe = trio.open_memory_channel[str](MAX_SUBSCRIPTIONS)

    @property
    def peer_id(self) -> PeerId:
        """Our own peer id."""
        return self._peer_id

    @property
    def reach(self) -> Reach:
        """Whether others can dial us where we listen, as far as peers have tried."""
        return self._reach

    def addresses(self) -> tuple[str, ...]:
        """Multiaddresses under which others can dial us; empty before ``run`` is ready."""
        return self._addresses

    async def run(
        self, sink: EventSink, gatekeeper: Gatekeeper, *, task_status: Ready = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, join by the bootstraps and serve until cancelled.

        Raises:
            ConfigError: A port is in use, or an address is not of this machine.
        """
        check_ports_free(self._settings.listen)
        apply_patches()
        host = build_host(self._key_pair, self._settings)
        self._closing = False
        try:
            async with trio.open_nursery() as outer:
                # Cancelling py-libp2p in the midst of things leaves sockets open and peers guessing. So it runs behind
                # a shield, and is cancelled once everything is closed.
                shield = trio.CancelScope(shield=True)
                outer.start_soon(self._serve, host, shield, sink, gatekeeper, task_status)
                try:
                    await trio.sleep_forever()
                finally:
                    self._closing = True
                    self._parts = None
                    self._addresses = ()
                    await close_everything(host)
                    shield.cancel()
        except BaseExceptionGroup as group:
            _, rest = group.split(STREAM_ERRORS) if self._closing else (None, group)
            while isinstance(rest, BaseExceptionGroup) and len(rest.exceptions) == 1:
                rest = rest.exceptions[0]
            if rest is not None:
                raise rest from None

    async def _serve(
        self, host: BasicHost, shield: trio.CancelScope, sink: EventSink, gatekeeper: Gatekeeper, task_status: Ready
    ) -> None:
        peers = Peers(host, self._settings, self._peer_id, gatekeeper, sink, self._journal, self._clock)
        dialler = Dialler(host, self._settings, peers, self._journal, self._clock, self._book)
        router, pubsub = gossip_of(host, gatekeeper, self._journal, peers.judge, self._recorder)
        opened = Budgets(STREAMS_PER_S, STREAMS_BURST)

        def is_refused(stream: INetStream) -> bool:
            peer = stream.muxed_conn.peer_id
            if self._closing or peers.is_banned(peer):
                return True
            budget, muxer = opened.of(from_libp2p(peer)), stream.muxed_conn
            # Those that the muxer turned away before they came here were opened as well.
            count = 1 + (muxer.turned_away() if isinstance(muxer, OverlayMuxer) else 0)
            is_flood = False
            for _ in range(count):
                if not budget.take():
                    is_flood = True
                    budget.refill(STREAMS_PER_S)
                    peers.judge(from_libp2p(peer), Offence.MINOR, "stream.flood")
            return is_flood

        guard_streams(host, is_refused)
        guard_dials(host, peers.is_banned)
        with shield:
            async with (
                trio.open_nursery() as nursery,
                background_trio_service(router),
                background_trio_service(pubsub),
            ):
                await pubsub.wait_until_ready()
                dht = OverlayDht(host, peers.may_serve, peers.judge, nursery)
                work = WorkStreams(host, peers, dialler, sink, self._journal, nursery)
                peers.before_down = work.gone
                discovery = Discovery(host, dht, peers, dialler, sink, nursery)
                circuits = Circuits(host, self._settings, peers, dialler, self._journal, self._clock)
                if self._settings.service is not None:
                    RelayService(host, peers, self._settings.service, self._journal, self._clock)
                autonat = AutoNat(host, peers, self._journal)
                artifacts = Artifacts(host, peers, dialler, gatekeeper, sink, self._journal, nursery)
                Submits(host, peers, lambda: self._app_face)
                bundles = Bundles(host, peers, dialler, lambda: self._bundle_face)
                async with host.run(listen_addrs=self._settings.listen):
                    self._require_listening(host)
                    remember_addresses(host, circuits.told)

                    def tell_addresses() -> None:
                        self._addresses = tuple(map(str, host.get_addrs()))

                    def addresses_changed() -> None:
                        tell_addresses()
                        discovery.readdress()

                    circuits.on_changed = addresses_changed
                    tell_addresses()
                    self._parts = _Parts(peers, dialler, pubsub, work, artifacts, discovery, bundles)
                    nursery.start_soon(peers.run)
                    nursery.start_soon(dht.run)
                    nursery.start_soon(dialler.run)
                    nursery.start_soon(discovery.run)
                    nursery.start_soon(circuits.run)
                    if self._settings.asks_reach:
                        nursery.start_soon(self._keep_reached, autonat, circuits)
                    nursery.start_soon(self._subscribe_all, pubsub)
                    self._replay()
                    task_status.started()
                    await trio.sleep_forever()

    async def _keep_reached(self, autonat: AutoNat, circuits: Circuits) -> None:
        """Find out whether others can dial us, and be reached through the bootstraps as long as they cannot."""
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def be_reached(until: trio.CancelScope) -> None:
                with until:
                    await circuits.run_at_bootstraps()

            def changed(reach: Reach) -> None:
                nonlocal scope
                self._reach = reach
                scope.cancel()
                if reach == "private":
                    scope = trio.CancelScope()
                    nursery.start_soon(be_reached, scope)

            autonat.on_reach = changed
            await autonat.run()

    def _require_listening(self, host: BasicHost) -> None:
        if len(swarm_of(host).listeners) < len(set(self._settings.listen)):
            raise ConfigError(f"listen: cannot listen on {', '.join(map(str, self._settings.listen))}")

    def _replay(self) -> None:
        """Do what was asked before we were ready."""
        early, self._early = self._early, []
        for command in early:
            command()

    async def _subscribe_all(self, pubsub: OverlayPubsub) -> None:
        async for topic in self._to_subscribe:
            await pubsub.subscribe(topic)

    def subscribe(self, topic: str) -> None:
        """Hear a gossip topic."""
        try:
            self._subscriptions.send_nowait(topic)
        except trio.WouldBlock:
            self._journal.note(NoteName.MESSAGE_DROPPED, reason="subscriptions_full", topic=topic)

    def at_once(self) -> AbstractContextManager[None]:
        """Send what is sent meanwhile when this ends, in its order; for code without a checkpoint."""
        return at_once()

    def publish(self, topic: str, data: bytes, first: Sequence[PeerId] = (), head_start_ms: int = 0) -> None:
        """Gossip bytes, signed by our key; see the port.

        What is over the limit is dropped and noted, and so is, before we are ready, what a thousand wait before.
        """
        if len(data) > MAX_MESSAGE_BYTES:
            reason = "oversize"
        elif self._parts is not None:
            self._parts.pubsub.say(topic, data, first, head_start_ms / 1000)
            return
        elif len(self._early) < MAX_EARLY:
            self._early.append(partial(self.publish, topic, data, first, head_start_ms))
            return
        else:
            reason = "publications_full"
        self._journal.note(NoteName.MESSAGE_DROPPED, reason=reason, topic=topic, bytes=len(data))

    def connect(self, peer: PeerId) -> None:
        """Try to have a connection to the peer; success posts ``PeerUp``."""
        if self._parts is None:
            self._early.append(partial(self.connect, peer))
        else:
            self._parts.dialler.connect(peer)

    def open_stream(self, peer: PeerId) -> None:
        """Open the work stream; posts ``StreamOpened`` or ``StreamClosed``."""
        if self._parts is None:
            self._early.append(partial(self.open_stream, peer))
        else:
            self._parts.work.open(peer)

    def send(self, peer: PeerId, data: bytes, lane: Lane) -> None:
        """Put a frame into the peer's bounded outbox; one that has no place there is dropped and noted."""
        if self._parts is None:
            self._journal.note(NoteName.MESSAGE_DROPPED, reason="not_running", peer=peer, bytes=len(data))
        else:
            self._parts.work.send(peer, data, lane)

    def send_artifact(self, peer: PeerId, task: TaskId, attempt: int, digest: Digest, data: bytes) -> None:
        """Send an artifact on a stream of its own; tries once."""
        if self._parts is None:
            self._journal.note(NoteName.MESSAGE_DROPPED, task, reason="not_running", peer=peer)
        else:
            self._parts.artifacts.send(peer, task, attempt, digest, data)

    def serve_apps(self, face: AppFace) -> None:
        """Let apps in from now on."""
        self._app_face = face

    def serve_bundles(self, face: BundleFace) -> None:
        """Let jurors ask for evidence from now on."""
        self._bundle_face = face

    async def fetch_bundle(self, peer: PeerId, dispute: int, evidence: Digest) -> bytes:
        """Ask a reporter for its evidence; see ``node.disputes.ports.BundleTransport``."""
        if self._parts is None:
            raise Unavailable("not_running")
        return await self._parts.bundles.fetch(peer, dispute, evidence)

    def provide(self, key: str) -> None:
        """Announce ourselves under the key in the DHT, now and again before the record expires."""
        if self._parts is None:
            self._early.append(partial(self.provide, key))
        else:
            self._parts.discovery.provide(key)

    def find_providers(self, key: str) -> None:
        """Look the key up; posts one ``ProvidersFound``."""
        if self._parts is None:
            self._early.append(partial(self.find_providers, key))
        else:
            self._parts.discovery.find(key)

    def judge_peer(self, peer: PeerId, offence: Offence, rule: str) -> None:
        """Take credit from the peer; once it is spent, disconnect and ban it for a while.

        Who is neither registered nor connected has nothing to lose: keys cost nothing, places in the ledger do.
        """
        if self._parts is None:
            return
        peers = self._parts.peers
        if peers.is_connected(peer) or peers.standing(peer) is not Standing.STRANGER:
            peers.judge(peer, offence, rule)

    def stake_changed(self) -> None:
        """Check the standing of every open connection again."""
        if self._parts is not None:
            self._parts.peers.recheck()
            self._parts.work.recheck()
            self._parts.discovery.recheck()
