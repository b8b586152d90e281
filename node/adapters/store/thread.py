"""The one thread that touches the disk, and how work gets there and its outcome back.

``trio.to_thread`` names, limits and hands on a context for any work, and wakes the event loop by a task of its own:
110 us for each hop, of which a task of the network takes some six. This takes half of it.
"""

import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Final, TypeVar, final

import trio

Answer = TypeVar("Answer")

_DONE: Final = b"\0"
"""What the thread writes when a piece of work is over."""


@final
class StoreThread:
    """Does work one piece after another, in the order in which it was asked for."""

    def __init__(self) -> None:
        """Start the thread; ``stop`` ends it."""
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._turn = trio.Lock()
        self._done, self._tell_done = os.pipe()
        self._thread = Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Do this after all that was asked for before; gives, or raises, what it does.

        Cancellation is taken before the work begins, and never once it has.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._turn.acquire_nowait()  # to wait for it would cost a turn of the event loop even where it is free
        except trio.WouldBlock:
            await self._turn.acquire()
        answers: list[Answer] = []
        errors: list[BaseException] = []

        def do() -> None:
            try:
                answers.append(work())
            except BaseException as error:  # noqa: BLE001  # whatever it is, it belongs to who asked
                errors.append(error)

        try:
            self._asked.put(do)
            with trio.CancelScope(shield=True):
                await trio.lowlevel.wait_readable(self._done)
            os.read(self._done, len(_DONE))
        finally:
            self._turn.release()
        if errors:
            raise errors[0]
        return answers[0]

    def stop(self) -> None:
        """End the thread once it has done what it was asked for."""
        self._asked.put(None)
        self._thread.join()
        os.close(self._done)
        os.close(self._tell_done)

    def _work(self) -> None:
        while (do := self._asked.get()) is not None:
            do()
            os.write(self._tell_done, _DONE)
