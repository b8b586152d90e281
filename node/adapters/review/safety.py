"""Has pictures looked at by the safety checker of Stable Diffusion, in a process of its own.

The process gets a picture as its length in 4 big-endian bytes and the file, and answers with one byte of ``VERDICTS``;
the first byte that it sends is ``READY``. One that dies, or does not answer in time, is replaced at the next picture.
"""

import importlib.util
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Final, final

import trio

from node.child_environment import child_environment
from protocol.errors import ConfigError, Unavailable

CHECKER: Final = "safety_checker"
FEATURES: Final = "feature_extractor"
READ: Final = (f"{CHECKER}/config.json", f"{CHECKER}/model.safetensors", f"{FEATURES}/preprocessor_config.json")
"""What is read of its folder."""
LIBRARIES: Final = ("torch", "diffusers", "transformers")
CHILD_MODULE: Final = "node.adapters.review.safety_child"
LENGTH_BYTES: Final = 4
READY: Final = b"+"
VERDICTS: Final = {b"0": None, b"1": "the safety checker does not let it be shown", b"2": "it cannot be decoded"}
START_LIMIT_S: Final = 120.0
"""Longest time (s) for the process to import its libraries and read its weights: half a minute on a cold disk."""
PICTURE_LIMIT_S: Final = 30.0
"""Longest time (s) for one picture: it takes a second on a slow core."""


@final
class SafetyChecker:
    """Implements ``node.apps.content_review.PictureReviewer``. It takes one picture after the other."""

    def __init__(self, folder: Path) -> None:
        """Use the weights in a folder in diffusers layout, such as a whole pulled Stable Diffusion 1.5.

        Raises:
            ConfigError: A file of it, or a library, is not there.
        """
        missing = next((name for name in READ if not (folder / name).is_file()), None)
        if missing is not None:
            raise ConfigError(
                f"content.safety_checker: there is no {missing} in {folder}: name a folder in diffusers layout, as "
                "that into which cuckoo models pull sd-1.5 puts that model"
            )
        lacking = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
        if lacking:
            raise ConfigError(
                f"content.safety_checker: {', '.join(lacking)} not installed: pip install 'cuckoo-overlay[miner]'"
            )
        self._folder = folder
        self._process: trio.Process | None = None
        self._turn = trio.Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return None if self._process is None else self._process.pid

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Let the process live as long as the block runs; it is started with the first picture."""
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._end()

    async def refuse_picture(self, picture: bytes) -> str | None:
        """Say why a picture is not to be shown; None lets it pass.

        Raises:
            Unavailable: The process cannot be started, died, or does not answer in time.
        """
        async with self._turn:
            try:
                answer = await self._ask(picture)
            except BaseException:
                # Also where nobody waits any more: what is still to come would be taken for the next answer.
                with trio.CancelScope(shield=True):
                    await self._end()
                raise
        return VERDICTS[answer]

    async def _ask(self, picture: bytes) -> bytes:
        try:
            process = await self._started()
            assert process.stdin is not None
            with trio.fail_after(PICTURE_LIMIT_S):
                await process.stdin.send_all(len(picture).to_bytes(LENGTH_BYTES, "big") + picture)
                answer = await _one_byte(process)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise Unavailable(f"the safety checker does not answer ({type(error).__name__})") from error
        if answer not in VERDICTS:
            raise Unavailable("the safety checker has ended: what it said stands in the log")
        return answer

    async def _started(self) -> trio.Process:
        """Give the process, started where there is none."""
        if self._process is None:
            command = [sys.executable, "-P", "-m", CHILD_MODULE, str(self._folder)]
            self._process = await trio.lowlevel.open_process(
                command, stdin=PIPE, stdout=PIPE, env=child_environment(1, os.environ)
            )
            with trio.fail_after(START_LIMIT_S):
                if await _one_byte(self._process) != READY:
                    raise Unavailable("the safety checker does not start: what it said stands in the log")
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.aclose()
            await process.stdout.aclose()
            process.kill()
            await process.wait()


async def _one_byte(process: trio.Process) -> bytes:
    assert process.stdout is not None
    return bytes(await process.stdout.receive_some(1))
