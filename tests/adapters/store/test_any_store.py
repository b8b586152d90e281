"""What every store promises, checked on the real one and on the one in memory alike."""

from pathlib import Path

import pytest

from node.adapters.memory.store import MemoryStore
from node.adapters.store import SqliteStore
from node.ports import Store
from protocol.records import BootStarted, ResultSettled
from protocol.units import UnixMillis
from tests.support.clock import HandClock
from tests.support.records import (
    NOW,
    accepted,
    awarded,
    claim,
    committed,
    done,
    failed,
    held,
    issued,
    picture,
    task_id,
)


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path: Path) -> Store:
    return SqliteStore(tmp_path, HandClock()) if request.param == "sqlite" else MemoryStore()


async def test_load__second_run__gives_what_is_unfinished(store: Store):
    kept = (BootStarted(5), accepted(1, key="k"), awarded(1, 0), awarded(1, 1), issued(10, 1), committed(3), held(7, 2))
    async with store.opened():
        await store.persist(kept)
        await store.persist((accepted(2), accepted(4), claim(3)))
        await store.persist((failed(2), done(4)))
    async with store.opened():
        restored = await store.load()
    assert set(kept) <= set(restored)
    assert done(4) in restored
    assert not {accepted(2), accepted(4), failed(2)} & set(restored)


async def test_persist__second_end__raises_and_the_first_stands(store: Store):
    async with store.opened():
        await store.persist((accepted(1),))
        await store.persist((done(1, receipt=b"first"),))
        for second in (done(1, receipt=b"second"), failed(1)):
            with pytest.raises(ValueError, match="ended"):
                await store.persist((accepted(2), second))
        found = await store.task(task_id(1))
        assert found is not None
        assert (found.done, found.failed) == (done(1, receipt=b"first"), None)
        assert await store.task(task_id(2)) is None


async def test_persist__settled_result__is_not_restored(store: Store):
    async with store.opened():
        await store.persist((claim(1), committed(1), claim(2), committed(2)))
        await store.persist((ResultSettled(committed(1).award), ResultSettled(committed(9).award)))
        restored = await store.load()
    assert committed(2) in restored
    assert committed(1) not in restored


async def test_persist__receipts_in_any_order__keeps_the_highest_voucher_and_the_highest_sum(store: Store):
    async with store.opened():
        await store.persist((held(20, 2, earned=12),))
        await store.persist((held(9, 1, earned=20),))
        await store.persist((held(20, 2, earned=15),))
    async with store.opened():
        assert await store.load() == (held(20, 2, earned=20),)


async def test_find__by_id_key_and_digest__or_nothing(store: Store):
    async with store.opened():
        await store.persist((accepted(1, key="k"), picture(b"abc")))
        by_id, by_key = await store.task(task_id(1)), await store.task_by_key("k")
        assert by_id is not None
        assert by_id == by_key
        assert by_id.accepted == accepted(1, key="k")
        assert await store.artifact(picture(b"abc").digest) == b"abc"
        assert await store.task(task_id(2)) is None
        assert await store.task_by_key("other") is None
        assert await store.artifact(picture(b"other").digest) is None


async def test_addresses__seen_again__latest_first(store: Store):
    async with store.opened():
        for moment, address in enumerate(("/a", "/b", "/a")):
            await store.remember_address(address, UnixMillis(NOW + moment))
        assert await store.addresses() == ("/a", "/b")


async def test_addresses__word_of_an_older_moment__does_not_make_an_address_older(store: Store):
    async with store.opened():
        for address, moment in (("/a", 30), ("/b", 20), ("/a", 10)):
            await store.remember_address(address, UnixMillis(NOW + moment))
        assert await store.addresses() == ("/a", "/b")
