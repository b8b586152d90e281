"""The engine's child process: ``python -m node.adapters.engine.child``.

It is the only process that holds a model. Three rules keep the node safe from it: frames go over a private copy of
standard output, so that a library that prints cannot corrupt them; a reader thread answers pings and watches for the
end of standard input, so that a long step never looks like death and this process never survives its parent, however
that died; and no exception of a job ends the process, each has a stable name.
"""

import argparse
import contextlib
import hashlib
import logging
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from node.adapters.engine.ipc import (
    MAX_COMMAND_BYTES,
    Cancel,
    Done,
    Failed,
    FrameError,
    FrameReader,
    Load,
    Loaded,
    LoadFailed,
    Ping,
    Pong,
    Progress,
    Report,
    Run,
    Started,
    decode_command,
    encode,
)
from node.adapters.engine.weights import ModelFault, check_model
from protocol.units import Digest

if TYPE_CHECKING:  # it imports torch, which takes seconds in which nobody would watch the parent
    from node.adapters.engine.pipeline import Painter

READ_BYTES: Final = 64 * 1024
"""Capacity of a Linux pipe."""
QUEUE_LIMIT: Final = 64
"""Commands that wait for the device; the parent sends one job at a time and a load per model."""
WARM_UP_STEPS: Final = 4
"""Steps of the warm-up that is measured, after one that is not: enough for a mean, short for a slow device."""
EXIT_PARENT_GONE: Final = 0
EXIT_BAD_FRAME: Final = 3

log = logging.getLogger("cuckoo.engine")


class Child:
    """Takes commands from one pipe and reports over the other."""

    def __init__(self, commands: int, reports: int) -> None:
        """Work on two file descriptors that nothing else in the process uses."""
        self._commands = commands
        self._reports = reports
        self._write_lock = threading.Lock()
        self._work: queue.Queue[Load | Run] = queue.Queue(QUEUE_LIMIT)
        self._open: set[int] = set()
        self._cancelled: set[int] = set()
        self._jobs_lock = threading.Lock()
        self._painters: dict[str, Painter] = {}
        self._step_ms: dict[str, int] = {}

    def report(self, message: Report) -> None:
        """Send one frame, whole; a parent that is gone ends this process."""
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
            case _:
                if isinstance(command, Run):
                    with self._jobs_lock:
                        self._open.add(command.job)
                try:
                    self._work.put_nowait(command)
                except queue.Full:
                    raise FrameError(f"more than {QUEUE_LIMIT} commands wait") from None

    def serve(self, device: str, threads: int) -> None:
        """Import the libraries, then do one thing after the other for ever."""
        from node.adapters.engine import pipeline  # here, so that the reader thread watches the parent meanwhile

        chosen = pipeline.prepare(device, threads)
        self.report(Started(device=chosen, threads=threads))
        while True:
            command = self._work.get()
            match command:
                case Load():
                    self._load(command, chosen)
                case Run():
                    self._run(command)

    def _load(self, command: Load, device: str) -> None:
        """Check, load and measure a model."""
        from node.adapters.engine import pipeline

        begin = time.perf_counter()
        try:
            check_model(Path(command.folder), Digest(command.digest))
            painter = pipeline.Painter(Path(command.folder), device)
            load_ms = _elapsed_ms(begin)
            step_ms, speed = _warm_up(painter, command)
        except Exception as error:
            log.exception("cannot load %s", command.model)
            self.report(LoadFailed(model=command.model, reason=pipeline.fault_reason(error)))
            return
        self._painters[command.model] = painter
        self._step_ms[command.model] = step_ms
        self.report(Loaded(model=command.model, load_ms=load_ms, pixel_steps_per_s=speed))

    def _run(self, command: Run) -> None:
        """Do one job and report its end, exactly once."""
        from node.adapters.engine import pipeline

        try:
            ended: Report = self._draw(command)
        except pipeline.JobCancelled:
            ended = Failed(job=command.job, reason="cancelled")
        except Exception as error:
            log.exception("job %d failed", command.job)
            ended = Failed(job=command.job, reason=pipeline.fault_reason(error))
        finally:
            with self._jobs_lock:
                self._open.discard(command.job)
                self._cancelled.discard(command.job)
        self.report(ended)

    def _draw(self, command: Run) -> Done:
        """Draw, encode and measure one picture."""
        from node.adapters.engine import pipeline

        begin = time.perf_counter()
        last_ms = self._step_ms.get(command.model, 0)

        def tell(state: str, step: int, step_ms: int) -> None:
            self.report(
                Progress.model_validate(
                    {"job": command.job, "state": state, "step": step, "steps": command.steps, "step_ms": step_ms}
                )
            )

        def on_step(step: int, step_ms: int) -> bool:
            nonlocal last_ms
            last_ms = step_ms
            if command.job in self._cancelled:
                return False
            tell("step", step, step_ms)
            return True

        tell("loading", 0, last_ms)
        painter = self._painters.get(command.model)
        if painter is None:
            raise ModelFault("model_missing", f"{command.model} is not loaded")
        picture = painter.draw(
            prompt=command.prompt,
            negative_prompt=command.negative_prompt,
            width=command.width,
            height=command.height,
            steps=command.steps,
            guidance=command.guidance,
            seed=command.seed,
            on_step=on_step,
        )
        tell("encoding", command.steps, last_ms)
        data = pipeline.encode_png(picture)
        digest = Digest(hashlib.sha256(data).digest())
        return Done(job=command.job, data=data, digest=digest, generation_ms=_elapsed_ms(begin))


def _elapsed_ms(begin: float) -> int:
    """Milliseconds since a moment of ``time.perf_counter``."""
    return round((time.perf_counter() - begin) * 1000)


def _warm_up(painter: "Painter", command: Load) -> tuple[int, int]:
    """Measure (ms of a step, pixel-steps/s of a usual picture with everything around its steps)."""
    durations: list[int] = []

    def on_step(step: int, step_ms: int) -> bool:
        del step
        durations.append(step_ms)
        return True

    total_s = 0.0
    for steps in (1, WARM_UP_STEPS):  # the first pays for lazy initialisation and is not measured
        durations.clear()
        begin = time.perf_counter()
        painter.draw(
            prompt="a picture",
            negative_prompt="",
            width=command.width,
            height=command.height,
            steps=steps,
            guidance=command.guidance,
            seed=0,
            on_step=on_step,
        )
        total_s = time.perf_counter() - begin
    # The first step of a picture is timed from before its prompt is read, so it stands for what surrounds the steps.
    step_s = sum(durations[1:]) / max(1, len(durations) - 1) / 1000
    usual_s = max(0.001, total_s + (command.steps - WARM_UP_STEPS) * step_s)
    return round(step_s * 1000), max(1, round(command.width * command.height * command.steps / usual_s))


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
    parser.add_argument("--threads", type=int, default=1, help="threads of CPU arithmetic")
    options = parser.parse_args()
    # Ctrl-C reaches the whole terminal group; the parent decides what it means and closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    commands, reports = _private_pipes()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="engine child: %(levelname)s %(message)s")
    child = Child(commands, reports)
    threading.Thread(target=child.read_commands, name="commands", daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        child.serve(options.device, options.threads)


if __name__ == "__main__":
    main()
