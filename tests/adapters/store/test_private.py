"""What a node keeps is for its own user: prompts and pictures are in it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.adapters.store import SqliteStore
from node.adapters.store.small_artifacts import SMALL_BYTES
from tests.support.clock import HandClock
from tests.support.records import accepted, picture


@pytest.fixture(autouse=True)
def careless_user() -> Iterator[None]:
    """Somebody whose files everybody may read, if nobody says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("is_there", [True, False], ids=["folder is there", "folder is made"])
async def test_opened__under_a_user_who_lets_everybody_read__lets_nobody_else_read(
    tmp_path: Path, is_there: bool
) -> None:
    folder = tmp_path / "data"
    if is_there:
        folder.mkdir(mode=0o755)
    store = SqliteStore(folder, HandClock())
    async with store.opened():
        await store.persist((accepted(1), picture(b"x" * (SMALL_BYTES + 1))))
        found = [path for path in folder.rglob("*") if path.is_file()]
        closed = {path for path in folder.rglob("*") if path.is_dir() and not stat.S_IMODE(path.stat().st_mode) & 0o077}
        assert {"store.sqlite", "store.sqlite-wal"} <= {path.name for path in found}
        assert [path.name for path in found if path.parent in closed], "the picture lies in a folder of its own"
        for path in found:
            is_private = not stat.S_IMODE(path.stat().st_mode) & 0o077
            assert is_private or path.parent in closed, path
        if not is_there:
            assert not stat.S_IMODE(folder.stat().st_mode) & 0o077
