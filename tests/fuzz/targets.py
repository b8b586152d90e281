"""Every reader of remote bytes as one function: any bytes give a value or a named error, and nothing else.

``python -m tests.fuzz`` drives these by coverage; ``test_targets`` feeds them their seeds and mutations of these.
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import DecodeError
from libp2p.kad_dht.pb.kademlia_pb2 import Message as DhtMessage
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from multiaddr.multiaddr import Multiaddr
from PIL import Image

from node.adapters.engine.sources import SourceFault, read_mask, read_source
from node.adapters.libp2p.autonat import read_question, write_question
from node.adapters.libp2p.circuit_messages import (
    Answer,
    Connect,
    Limit,
    Reserve,
    read_hop,
    read_stop,
    write_hop,
    write_stop,
)
from node.adapters.libp2p.dht_queries import check_query
from node.adapters.libp2p.framing import LengthFrames, VarintFrames
from node.adapters.libp2p.gossip_limits import GossipLimits, trim_control
from node.adapters.libp2p.muxer import HEADER, OverlayMuxer
from node.adapters.libp2p.settings import parse_endpoint
from protocol.crypto.envelope import opened_by
from protocol.crypto.keys import address_of_peer_id
from protocol.crypto.sealing import (
    open_body,
    open_key,
    open_picture,
    seal_body,
    seal_key,
    seal_picture,
    sealing_key_of,
)
from protocol.crypto.typed_data import Domain, signer
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.params import MAX_INPUT_EDGE
from protocol.roles.app_inputs import ComingInputs, named
from protocol.stake.field import Field
from protocol.task.artifact import check_png
from protocol.task.inputs import check_input
from protocol.task.webp import check_webp
from protocol.units import Address, Digest, PeerId
from protocol.wire.app_messages import Order
from protocol.wire.codec import Place, decode, encode
from protocol.wire.statements import VoucherStatement
from tests.support.adversary import varint
from tests.support.messages import MESSAGES, largest
from tests.support.networks import NETWORK
from tests.support.overlay import peer_of
from tests.support.pictures import jpeg, png, vp8, vp8l, vp8x, webp

EVERYWHERE = Place(*MESSAGES)
VOUCHER = VoucherStatement(coordinator=3, miner=1, cumulative=5, boot=1, sequence=1, issued_total=5)
TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
SENDER = ID(bytes((0x00, 0x25, 0x08, 0x02, 0x12, 0x21)) + b"\x02" * 33)


CIRCUIT_TO_US = Connect(SENDER, Limit(60, 1000))


@dataclass(frozen=True)
class Target:
    """One reader, with valid bytes to begin from."""

    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _message(data: bytes) -> None:
    with contextlib.suppress(InvalidMessage, IgnoredMessage):
        message = decode(data, EVERYWHERE)
        assert decode(encode(message), EVERYWHERE) == message


def _png(data: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        check_png(data, 128, 128)


def _webp(data: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        check_webp(data, 64, 48)


def _input(data: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        assert 16 <= min(check_input(data)) <= max(check_input(data)) <= MAX_INPUT_EDGE


def _source(data: bytes) -> None:
    with contextlib.suppress(SourceFault):
        assert read_source(data, 16, 16).size == (16, 16)
    with contextlib.suppress(SourceFault):
        assert read_mask(data, data, 16, 16).getextrema()[0] in {0, 255}


def _pictures() -> tuple[bytes, ...]:
    """Small pictures in every format that tasks may begin from."""
    files = []
    for kind, options in (("PNG", {}), ("JPEG", {}), ("WEBP", {}), ("WEBP", {"lossless": True})):
        buffer = io.BytesIO()
        Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(buffer, kind, **options)
        files.append(buffer.getvalue())
    return tuple(files)


def _identity(data: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        assert len(address_of_peer_id(PeerId(data.decode("latin-1")))) == 20


def _signature(data: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        assert len(signer(Domain(1, Address(bytes(20))), VOUCHER, data)) == 20
    with contextlib.suppress(InvalidMessage):
        assert len(opened_by(NETWORK, data[65:], data[:65])) == 20


def _sealed(data: bytes) -> None:
    for opened in (
        lambda: open_key(data, b"k" * 32, Digest(b"a" * 32)),
        lambda: open_body(b"c" * 32, data),
        lambda: open_picture(b"c" * 32, Digest(b"a" * 32), data),
    ):
        with contextlib.suppress(InvalidMessage):
            opened()


def _field(data: bytes) -> None:
    count = int.from_bytes(data[:2], "big")
    with contextlib.suppress(InvalidMessage):
        assert len(Field.from_bytes(data[2:], count).codes) == count


def _endpoint(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        endpoint = parse_endpoint(data.decode("latin-1"))
        assert parse_endpoint(str(endpoint)) == endpoint


def _rpc(data: bytes) -> None:
    rpc = rpc_pb2.RPC()
    with contextlib.suppress(InvalidMessage, DecodeError):
        rpc.ParseFromString(data)
        GossipLimits(lambda *_: None).check_subscriptions(rpc, PeerId("p"))
        trim_control(rpc.control, {TOPIC})
        assert all(graft.topicID == TOPIC for graft in rpc.control.graft)


def _query(data: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        check_query(data, SENDER)


def _circuit(data: bytes) -> None:
    for read in (read_hop, read_stop):
        with contextlib.suppress(InvalidMessage):
            assert isinstance(read(data), Reserve | Connect | Answer)


def _order_input(data: bytes) -> None:
    """Parts of two pictures, each behind a byte that says of which, and one that says how long it is."""
    files = [named(file) for file in (b"a source", b"a mask")]
    order = Order(version=2, order=bytes(16), prompt="x", seed=1, source=files[0], mask=files[1])
    coming, taken = ComingInputs(order), 0
    with contextlib.suppress(InvalidMessage):
        while len(data) >= 2:
            digest = (files[0].digest, files[1].digest, Digest(bytes(32)))[data[0] % 3]
            part, data = data[2 : 2 + data[1]], data[2 + data[1] :]
            coming.take(digest, part)
            taken += len(part)
        assert coming.missing == sum(one.size for one in files) - taken
        if not coming.missing:
            assert set(coming.pictures().values()) == {b"a source", b"a mask"}


def _reach(data: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        assert all(len(list(address.items())) == 2 for address in read_question(data, SENDER))


class _Said:
    """A stream on which these bytes come, in pieces of every length that the first ones name."""

    def __init__(self, data: bytes) -> None:
        self._step = data[0] + 1 if data else 1
        self._left = data[1:]

    async def read(self, n: int | None = None) -> bytes:
        """Give the next piece, and nothing at the end."""
        size = self._step if n is None else min(n, self._step)
        given, self._left = self._left[:size], self._left[size:]
        return given


def _frames(data: bytes) -> None:
    for kind in (LengthFrames, VarintFrames):
        frames = kind(_Said(data), 4096)  # type: ignore[arg-type]  # reads are all that it does
        with contextlib.suppress(InvalidMessage, EOFError):
            while True:
                assert 0 < len(_now(frames.read())) <= 4096


def _now(reading: Any) -> Any:
    """Run what never waits."""
    try:
        reading.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


def _yamux(data: bytes) -> None:
    line = SimpleNamespace(stream=SimpleNamespace(stream=SimpleNamespace(socket=None)))
    noise = SimpleNamespace(noise_state=None, read_writer=SimpleNamespace(read_write_closer=line))
    session = SimpleNamespace(conn=noise, _drain=lambda _n: b"", is_initiator=False)
    muxer = OverlayMuxer(session, SENDER, False)  # type: ignore[arg-type]  # as much of a session as is read here
    muxer._received += data
    # A frame that breaks the rules, a goodbye: the end of a connection, by these errors only.
    with contextlib.suppress(EOFError):
        muxer._take_frames()
    assert len(muxer._received) <= len(data)


def _yamux_seed() -> bytes:
    opened = HEADER.pack(0, 1, 1, 1, 0)
    said = HEADER.pack(0, 0, 0, 1, 5) + b"hello"
    return opened + said + HEADER.pack(0, 2, 1, 0, 7) + HEADER.pack(0, 1, 4, 1, 0) + HEADER.pack(0, 1, 8, 1, 0)


def _sealed_seeds() -> tuple[bytes, ...]:
    award = Digest(b"a" * 32)
    return (
        seal_key(b"c" * 32, sealing_key_of(b"k" * 32), award, b"e" * 32),
        seal_body(b"c" * 32, b"a body"),
        seal_picture(b"c" * 32, award, b"a picture", b"s" * 32),
    )


def _rpc_seed() -> bytes:
    return rpc_pb2.RPC(
        subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=TOPIC)],
        publish=[rpc_pb2.Message(from_id=SENDER.to_bytes(), data=b"x", seqno=bytes(8), topicIDs=[TOPIC])],
        control=rpc_pb2.ControlMessage(
            ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[b"6162"])],
            iwant=[rpc_pb2.ControlIWant(messageIDs=[b"6162"])],
            graft=[rpc_pb2.ControlGraft(topicID=TOPIC), rpc_pb2.ControlGraft(topicID="other")],
            prune=[rpc_pb2.ControlPrune(topicID=TOPIC, peers=[rpc_pb2.PeerInfo(peerID=b"x")], backoff=9)],
        ),
    ).SerializeToString()


def _query_seed() -> bytes:
    provider = DhtMessage.Peer(id=SENDER.to_bytes(), addrs=[b"\x04\x7f\x00\x00\x01\x06\x0f\xa1"])
    kind = DhtMessage.MessageType.ADD_PROVIDER
    return DhtMessage(type=kind, key=b"\x12\x20" + bytes(32), providerPeers=[provider]).SerializeToString()


TARGETS: dict[str, Target] = {
    "message": Target(_message, tuple(encode(largest(model))[:4096] for model in MESSAGES)),
    "png": Target(_png, (png(128, 128),)),
    "webp": Target(_webp, (webp(vp8(64, 48)), webp(vp8x(64, 48), vp8l(64, 48), (b"EXIF", b"steps")))),
    "input": Target(_input, (png(16, 16), jpeg(64, 48, before=b"\xff\xe1\x00\x04ab"), webp(vp8x(64, 48), vp8(64, 48)))),
    "source": Target(_source, _pictures()),
    "identity": Target(_identity, (peer_of(1).encode(),)),
    "signature": Target(_signature, (bytes(65), b"\x01" * 64 + b"\x1b" + bytes(20))),
    "sealed": Target(_sealed, _sealed_seeds()),
    "field": Target(_field, (b"\x00\x08" + Field(bytes([3] * 8)).to_bytes(),)),
    "endpoint": Target(_endpoint, (f"/ip4/127.0.0.1/tcp/4001/p2p/{peer_of(1)}".encode(), b"/dns6/a.example/tcp/1")),
    "rpc": Target(_rpc, (_rpc_seed(),)),
    "query": Target(_query, (_query_seed(),)),
    "circuit": Target(
        _circuit, (write_hop(Connect(SENDER)), write_stop(Connect(SENDER, Limit(60, 1000))), write_hop(Reserve()))
    ),
    "order_input": Target(
        _order_input, (b"\x00\x03a s\x01\x06a mask\x00\x05ource", b"\x00\x08a source\x01\x06a mask\x01\x01k")
    ),
    "reach": Target(_reach, (write_question(SENDER, [Multiaddr("/ip4/192.0.2.1/tcp/4001")]),)),
    "frames": Target(_frames, (b"\x03" + varint(5) + b"hello", b"\x00\x00\x00\x00\x05hello")),
    "yamux": Target(_yamux, (_yamux_seed(),)),
}
