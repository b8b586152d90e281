"""Connections: joining, coming back, being shut out, being found frozen."""

import os
import signal
import subprocess
import sys

import pytest
import trio

from node.adapters.chain.devchain import free_port
from protocol.effects import Offence
from protocol.errors import ConfigError
from protocol.events import PeerDown, PeerUp
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from tests.support.overlay import Running, overlay, peer_of, until
from tests.support.patience import stopwatch


def _up(node: Running) -> list[str]:
    return [event.peer for event in node.sink.of(PeerUp)]


def _down(node: Running) -> list[str]:
    return [event.peer for event in node.sink.of(PeerDown)]


async def test_run__bootstrap_restarts__connected_again_and_told_in_order() -> None:
    port = free_port(0)
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP, listen=f"/ip4/127.0.0.1/tcp/{port}")
        node = await place.start(2, Standing.MINER, [boot])
        await until(lambda: _up(node) == [boot.id], "the first connection")
        await boot.close()
        await until(lambda: _down(node) == [boot.id], "the loss")
        assert [note.fields["reason"] for note in node.journal.of(NoteName.PEER_DOWN)] == ["lost"]
        await place.start(1, Standing.BOOTSTRAP, listen=f"/ip4/127.0.0.1/tcp/{port}")
        await until(lambda: _up(node) == [boot.id, boot.id], "the second connection")
        assert [type(event) for event in node.sink.events] == [PeerUp, PeerDown, PeerUp]


async def test_run__bootstrap_not_there_yet__noted_and_joined_later() -> None:
    port = free_port(0)
    async with overlay() as place:
        node = await place.start(2, Standing.MINER, [f"/ip4/127.0.0.1/tcp/{port}/p2p/{_boot_id()}"])
        await until(lambda: node.journal.of(NoteName.PEER_UNREACHABLE), "the note")
        assert node.journal.of(NoteName.PEER_UNREACHABLE)[0].fields["reason"] == "all_bootstraps_down"
        boot = await place.start(1, Standing.BOOTSTRAP, listen=f"/ip4/127.0.0.1/tcp/{port}")
        await until(lambda: _up(node) == [boot.id], "the connection")
        await until(lambda: node.book.kept == [boot.address], "the address is kept once")


def _boot_id() -> str:
    return peer_of(1)


async def test_run__bootstraps_dead__joins_by_the_address_book() -> None:
    async with overlay() as place:
        other = await place.start(3, Standing.MINER)
        dead = f"/ip4/127.0.0.1/tcp/{free_port(0)}/p2p/{_boot_id()}"
        node = await place.start(2, Standing.MINER, [dead], book=["garbage", other.address])
        await until(lambda: _up(node) == [other.id], "the connection")


async def test_run__dialled_by_a_registered_peer__keeps_its_address_for_the_day_when_no_bootstrap_answers() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        node = await place.start(2, Standing.MINER, [boot])
        other = await place.start(3, Standing.COORDINATOR, [boot])
        other.transport.connect(node.id)
        await until(lambda: node.connected_to(other), "the other dials the node")
        await until(lambda: other.address in node.book.kept, "its address is kept")
        book, dead = list(node.book.kept), boot.address
        await boot.close()
        await node.close()
        again = await place.start(2, Standing.MINER, [dead], book=book)
        await until(lambda: again.connected_to(other), "the node finds the other by its own book")


async def test_connect__known_from_the_address_book__peer_up_once() -> None:
    async with overlay() as place:
        other = await place.start(3, Standing.MINER)
        node = await place.start(2, Standing.MINER, book=[other.address])
        await trio.sleep(0.05)
        for _ in range(3):
            node.transport.connect(other.id)
        await until(lambda: _up(node) == [other.id] and _up(other) == [node.id], "the connection")


async def test_judge_peer__credit_spent__cut_and_refused() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        node = await place.start(2, Standing.MINER, [boot])
        await until(lambda: _up(boot) == [node.id], "a connection")
        for _ in range(Offence.GRAVE.value - 1):
            boot.transport.judge_peer(node.id, Offence.GRAVE, "test.rule")
        await trio.sleep(0.1)
        assert boot.connected_to(node)
        boot.transport.judge_peer(node.id, Offence.GRAVE, "test.rule")
        await until(lambda: _down(boot) == [node.id], "the cut")
        assert [note.fields["peer"] for note in boot.journal.of(NoteName.PEER_BANNED)] == [node.id]
        assert [note.fields["reason"] for note in boot.journal.of(NoteName.PEER_DOWN)] == ["banned"]
        await trio.sleep(1.0)
        assert _up(boot) == [node.id]
        boot.transport.connect(node.id)
        await until(lambda: boot.journal.of(NoteName.PEER_UNREACHABLE), "the refusal to dial")


async def test_judge_peer__neither_registered_nor_connected__no_account_is_opened() -> None:
    async with overlay() as place:
        node = await place.start(1, Standing.COORDINATOR)
        away = await place.start(2, Standing.MINER)
        guest = await place.start(3, Standing.STRANGER, [node])
        await until(lambda: node.connected_to(guest), "the guest")
        parts = node.transport._parts
        assert parts is not None
        for number in range(50, 60):
            node.transport.judge_peer(peer_of(number), Offence.GRAVE, "test.rule")
        assert len(parts.peers._ledger) == 0
        for known in (away, guest):
            node.transport.judge_peer(known.id, Offence.GRAVE, "test.rule")
        assert len(parts.peers._ledger) == 2


async def test_on_connected__too_many_strangers__staked_peers_still_come_in() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP, max_connections=8)
        for number in range(20, 28):
            await place.start(number, Standing.STRANGER, [boot])
        await until(lambda: len(set(_up(boot))) >= 4, "strangers")
        miner = await place.start(2, Standing.MINER, [boot])
        await until(lambda: miner.id in _up(boot), "the miner")
        await trio.sleep(0.5)
        parts = boot.transport._parts
        assert parts is not None
        connected = parts.peers.connected()
        assert miner.id in connected
        assert len(connected) <= 5


async def test_run__port_in_use__config_error_names_the_field() -> None:
    async with overlay() as place:
        node = await place.start(1)
        taken = node.address.partition("/p2p/")[0]
        with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="listen: .* is in use"), flatten_subgroups=True):
            async with overlay() as other:
                await other.start(2, listen=taken)


FROZEN = """
import sys
import trio
from protocol.stake.standing import Standing
from tests.support.overlay import overlay, peer_of

async def main():
    async with overlay() as place:
        place.standings[peer_of(1)] = Standing.COORDINATOR
        node = await place.start(2, Standing.MINER)
        print(node.address, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize(("stop", "limit"), [(signal.SIGSTOP, 4.5), (signal.SIGKILL, 1.5)])
async def test_watch__process_stopped_or_killed__peer_down_in_time(stop: signal.Signals, limit: float) -> None:
    with subprocess.Popen([sys.executable, "-c", FROZEN], stdout=subprocess.PIPE, cwd=os.getcwd()) as child:  # noqa: PTH109
        try:
            assert child.stdout is not None
            address = (await trio.to_thread.run_sync(child.stdout.readline)).decode().strip()
            async with overlay() as place:
                place.standings[peer_of(2)] = Standing.MINER
                node = await place.start(1, Standing.COORDINATOR, book=[address])
                node.transport.open_stream(peer_of(2))
                await until(lambda: len(node.sink.events) >= 2, "the work stream")
                await trio.sleep(1.2)
                with stopwatch() as watch:
                    child.send_signal(stop)
                    await until(lambda: _down(node), "PeerDown")
                    assert watch.seconds < limit
        finally:
            child.kill()
