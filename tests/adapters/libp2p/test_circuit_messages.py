"""The messages that set up a circuit, and the addresses that lead through a relay."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb import circuit_pb2
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.addresses import bare
from node.adapters.libp2p.circuit_messages import (
    MAX_ID_BYTES,
    Answer,
    Connect,
    Limit,
    Reserve,
    circuit_address,
    read_hop,
    read_stop,
    relay_of,
    write_hop,
    write_stop,
)
from node.adapters.libp2p.settings import parse_endpoint
from protocol.errors import InvalidMessage
from tests.support.overlay import peer_of

RELAY = parse_endpoint(f"/ip4/192.0.2.1/tcp/4001/p2p/{peer_of(1)}")
PEERS = st.binary(min_size=1, max_size=MAX_ID_BYTES).map(ID)
LIMITS = st.builds(Limit, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
STATUSES = st.integers(0, 2**31 - 1)
HOPS = st.one_of(
    st.just(Reserve()), st.builds(Connect, PEERS), st.builds(Answer, STATUSES, st.integers(0, 2**64 - 1), LIMITS)
)
STOPS = st.one_of(st.builds(Connect, PEERS, LIMITS), st.builds(Answer, STATUSES))


@given(HOPS)
def test_read_hop__written__reads_the_same(message: Reserve | Connect | Answer) -> None:
    assert read_hop(write_hop(message)) == message


@given(STOPS)
def test_read_stop__written__reads_the_same(message: Connect | Answer) -> None:
    assert read_stop(write_stop(message)) == message


@given(st.binary(max_size=300))
def test_read__any_bytes__a_message_or_a_named_error(data: bytes) -> None:
    for read in (read_hop, read_stop):
        with contextlib.suppress(InvalidMessage):
            assert isinstance(read(data), Reserve | Connect | Answer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        circuit_pb2.HopMessage(type=77).SerializeToString(),  # type: ignore[arg-type]  # a type of another version
        circuit_pb2.HopMessage(type=circuit_pb2.HopMessage.CONNECT).SerializeToString(),
        write_hop(Connect(ID(bytes(MAX_ID_BYTES + 1)))),
    ],
    ids=["nothing", "no_message", "unknown_type", "nobody", "long_name"],
)
def test_read_hop__wrong__named(data: bytes) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_hop(data)
    assert caught.value.rule == "relay.malformed"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        circuit_pb2.StopMessage(type=77).SerializeToString(),  # type: ignore[arg-type]  # a type of another version
        circuit_pb2.StopMessage(type=circuit_pb2.StopMessage.CONNECT).SerializeToString(),
        write_stop(Connect(ID(bytes(MAX_ID_BYTES + 1)))),
    ],
    ids=["nothing", "no_message", "unknown_type", "nobody", "long_name"],
)
def test_read_stop__wrong__named(data: bytes) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_stop(data)
    assert caught.value.rule == "relay.malformed"


def test_relay_of__address_through_a_relay__gives_the_relay_and_back() -> None:
    address = circuit_address(RELAY)
    assert str(address) == f"{RELAY}/p2p-circuit"
    assert relay_of(address) == RELAY
    assert relay_of(bare(Multiaddr(f"{address}/p2p/{peer_of(2)}"))) == RELAY


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.1/tcp/4001",
        f"/p2p/{peer_of(1)}/p2p-circuit",
        f"{RELAY}/p2p-circuit/p2p/{peer_of(2)}",
        f"{RELAY}/p2p-circuit/p2p/{peer_of(2)}/p2p-circuit",
    ],
    ids=["direct", "relay_without_a_place", "whole", "circuit_through_a_circuit"],
)
def test_relay_of__no_address_through_one_relay__none(text: str) -> None:
    assert relay_of(Multiaddr(text)) is None
