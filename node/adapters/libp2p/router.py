"""GossipSub's router as we want it: who is a neighbour, who is sent what.

Upstream's adapts, scores and remembers more than a node of ours needs; all that is off here. The reading half is in
``gossip``.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Final, cast

from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.utils import safe_bytes_from_hex

from node.adapters.libp2p.eager_links import EagerLinks
from node.adapters.libp2p.framing import varint_frame
from node.adapters.libp2p.gossip_limits import GossipLimits
from node.adapters.libp2p.gossip_queue import GossipQueue
from node.adapters.libp2p.identity import from_libp2p, is_node_id
from node.ports import Journal
from protocol.notes import NoteName
from protocol.units import PeerId

MESH_PROTOCOL: Final = TProtocol("/meshsub/1.1.0")
"""1.1 only: IDONTWANT of 1.2 costs more CPU than it saves with messages of a few KiB."""
PRUNE_BACK_OFF_S: Final = 10
"""How long (s) a neighbour that was let go is not asked again."""
MAX_REACH: Final = 16
"""Peers that our own messages go to straight away, besides the mesh: a small network hears them in one hop."""
SEQNO_BYTES: Final = 8


class OverlayRouter(GossipSub):
    """GossipSub 1.1 with its usual mesh and a heartbeat of a second; everything adaptive is off.

    A copy of a message costs its sender and its receiver up to half a millisecond each. So our own messages go
    straight to up to ``MAX_REACH`` registered peers, and others' only to neighbours that do not have them from
    elsewhere (``eager_links``); what these miss, IHAVE brings a heartbeat later.
    """

    def __init__(self, is_registered: Callable[[PeerId], bool], limits: GossipLimits, journal: Journal) -> None:
        super().__init__(
            protocols=[MESH_PROTOCOL],
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_initial_delay=0.1,
            heartbeat_interval=1,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
            unsubscribe_back_off=1,
            prune_back_off=PRUNE_BACK_OFF_S,
            pending_messages_ttl=0.0,  # else 100 messages are held and swept for every peer outside a topic
        )
        # Upstream appends a time for each delivery and trims only in the adaptive mode, which is off.
        self.recent_message_deliveries = cast("dict[str, list[float]]", defaultdict(lambda: deque[float](maxlen=1)))
        # Upstream ends a back-off a second too soon by its own count, takes the GRAFT that follows for a flood, and
        # begins it anew: nodes stayed without a mesh for ever.
        self.graft_flood_threshold = PRUNE_BACK_OFF_S / 2
        self.links = EagerLinks()
        self._limits = limits
        self._is_registered = is_registered
        self._journal = journal
        self._reach: dict[str, dict[ID, None]] = {}

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Push a message that was found good, or is our own, to whom it is to be pushed; encoded once for all.

        Upstream's does the same with copies, and with much that is off here. The record of our addresses goes with
        what else we send, not with each message.
        """
        assert self.pubsub is not None
        self.mcache.put(pubsub_msg)
        data = varint_frame(rpc_pb2.RPC(publish=[pubsub_msg]).SerializeToString())
        for peer in self._get_peers_to_send(pubsub_msg.topicIDs, msg_forwarder, ID(pubsub_msg.from_id)):
            queue = self.pubsub.peer_queues.get(peer)
            if isinstance(queue, GossipQueue) and not queue.push_frame(data):
                self._journal.note(NoteName.MESSAGE_DROPPED, reason="gossip_full", peer=from_libp2p(peer))

    def _get_peers_to_send(
        self, topic_ids: Iterable[str], msg_forwarder: ID, origin: ID, msg_id: bytes | None = None
    ) -> Iterable[ID]:
        """Give who is to have a message pushed."""
        peers = set(super()._get_peers_to_send(topic_ids, msg_forwarder, origin, msg_id))
        if self.pubsub is not None and origin == self.pubsub.my_id:
            return peers.union(*(self._reach_of(topic) for topic in topic_ids))
        return self.links.targets(origin.to_bytes(), peers, msg_forwarder)

    def _reach_of(self, topic: str) -> Iterable[ID]:
        """Give registered peers that hear a topic from us at first hand: the same ones as long as they are there."""
        assert self.pubsub is not None
        listening = self.pubsub.peer_topics.get(topic, set())
        reach = {peer: None for peer in self._reach.get(topic, {}) if peer in listening}
        if len(reach) < min(MAX_REACH, len(listening)):
            for peer in listening:
                if len(reach) >= MAX_REACH:
                    break
                if is_node_id(peer.to_bytes()) and self._is_registered(from_libp2p(peer)):
                    reach[peer] = None
        self._reach[topic] = reach
        return reach

    def gossip_heartbeat(self) -> defaultdict[ID, dict[str, list[bytes]]]:
        """Say which messages there are to whom they are not pushed: to some outside the mesh, and to the supplied."""
        peers_to_gossip = super().gossip_heartbeat()
        supplied = self.links.supplied()
        for topic, mesh in self.mesh.items():
            if (neighbours := mesh & supplied) and (messages := self.mcache.window(topic)):
                for peer in neighbours:
                    peers_to_gossip[peer][topic] = list(messages)
        return peers_to_gossip

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        """Send what a peer asks for, as far as it may still have messages again, and push such to it from now on."""
        peer = from_libp2p(sender_peer_id)
        allowed = rpc_pb2.ControlIWant()
        for wanted in dict.fromkeys(iwant_msg.messageIDs):
            identity = safe_bytes_from_hex(wanted)
            message = None if identity is None else self.mcache.get(identity)
            if identity is not None and message is not None and self._limits.allows_answer(peer, len(message.data)):
                self.links.wanted(identity[:-SEQNO_BYTES], sender_peer_id)
                allowed.messageIDs.append(wanted)
        await super().handle_iwant(allowed, sender_peer_id)

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        """Send a peer that has just subscribed what is remembered of a topic, after what waits for it already.

        Upstream writes to the stream beside the task that empties the queue, so frames of both were mixed.
        """
        assert self.pubsub is not None
        queue, peer = self.pubsub.peer_queues.get(peer_id), from_libp2p(peer_id)
        for identity in self.mcache.window(topic):
            message = self.mcache.get(identity)
            if message is None or not isinstance(queue, GossipQueue):
                continue
            data = varint_frame(rpc_pb2.RPC(publish=[message]).SerializeToString())
            if not self._limits.allows_answer(peer, len(data)) or not queue.push_frame(data):
                return  # IHAVE tells it of the rest

    def remove_peer(self, peer_id: ID) -> None:
        """A peer is gone."""
        self.links.forget(peer_id)
        super().remove_peer(peer_id)

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:
        """Leave it to the seen table: upstream keeps whole messages here between heartbeats, without a limit."""
        del msg
        return True

    async def _emit_control_msgs(
        self,
        peers_to_graft: dict[ID, list[str]],
        peers_to_prune: dict[ID, list[str]],
        peers_to_gossip: dict[ID, dict[str, list[bytes]]],
    ) -> None:
        """Send each peer its own.

        Upstream does not empty its lists between peers, so with several topics peers got the GRAFTs of others.
        """
        for peer in dict.fromkeys([*peers_to_graft, *peers_to_prune, *peers_to_gossip]):
            message = self.pack_control_msgs(
                [
                    rpc_pb2.ControlIHave(messageIDs=ids, topicID=topic)
                    for topic, ids in peers_to_gossip.get(peer, {}).items()
                ],
                [rpc_pb2.ControlGraft(topicID=topic) for topic in peers_to_graft.get(peer, ())],
                [rpc_pb2.ControlPrune(topicID=topic) for topic in peers_to_prune.get(peer, ())],
            )
            await self.emit_control_message(message, peer)
