"""What one peer may make the gossip router do: frames and messages a second, subscriptions, control entries, answers.

Upstream takes a frame of control entries for as long as it lasts, remembers every topic that a PRUNE names, dials whom
it names, and sends a message again to whoever asks, as often as it is asked.
"""

from collections.abc import Callable, Collection
from typing import Final, final

import trio
from libp2p.pubsub.pb import rpc_pb2

from node.adapters.libp2p.budget import Budgets
from protocol.effects import Offence
from protocol.errors import InvalidMessage
from protocol.units import PeerId

MAX_TOPICS: Final = 256
"""Topics that one peer may subscribe to: one per model of a large catalog. Also entries of one kind in a frame."""
MAX_TOPIC_CHARACTERS: Final = 256
"""Ours have 100 at most; a peer could pin a frame of 1 MiB in memory with each."""
MAX_MESSAGE_IDS: Final = 12_000
"""Message ids in the IHAVE, or the IWANT, of one frame: more do not fit it, unless they are no ids."""
IDS_PER_S: Final = 4000
"""Message ids (1/s) of IHAVE and IWANT that one peer may name, after one frame full of them: each is looked up. A
heartbeat names those of its last three, so this is what a neighbour says of a thousand messages a second."""
MAX_BACK_OFF_S: Final = 600
"""Longest time (s) that a PRUNE may keep us away."""
SUBSCRIPTIONS_PER_S: Final = 8
SUBSCRIPTIONS_BURST: Final = 4 * MAX_TOPICS
"""Subscriptions and their ends that one peer may tell: a node that restarts three times tells its whole catalog anew.
Each makes us look for what to send it at once, so who comes and goes would be sent everything each time."""
FRAMES_PER_S: Final = 1000
FRAMES_BURST: Final = 4000
"""Frames and messages that one peer may send: a message costs up to 2.5 ms of CPU, so more is beyond what any node
can forward; a burst is what waits while a connection stalls for seconds."""
PAUSE_S: Final = 0.05
"""How long (s) we stop reading a peer that has used up its frames."""
SATURATED_S: Final = 10.0
"""A peer that sends more than we read for this long (s) floods."""
ANSWERS_KIB_PER_S: Final = 512
ANSWERS_BURST_KIB: Final = 4096
"""Messages (KiB) that are sent again to one peer because it asks: all that is remembered in a busy network, once."""

Judge = Callable[[PeerId, Offence, str], None]


@final
class GossipLimits:
    """The limits of all peers of one node."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._frames = Budgets(FRAMES_PER_S, FRAMES_BURST)
        self._subscriptions = Budgets(SUBSCRIPTIONS_PER_S, SUBSCRIPTIONS_BURST)
        self._ids = Budgets(IDS_PER_S, MAX_MESSAGE_IDS)
        self._answers = Budgets(ANSWERS_KIB_PER_S, ANSWERS_BURST_KIB)

    async def one_more(self, peer: PeerId) -> None:
        """Wait until the peer may have one more frame or message looked at; its window fills meanwhile."""
        budget = self._frames.of(peer)
        while not budget.take():
            if budget.dry_s() >= SATURATED_S:
                budget.forgive()
                self._judge(peer, Offence.MINOR, "gossip.flood")
            await trio.sleep(PAUSE_S)

    def check_subscriptions(self, rpc: rpc_pb2.RPC, peer: PeerId) -> None:
        """Let pass what a peer may tell of its subscriptions.

        Raises:
            InvalidMessage: ``gossip.subscriptions``: too many, too often, or of names that are too long.
        """
        told = len(rpc.subscriptions)
        if told > MAX_TOPICS or (told and not self._subscriptions.of(peer).take(told)):
            raise InvalidMessage("gossip.subscriptions", f"{told} in one frame")
        if any(len(subscription.topicid) > MAX_TOPIC_CHARACTERS for subscription in rpc.subscriptions):
            raise InvalidMessage("gossip.subscriptions", "a topic without an end")

    def trim_ids(self, control: rpc_pb2.ControlMessage, peer: PeerId) -> None:
        """Take out the message ids that are more than a peer may name."""
        if (ids := _ids_in(control)) and not self._ids.of(peer).take(ids):
            del control.ihave[:]
            del control.iwant[:]

    def allows_answer(self, peer: PeerId, size: int) -> bool:
        """Say whether messages of so many bytes may be sent again to a peer that asks for them."""
        return self._answers.of(peer).take(-(-size // 1024))


def trim_control(control: rpc_pb2.ControlMessage, topics: Collection[str]) -> None:
    """Take out what no peer of ours has a reason to say: of topics that we do not hear, of peers to dial, of 1.2.

    Raises:
        InvalidMessage: ``gossip.control``: more than a peer could mean.
    """
    most = max(len(control.ihave), len(control.iwant), len(control.graft), len(control.prune))
    ids = _ids_in(control)
    if most > MAX_TOPICS or ids > MAX_MESSAGE_IDS:
        raise InvalidMessage("gossip.control", f"{most} entries of a kind, {ids} ids")
    for kind in (control.ihave, control.graft, control.prune):
        for index in reversed(range(len(kind))):
            if kind[index].topicID not in topics:
                del kind[index]
    for prune in control.prune:
        del prune.peers[:]
        prune.backoff = min(prune.backoff, MAX_BACK_OFF_S)
    del control.idontwant[:]


def _ids_in(control: rpc_pb2.ControlMessage) -> int:
    return sum(len(have.messageIDs) for have in control.ihave) + sum(len(want.messageIDs) for want in control.iwant)
