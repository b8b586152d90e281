"""Our part in the DHT: answering others, and asking them. The wire format is that of libp2p's Kademlia.

Strangers may ask, and are in no table and no record. Values are not kept for anybody.
"""

from collections.abc import Callable, Iterable
from typing import Final, final

import trio
from libp2p.abc import INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.kad_dht.common import PROTOCOL_ID
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID

from node.adapters.libp2p.addresses import read_address
from node.adapters.libp2p.dht_client import KEPT_S, Client
from node.adapters.libp2p.dht_queries import MAX_QUERY_BYTES, Queries
from node.adapters.libp2p.dht_records import Records
from node.adapters.libp2p.dht_table import ADDRESSES, CLOSEST, Gate, Table
from node.adapters.libp2p.dht_walk import walk
from node.adapters.libp2p.dialling import ADDRESS_LIFE_S
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames, varint_frame
from node.adapters.libp2p.gossip_limits import Judge
from node.adapters.libp2p.host import peerstore_of, swarm_of
from node.adapters.libp2p.identity import from_libp2p, is_node_id
from node.adapters.libp2p.muxed_stream import muxed_of
from protocol.effects import Offence
from protocol.errors import InvalidMessage

MAX_RECORD_KEY_BYTES: Final = 80
"""Longest key of a record, as libp2p says; ours have 34."""
DIALS_AT_ONCE: Final = 3
"""Peers that are dialled at once to be asked or told; each costs both ends 4 ms of CPU. Where fifty nodes that share
two cores began all of theirs at once, none was made in time, and all were begun anew, without end."""
SWEEP_S: Final = 60.0
KAD: Final = PROTOCOL_ID
Kind: Final = Message.MessageType
Heard = Callable[[ID, tuple[bytes, ...]], None]


