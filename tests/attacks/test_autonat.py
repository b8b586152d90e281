"""Peers that would have us dial others, or dial without an end; and what a node learns of its own reach."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from libp2p.host.autonat.pb.autonat_pb2 import Message
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p import RelayLimits, autonat
from node.adapters.libp2p.autonat import AUTONAT, MAX_MESSAGE_BYTES, write_question
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames
from node.adapters.libp2p.identity import to_libp2p
from node.adapters.libp2p.muxed_stream import muxed_of
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from tests.support.adversary import Adversary, adversary, varint
from tests.support.overlay import Running, overlay, peer_of, until
from tests.support.patience import PATIENCE_S


@asynccontextmanager
async def asked(standing: Standing = Standing.MINER) -> AsyncIterator[tuple[Running, Adversary]]:
    """A node that dials for others, and one that asks it to."""
    async with overlay() as place:
        victim = await place.start(1, Standing.BOOTSTRAP)
        if standing is not Standing.STRANGER:
            place.standings[peer_of(666)] = standing
        async with adversary(victim) as enemy:
            yield victim, enemy


async def asks(enemy: Adversary, *addresses: str) -> int:
    data = write_question(enemy.host.get_id(), [Multiaddr(address) for address in addresses])
    stream = await enemy.say(AUTONAT, varint(len(data)) + data)
    with trio.fail_after(PATIENCE_S):
        answer = Message.FromString(await VarintFrames(muxed_of(stream), MAX_MESSAGE_BYTES).read())
    assert answer.type == Message.DIAL_RESPONSE
    return answer.dialResponse.status


def own_address(enemy: Adversary) -> str:
    return str(enemy.host.get_addrs()[0]).partition("/p2p/")[0]


async def test_dial_back__where_the_asker_is__dialled_and_said() -> None:
    async with asked() as (_, enemy):
        assert await asks(enemy, own_address(enemy)) == Message.OK
        assert await asks(enemy, "/ip4/127.0.0.1/tcp/1") == Message.E_DIAL_ERROR


async def test_dial_back__somebody_else_at_another_address__not_dialled() -> None:
    async with asked() as (_, enemy):
        dialled: list[str] = []

        async def trap(stream: trio.SocketStream) -> None:
            dialled.append("trap")
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.3")
            nursery.start_soon(trio.serve_listeners, trap, listeners)
            port = listeners[0].socket.getsockname()[1]
            tricks = (f"/ip4/127.0.0.3/tcp/{port}", f"/dns4/localhost/tcp/{port}", f"/ip6/::ffff:127.0.0.3/tcp/{port}")
            assert await asks(enemy, *tricks) == Message.E_DIAL_REFUSED
            await trio.sleep(0.2)
            assert dialled == []
            nursery.cancel_scope.cancel()


async def test_dial_back__somebody_else_behind_the_same_address__is_not_the_asker() -> None:
    async with asked() as (victim, enemy):
        assert await asks(enemy, victim.address.partition("/p2p/")[0]) == Message.E_DIAL_ERROR


async def test_dial_back__stranger__refused() -> None:
    async with asked(Standing.STRANGER) as (_, enemy):
        assert await asks(enemy, own_address(enemy)) == Message.E_DIAL_REFUSED


async def test_dial_back__again_and_again__refused_after_a_few() -> None:
    async with asked() as (_, enemy):
        answers = [await asks(enemy, own_address(enemy)) for _ in range(6)]
        assert answers == [Message.OK] * autonat.BURST_DIALS + [Message.E_DIAL_REFUSED] * (6 - autonat.BURST_DIALS)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff",
        Message(type=Message.DIAL_RESPONSE).SerializeToString(),
        write_question(to_libp2p(peer_of(9)), []),
    ],
    ids=["garbage", "an_answer", "about_somebody_else"],
)
async def test_question__wrong_in_every_view__judged(data: bytes) -> None:
    async with asked() as (victim, enemy):
        stream = await enemy.say(AUTONAT, varint(len(data)) + data)
        with suppress(*STREAM_ERRORS):
            await stream.read(100)
        assert victim.rules_against(enemy.id) == ["autonat.malformed"]


async def test_reach__others_can_dial_it__known_as_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autonat, "FIRST_S", 0.2)
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP, service=RelayLimits())
        node = await place.start(2, Standing.COORDINATOR, [boot], asks_reach=True)
        await until(lambda: node.transport.reach == "public", "its reach")
        assert [note.fields["reach"] for note in node.journal.of(NoteName.REACH_KNOWN)] == ["public"]
        assert "p2p-circuit" not in node.address


async def test_reach__nobody_can_dial_it__reached_through_its_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autonat, "FIRST_S", 0.2)
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP, service=RelayLimits())
        # It is seen as 127.0.0.1, and does not listen there.
        node = await place.start(2, Standing.COORDINATOR, [boot], listen="/ip4/127.0.0.2/tcp/0", asks_reach=True)
        await until(lambda: node.transport.reach == "private", "its reach")
        await until(lambda: "p2p-circuit" in node.address, "its address at the relay")
        miner = await place.start(3, Standing.MINER, book=node.transport.addresses())
        await miner.work_with(node)
