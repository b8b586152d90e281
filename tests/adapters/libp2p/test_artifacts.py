"""Artifacts between real nodes."""

import hashlib
import os

import pytest
import trio

from node.adapters.libp2p import artifacts as limits
from protocol.events import ArtifactReceived
from protocol.notes import NoteName
from protocol.params import MAX_ARTIFACT_BYTES
from protocol.stake.standing import Standing
from protocol.units import Digest, TaskId
from tests.support.overlay import Overlay, Running, overlay, until

TASK = TaskId(bytes(32))


def _send(node: Running, to: Running, data: bytes, digest: bytes | None = None) -> None:
    named = digest if digest is not None else hashlib.sha256(data).digest()
    node.transport.send_artifact(to.id, TASK, 1, Digest(named), data)


async def _pair(place: Overlay, standing: Standing = Standing.MINER) -> tuple[Running, Running]:
    coordinator = await place.start(1, Standing.COORDINATOR)
    miner = await place.start(2, standing, [coordinator])
    await until(lambda: coordinator.connected_to(miner), "a connection")
    return coordinator, miner


async def test_send_artifact__a_picture_and_the_largest__arrive_whole() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        for data in (os.urandom(1_500_000), os.urandom(1), bytes(MAX_ARTIFACT_BYTES)):
            coordinator.sink.events.clear()
            _send(miner, coordinator, data)
            await until(lambda: coordinator.sink.of(ArtifactReceived), "the artifact", 15)
            received = coordinator.sink.of(ArtifactReceived)
            assert received == [
                ArtifactReceived(miner.id, TASK, 1, Digest(hashlib.sha256(data).digest()), data),
            ]


async def test_send_artifact__twenty_at_once__all_arrive() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        sent = [os.urandom(100_000) for _ in range(20)]
        for data in sent:
            _send(miner, coordinator, data)
        await until(lambda: len(coordinator.sink.of(ArtifactReceived)) == 20, "twenty artifacts")
        assert {event.data for event in coordinator.sink.of(ArtifactReceived)} == set(sent)
        assert coordinator.rules_against(miner.id) == []


async def test_accept__digest_of_other_bytes__judged_and_not_posted() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator, b"one", hashlib.sha256(b"other").digest())
        await until(lambda: coordinator.rules_against(miner.id), "the judgement")
        assert coordinator.rules_against(miner.id) == ["artifact.digest"]
        assert coordinator.sink.of(ArtifactReceived) == []


async def test_accept__stranger__refused_and_judged() -> None:
    async with overlay() as place:
        coordinator, stranger = await _pair(place, Standing.STRANGER)
        _send(stranger, coordinator, b"one")
        await until(lambda: coordinator.rules_against(stranger.id), "the judgement")
        assert coordinator.rules_against(stranger.id) == ["artifact.unregistered"]
        assert coordinator.sink.of(ArtifactReceived) == []


async def test_accept__bytes_stop_coming__given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TRANSFER_S", 0.5)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        parts = miner.transport._parts
        assert parts is not None
        stream = await parts.artifacts._host.new_stream(_id(coordinator), [limits.ARTIFACT])
        header = limits.ArtifactHeader(task=TASK, attempt=0, digest=Digest(bytes(32)), size=1000)
        await stream.write(limits.frame(limits.encode(header)) + bytes(999))
        await until(lambda: coordinator.rules_against(miner.id), "the end of patience", 3)
        assert coordinator.rules_against(miner.id) == ["artifact.slow"]


def _id(node: Running) -> object:
    from node.adapters.libp2p.identity import to_libp2p

    return to_libp2p(node.id)


async def test_send_artifact__empty_or_nobody_there__dropped_and_noted() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator, b"")
        await coordinator.close()
        await until(lambda: not miner.connected_to(coordinator), "the end of the connection")
        _send(miner, coordinator, b"x")
        await until(lambda: len(miner.journal.of(NoteName.MESSAGE_DROPPED)) == 2, "two notes")
        assert miner.journal.of(NoteName.MESSAGE_DROPPED)[0].fields["reason"] == "artifact_empty"
        await trio.sleep(0)
