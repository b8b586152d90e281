"""What we change inside py-libp2p 0.8.1 itself, each change with its reason upstream.

Where a subclass is enough, there is a subclass (``gossip``, ``muxer``, ``routing``); here is only what cannot be
reached by one. ``apply_patches`` is called by the transport before the first host and works once per process.
Rules for editors: libp2p is pinned exactly; ``PATCHED`` names every symbol with the signature that the patch relies
on, and a test compares both with the installed package.
"""

import inspect
import logging
import time
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import trio
from libp2p.abc import IHost
from libp2p.identity.identify import identify as identify_module
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.trio import TrioTCPStream
from libp2p.network import swarm as swarm_module
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer import peerstore as peerstore_module
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub import gossipsub as gossipsub_module
from libp2p.pubsub import pubsub as pubsub_module
from libp2p.pubsub import utils as pubsub_utilities
from libp2p.pubsub.pb.rpc_pb2 import RPC
from libp2p.stream_muxer import muxer_multistream as muxer_multistream_module
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.gossip_queue import GossipQueue
from node.adapters.libp2p.handshakes import Handshakes, site_of
from node.adapters.libp2p.muxer import OverlayMuxer

LIBP2P_VERSION: Final = "0.8.1"
OWN_RECORD_LIFE_S: Final = 5.0
"""How long our signed address record is reused (s) before it is compared with our addresses again."""
REMEMBERED_RECORDS: Final = 1024
"""Peers whose last verified record is kept; beyond it the oldest is verified once more."""

PATCHED: Final[dict[str, tuple[Any, str, str]]] = {
    "swarm._HAPPY_EYEBALLS_DELAY": (swarm_module, "_HAPPY_EYEBALLS_DELAY", "float"),
    "Swarm._do_handle_inbound_connection": (
        Swarm,
        "_do_handle_inbound_connection",
        "(self, read_write_closer, maddr, failure_event)",
    ),
    "pubsub.RpcQueue": (pubsub_module, "RpcQueue", "(max_size, max_message_size)"),
    "pubsub.env_to_send_in_RPC": (pubsub_module, "env_to_send_in_RPC", "(host)"),
    "gossipsub.env_to_send_in_RPC": (gossipsub_module, "env_to_send_in_RPC", "(host)"),
    "identify.env_to_send_in_RPC": (identify_module, "env_to_send_in_RPC", "(host)"),
    "pubsub.maybe_consume_signed_record": (pubsub_module, "maybe_consume_signed_record", "(msg, host, peer_id)"),
    "gossipsub.maybe_consume_signed_record": (gossipsub_module, "maybe_consume_signed_record", "(msg, host, peer_id)"),
    "MultiselectCommunicator.read": (MultiselectCommunicator, "read", "(self)"),
    "muxer_multistream.Yamux": (muxer_multistream_module, "Yamux", "(secured_conn, peer_id, is_initiator, on_close)"),
}
"""Symbol -> (where it lives, its name, its signature without annotations, or its type)."""

_original_consume = pubsub_utilities.maybe_consume_signed_record
_original_record = peerstore_module.env_to_send_in_RPC
_original_read = MultiselectCommunicator.read
_own_records: "WeakKeyDictionary[IHost, tuple[bytes, float]]" = WeakKeyDictionary()
_handshakes: "WeakKeyDictionary[Swarm, Handshakes]" = WeakKeyDictionary()
_seen_records: "WeakKeyDictionary[IHost, dict[ID, bytes]]" = WeakKeyDictionary()


def signature_of(holder: object, name: str) -> str:
    """Describe a symbol as ``PATCHED`` does."""
    symbol = getattr(holder, name)
    if not callable(symbol):
        return type(symbol).__name__
    parameters = inspect.signature(symbol).parameters.values()
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty)
        for parameter in parameters
    ]
    return str(inspect.Signature(bare))


