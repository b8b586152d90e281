"""Evidence between real nodes: whole to whom it is shown, nothing to anybody else, and nobody is held up."""

import os
from contextlib import AsyncExitStack, suppress

import pytest
import trio
from libp2p.abc import INetStream

from node.adapters.libp2p import bundles as limits
from node.adapters.libp2p.bundles import BUNDLE
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.identity import to_libp2p
from protocol.errors import Unavailable
from protocol.justice.bundle import MAX_BUNDLE_BYTES, bundle_digest
from protocol.stake.standing import Standing
from protocol.units import Digest, PeerId
from tests.support.adversary import adversary
from tests.support.overlay import Overlay, Running, overlay, peer_of, until
from tests.support.patience import PATIENCE_S

DISPUTE = 2**200 + 7
DATA = os.urandom(600_000)
NAMED = bundle_digest(DATA)


class Shelf:
    """Shows one bundle to some peers."""

    def __init__(self, *shown_to: PeerId, data: bytes = DATA) -> None:
        self.shown_to = shown_to
        self.data = data
        self.asked: list[tuple[PeerId, int, Digest]] = []
        self.waits: set[PeerId] = set()
        """For whom the chain node takes for ever."""

    async def may_see(self, peer: PeerId, dispute: int, evidence: Digest) -> bool:
        self.asked.append((peer, dispute, evidence))
        if peer in self.waits:
            await trio.sleep_forever()
        return peer in self.shown_to

    async def bundle(self, peer: PeerId, dispute: int, evidence: Digest) -> bytes | None:
        assert peer in self.shown_to
        return self.data


async def pair(place: Overlay, standing: Standing = Standing.MINER) -> tuple[Running, Running]:
    reporter = await place.start(1, Standing.COORDINATOR)
    juror = await place.start(2, standing, [reporter])
    await until(lambda: reporter.connected_to(juror), "a connection")
    return reporter, juror


async def reason_of(juror: Running, peer: PeerId, evidence: Digest = NAMED) -> str:
    with pytest.raises(Unavailable) as raised:
        await juror.transport.fetch_bundle(peer, DISPUTE, evidence)
    return str(raised.value)


async def test_fetch__a_juror__gets_it_whole_and_can_ask_again() -> None:
    async with overlay() as place:
        reporter, juror = await pair(place)
        shelf = Shelf(juror.id)
        reporter.transport.serve_bundles(shelf)
        for _ in range(2):
            assert await juror.transport.fetch_bundle(reporter.id, DISPUTE, NAMED) == DATA
        assert shelf.asked == [(juror.id, DISPUTE, NAMED)] * 2
        assert reporter.rules_against(juror.id) == juror.rules_against(reporter.id) == []


async def test_fetch__nobody_shows_it_to_us_or_nobody_serves__is_not_shown() -> None:
    async with overlay() as place:
        reporter, juror = await pair(place)
        assert await reason_of(juror, reporter.id) in {"not_shown", "broken_off"}, "it serves none"
        reporter.transport.serve_bundles(Shelf())
        assert await reason_of(juror, reporter.id) == "not_shown"
        assert reporter.rules_against(juror.id) == []


async def test_fetch__reporter_shows_something_else__is_refused_and_held_against_it() -> None:
    async with overlay() as place:
        reporter, juror = await pair(place)
        reporter.transport.serve_bundles(Shelf(juror.id, data=b"another bundle for each juror"))
        assert await reason_of(juror, reporter.id) == "other_evidence"
        assert juror.rules_against(reporter.id) == ["bundle.digest"]


async def test_fetch__reporter_that_nobody_can_reach__says_so() -> None:
    async with overlay() as place:
        _, juror = await pair(place)
        with trio.fail_after(PATIENCE_S):
            assert await reason_of(juror, peer_of(9)) == "not_reached"


async def test_accept__stranger_asks__gets_nothing_and_the_shelf_never_hears() -> None:
    async with overlay() as place:
        reporter, _ = await pair(place)
        shelf = Shelf()
        reporter.transport.serve_bundles(shelf)
        async with adversary(reporter) as enemy:
            stream = await enemy.host.new_stream(to_libp2p(reporter.id), [BUNDLE])
            with suppress(*STREAM_ERRORS):  # it may be reset before
                await stream.write(DISPUTE.to_bytes(32, "big") + NAMED)
            await until(lambda: "bundle.unregistered" in reporter.rules_against(enemy.id), "the judgement")
        assert shelf.asked == []


