"""Artifacts between real nodes."""

import contextlib
import hashlib
import os

import pytest
import trio
import trio.testing
from libp2p.abc import INetStream

from node.adapters.libp2p import artifacts as limits
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.identity import to_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from protocol.events import ArtifactReceived
from protocol.notes import NoteName
from protocol.params import MAX_ARTIFACT_BYTES
from protocol.stake.standing import Standing
from protocol.units import Digest, PeerId, TaskId
from tests.support.adversary import adversary
from tests.support.overlay import Overlay, Running, overlay, until

TASK = TaskId(bytes(32))


def _send(node: Running, to: PeerId, data: bytes, digest: bytes | None = None, attempt: int = 1) -> None:
    named = digest if digest is not None else hashlib.sha256(data).digest()
    node.transport.send_artifact(to, TASK, attempt, Digest(named), data)


def _dropped(node: Running) -> list[str | int]:
    return [note.fields["reason"] for note in node.journal.of(NoteName.MESSAGE_DROPPED)]


def _ignored(node: Running) -> list[str | int]:
    return [note.fields["rule"] for note in node.journal.of(NoteName.MESSAGE_IGNORED)]


async def _pair(place: Overlay, standing: Standing = Standing.MINER) -> tuple[Running, Running]:
    coordinator = await place.start(1, Standing.COORDINATOR)
    miner = await place.start(2, standing, [coordinator])
    await until(lambda: coordinator.connected_to(miner), "a connection")
    return coordinator, miner


async def test_send_artifact__a_picture_and_the_largest__arrive_whole() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        for number, data in enumerate((os.urandom(1_500_000), os.urandom(1), bytes(MAX_ARTIFACT_BYTES))):
            coordinator.sink.events.clear()
            _send(miner, coordinator.id, data, attempt=number)
            await until(lambda: coordinator.sink.of(ArtifactReceived), "the artifact", 15)
            received = coordinator.sink.of(ArtifactReceived)
            assert received == [
                ArtifactReceived(miner.id, TASK, number, Digest(hashlib.sha256(data).digest()), data),
            ]


async def test_send_artifact__as_many_as_may_wait__all_arrive_and_the_next_is_dropped() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        most = limits.MAX_SENDING_PER_PEER + limits.MAX_WAITING_PER_PEER
        sent = [os.urandom(100_000 if number % 2 else 1_000_000) for number in range(most)]
        for number, data in enumerate([*sent, b"one too many"]):
            _send(miner, coordinator.id, data, attempt=number)
        await until(lambda: len(coordinator.sink.of(ArtifactReceived)) == most, "all that may wait")
        assert {event.data for event in coordinator.sink.of(ArtifactReceived)} == set(sent)
        assert coordinator.rules_against(miner.id) == []
        assert _dropped(miner) == ["artifact_queue_full"]


async def test_send_artifact__source_and_mask_of_one_attempt__both_reach_the_miner() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        sent = [os.urandom(2_000_000), os.urandom(90_000)]
        for data in sent:
            _send(coordinator, miner.id, data)
        await until(lambda: len(miner.sink.of(ArtifactReceived)) == 2, "both pictures", 15)
        assert {event.data for event in miner.sink.of(ArtifactReceived)} == set(sent)
        assert {(event.peer, event.attempt) for event in miner.sink.of(ArtifactReceived)} == {(coordinator.id, 1)}
        assert _dropped(coordinator) == []


async def test_send_artifact__same_attempt_while_it_is_on_its_way__sent_once() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        for _ in range(3):
            _send(miner, coordinator.id, b"picture")
        await until(lambda: coordinator.sink.of(ArtifactReceived), "the artifact")
        await until(lambda: not _sending(miner), "the end of the transfer")
        assert _dropped(miner) == ["artifact_on_its_way"] * 2
        _send(miner, coordinator.id, b"picture")
        await until(lambda: len(coordinator.sink.of(ArtifactReceived)) == 2, "the artifact again, once it had ended")


def _sending(node: Running) -> int:
    parts = node.transport._parts
    assert parts is not None
    return parts.artifacts._sending


@pytest.mark.parametrize("says_go", [False, True])
async def test_send_artifact__reader_that_takes_nothing__given_up_and_nobody_else_waits(
    monkeypatch: pytest.MonkeyPatch, says_go: bool
) -> None:
    monkeypatch.setattr(limits, "WRITE_S", 0.7)
    monkeypatch.setattr(limits, "PLACE_S", 0.7)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        async with adversary(miner) as enemy:

            async def never_reads(stream: INetStream) -> None:
                if says_go:
                    await stream.write(limits.GO)
                await trio.sleep_forever()

            enemy.host.set_stream_handler(limits.ARTIFACT, never_reads)
            for number in range(limits.MAX_SENDING):
                _send(miner, enemy.id, bytes(1_000_000), attempt=number)
            assert set(_dropped(miner)) == {"artifact_queue_full"}
            _send(miner, coordinator.id, b"for the honest")
            await until(lambda: coordinator.sink.of(ArtifactReceived), "the delivery to the honest", 3)
            await until(lambda: "TooSlowError" in _dropped(miner), "the end of patience", 5)


