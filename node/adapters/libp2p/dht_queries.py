"""What the DHT is asked: whole, well-formed queries in time, and no more than a peer may ask.

Upstream waits for ever for a query to come, serves a fixed number of streams at once to all peers together, and takes
what is wrong for the end of a stream: whoever opened that many and said nothing had the DHT for itself.
"""

from collections import Counter
from typing import Final, final

import trio
from google.protobuf.message import DecodeError
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from node.adapters.libp2p.budget import Budgets
from node.adapters.libp2p.framing import VarintFrames
from node.adapters.libp2p.identity import from_libp2p
from protocol.errors import InvalidMessage

MAX_QUERY_BYTES: Final = 64 * 1024
"""Largest query: one of ours has 1 KiB, most of it a signed record."""
MAX_KEY_BYTES: Final = 128
MAX_STREAMS_PER_PEER: Final = 16
"""DHT streams of one peer served at once: one of ours, which is kept; js-libp2p opens one for each question."""
QUERY_S: Final = 10.0
"""A stream on which nothing is asked for this long (s) is closed."""
QUERIES_PER_S: Final = 50
QUERIES_BURST: Final = 1000
"""Queries of one peer: a coordinator that looks up a hundred models at its start asks a peer some hundreds at most."""
PAUSE_S: Final = 0.05
SATURATED_S: Final = 10.0
"""A peer that asks for more than it may for this long (s) floods."""


@final
class Queries:
    """The limits of all peers that ask one node."""

    def __init__(self) -> None:
        self._open: Counter[ID] = Counter()
        self._budgets = Budgets(QUERIES_PER_S, QUERIES_BURST)

    def begin(self, peer: ID) -> bool:
        """Say whether one more stream of a peer is served; ``end`` is to follow if so."""
        if self._open[peer] >= MAX_STREAMS_PER_PEER:
            return False
        self._open[peer] += 1
        return True

    def end(self, peer: ID) -> None:
        """A stream is over."""
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]

    async def next(self, frames: VarintFrames, peer: ID) -> Message | None:
        """Wait for the next query on a stream; None when there is none, or none in time.

        Raises:
            InvalidMessage: It is not one that may be asked, or one too many.
            STREAM_ERRORS: The stream is gone.
        """
        data = b""
        try:
            with trio.move_on_after(QUERY_S):
                data = await frames.read()
        except (EOFError, MuxedStreamEOF):
            return None
        if not data:
            return None
        query = check_query(data, peer)
        await self.one_more(peer)
        return query

    async def one_more(self, peer: ID) -> None:
        """Wait until the peer may ask once more.

        Raises:
            InvalidMessage: ``dht.flood``: it has wanted more than that for a while.
        """
        budget = self._budgets.of(from_libp2p(peer))
        while not budget.take():
            if budget.dry_s() >= SATURATED_S:
                budget.forgive()
                raise InvalidMessage("dht.flood", f"more than {QUERIES_PER_S} queries a second")
            await trio.sleep(PAUSE_S)


def check_query(data: bytes, peer: ID) -> Message:
    """Read what may be asked.

    Raises:
        InvalidMessage: ``dht.malformed``, or ``dht.provider``: it announces somebody else.
    """
    query = Message()
    try:
        query.ParseFromString(data)
    except DecodeError as error:
        raise InvalidMessage("dht.malformed", str(error)) from error
    if len(query.key) > MAX_KEY_BYTES:
        raise InvalidMessage("dht.malformed", f"a key of {len(query.key)} bytes")
    if any(provider.id != peer.to_bytes() for provider in query.providerPeers):
        raise InvalidMessage("dht.provider", "announces another peer")
    return query
