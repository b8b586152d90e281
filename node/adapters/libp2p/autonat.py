"""Whether others can dial us: we ask a few peers to try, and try for those that ask us. AutoNAT v1.

A peer is dialled only at the address that it is connected from, at a low rate, and only as far as to see its key: so
nobody can have a third party dialled. Spec: https://github.com/libp2p/specs/blob/master/autonat/autonat-v1.md
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, final

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.peer.id import ID
from libp2p.transport.exceptions import SecurityUpgradeFailure
from libp2p.transport.tcp.tcp import TCP
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.addresses import bare, read_address
from node.adapters.libp2p.budget import Budget, Budgets
from node.adapters.libp2p.circuit import direct_connection, is_direct, open_on
from node.adapters.libp2p.circuit_bytes import reset
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames, varint_frame
from node.adapters.libp2p.handshakes import site_of
from node.adapters.libp2p.host import swarm_of
from node.adapters.libp2p.identity import from_libp2p, to_libp2p
from node.adapters.libp2p.muxed_stream import muxed_of
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.settings import CIRCUIT
from node.ports import Journal, Reach
from protocol.effects import Offence
from protocol.errors import InvalidMessage
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import PeerId

AUTONAT: Final = TProtocol("/libp2p/autonat/1.0.0")
IDENTIFY: Final = TProtocol("/ipfs/id/1.0.0")
MAX_MESSAGE_BYTES: Final = 8192
"""Largest message; identify names protocols and addresses in two thousand."""
MAX_ADDRESSES: Final = 4
"""Addresses that are tried for one question."""
TRY_S: Final = 4.0
"""One address gets this long (s) for connect and Noise."""
ANSWER_S: Final = 20.0
"""A peer must answer within this (s): it may try four addresses."""
REQUEST_S: Final = 5.0
DIALS_PER_S: Final = 0.1
BURST_DIALS: Final = 3
"""Questions of one peer, and of one network address, that are answered by a dial."""
ALL_DIALS_PER_S: Final = 1
BURST_ALL_DIALS: Final = 8
"""Questions of all peers together."""
ASKED: Final = 3
"""Peers that are asked; most of their answers count."""
FIRST_S: Final = 5.0
UNSURE_S: Final = 60.0
SURE_S: Final = 1800.0
"""Pauses (s) before the first round, after one that told nothing, and after one that did, each ± 25 %."""


@final
class AutoNat:
    """Both halves of one node."""

    def __init__(self, host: BasicHost, peers: Peers, journal: Journal) -> None:
        """Serve from now on; ``run`` asks."""
        self.reach: Reach = "unknown"
        self.on_reach: Callable[[Reach], None] = lambda _reach: None
        """Called when it has changed."""
        self._host = host
        self._peers = peers
        self._journal = journal
        self._by_peer = Budgets(DIALS_PER_S, BURST_DIALS)
        self._all = Budget(ALL_DIALS_PER_S, BURST_ALL_DIALS)
        self._random = random.SystemRandom()
        host.set_stream_handler(AUTONAT, self.serve)

    # For others.

    async def serve(self, stream: INetStream) -> None:
        """Answer one question."""
        muxed, peer = muxed_of(stream), stream.muxed_conn.peer_id
        try:
            with trio.fail_after(REQUEST_S):
                data = await VarintFrames(muxed, MAX_MESSAGE_BYTES).read()
            addresses = read_question(data, peer)
        except trio.TooSlowError:
            muxed.abandon()
            return
        except InvalidMessage as error:
            self._peers.judge(from_libp2p(peer), Offence.GRAVE, error.rule)
            await _write(stream, _answer(Message.E_BAD_REQUEST))
            return
        remote = muxed.get_remote_address()
        if remote is None or not is_direct(stream.muxed_conn):
            await _write(stream, _answer(Message.E_DIAL_REFUSED))
            return
        own = [each for each in addresses if _host(each) == remote[0]][:MAX_ADDRESSES]
        if not own or not self._may_dial(from_libp2p(peer), remote[0]):
            await _write(stream, _answer(Message.E_DIAL_REFUSED))
            return
        for address in own:
            if await self._answers(address, peer):
                await _write(stream, _answer(Message.OK, address))
                return
        await _write(stream, _answer(Message.E_DIAL_ERROR))

    def _may_dial(self, peer: PeerId, remote: str) -> bool:
        return (
            self._peers.standing(peer) is not Standing.STRANGER
            and self._by_peer.of(peer).take()
            and self._by_peer.of(site_of(remote)).take()
            and self._all.take()
        )

    async def _answers(self, address: Multiaddr, peer: ID) -> bool:
        """Say whether the peer is at this address, and shows its key there."""
        try:
            with trio.fail_after(TRY_S):
                raw = await TCP().dial(address)
                try:
                    await swarm_of(self._host).upgrader.upgrade_security(raw, True, peer)
                finally:
                    with trio.CancelScope(shield=True):
                        await raw.close()
        except (*STREAM_ERRORS, SecurityUpgradeFailure, trio.TooSlowError, ValueError):
            return False
        return True

    # For us.

    async def run(self) -> None:
        """Ask now and then until cancelled."""
        pause = FIRST_S
        while True:
            await trio.sleep(pause * self._random.uniform(0.75, 1.25))
            reach = await self.ask()
            pause = UNSURE_S if reach == "unknown" else SURE_S
            if reach not in ("unknown", self.reach):
                self.reach = reach
                self._journal.note(NoteName.REACH_KNOWN, reach=reach)
                self.on_reach(reach)

    async def ask(self) -> Reach:
        """Ask some peers, and give what most of them found."""
        peers = [peer for peer in self._peers.connected() if self._peers.standing(peer) is not Standing.STRANGER]
        self._random.shuffle(peers)
        answers: Counter[Reach] = Counter()
        for peer in peers:
            answer = await self._ask_one(peer)
            if answer != "unknown":
                answers[answer] += 1
            if answers.total() == ASKED:
                break
        if answers["public"] == answers["private"]:
            return "unknown"
        return answers.most_common(1)[0][0]

    def _candidates(self, seen: Multiaddr | None) -> list[Multiaddr]:
        """Give where we may be: what we tell others, and our ports at the address that a peer sees us at."""
        listened = self._host.get_transport_addrs()
        found = [each for each in (*map(bare, self._host.get_addrs()), *listened) if CIRCUIT not in str(each)]
        if seen is not None:
            head = str(seen).rpartition("/tcp/")[0]
            found += [Multiaddr(f"{head}/tcp/{address.value_for_protocol('tcp')}") for address in listened]
        return found

    async def _ask_one(self, peer: PeerId) -> Reach:
        try:
            connection = direct_connection(self._host, to_libp2p(peer))
            with trio.fail_after(ANSWER_S):
                stream = await open_on(self._host, connection, IDENTIFY)
                try:
                    told = Identify.FromString(await VarintFrames(muxed_of(stream), MAX_MESSAGE_BYTES).read())
                finally:
                    await reset(stream)
                candidates = self._candidates(read_address(told.observed_addr))
                stream = await open_on(self._host, connection, AUTONAT)
                try:
                    await _write(stream, write_question(self._host.get_id(), candidates))
                    answer = Message.FromString(await VarintFrames(muxed_of(stream), MAX_MESSAGE_BYTES).read())
                finally:
                    await reset(stream)
        except (*STREAM_ERRORS, InvalidMessage, DecodeError, ValueError, trio.TooSlowError):
            return "unknown"
        if answer.type != Message.DIAL_RESPONSE:
            return "unknown"
        status = answer.dialResponse.status
        return "public" if status == Message.OK else "private" if status == Message.E_DIAL_ERROR else "unknown"


def write_question(own: ID, addresses: Sequence[Multiaddr]) -> bytes:
    """Ask whether we can be dialled at one of these addresses."""
    question = Message(type=Message.DIAL)
    question.dial.peer.id = own.to_bytes()
    question.dial.peer.addrs.extend(dict.fromkeys(address.to_bytes() for address in addresses))
    return question.SerializeToString()


def read_question(data: bytes, peer: ID) -> list[Multiaddr]:
    """Give the addresses at which a peer wants to be dialled: those of TCP, without names.

    Raises:
        InvalidMessage: ``autonat.malformed``: it is no such question, or one for somebody else.
    """
    question = Message()
    try:
        question.ParseFromString(data)
    except DecodeError as error:
        raise InvalidMessage("autonat.malformed", str(error)) from error
    if question.type != Message.DIAL or question.dial.peer.id != peer.to_bytes():
        raise InvalidMessage("autonat.malformed", "no question about who asks")
    read = (read_address(raw) for raw in question.dial.peer.addrs[: 4 * MAX_ADDRESSES])
    return [address for address in read if address is not None and _host(address)]


def _host(address: Multiaddr) -> str:
    """Give the IP address of a plain TCP address; nothing for all others."""
    items = list(address.items())
    names = [protocol.name for protocol, _ in items]
    return str(items[0][1]) if names in (["ip4", "tcp"], ["ip6", "tcp"]) else ""


def _answer(status: int, address: Multiaddr | None = None) -> bytes:
    answer = Message(type=Message.DIAL_RESPONSE)
    answer.dialResponse.status = status  # type: ignore[assignment]  # one of the numbers of the same message
    if address is not None:
        answer.dialResponse.addr = address.to_bytes()
    return answer.SerializeToString()


async def _write(stream: INetStream, data: bytes) -> None:
    with trio.move_on_after(REQUEST_S):
        await muxed_of(stream).write(varint_frame(data))
