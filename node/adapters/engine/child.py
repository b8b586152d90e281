"""The engine's child process: ``python -m node.adapters.engine.child``.

It is the only process that holds a model. Three rules keep the node safe from it: frames go over a private copy of
standard output, so that a library that prints cannot corrupt them; a reader thread answers pings and watches for the
end of standard input, so that a long step never looks like death and this process never survives its parent, however
that died; and no exception of a job ends the process, each has a stable name.
"""

import argparse
import contextlib
import faulthandler
import gc
import logging
import os
import queue
import signal
import sys
import threading
from typing import Final

from node.adapters.engine.ipc import (
    MAX_COMMAND_BYTES,
    Cancel,
    Done,
    Failed,
    FrameError,
    FrameReader,
    Give,
    Load,
    Ping,
    Pong,
    Report,
    Run,
    Started,
    decode_command,
    encode,
)

READ_BYTES: Final = 64 * 1024
"""Capacity of a Linux pipe."""
QUEUE_LIMIT: Final = 64
"""Commands that wait for the device; the parent sends one batch at a time and a load per model."""
EXIT_PARENT_GONE: Final = 0
EXIT_BAD_FRAME: Final = 3
EXIT_DEVICE_LOST: Final = 4

log = logging.getLogger("cuckoo.engine")


class Child:
    """Takes commands from one pipe and reports over the other."""

    def __init__(self, commands: int, reports: int) -> None:
        """Work on two file descriptors that nothing else in the process uses."""
        self._commands = commands
        self._reports = reports
        self._write_lock = threading.Lock()
        self._work: queue.Queue[Load | Run] = queue.Queue(QUEUE_LIMIT)
        self._given: dict[int, Give] = {}
        """What jobs begin from, until they end."""
        self._open: set[int] = set()
        self._cancelled: set[int] = set()
        self._jobs_lock = threading.Lock()

    def report(self, message: Report) -> None:
        """Send one frame, whole; a parent that is gone ends this process. The end of a job forgets its number."""
        if isinstance(message, Done | Failed):
            with self._jobs_lock:
                self._open.discard(message.job)
                self._cancelled.discard(message.job)
                self._given.pop(message.job, None)
        frame = memoryview(encode(message))
        with self._write_lock:
            try:
                while frame:
                    frame = frame[os.write(self._reports, frame) :]
            except OSError:
                os._exit(EXIT_PARENT_GONE)

    def read_commands(self) -> None:
        """Serve the command pipe until it ends, then end the process at once, whatever the device does."""
        frames = FrameReader(MAX_COMMAND_BYTES)
        while data := os.read(self._commands, READ_BYTES):
            try:
                for body in frames.feed(data):
                    self._take(body)
            except FrameError:
                log.exception("the node sent what is no command")
                os._exit(EXIT_BAD_FRAME)
        os._exit(EXIT_PARENT_GONE)

    def _take(self, body: bytes) -> None:
        """Answer a ping, note a cancellation, queue the rest."""
        command = decode_command(body)
        match command:
            case Ping():
                self.report(Pong(number=command.number))
            case Cancel():
                with self._jobs_lock:
                    if command.job in self._open:
                        self._cancelled.add(command.job)
            case Give():
                with self._jobs_lock:
                    self._given[command.job] = command
            case _:
                if isinstance(command, Run):
                    with self._jobs_lock:
                        self._open.update(order.job for order in command.orders)
                try:
                    self._work.put_nowait(command)
                except queue.Full:
                    raise FrameError(f"more than {QUEUE_LIMIT} commands wait") from None

    def serve(self, device: str, threads: int) -> None:
        """Import the libraries, then do one thing after the other for ever."""
        # Nobody looks for garbage until a model is loaded: a fifth of that time, for the little that there is.
        gc.disable()
        # Here, so that the reader thread watches the parent meanwhile: they import torch, which takes seconds.
        from node.adapters.engine import batch_runner, pipeline

        chosen = pipeline.prepare(device, threads)
        runner = batch_runner.BatchRunner(chosen, self.report, self._cancelled.__contains__, self._given.get, threads)
        self.report(Started(device=chosen, threads=threads))
        while True:
            command = self._work.get()
            match command:
                case Load():
                    runner.load(command)
                    gc.enable()
                case Run():
                    try:
                        runner.run(command)
                    except batch_runner.DeviceLost:
                        log.exception("the device is lost to this process")
                        os._exit(EXIT_DEVICE_LOST)  # to end in order would wait for the device


def _private_pipes() -> tuple[int, int]:
    """Keep the two pipes for frames; what libraries read is empty, what they print goes to standard error."""
    commands = os.dup(0)
    reports = os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return commands, reports


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="cuckoo-engine", description="Engine child of a cuckoo node.")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, …")
    parser.add_argument("--threads", type=int, default=1, help="most threads of CPU arithmetic")
    options = parser.parse_args()
    # Ctrl-C reaches the whole terminal group; the parent decides what it means and closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    commands, reports = _private_pipes()
    faulthandler.register(signal.SIGUSR1)  # as ``node.stacks`` does it for the node, which has tasks as well
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="engine child: %(levelname)s %(message)s")
    child = Child(commands, reports)
    threading.Thread(target=child.read_commands, name="commands", daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        child.serve(options.device, options.threads)


if __name__ == "__main__":
    main()
