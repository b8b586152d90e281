"""GossipSub with our verdicts: what is wrong in every view is dropped, what we cannot judge yet is let be.

Upstream knows valid and invalid only, remembers "invalid" for 300 s, runs one task for each message of any peer,
and lets a garbage frame or key end the whole node. Here one reader per peer judges message after message.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.tools.anyio_service.exceptions import LifecycleError

from node.adapters.libp2p.budget import Budgets
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames
from node.adapters.libp2p.gossip_limits import MAX_TOPICS, GossipLimits, Judge, trim_control
from node.adapters.libp2p.gossip_queue import GossipQueue
from node.adapters.libp2p.identity import from_libp2p, is_node_id, text_of, to_libp2p
from node.adapters.libp2p.muxed_stream import muxed_of
from node.adapters.libp2p.router import SEQNO_BYTES, OverlayRouter
from node.adapters.libp2p.signatures import is_signed, signed
from node.ports import Gatekeeper, GossipRecorder, Journal
from protocol.crypto.keys import address_of_peer_id
from protocol.crypto.publication import SIGNATURE_MAX_BYTES, Publication
from protocol.effects import Offence
from protocol.errors import InvalidMessage
from protocol.gossip.verdict import Verdict
from protocol.notes import NoteName
from protocol.params import MAX_MESSAGE_BYTES
from protocol.stake.standing import Standing
from protocol.units import PeerId

MAX_RPC_BYTES: Final = 1024 * 1024
"""Largest gossip frame (bytes), as in every implementation."""
IGNORED_FOR_S: Final = 1.0
"""Copies of an ignored message are dropped unread for this long (s), so that the copies of a mesh cost one look; later
copies (IHAVE brings them each heartbeat) are judged afresh."""
MAX_IGNORED: Final = 4096
REFUSED_PER_S: Final = 50
REFUSED_BURST: Final = 200
"""Messages that one peer may forward to us and that we do not ACCEPT, because they are by strangers or wrong: honest
peers forward none but at the edge of an epoch. Each batch of ``REFUSED_PER_S`` beyond it is an offence."""
SEEN_S: Final = 120
REOPENED_PER_S: Final = 0.2
REOPENED_BURST: Final = 4
"""Streams to one peer that are opened anew after it has ended them: on each it is told again all that is remembered."""
REOPEN_PAUSE_S: Final = 5.0
"""How long (s) one beyond that waits."""

_logger = logging.getLogger(__name__)


class OverlayPubsub(Pubsub):
    """The reading half of gossip, and the counting of what was read."""

    def __init__(
        self,
        host: IHost,
        router: OverlayRouter,
        gatekeeper: Gatekeeper,
        journal: Journal,
        judge: Judge,
        limits: GossipLimits,
        recorder: GossipRecorder | None,
    ) -> None:
        super().__init__(
            host,
            router,
            seen_ttl=SEEN_S,
            strict_signing=True,
            max_subscriptions_per_rpc=MAX_TOPICS,
            max_subscriptions_per_peer=MAX_TOPICS,
            max_inbound_rpc_size=MAX_RPC_BYTES,
        )
        # Upstream starts at unix seconds: after a restart within 120 s a quick publisher's messages count as seen.
        self.counter = time.time_ns()
        self._gatekeeper = gatekeeper
        self._journal = journal
        self._judge = judge
        self._limits = limits
        self._router = router
        self._links = router.links
        self._recorder = recorder
        self._ignored: OrderedDict[bytes, float] = OrderedDict()
        self._refused = Budgets(REFUSED_PER_S, REFUSED_BURST)
        self._reopened = Budgets(REOPENED_PER_S, REOPENED_BURST)

    async def stream_handler(self, stream: INetStream) -> None:
        """Read one peer's gossip stream to its end; nothing that it sends leaves this call as an exception."""
        peer = stream.muxed_conn.peer_id
        frames = VarintFrames(muxed_of(stream), MAX_RPC_BYTES)
        try:
            while self.manager.is_running:
                await self._read_rpc(await frames.read(), peer)
        except InvalidMessage as error:
            self._judge(from_libp2p(peer), Offence.GRAVE, error.rule)
            await self._drop(stream)
        except (BaseLibp2pError, OSError, EOFError, LifecycleError):
            await self._drop(stream)

    async def handle_sending_messages(self, peer_id: ID, stream: INetStream, queue: RpcQueue) -> None:
        """Send one peer what it is to have, until it is gone."""
        assert isinstance(queue, GossipQueue)
        try:
            await queue.send_all(stream)
        except STREAM_ERRORS:
            if self.peer_queues.get(peer_id) is queue:
                self._handle_dead_peer(peer_id)
        await self._drop(stream)

    def _handle_dead_peer(self, peer_id: ID) -> None:
        """Our stream to a peer is over: open a new one if the peer is still there, and remember what it hears.

        Upstream forgets that in any case, and would never learn it again: the peer tells it once, on a stream of its
        own.
        """
        is_there = self._peer_is_connected(peer_id)
        heard = [topic for topic, peers in self.peer_topics.items() if is_there and peer_id in peers]
        super()._handle_dead_peer(peer_id)
        for topic in heard:
            self.handle_subscription(peer_id, rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic))

    async def _peer_stream_retry_task(self, peer_id: ID) -> None:
        """Open a stream to a peer anew, as long as there is none and the peer is there.

        Upstream does so at once however often the peer ends it, but not when the new one ends before this task does.
        """
        try:
            while peer_id not in self.peers and self._peer_is_connected(peer_id):
                if not self._reopened.of(from_libp2p(peer_id)).take():
                    await trio.sleep(REOPEN_PAUSE_S)
                await self._handle_new_peer_with_retry(peer_id)
        finally:
            self._peer_stream_retries_pending.discard(peer_id)

    async def _drop(self, stream: INetStream) -> None:
        with trio.move_on_after(1, shield=True):
            try:
                await stream.reset()
            except STREAM_ERRORS as error:
                _logger.debug("stream was gone: %r", error)

    async def _read_rpc(self, data: bytes, peer: ID) -> None:
        rpc, name = rpc_pb2.RPC(), from_libp2p(peer)
        await self._limits.one_more(name)
        try:
            rpc.ParseFromString(data)
        except DecodeError as error:
            raise InvalidMessage("gossip.malformed", str(error)) from error
        for index, message in enumerate(rpc.publish):
            if index:
                await self._limits.one_more(name)
                await trio.lowlevel.checkpoint()  # a frame may hold thousands, and others wait
            await self.push_msg(peer, message)
        self._limits.check_subscriptions(rpc, name)
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            await self._control(rpc, peer)

    async def _control(self, rpc: rpc_pb2.RPC, peer: ID) -> None:
        trim_control(rpc.control, self.topic_ids)
        self._limits.trim_ids(rpc.control, from_libp2p(peer))
        try:
            await self.router.handle_rpc(rpc, peer)
        except BaseLibp2pError:
            raise
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            # Upstream's control handlers trust what they parse; what they trip over is the peer's doing.
            raise InvalidMessage("gossip.control", repr(error)) from error

    def say(self, topic: str, data: bytes, first: Sequence[PeerId] = (), head_start_s: float = 0.0) -> None:
        """Publish bytes of our own, to ``first`` before all others, by a head start where all of them hear us.

        Upstream's ``publish`` needs turns of the loop.
        """
        assert self.sign_key is not None
        message = rpc_pb2.Message(data=data, topicIDs=[topic], from_id=self.my_id.to_bytes(), seqno=self._next_seqno())
        self._send_own(signed(message, self.sign_key), first, head_start_s)

    def _send_own(self, msg: rpc_pb2.Message, first: Sequence[PeerId] = (), head_start_s: float = 0.0) -> None:
        self._mark_msg_seen(msg)
        self._record(msg)
        self._router.push(self.my_id, msg, [to_libp2p(peer) for peer in first], head_start_s)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Judge one message and forward it if it is ACCEPT; our own go out as they are."""
        if msg_forwarder == self.my_id:
            self._send_own(msg)
            return
        if len(msg.topicIDs) != 1 or len(msg.data) > MAX_MESSAGE_BYTES or len(msg.seqno) != SEQNO_BYTES:
            raise InvalidMessage("gossip.shape", f"{len(msg.topicIDs)} topics, {len(msg.data)} bytes")
        topic = msg.topicIDs[0]
        if topic not in self.topic_ids or msg.from_id == self.my_id.to_bytes():
            return
        identity = msg.from_id + msg.seqno
        if self.seen_messages.has(identity):
            self._links.copied(msg.from_id, int.from_bytes(msg.seqno, "big"), msg_forwarder)
            return
        if self._was_ignored(identity):
            return
        signer = _named_signer(msg)
        if not self._is_worth_verifying(signer, from_libp2p(msg_forwarder)):
            return
        _check_signature(msg, signer)
        verdict = self._gatekeeper.judge(topic, msg.data, signer)
        self._count(verdict, signer, from_libp2p(msg_forwarder))
        match verdict:
            case Verdict.ACCEPT:
                self._mark_msg_seen(msg)
                self._links.accepted(msg.from_id, int.from_bytes(msg.seqno, "big"), msg_forwarder)
                self._record(msg)
                self._journal.note(NoteName.GOSSIP_ACCEPTED, topic=topic, signer=signer, bytes=len(msg.data))
                self._router.push(msg_forwarder, msg)
            case Verdict.IGNORE:
                self._ignored[identity] = trio.current_time() + IGNORED_FOR_S
                if len(self._ignored) > MAX_IGNORED:
                    self._ignored.popitem(last=False)
                self._journal.note(NoteName.GOSSIP_IGNORED, topic=topic, signer=signer, bytes=len(msg.data))
            case Verdict.REJECT:
                self._mark_msg_seen(msg)
                self._journal.note(NoteName.GOSSIP_REJECTED, topic=topic, signer=signer, bytes=len(msg.data))

    def _record(self, msg: rpc_pb2.Message) -> None:
        """Have a message written down, if somebody does that."""
        if self._recorder is not None:
            sequence = int.from_bytes(msg.seqno, "big")
            publisher = text_of(msg.from_id)
            self._recorder.heard(Publication(publisher, sequence, msg.topicIDs[0], msg.data, msg.signature))

    def _is_worth_verifying(self, signer: PeerId, forwarder: PeerId) -> bool:
        """Say whether a signature by this key may matter: keys are free, and looking at one costs a millisecond."""
        if self._gatekeeper.is_stranger(signer):
            self._count_refused(forwarder)
            return False
        # Who stands in no table of ours is perhaps a stranger, perhaps we lag: bounded, and nobody's fault.
        known = self._gatekeeper.standing(signer) is not Standing.STRANGER
        return known or not self._refused.of(forwarder).is_empty()

    def _count(self, verdict: Verdict, signer: PeerId, forwarder: PeerId) -> None:
        """Take from the forwarder's budget what was verified in vain; what a registered signer repeats is not."""
        if verdict is Verdict.REJECT:
            self._count_refused(forwarder)
        elif verdict is Verdict.IGNORE and self._gatekeeper.standing(signer) is Standing.STRANGER:
            self._refused.of(forwarder).take()

    def _count_refused(self, forwarder: PeerId) -> None:
        """Count a message that no honest peer forwards."""
        budget = self._refused.of(forwarder)
        if not budget.take():
            budget.refill(REFUSED_PER_S)
            self._judge(forwarder, Offence.MINOR, "gossip.refused")

    def _was_ignored(self, identity: bytes) -> bool:
        until = self._ignored.get(identity)
        if until is None:
            return False
        if until > trio.current_time():
            return True
        del self._ignored[identity]
        return False