@final
class OverlayDht:
    """The DHT of one host."""

    def __init__(self, host: BasicHost, gate: Gate, judge: Judge, nursery: trio.Nursery) -> None:
        self.table = Table(host.get_id(), gate)
        self.records = Records(gate)
        self._host = host
        self._gate = gate
        self._judge = judge
        self._nursery = nursery
        self._dials = trio.CapacityLimiter(DIALS_AT_ONCE)
        self._queries = Queries()
        self._client = Client(host)
        host.set_stream_handler(KAD, self.serve)

    async def run(self) -> None:
        """Forget and close what is not needed any more."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep_records)
            nursery.start_soon(self._close_streams)

    async def _sweep_records(self) -> None:
        while True:
            await trio.sleep(SWEEP_S)
            self.records.sweep()

    async def _close_streams(self) -> None:
        while True:
            await trio.sleep(KEPT_S)
            await self._client.close_unused()

    # Answering.

    async def serve(self, stream: INetStream) -> None:
        """Answer what a peer asks on one stream, within limits."""
        peer = stream.muxed_conn.peer_id
        if not self._queries.begin(peer):
            await stream.reset()
            return
        muxed = muxed_of(stream)
        frames = VarintFrames(muxed, MAX_QUERY_BYTES)
        try:
            while (query := await self._queries.next(frames, peer)) is not None:
                answer = self._answer(query, peer)
                if answer is None:
                    await stream.reset()
                    return
                await muxed.write(varint_frame(answer.SerializeToString()))
        except InvalidMessage as error:
            offence = Offence.MINOR if error.rule == "dht.flood" else Offence.GRAVE
            self._judge(from_libp2p(peer), offence, error.rule)
            await stream.reset()
        finally:
            self._queries.end(peer)

    def _answer(self, query: Message, asker: ID) -> Message | None:
        """Give the answer; None to what nobody should ask."""
        if query.type == Kind.PING:
            return Message(type=Kind.PING)
        if not query.key or query.type == Kind.PUT_VALUE:
            return None
        answer = Message(type=query.type, key=query.key)
        if query.type == Kind.ADD_PROVIDER:
            if len(query.key) > MAX_RECORD_KEY_BYTES:
                return None
            for provider in query.providerPeers:
                self.records.add(query.key, ID(provider.id), provider.addrs)
            return answer
        if query.type == Kind.GET_PROVIDERS:
            for peer, record in self.records.of(query.key).items():
                answer.providerPeers.add(id=peer.to_bytes(), addrs=record.addresses)
        for peer in self.table.closest(query.key, CLOSEST, met=True):
            if peer != asker:
                answer.closerPeers.add(id=peer.to_bytes(), addrs=self.table.addresses(peer))
        return answer

    # Asking.

    async def closest(self, key: bytes) -> list[ID]:
        """Find the registered peers closest to a key, in the whole network; ours is not among them."""

        async def ask(peer: ID) -> Iterable[ID] | None:
            answer = await self._ask(peer, Message(type=Kind.FIND_NODE, key=key))
            return None if answer is None else self._named_closer(answer)

        return await walk(self._nursery, key, self.table.closest(key), ask)

    async def find_providers(
        self, key: bytes, hear: Heard, has_answered: Callable[[], None], is_enough: Callable[[], bool]
    ) -> None:
        """Ask ever closer peers who provides a key.

        Args:
            key: The record's key.
            hear: Called for each registered peer that somebody names, also our own and the same one many times.
            has_answered: Called after all that one peer names.
            is_enough: Asked once the closest have answered; as long as it says False, all of the closest are asked.
        """

        async def ask(peer: ID) -> Iterable[ID] | None:
            answer = await self._ask(peer, Message(type=Kind.GET_PROVIDERS, key=key))
            if answer is None:
                return None
            for provider in answer.providerPeers:
                if is_node_id(provider.id) and self._gate(ID(provider.id)):
                    hear(ID(provider.id), tuple(provider.addrs[:ADDRESSES]))
            has_answered()
            return self._named_closer(answer)

        await walk(self._nursery, key, self.table.closest(key), ask, is_enough)

    async def tell(self, peer: ID, key: bytes, addresses: Iterable[bytes]) -> bool:
        """Tell one peer that we provide a key; say whether that was possible."""
        own = Message.Peer(id=self._host.get_id().to_bytes(), addrs=addresses)
        is_told = await self._reach(peer) and await self._client.tell(
            peer, Message(type=Kind.ADD_PROVIDER, key=key, providerPeers=[own])
        )
        if not is_told:
            self._lose(peer)
        return is_told

    async def _ask(self, peer: ID, query: Message) -> Message | None:
        answer = await self._client.ask(peer, query) if await self._reach(peer) else None
        if answer is None:
            self._lose(peer)
        return answer

    async def _reach(self, peer: ID) -> bool:
        """Have a connection to a peer; False when it cannot be dialled or must not be asked."""
        if not self._gate(peer):
            return False
        if self._is_connected(peer):
            return True
        self._note(peer, self.table.addresses(peer))
        async with self._dials:
            try:
                await swarm_of(self._host).dial_peer(peer)  # looks first whether the peer has come to us meanwhile
            except STREAM_ERRORS:
                return False
        return True

    def _note(self, peer: ID, addresses: Iterable[bytes]) -> None:
        """Have an address at hand when a peer is dialled."""
        known = [address for data in addresses if (address := read_address(data)) is not None]
        if known:
            peerstore_of(self._host).add_addrs(peer, known, ADDRESS_LIFE_S)

    def _lose(self, peer: ID) -> None:
        if not self._is_connected(peer):
            self.table.drop(peer)

    def _is_connected(self, peer: ID) -> bool:
        return any(not connection.is_closed for connection in swarm_of(self._host).get_connections(peer))

    def _named_closer(self, answer: Message) -> list[ID]:
        """Take up whom an answer names, as far as they are registered."""
        named = list[ID]()
        for closer in answer.closerPeers[:CLOSEST]:
            peer = ID(closer.id)
            if is_node_id(closer.id) and peer != self._host.get_id() and self._gate(peer):
                self.table.hear(peer, closer.addrs)
                if peer not in self.table:
                    self._note(peer, closer.addrs)  # it has no place there, but this search may need it
                named.append(peer)
        return named