UPSTREAM_WINDOW_S = 5.0
"""How long (s) yamux lets a write wait for a window."""


async def test_send_artifact__large_and_no_place_for_longer_than_upstream_waits__arrives_at_the_first_try() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        parts = coordinator.transport._parts
        assert parts is not None
        holders = [object() for _ in range(limits.MAX_RECEIVING)]
        for holder in holders:
            parts.artifacts._receiving.acquire_on_behalf_of_nowait(holder)
        data = os.urandom(1_500_000)
        _send(miner, coordinator.id, data)
        await until(lambda: coordinator.gate.asked, "the header")
        await trio.sleep(UPSTREAM_WINDOW_S + 1)
        assert coordinator.sink.of(ArtifactReceived) == []
        parts.artifacts._receiving.release_on_behalf_of(holders[0])
        await until(lambda: coordinator.sink.of(ArtifactReceived), "the artifact", 3)
        assert coordinator.sink.of(ArtifactReceived)[0].data == data
        assert _dropped(miner) == []
        assert coordinator.rules_against(miner.id) == []


async def test_send_artifact__large_and_never_a_place__left_in_time_and_may_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PLACE_S", 0.3)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        parts = coordinator.transport._parts
        assert parts is not None
        holders = [object() for _ in range(limits.MAX_RECEIVING)]
        for holder in holders:
            parts.artifacts._receiving.acquire_on_behalf_of_nowait(holder)
        _send(miner, coordinator.id, bytes(1_500_000))
        await until(lambda: _dropped(miner) == ["TooSlowError"], "the end of patience", 3)
        parts.artifacts._receiving.release_on_behalf_of(holders[0])
        await until(lambda: not _sending(miner), "the end of the first try")
        _send(miner, coordinator.id, bytes(1_500_000))
        await until(lambda: coordinator.sink.of(ArtifactReceived), "the artifact", 3)
        assert coordinator.rules_against(miner.id) == []


async def test_send_artifact__large_and_not_wanted__no_byte_of_it_is_sent() -> None:
    async with overlay() as place:
        _, miner = await _pair(place)
        async with adversary(miner) as enemy:
            place.standings[enemy.id] = Standing.COORDINATOR
            heard = bytearray()

            async def closes(stream: INetStream) -> None:
                heard.extend(await stream.read(1_000_000))
                await stream.close()

            enemy.host.set_stream_handler(limits.ARTIFACT, closes)
            _send(miner, enemy.id, bytes(1_500_000))
            await until(lambda: _dropped(miner) == ["EOFError"], "the refusal", 3)
            assert 0 < len(heard) < 1000


async def test_accept__digest_of_other_bytes__judged_and_not_posted() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator.id, b"one", hashlib.sha256(b"other").digest())
        await until(lambda: coordinator.rules_against(miner.id), "the judgement")
        assert coordinator.rules_against(miner.id) == ["artifact.digest"]
        assert coordinator.sink.of(ArtifactReceived) == []


async def test_accept__stranger__refused_and_judged() -> None:
    async with overlay() as place:
        coordinator, stranger = await _pair(place, Standing.STRANGER)
        _send(stranger, coordinator.id, b"one")
        await until(lambda: coordinator.rules_against(stranger.id), "the judgement")
        assert coordinator.rules_against(stranger.id) == ["artifact.unregistered"]
        assert coordinator.sink.of(ArtifactReceived) == []


async def test_accept__bytes_stop_coming__given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STEP_S", 0.5)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        await _say(miner, coordinator, size=1000, body=bytes(999))
        await until(lambda: coordinator.rules_against(miner.id), "the end of patience", 3)
        assert coordinator.rules_against(miner.id) == ["artifact.slow"]


async def test_accept__header_never_comes__given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEADER_S", 0.3)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        await (await _open(miner, coordinator)).write(b"\x00")
        await until(lambda: coordinator.rules_against(miner.id), "the end of patience", 3)
        assert coordinator.rules_against(miner.id) == ["artifact.slow"]


