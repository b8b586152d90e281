"""Floods of connections and streams, by one and by many; and sockets that say nothing."""

import contextlib

import pytest
import trio

from node.adapters.libp2p import handshakes
from node.adapters.libp2p import transport as limits
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.host import swarm_of
from protocol.stake.standing import Standing
from tests.support.adversary import Adversary, adversary
from tests.support.overlay import Running, until
from tests.support.patience import PATIENCE_S, stopwatch
from tests.support.siege import siege


def _port(node: Running) -> int:
    return int(node.address.split("/")[4])


async def _knock(doors: contextlib.AsyncExitStack, victim: Running, number: int) -> None:
    """One more connection, if the victim takes it."""
    try:
        await doors.enter_async_context(adversary(victim, number))
    except* STREAM_ERRORS:
        pass


async def test_sockets__opened_and_silent__newcomers_still_served() -> None:
    async with siege(max_connections=32) as place:
        port = _port(place.victim)
        silent = [await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2") for _ in range(60)]
        newcomer = await place.place.start(3, Standing.MINER, [place.victim])
        await until(lambda: place.victim.connected_to(newcomer), "the newcomer", 3)
        await place.holds()
        for each in silent:
            await each.aclose()


async def test_sockets__half_a_handshake_a_byte_at_a_time__given_up_in_time() -> None:
    async with siege() as place:
        slow = await trio.open_tcp_stream("127.0.0.1", _port(place.victim))
        with stopwatch() as watch, contextlib.suppress(trio.BrokenResourceError), trio.fail_after(PATIENCE_S):
            for byte in b"\x13/multistream/1.0.0\n" * 10:
                await slow.send_all(bytes([byte]))
                with trio.move_on_after(0.25):
                    if await slow.receive_some() == b"":
                        break
        assert watch.seconds < 8
        await place.holds()
        await slow.aclose()


async def test_connections__as_fast_as_one_address_can__few_are_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "MIN_BURST", 8)
    async with siege(max_connections=8) as place:
        upgrades = 0
        parts = place.victim.transport._parts
        assert parts is not None
        swarm = swarm_of(parts.artifacts._host)
        upgrade = swarm.upgrade_inbound_raw_conn

        async def counted(*args: object) -> object:
            nonlocal upgrades
            upgrades += 1
            return await upgrade(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(swarm, "upgrade_inbound_raw_conn", counted)
        for _ in range(200):
            raw = await trio.open_tcp_stream("127.0.0.1", _port(place.victim))
            await raw.aclose()
        await trio.sleep(0.2)
        assert 1 <= upgrades < 60
        await place.holds()


async def test_connections__one_key_a_hundred_times__few_are_kept_and_newcomers_served() -> None:
    async with siege(max_connections=16) as place, contextlib.AsyncExitStack() as doors:
        for _ in range(20):
            await _knock(doors, place.victim, 666)
        newcomer = await place.place.start(3, Standing.MINER, [place.victim])
        await until(lambda: place.victim.connected_to(newcomer), "the newcomer")
        parts = place.victim.transport._parts
        assert parts is not None
        assert len(swarm_of(parts.artifacts._host).get_connections()) <= 16
        await place.holds()


async def test_connections__many_keys__strangers_get_half_and_the_staked_come_in() -> None:
    async with siege(max_connections=12) as place, contextlib.AsyncExitStack() as doors:
        for number in range(700, 724):
            await _knock(doors, place.victim, number)
        newcomer = await place.place.start(3, Standing.MINER, [place.victim])
        await until(lambda: place.victim.connected_to(newcomer), "the newcomer")
        parts = place.victim.transport._parts
        assert parts is not None
        strangers = [peer for peer in parts.peers.connected() if parts.peers.standing(peer) is Standing.STRANGER]
        assert len(strangers) <= 6
        await place.holds()


async def _storm(enemy: Adversary, times: int) -> None:
    """Open streams and reset them at once, below any protocol."""
    (connection,) = enemy.host.get_network().get_connections()
    for _ in range(times):
        try:
            stream = await connection.muxed_conn.open_stream()
            await stream.write(b"\x13/multistream/1.0.0\n")
            await stream.reset()
        except STREAM_ERRORS:
            return


async def test_streams__opened_and_reset_by_the_thousand__banned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS_BURST", 100)
    monkeypatch.setattr(limits, "STREAMS_PER_S", 20)
    async with siege() as place:
        async with place.enemy() as enemy:
            await _storm(enemy, 3000)
            await place.banned(enemy, "stream.flood")
        await place.holds()