async def _handle_inbound_connection(
    self: Swarm, read_write_closer: ReadWriteCloser, maddr: Multiaddr, _failure_event: object
) -> None:
    """Upgrade an inbound connection, unless its address has too many begun already, and hold its slot until it ends.

    Upstream holds the slot until the whole node ends, so every node stops accepting anybody after
    ``max_connections`` inbound connections in its life (swarm.py, "Intentional barrier").
    """
    connection = RawConnection(read_write_closer, False)
    handshakes = _handshakes.setdefault(self, Handshakes(self.connection_config.max_connections))
    address = _site_of(read_write_closer)
    if not handshakes.begin(address):
        await connection.close()
        return
    try:
        muxed = await self.upgrade_inbound_raw_conn(connection, maddr)
    except (SwarmException, OSError, ValueError, trio.BrokenResourceError, trio.ClosedResourceError):
        await connection.close()
        return
    except Exception:
        # Handshakes of strangers fail in ways that no list covers (noise, protobuf, muxer); the socket is all we
        # owe them, and upstream's caller would take any of these for the end of the node.
        logging.getLogger(__name__).debug("inbound handshake failed", exc_info=True)
        await connection.close()
        return
    finally:
        handshakes.end(address)
    if isinstance(muxed, OverlayMuxer):
        await muxed.event_closed.wait()


def _site_of(stream: ReadWriteCloser) -> str:
    """Give what a connection is counted by. Upstream knows no remote address of an IPv6 socket: all would be one."""
    try:
        return site_of(str(cast("TrioTCPStream", stream).stream.socket.getpeername()[0]))
    except OSError:
        return ""


def _own_record(host: IHost) -> tuple[bytes, bool]:
    """Give our signed record from memory. Upstream compares all addresses and marshals it again for each RPC."""
    known = _own_records.get(host)
    now = time.monotonic()
    if known is not None and known[1] > now:
        return known[0], False
    record, is_new = _original_record(host)
    _own_records[host] = (record, now + OWN_RECORD_LIFE_S)
    return record, is_new


def forget_own_record(host: IHost) -> None:
    """Make our signed record anew next time: our addresses have changed."""
    _own_records.pop(host, None)


def _consume_record(msg: RPC, host: IHost, peer_id: ID) -> bool:
    """Verify a peer's signed record, unless it is byte for byte the one verified last.

    Upstream verifies the same signature on every RPC, twice where the RPC carries control messages.
    """
    if not msg.HasField("senderRecord"):
        return True
    seen = _seen_records.setdefault(host, {})
    record = msg.senderRecord
    if seen.get(peer_id) == record:
        return True
    if not _original_consume(msg, host, peer_id):
        return False
    seen.pop(peer_id, None)
    seen[peer_id] = record
    if len(seen) > REMEMBERED_RECORDS:
        del seen[next(iter(seen))]
    return True


async def _read_name(self: MultiselectCommunicator) -> str:
    """Read the name of a protocol. Upstream raises for bytes that are no text what its callers do not expect."""
    try:
        return await _original_read(self)
    except UnicodeDecodeError as error:
        raise MultiselectCommunicatorError("the name of a protocol is no text") from error


def _replace(holder: object, name: str, value: object) -> None:
    if not hasattr(holder, name):
        raise AttributeError(f"libp2p {LIBP2P_VERSION} has no {name} here; read patches.py before changing its version")
    setattr(holder, name, value)


def apply_patches() -> None:
    """Change the installed py-libp2p in memory; a second call finds it changed already."""
    for module in (pubsub_module, gossipsub_module):
        _replace(module, "env_to_send_in_RPC", _own_record)
        _replace(module, "maybe_consume_signed_record", _consume_record)
    _replace(identify_module, "env_to_send_in_RPC", _own_record)
    _replace(pubsub_module, "RpcQueue", GossipQueue)
    # A dial that succeeded at once still waited out the head start for a second address: 250 ms for every dial.
    _replace(swarm_module, "_HAPPY_EYEBALLS_DELAY", 0.0)
    # Upstream builds its own class for /yamux/1.0.0, whatever class it was given.
    _replace(muxer_multistream_module, "Yamux", OverlayMuxer)
    _replace(MultiselectCommunicator, "read", _read_name)
    _replace(Swarm, "_do_handle_inbound_connection", _handle_inbound_connection)
    # Upstream logs what strangers send as errors with tracebacks; our journal counts it instead.
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