async def test_accept__headers_without_bodies__free_their_places_and_the_waiting_is_not_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "STEP_S", 0.6)
    monkeypatch.setattr(limits, "MAX_RECEIVING", 2)
    async with overlay() as place:
        coordinator, liar = await _pair(place)
        honest = await place.start(3, Standing.MINER, [coordinator])
        await until(lambda: coordinator.connected_to(honest), "the honest connection")
        for number in range(4):
            await _say(liar, coordinator, size=1000, attempt=number)
        await until(lambda: len(coordinator.gate.asked) >= 4, "the headers")
        _send(honest, coordinator.id, b"picture")
        await until(lambda: coordinator.sink.of(ArtifactReceived), "the honest artifact", 4)
        assert coordinator.rules_against(honest.id) == []
        await until(lambda: coordinator.rules_against(liar.id) == ["artifact.slow"] * 4, "the judgement of the liar", 4)


async def test_accept__one_peer__never_takes_more_than_its_places() -> None:
    async with overlay() as place:
        coordinator, liar = await _pair(place)
        parts = coordinator.transport._parts
        assert parts is not None
        for number in range(6):
            await _say(liar, coordinator, size=1000, attempt=number)
        await until(lambda: len(coordinator.gate.asked) >= 6 + limits.MAX_RECEIVING_PER_PEER, "the headers")
        assert parts.artifacts._receiving.borrowed_tokens == limits.MAX_RECEIVING_PER_PEER


async def test_accept__more_streams_than_a_peer_may_have__judged_and_reset() -> None:
    async with overlay() as place:
        coordinator, liar = await _pair(place)
        for _ in range(limits.MAX_STREAMS_PER_PEER):
            await (await _open(liar, coordinator)).write(b"\x00")
        await trio.sleep(0.2)
        assert coordinator.rules_against(liar.id) == []
        with contextlib.suppress(*STREAM_ERRORS):  # it may be reset before it is open on this side
            await _open(liar, coordinator)
        await until(lambda: coordinator.rules_against(liar.id), "the judgement", 3)
        assert coordinator.rules_against(liar.id) == ["artifact.too_many"]


async def test_accept__not_expected__reset_unread_and_not_judged() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        coordinator.gate.expects = False
        _send(miner, coordinator.id, bytes(2_000_000))
        await until(lambda: _dropped(miner), "the sender's notice")
        assert coordinator.gate.asked == [(miner.id, TASK, 1, 2_000_000)]
        assert _ignored(coordinator) == ["artifact.unexpected"]
        assert coordinator.rules_against(miner.id) == []
        assert coordinator.sink.of(ArtifactReceived) == []


async def test_accept__not_expected_again_and_again__judged_beyond_what_lateness_explains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "UNEXPECTED_PER_MINUTE", 3)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        coordinator.gate.expects = False
        for number in range(4):
            assert coordinator.rules_against(miner.id) == []
            await _say(miner, coordinator, size=1000, attempt=number)
            await until(lambda expected=number + 1: len(_ignored(coordinator)) == expected, "the refusal")
        assert coordinator.rules_against(miner.id) == ["artifact.unexpected"]


async def _open(node: Running, to: Running) -> INetStream:
    parts = node.transport._parts
    assert parts is not None
    return await parts.artifacts._host.new_stream(to_libp2p(to.id), [limits.ARTIFACT])


async def _say(node: Running, to: Running, *, size: int, body: bytes = b"", attempt: int = 0) -> None:
    header = limits.ArtifactHeader(task=TASK, attempt=attempt, digest=Digest(bytes(32)), size=size)
    await (await _open(node, to)).write(limits.frame(limits.encode(header)) + body)


async def test_send_artifact__empty_or_nobody_there__dropped_and_noted() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator.id, b"")
        await coordinator.close()
        await until(lambda: not miner.connected_to(coordinator), "the end of the connection")
        _send(miner, coordinator.id, b"x")
        await until(lambda: len(_dropped(miner)) == 2, "two notes")
        assert _dropped(miner)[0] == "artifact_empty"


def _streams(node: Running, to: Running) -> int:
    parts = node.transport._parts
    assert parts is not None
    connections = parts.peers._swarm.get_connections(to_libp2p(to.id))
    return sum(stream.get_protocol() == limits.ARTIFACT for each in connections for stream in each.get_streams())


async def test_send_artifact__one_after_another__on_one_stream() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        for number in range(5):
            _send(miner, coordinator.id, os.urandom(20_000), attempt=number)
            await until(lambda expected=number + 1: len(coordinator.sink.of(ArtifactReceived)) == expected, "a picture")
            await until(lambda: not _sending(miner), "the word that it is taken")
            assert _streams(miner, coordinator) == 1