async def test_accept__registered_peer_asks_a_second_time_meanwhile__gets_nothing_and_is_judged() -> None:
    async with overlay() as place:
        reporter, _ = await pair(place)
        shelf = Shelf()
        reporter.transport.serve_bundles(shelf)
        async with adversary(reporter) as enemy:
            reporter.gate.standings[enemy.id] = Standing.MINER
            first = await enemy.host.new_stream(to_libp2p(reporter.id), [BUNDLE])
            await first.write(b"half a question")
            parts = reporter.transport._parts
            assert parts is not None
            await until(lambda: bool(parts.bundles._of_peer), "the first one is heard")
            second = await enemy.host.new_stream(to_libp2p(reporter.id), [BUNDLE])
            with suppress(*STREAM_ERRORS):  # it may be reset before
                await second.write(DISPUTE.to_bytes(32, "big") + NAMED)
            await until(lambda: "bundle.too_many" in reporter.rules_against(enemy.id), "the judgement")
        assert shelf.asked == []


async def test_accept__juror_that_asks_nothing__is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUESTION_S", 0.3)
    async with overlay() as place:
        reporter, _ = await pair(place)
        shelf = Shelf()
        reporter.transport.serve_bundles(shelf)
        async with adversary(reporter) as enemy:
            reporter.gate.standings[enemy.id] = Standing.MINER
            stream = await enemy.host.new_stream(to_libp2p(reporter.id), [BUNDLE])
            await stream.write(b"half a question")
            parts = reporter.transport._parts
            assert parts is not None
            await until(lambda: not parts.bundles._of_peer, "its place is free", 5)
        assert shelf.asked == []


async def test_accept__registered_peers_that_are_no_jurors_stay__a_juror_gets_it_all_the_same() -> None:
    async with overlay() as place, AsyncExitStack() as enemies:
        reporter, juror = await pair(place)
        shelf = Shelf(juror.id)
        reporter.transport.serve_bundles(shelf)
        for number in range(limits.MAX_SERVED):
            enemy = await enemies.enter_async_context(adversary(reporter, 600 + number))
            reporter.gate.standings[enemy.id] = Standing.MINER
            stream = await enemy.host.new_stream(to_libp2p(reporter.id), [BUNDLE])
            await stream.write(DISPUTE.to_bytes(32, "big") + NAMED)
        await until(lambda: len(shelf.asked) == limits.MAX_SERVED, "all have asked")
        assert await juror.transport.fetch_bundle(reporter.id, DISPUTE, NAMED) == DATA


async def test_accept__many_registered_peers_hold_a_stream_and_ask_nothing__a_juror_gets_it_all_the_same() -> None:
    async with overlay() as place:
        reporter, juror = await pair(place)
        reporter.transport.serve_bundles(Shelf(juror.id))
        parts = reporter.transport._parts
        assert parts is not None
        parts.bundles._of_peer.update(peer_of(number) for number in range(100, 300))
        with trio.fail_after(4):
            assert await juror.transport.fetch_bundle(reporter.id, DISPUTE, NAMED) == DATA


async def test_accept__chain_node_is_slow_for_peers_that_are_no_jurors__a_juror_gets_it_all_the_same() -> None:
    async with overlay() as place, AsyncExitStack() as enemies:
        reporter, juror = await pair(place)
        shelf = Shelf(juror.id)
        reporter.transport.serve_bundles(shelf)
        for number in range(limits.MAX_SERVED):
            enemy = await enemies.enter_async_context(adversary(reporter, 600 + number))
            reporter.gate.standings[enemy.id] = Standing.MINER
            shelf.waits.add(enemy.id)
            stream = await enemy.host.new_stream(to_libp2p(reporter.id), [BUNDLE])
            await stream.write(DISPUTE.to_bytes(32, "big") + NAMED)
        await until(lambda: len(shelf.asked) == limits.MAX_SERVED, "all have asked")
        with trio.fail_after(5):
            assert await juror.transport.fetch_bundle(reporter.id, DISPUTE, NAMED) == DATA


@pytest.mark.parametrize("answer", [b"\x00\x10\x00\x00" + b"x" * 10, (MAX_BUNDLE_BYTES + 1).to_bytes(4, "big")])
async def test_fetch__reporter_that_promises_too_much_or_stops__costs_no_more_than_a_while(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STEP_S", 0.5)
    async with overlay() as place:
        _, juror = await pair(place)
        async with adversary(juror) as enemy:

            async def says(stream: INetStream) -> None:
                await stream.write(answer)
                await trio.sleep_forever()

            enemy.host.set_stream_handler(BUNDLE, says)
            with trio.fail_after(PATIENCE_S):
                assert await reason_of(juror, enemy.id) in {"broken_off", "too_large"}
