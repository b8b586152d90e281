"""Fingerprints of pictures on a miner's disk: what of them a new run takes up."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.adapters.store import SqliteStore, steps
from protocol.roles.miner.kept_steps import MOST_BYTES
from protocol.task.fingerprint import FINGERPRINT_BYTES, MAX_STEPS
from protocol.units import StakingId
from tests.support.clock import HandClock
from tests.support.records import steps_kept


async def test_load__steps_of_more_pictures_than_a_miner_has_in_memory__gives_the_latest_and_no_more(
    tmp_path: Path,
) -> None:
    longest = bytes(MAX_STEPS * FINGERPRINT_BYTES)
    room = MOST_BYTES // len(longest)
    written = tuple(replace(steps_kept(number), fingerprints=longest) for number in range(room + 50))
    store = SqliteStore(tmp_path, HandClock())
    async with store.opened():
        await store.persist(written)
        assert await store.load() == written[-room:]


async def test_persist__steps_of_more_pictures_than_are_kept__the_oldest_go_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "MOST_PICTURES", 3)
    written = tuple(steps_kept(number) for number in range(5))
    store = SqliteStore(tmp_path, HandClock())
    async with store.opened():
        for record in written:
            await store.persist((record,))
        assert await store.load() == written[-3:]


async def test_load__many_later_pictures_of_more_steps_or_of_another_coordinator__take_no_other_steps_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, longest = tuple(steps_kept(number) for number in range(3)), bytes(MAX_STEPS * FINGERPRINT_BYTES)
    for changes, stay in (({"fingerprints": longest}, 5), ({"coordinator": StakingId(99)}, 3)):
        flood = tuple(replace(steps_kept(number), **changes) for number in range(10, 20))  # type: ignore[arg-type]
        monkeypatch.setattr(steps, "MOST_BYTES", 6 * len(flood[0].fingerprints))
        store = SqliteStore(tmp_path / str(stay), HandClock())
        async with store.opened():
            await store.persist((*usual, *flood))
            assert await store.load() == (*usual, *flood[-stay:])
