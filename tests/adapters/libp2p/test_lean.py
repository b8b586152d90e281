"""py-libp2p is imported without what the overlay never uses, and names in addresses are found all the same."""

import subprocess
import sys

import dns.message
import dns.rrset
import pytest
import trio
from dns.resolver import BaseResolver
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.lean import LateResolver
from tests.support.patience import PATIENCE_S

UNUSED = ("aioquic", "dns", "miniupnpc", "requests", "websockets", "zeroconf", "libp2p.security.tls", "libp2p.bitswap")


def run(program: str) -> str:
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_import__of_the_overlay__loads_nothing_of_what_it_never_uses():
    program = f"import sys, node.adapters.libp2p; print(*(name for name in {UNUSED} if name in sys.modules))"
    assert run(program) == "\n"


def test_import__after_the_overlay__gives_others_the_real_parts():
    program = """
import node.adapters.libp2p
from libp2p.security.tls.transport import TLSTransport
from libp2p.transport.quic.config import QUICTransportConfig
from multiaddr.resolvers.dns import DNSResolver
print(TLSTransport.__module__, QUICTransportConfig.__module__, DNSResolver.__module__)
"""
    assert run(program) == "libp2p.security.tls.transport libp2p.transport.quic.config multiaddr.resolvers.dns\n"


def test_import__of_the_overlay__looks_names_up_late():
    program = """
import node.adapters.libp2p
from libp2p.transport.tcp import tcp
print(tcp.DNSResolver.__name__)
"""
    assert run(program) == "LateResolver\n"


async def test_resolve__name_in_an_address__is_asked_for_and_put_in(monkeypatch: pytest.MonkeyPatch):
    async def serve(server: trio.socket.SocketType) -> None:
        while True:
            data, client = await server.recvfrom(512)
            asked = dns.message.from_wire(data)
            answer = dns.message.make_response(asked)
            answer.answer.append(dns.rrset.from_text(asked.question[0].name, 60, "IN", "A", "203.0.113.7"))
            await server.sendto(answer.to_wire(), client)

    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as server, trio.fail_after(PATIENCE_S):
        await server.bind(("127.0.0.1", 0))

        def here(resolver: BaseResolver, _file: str) -> None:
            resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]

        monkeypatch.setattr(BaseResolver, "read_resolv_conf", here)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, server)
            found = await LateResolver().resolve(Multiaddr("/dns4/node.example.org/tcp/4001"))
            nursery.cancel_scope.cancel()
    assert found == [Multiaddr("/ip4/203.0.113.7/tcp/4001")]


async def test_resolve__address_of_numbers__is_itself():
    address = Multiaddr("/ip4/127.0.0.1/tcp/1")
    assert await LateResolver().resolve(address) == [address]