def _kept(node: Running, to: Running) -> MuxedStream:
    """Give the stream that waits for the next artifact."""
    parts = node.transport._parts
    assert parts is not None
    ((_, stream),) = parts.artifacts._kept[to.id]
    return muxed_of(stream)


async def test_send_artifact__small_and_a_stream_is_kept__is_on_its_way_at_once() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator.id, b"picture")
        await until(lambda: not _sending(miner), "the word that it is taken")
        stream = _kept(miner, coordinator)
        before = stream.send_window
        _send(miner, coordinator.id, bytes(1000), attempt=2)
        assert before - stream.send_window > 1000, "no turn of the event loop was needed"
        await until(lambda: len(coordinator.sink.of(ArtifactReceived)) == 2, "the second picture")
        await until(lambda: not _sending(miner), "the word that it is taken")
        assert _kept(miner, coordinator) is stream


async def test_send_artifact__small_ones_in_a_row__follow_each_other_unanswered_on_one_stream() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator.id, b"picture")
        await until(lambda: not _sending(miner), "a kept stream")
        for number in range(2, 22):
            _send(miner, coordinator.id, bytes([number]) * 3000, attempt=number)
        assert not _sending(miner)
        await until(lambda: len(coordinator.sink.of(ArtifactReceived)) == 21, "all of them")
        assert [event.attempt for event in coordinator.sink.of(ArtifactReceived)] == [1, *range(2, 22)]
        assert _streams(miner, coordinator) == 1
        assert not _kept(miner, coordinator).unread()


async def test_accept__small_and_not_expected__passed_over_and_the_next_is_taken() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        coordinator.gate.expects = False
        _send(miner, coordinator.id, bytes(limits.STEP_BYTES))
        await until(lambda: _ignored(coordinator) == ["artifact.unexpected"] and not _sending(miner), "the refusal")
        coordinator.gate.expects, stream = True, _kept(miner, coordinator)
        _send(miner, coordinator.id, b"expected", attempt=2)
        await until(lambda: coordinator.sink.of(ArtifactReceived), "the next one")
        assert [event.attempt for event in coordinator.sink.of(ArtifactReceived)] == [2]
        assert _kept(miner, coordinator) is stream
        assert coordinator.rules_against(miner.id) == []


async def test_accept__small_not_expected_and_never_whole__stream_ended_and_nobody_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "STEP_S", 0.3)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        coordinator.gate.expects = False
        await _say(miner, coordinator, size=1000, body=bytes(999))
        await until(lambda: _ignored(coordinator) == ["artifact.unexpected"], "the refusal")
        await until(lambda: _streams(coordinator, miner) == 0, "the end of the stream")
        assert coordinator.rules_against(miner.id) == []


async def test_send_artifact__kept_stream_has_no_room__is_sent_once_it_has() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator.id, b"picture")
        await until(lambda: not _sending(miner), "the word that it is taken")
        stream = _kept(miner, coordinator)
        room, stream.send_window = stream.send_window, 0
        _send(miner, coordinator.id, bytes(1000), attempt=2)
        assert stream.send_window == 0
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(coordinator.sink.of(ArtifactReceived)) == 1
        stream.granted(room)
        await until(lambda: len(coordinator.sink.of(ArtifactReceived)) == 2, "the second picture")


async def test_send_artifact__kept_stream_unused_for_long__is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_S", 0.1)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        for number in range(2):
            _send(miner, coordinator.id, b"picture", attempt=number)
            await until(lambda expected=number + 1: len(coordinator.sink.of(ArtifactReceived)) == expected, "a picture")
            await trio.sleep(0.2)
        await until(lambda: _streams(miner, coordinator) == 1, "the end of the first stream")


async def test_accept__no_further_header__stream_ended_and_nobody_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDLE_S", 0.1)
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator.id, b"picture")
        await until(lambda: coordinator.sink.of(ArtifactReceived), "the picture")
        await until(lambda: _streams(coordinator, miner) == 0, "the end of the stream")
        assert coordinator.rules_against(miner.id) == []


async def test_send_artifact__after_the_connection_was_lost__on_a_new_stream() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        _send(miner, coordinator.id, b"picture")
        await until(lambda: coordinator.sink.of(ArtifactReceived) and not _sending(miner), "the picture")
        parts = miner.transport._parts
        assert parts is not None
        parts.peers.disconnect(coordinator.id, "test")
        await until(lambda: not miner.connected_to(coordinator), "the end of the connection")
        await until(lambda: not coordinator.connected_to(miner), "the end of its other end")
        _send(miner, coordinator.id, b"another", attempt=2)
        await until(lambda: len(coordinator.sink.of(ArtifactReceived)) == 2, "the second picture", 10)
