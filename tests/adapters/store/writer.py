"""A process that accepts tasks for ever and says so only after each is on disk. Killed by its test."""

import sys
from pathlib import Path

import trio

from node.adapters.store import SqliteStore
from tests.support.clock import HandClock
from tests.support.records import accepted, picture


async def main(folder: Path) -> None:
    store = SqliteStore(folder, HandClock())
    async with store.opened():
        number = 0
        while True:
            number += 1
            await store.persist((accepted(number), picture(b"picture %d" % number)))
            print(number, flush=True)


trio.run(main, Path(sys.argv[1]))
