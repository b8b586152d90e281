"""GossipSub's router as we want it: who is a neighbour, who is sent what.

Upstream's adapts, scores and remembers more than a node of ours needs; all that is off here. The reading half is in
``gossip``.
"""

import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
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
from node.adapters.libp2p.head_starts import HeadStarts
from node.adapters.libp2p.identity import from_libp2p, is_node_id
from node.adapters.libp2p.outgoing import at_once
from node.ports import Journal
from protocol.notes import NoteName
from protocol.stake.standing import WORKERS, Standing
from protocol.units import PeerId

MESH_PROTOCOL: Final = TProtocol("/meshsub/1.1.0")
"""1.1 only: IDONTWANT of 1.2 costs more CPU than it saves with messages of a few KiB."""
PRUNE_BACK_OFF_S: Final = 10
"""How long (s) a neighbour that was let go is not asked again."""
MAX_REACH: Final = 16
"""Peers that our own messages go to straight away, besides the mesh: a small network hears them in one hop."""
MAX_STRANGERS: Final = 2
"""Neighbours in a mesh that may be strangers once there are enough others, and strangers outside it that are told which
messages there are: keys cost nothing, so whoever came with many would have every place."""
SEQNO_BYTES: Final = 8


class OverlayRouter(GossipSub):
    """GossipSub 1.1 with its usual mesh and a heartbeat of a second; everything adaptive is off.

    A copy of a message costs its sender and its receiver up to half a millisecond each. So our own messages go
    straight to up to ``MAX_REACH`` registered peers, and others' only to neighbours that do not have them from
    elsewhere (``eager_links``); what these miss, IHAVE brings a heartbeat later.
    """

    def __init__(self, standing: Callable[[PeerId], Standing], limits: GossipLimits, journal: Journal) -> None:
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
        # Upstream takes for a flood that a peer which let us go takes us back, and refuses it for longer each time:
        # nodes stayed without a mesh for ever. Who grafts during a back-off is refused anyway.
        self.graft_flood_threshold = 0.0
        # It scores everybody alike, since peers are judged elsewhere, and then grafts two more of the best each second.
        self.scorer = None
        self.links = EagerLinks()
        self._limits = limits
        self._standing = standing
        self._known: set[ID] = set()
        """Peers that are no strangers, as of the last heartbeat."""
        self._journal = journal
        self._head_starts = HeadStarts(self._send)
        self._reach: dict[str, dict[ID, None]] = {}

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Push a message; see ``push``."""
        self.push(msg_forwarder, pubsub_msg)

    def push(
        self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message, first: Sequence[ID] = (), head_start_s: float = 0.0
    ) -> None:
        """Push a message that was found good, or is our own, to whom it is to be pushed, to ``first`` before others.

        It is encoded once for all. Upstream does the same with copies, and with much that is off here. The record of
        our addresses goes with what else we send, not with each message. The others wait for ``head_start_s`` where
        all of ``first`` hear it from us, and for our next message at most.
        """
        assert self.pubsub is not None
        self.mcache.put(pubsub_msg)
        targets = self._get_peers_to_send(pubsub_msg.topicIDs, msg_forwarder, ID(pubsub_msg.from_id))
        if not targets:
            return  # all neighbours have it from elsewhere, as most do in a mesh that has grown its trees
        data = varint_frame(rpc_pb2.RPC(publish=[pubsub_msg]).SerializeToString())
        with at_once():
            if msg_forwarder == self.pubsub.my_id:
                self._head_starts.end()
            if head_start_s and first and targets.issuperset(first):
                self._send(data, dict.fromkeys(first))
                self._head_starts.hold(data, targets.difference(first), head_start_s)
            else:
                self._send(data, dict.fromkeys((*(peer for peer in first if peer in targets), *targets)))

    def _send(self, data: bytes, peers: Iterable[ID]) -> None:
        """Send an encoded message to those of these peers who are there."""
        assert self.pubsub is not None
        for peer in peers:
            queue = self.pubsub.peer_queues.get(peer)
            if isinstance(queue, GossipQueue) and not queue.push_frame(data):
                self._journal.note(NoteName.MESSAGE_DROPPED, reason="gossip_full", peer=from_libp2p(peer))

    async def run(self) -> None:
        """Run until the service is cancelled."""
        self.manager.run_daemon_task(self._head_starts.run)
        await super().run()

    def _get_peers_to_send(
        self, topic_ids: Iterable[str], msg_forwarder: ID, origin: ID, msg_id: bytes | None = None
    ) -> set[ID]:
        """Give who is to have a message pushed."""
        if self.pubsub is not None and origin == self.pubsub.my_id:
            peers = set(super()._get_peers_to_send(topic_ids, msg_forwarder, origin, msg_id))
            return peers.union(*(self._reach_of(topic) for topic in topic_ids))
        # We forward what we hear ourselves: there is a mesh, and nobody is told who is not in it.
        neighbours = set[ID]().union(*(self.mesh.get(topic, ()) for topic in topic_ids)) - {msg_forwarder, origin}
        return self.links.targets(origin.to_bytes(), neighbours, msg_forwarder)

    def _reach_of(self, topic: str) -> Iterable[ID]:
        """Give registered peers that hear a topic from us at first hand: the same ones as long as they are there."""
        assert self.pubsub is not None
        listening = self.pubsub.peer_topics.get(topic, set())
        reach = {peer: None for peer in self._reach.get(topic, {}) if peer in listening}
        if len(reach) < min(MAX_REACH, len(listening)):
            for peer in listening:
                if len(reach) >= MAX_REACH:
                    break
                if self._standing_of(peer) in WORKERS:
                    reach[peer] = None
        self._reach[topic] = reach
        return reach

    def _standing_of(self, peer: ID) -> Standing:
        return self._standing(from_libp2p(peer)) if is_node_id(peer.to_bytes()) else Standing.STRANGER

    def _is_stranger(self, peer: ID) -> bool:
        return self._standing_of(peer) is Standing.STRANGER

    def _get_in_topic_gossipsub_peers_from_minus(
        self, topic: str, num_to_select: int, minus: Iterable[ID], backoff_check: bool = False
    ) -> list[ID]:
        """Choose among those who hear a topic: strangers for the places that are left, where upstream asks nobody."""
        everybody = super()._get_in_topic_gossipsub_peers_from_minus(topic, 1 << 30, minus, backoff_check)
        known = [peer for peer in everybody if peer in self._known]
        chosen = _some(known, num_to_select)
        strangers = [peer for peer in everybody if peer not in self._known]
        return chosen + _some(strangers, num_to_select - len(chosen))

    def mesh_heartbeat(self) -> tuple[defaultdict[ID, list[str]], defaultdict[ID, list[str]]]:
        """Keep every mesh at its size, of those first who are no strangers; say whom to tell so (GRAFT, PRUNE)."""
        assert self.pubsub is not None
        self._known = {peer for peer in self.peer_protocol if not self._is_stranger(peer)}
        now = time.time()
        self.back_off = {
            topic: {peer: until for peer, until in peers.items() if until > now}
            for topic, peers in self.back_off.items()
        }
        grafts: defaultdict[ID, list[str]] = defaultdict(list)
        prunes: defaultdict[ID, list[str]] = defaultdict(list)
        for topic, mesh in self.mesh.items():
            # Upstream forgets none that left before our stream to it was there.
            mesh -= {peer for peer in mesh - self.peer_protocol.keys() if not self.pubsub._peer_is_connected(peer)}
            for peer in self._missing_in(topic, mesh):
                mesh.add(peer)
                self._notify_mesh_peer_added(peer, topic)
                grafts[peer].append(topic)
            for peer in self._surplus_of(mesh):
                mesh.discard(peer)
                self._add_back_off(peer, topic, False, PRUNE_BACK_OFF_S - 2)  # by its own clock, it may be over sooner
                prunes[peer].append(topic)
        return grafts, prunes

    def _missing_in(self, topic: str, mesh: set[ID]) -> list[ID]:
        """Choose whom to take into a mesh."""
        known = len(mesh & self._known)
        if self.pubsub is None or topic not in self.pubsub.peer_topics or known >= self.degree_low:
            return []
        chosen = self._get_in_topic_gossipsub_peers_from_minus(topic, self.degree - known, mesh, True)
        first = [peer for peer in chosen if peer in self._known]
        return (
            first + [peer for peer in chosen if peer not in self._known][: max(self.degree - len(mesh) - len(first), 0)]
        )

    def _surplus_of(self, mesh: set[ID]) -> list[ID]:
        """Choose whom to let go from a mesh."""
        known = mesh & self._known
        surplus = _some(known, len(known) - self.degree) if len(known) > self.degree_high else []
        places = MAX_STRANGERS if len(known) >= self.degree_low else self.degree - len(known)
        strangers = mesh - known
        return surplus + _some(strangers, len(strangers) - places)

    async def handle_graft(self, graft_msg: rpc_pb2.ControlGraft, sender_peer_id: ID) -> None:
        """Take a peer into the mesh of a topic, unless it is one stranger too many there."""
        mesh = self.mesh.get(graft_msg.topicID, set())
        is_new_stranger = sender_peer_id not in mesh and self._is_stranger(sender_peer_id)
        if is_new_stranger and sum(map(self._is_stranger, mesh)) >= MAX_STRANGERS:
            # It may come back in a second: perhaps our own table is behind.
            await self.emit_prune(graft_msg.topicID, sender_peer_id, False, True)
        else:
            await super().handle_graft(graft_msg, sender_peer_id)

    def add_peer(self, peer_id: ID, protocol_id: TProtocol | None) -> None:
        """A peer can be told things."""
        super().add_peer(peer_id, protocol_id)
        if not self._is_stranger(peer_id):
            self._known.add(peer_id)

    def gossip_heartbeat(self) -> defaultdict[ID, dict[str, list[bytes]]]:
        """Say which messages there are to whom they are not pushed: to some outside the mesh, and to the supplied."""
        peers_to_gossip = super().gossip_heartbeat()
        supplied = self.links.supplied()
        assert self.pubsub is not None
        for topic, mesh in self.mesh.items():
            if messages := self.mcache.window(topic):
                strangers = (self.pubsub.peer_topics.get(topic, set()) & self.peer_protocol.keys()) - self._known - mesh
                for peer in (mesh & supplied).union(_some(strangers, MAX_STRANGERS)):
                    peers_to_gossip[peer][topic] = list(messages)
        return peers_to_gossip

    async def emit_iwant(self, msg_ids: Sequence[bytes], to_peer: ID) -> None:
        """Ask a peer for messages that it has and nobody pushed to us."""
        for publisher in {bytes(identity[:-SEQNO_BYTES]) for identity in msg_ids}:
            self.links.asked(publisher, to_peer)
        await super().emit_iwant(msg_ids, to_peer)

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
        self._known.discard(peer_id)
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


def _some(peers: Iterable[ID], count: int) -> list[ID]:
    """Draw so many of these peers, or all where there are fewer."""
    pool = list(peers)
    return random.sample(pool, max(0, min(count, len(pool))))