def _named_signer(msg: rpc_pb2.Message) -> PeerId:
    """Say who is said to have published it; nothing is proven yet.

    Raises:
        InvalidMessage: It names no node. The forwarder is to blame: honest ones check before they forward.
    """
    if not is_node_id(msg.from_id) or not 0 < len(msg.signature) <= SIGNATURE_MAX_BYTES:
        raise InvalidMessage("gossip.signer", "not the id of a node, or no signature")
    if msg.key and msg.key != msg.from_id[2:]:
        raise InvalidMessage("gossip.key", "the key is not that of the publisher")
    signer = text_of(msg.from_id)
    address_of_peer_id(signer)  # raises for a point off the curve, which the check cannot take
    return signer


def _check_signature(msg: rpc_pb2.Message, signer: PeerId) -> None:
    """Let pass what the signer signed.

    Raises:
        InvalidMessage: It did not. The forwarder is to blame.
    """
    if not is_signed(msg):
        raise InvalidMessage("gossip.signature", f"of {signer}")


def gossip_of(
    host: IHost, gatekeeper: Gatekeeper, journal: Journal, judge: Judge, recorder: GossipRecorder | None = None
) -> tuple[OverlayRouter, OverlayPubsub]:
    """Build router and pubsub of a host; both are services to be run before the host listens."""
    limits = GossipLimits(judge)
    router = OverlayRouter(gatekeeper.standing, limits, journal)
    return router, OverlayPubsub(host, router, gatekeeper, journal, judge, limits, recorder)
