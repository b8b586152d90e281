"""What is said to set up a circuit: messages of circuit relay v2, over py-libp2p's own description of them.

On a hop stream a node asks a relay for a reservation, or for a circuit to somebody who has one; on a stop stream the
relay asks that one. Spec: https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, cast

from google.protobuf.message import DecodeError
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb import circuit_pb2
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.settings import CIRCUIT, Endpoint, parse_endpoint
from protocol.errors import InvalidMessage

HOP: Final = TProtocol("/libp2p/circuit/relay/0.2.0/hop")
STOP: Final = TProtocol("/libp2p/circuit/relay/0.2.0/stop")
MAX_RELAY_MESSAGE_BYTES: Final = 4096
"""Largest message, as the specification has it: a peer, a voucher and some addresses have a quarter of that."""
MAX_ID_BYTES: Final = 64
"""Longest peer id: those of secp256k1 have 39 bytes, those of RSA 34."""


class Status(IntEnum):
    """How a request went."""

    OK = 100
    RESERVATION_REFUSED = 200
    RESOURCE_LIMIT_EXCEEDED = 201
    PERMISSION_DENIED = 202
    CONNECTION_FAILED = 203
    NO_RESERVATION = 204
    MALFORMED_MESSAGE = 400
    UNEXPECTED_MESSAGE = 401


@dataclass(frozen=True, slots=True)
class Limit:
    """What a relay carries on one circuit; 0 is without a limit."""

    duration_s: int = 0
    data_bytes: int = 0
    """Bytes of both directions together."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Wishes to be reached through the relay. Whoever asks is meant, whatever peer he names."""


@dataclass(frozen=True, slots=True)
class Connect:
    """To the relay: wishes for a circuit to a peer. From the relay: a peer wishes for a circuit to us."""

    peer: ID
    limit: Limit = Limit()


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request went."""

    status: int
    """One of ``Status``, or what a later version of the protocol says."""
    expires_at_s: int = 0
    """Unix time (s) at which a reservation ends; 0 where none was asked for."""
    limit: Limit = Limit()


def write_hop(message: Reserve | Connect | Answer) -> bytes:
    """Write a message of a hop stream."""
    raw = circuit_pb2.HopMessage()
    match message:
        case Reserve():
            raw.type = circuit_pb2.HopMessage.RESERVE
        case Connect(peer):
            raw.type = circuit_pb2.HopMessage.CONNECT
            raw.peer.id = peer.to_bytes()
        case Answer(status, expires_at_s, limit):
            raw.type = circuit_pb2.HopMessage.STATUS
            raw.status = cast("circuit_pb2.Status.ValueType", status)
            if expires_at_s:
                raw.reservation.expire = expires_at_s
            _write_limit(raw, limit)
    return raw.SerializeToString()


def write_stop(message: Connect | Answer) -> bytes:
    """Write a message of a stop stream."""
    raw = circuit_pb2.StopMessage()
    match message:
        case Connect(peer, limit):
            raw.type = circuit_pb2.StopMessage.CONNECT
            raw.peer.id = peer.to_bytes()
            _write_limit(raw, limit)
        case Answer(status):
            raw.type = circuit_pb2.StopMessage.STATUS
            raw.status = cast("circuit_pb2.Status.ValueType", status)
    return raw.SerializeToString()


def _write_limit(raw: circuit_pb2.HopMessage | circuit_pb2.StopMessage, limit: Limit) -> None:
    if limit.duration_s:
        raw.limit.duration = limit.duration_s
    if limit.data_bytes:
        raw.limit.data = limit.data_bytes


def read_hop(data: bytes) -> Reserve | Connect | Answer:
    """Read a message of a hop stream.

    Raises:
        InvalidMessage: ``relay.malformed``.
    """
    raw = circuit_pb2.HopMessage()
    _parse(raw, data)
    if raw.HasField("type"):
        if raw.type == circuit_pb2.HopMessage.RESERVE:
            return Reserve()
        if raw.type == circuit_pb2.HopMessage.CONNECT:
            return Connect(_peer(raw.peer.id))
        if raw.type == circuit_pb2.HopMessage.STATUS:
            return Answer(raw.status, raw.reservation.expire, Limit(raw.limit.duration, raw.limit.data))
    raise InvalidMessage("relay.malformed", "a hop message of no known type")


def read_stop(data: bytes) -> Connect | Answer:
    """Read a message of a stop stream.

    Raises:
        InvalidMessage: ``relay.malformed``.
    """
    raw = circuit_pb2.StopMessage()
    _parse(raw, data)
    if raw.HasField("type"):
        if raw.type == circuit_pb2.StopMessage.CONNECT:
            return Connect(_peer(raw.peer.id), Limit(raw.limit.duration, raw.limit.data))
        if raw.type == circuit_pb2.StopMessage.STATUS:
            return Answer(raw.status)
    raise InvalidMessage("relay.malformed", "a stop message of no known type")


def _parse(raw: circuit_pb2.HopMessage | circuit_pb2.StopMessage, data: bytes) -> None:
    try:
        raw.ParseFromString(data)
    except DecodeError as error:
        raise InvalidMessage("relay.malformed", str(error)) from error


def _peer(raw: bytes) -> ID:
    if not 0 < len(raw) <= MAX_ID_BYTES:
        raise InvalidMessage("relay.malformed", f"a peer id of {len(raw)} bytes")
    return ID(raw)


def circuit_address(relay: Endpoint) -> Multiaddr:
    """Give the address of whoever is reached through a relay, without the ``/p2p`` part of that one."""
    return Multiaddr(f"{relay}{CIRCUIT}")


@lru_cache(maxsize=4096)
def relay_of(address: Multiaddr) -> Endpoint | None:
    """Give the relay of a circuit's address; None where it is none, or of a circuit through a circuit."""
    text = str(address)
    if not text.endswith(CIRCUIT):
        return None
    try:
        return parse_endpoint(text.removesuffix(CIRCUIT), may_be_relayed=False)
    except ValueError:
        return None
