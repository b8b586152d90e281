"""Loads models and draws batches in the engine's child. Rules for editors: it knows no pipes and no node.

A batch is one picture of each of its orders, drawn together; what goes wrong with one does not cost the others theirs.
"""

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from node.adapters.engine.files import Parameters, encode_picture
from node.adapters.engine.ipc import (
    BatchSpeed,
    Done,
    Failed,
    Give,
    InMemory,
    Load,
    Loaded,
    LoadFailed,
    Order,
    Progress,
    Report,
    Run,
    TooLarge,
)
from node.adapters.engine.memory import forget_peak, peak_bytes
from node.adapters.engine.pipeline import (
    JobCancelled,
    JobFault,
    Manner,
    Painter,
    Picture,
    Preview,
    Wish,
    fault_reason,
    forget_model,
    is_healthy,
    release_memory,
    settle,
    use_threads,
)
from node.adapters.engine.precision import Numbers
from node.adapters.engine.residents import Residents
from node.adapters.engine.sources import read_mask, read_source
from node.adapters.engine.styles import StyleFile, check_styled
from node.adapters.engine.trace import Trace
from node.adapters.engine.warm_up import choose_threads, measure
from node.adapters.engine.weights import ModelFault, check_model
from protocol.task.fingerprint import NO_FINGERPRINT, fingerprint_root
from protocol.units import Digest

ENCODED_BEHIND: Final = 1
"""Batches whose pictures may still be encoded while the next is drawn."""

HASH_DIGITS: Final = 10
"""Of a model's digest, in the parameters of a picture, as makers' tools write it."""

PREVIEW_PAUSE_S: Final = 0.5
"""Least time (s) between two previews: quick pictures have none, slow ones lose nothing by them."""

log = logging.getLogger("cuckoo.engine")


class DeviceLost(Exception):
    """The device computes nothing in this process any more: only another process can use it."""


class BatchRunner:
    """Holds the loaded models of one device."""

    def __init__(
        self,
        device: str,
        report: Callable[[Report], None],
        is_cancelled: Callable[[int], bool],
        given: Callable[[int], Give | None] = lambda _job: None,
        threads: int = 1,
    ) -> None:
        """Draw on ``device``, and ask before each step which jobs are still wanted.

        Args:
            device: A torch device name.
            report: Takes news, from more than one thread.
            is_cancelled: Says of a job number whether it is to stop.
            given: Gives what a job begins from, None where that is nothing.
            threads: Most threads of a CPU to compute with.
        """
        self._given = given
        self._hashes: dict[str, str] = {}
        self._device = device
        self._report = report
        self._is_cancelled = is_cancelled
        self._painters: Residents[Painter] = Residents(
            lambda error: fault_reason(error) == "out_of_memory",
            forget_model,
            lambda models: report(InMemory(models=models)),
        )
        self._loads: dict[str, Load] = {}
        """How each model that was measured is loaded again."""
        self._step_ms: dict[str, int] = {}
        self._most_threads = threads
        self._threads: dict[str, int] = {}
        """With how many each measured model draws."""
        self._most: dict[tuple[str, int, int], int] = {}
        """Most pictures together of a model, width and height, where more did not fit."""
        # Compressing takes the time of many steps and leaves Python's lock alone: the device need not wait for it.
        self._encoders = ThreadPoolExecutor(1, "encoder")
        self._encoded: deque[Future[None]] = deque()

    def load(self, command: Load) -> None:
        """Check, load and measure a model; others leave the device where it needs their room."""
        begin = time.perf_counter()
        load_ms, step_ms, threads = 0, 0, self._most_threads
        speeds: tuple[BatchSpeed, ...] = ()
        numbers: Numbers = "float32"

        def build() -> Painter:
            nonlocal load_ms, step_ms, threads, speeds, numbers
            painter = self._built(command)
            numbers = painter.numbers
            load_ms = _elapsed_ms(begin)
            threads = choose_threads(painter, command, self._most_threads)
            use_threads(threads)
            step_ms, speeds = measure(painter, command)
            return painter

        try:
            self._painters.bring(command.model, build, command.in_memory)
        except Exception as error:
            log.exception("cannot load %s", command.model)
            self._report(LoadFailed(model=command.model, reason=fault_reason(error)))
            return
        self._loads[command.model] = command
        self._step_ms[command.model] = step_ms
        self._threads[command.model] = threads
        self._hashes[command.model] = command.digest.hex()[:HASH_DIGITS]
        settle()
        self._report(Loaded(model=command.model, numbers=numbers, load_ms=load_ms, speeds=speeds))

    def _built(self, command: Load) -> Painter:
        """Make a pipeline of a model's files, which are checked each time: they may have changed since."""
        folder, checkpoint = Path(command.folder), Path(command.checkpoint) if command.checkpoint else None
        styles = tuple(StyleFile(Path(one.path), one.digest, one.weight) for one in command.styles)
        if styles:
            check_styled(folder, Digest(command.digest), checkpoint, styles)
        else:
            check_model(folder, Digest(command.digest), checkpoint)
        return Painter(folder, self._device, command.precision, checkpoint, command.wanted, styles)

    def _painter(self, model: str) -> Painter:
        """Give a model's painter, and bring it back where it had to leave the device.

        Raises:
            ModelFault: It was never loaded, or its files are not the catalog's any more.
            Exception: Whatever loading raises.
        """
        painter = self._painters.use(model)
        if painter is not None:
            return painter
        command = self._loads.get(model)
        if command is None:
            raise ModelFault("model_missing", f"{model} is not loaded")
        return self._painters.bring(model, lambda: self._built(command), command.in_memory)

    def run(self, command: Run) -> None:
        """Draw a batch and report the end of each order, exactly once.

        What does not fit is drawn in halves, and so is every later batch like it. What fails in another way is drawn
        one by one: a prompt that a pipeline chokes on does not cost its companions their pictures.

        Raises:
            DeviceLost: This process is to end; the orders were reported.
        """
        size = (command.model, command.width, command.height)
        most = self._most.get(size, len(command.orders))
        waiting = deque(_pieces(command.orders, most))
        while waiting:
            orders = self._still_wanted(waiting.popleft())
            if not orders:
                continue
            was_full = False
            try:
                self._draw(command, orders)
            except JobCancelled:
                pass  # the last order that was wanted has been reported
            except Exception as error:
                reason = fault_reason(error)
                was_full = reason == "out_of_memory"
                if reason == "engine_error" and not is_healthy(self._device):
                    for order in orders:
                        self._fail(order, "device_lost")
                    while self._encoded:  # those pictures are drawn
                        self._encoded.popleft().result()
                    raise DeviceLost(str(error)) from error
                if was_full and self._painters.leave_alone(command.model):
                    log.warning("%s needs the room of the other models", command.model)
                    waiting.appendleft(orders)
                elif len(orders) == 1:
                    log.exception("job %d failed", orders[0].job)
                    self._fail(orders[0], reason)
                else:
                    log.warning("a batch of %d failed (%s: %s): drawing fewer together", len(orders), reason, error)
                    smaller = 1
                    if was_full:
                        smaller = self._most[size] = (len(orders) + 1) // 2
                        self._report(TooLarge(model=size[0], width=size[1], height=size[2], batch=smaller))
                    waiting.extendleft(reversed(_pieces(orders, smaller)))
            if was_full:
                release_memory()

    def _still_wanted(self, orders: Sequence[Order]) -> list[Order]:
        """Report those that were cancelled meanwhile, and give the others."""
        wanted = []
        for order in orders:
            if self._is_cancelled(order.job):
                self._fail(order, "cancelled")
            else:
                wanted.append(order)
        return wanted

    def _draw(self, command: Run, orders: list[Order]) -> None:
        """Draw these orders together; ``orders`` loses each that is cancelled, as it is reported.

        Raises:
            JobCancelled: None is wanted any more, and each was reported.
            Exception: Whatever the pipeline raises; what is left in ``orders`` was not reported.
        """
        begin = time.perf_counter()
        last_ms = self._step_ms.get(command.model, 0)
        drawn = tuple(orders)
        manner = Manner(
            command.width,
            command.height,
            command.steps,
            command.guidance,
            command.work,
            command.strength,
            command.scheduler,
        )

        previewed = begin

        def tell(
            state: Literal["loading", "step", "encoding"], step: int, previews: tuple[bytes, ...] = (), memory: int = 0
        ) -> None:
            jobs = tuple(order.job for order in orders)
            self._report(
                Progress(
                    jobs=jobs,
                    state=state,
                    step=step,
                    steps=manner.drawn_steps,
                    step_ms=last_ms,
                    previews=previews,
                    memory_bytes=memory,
                )
            )

        def on_step(step: int, step_ms: int, preview: Preview) -> bool:
            nonlocal last_ms, previewed
            last_ms = step_ms
            orders[:] = self._still_wanted(orders)
            previews: tuple[bytes, ...] = ()
            now = time.perf_counter()
            if now - previewed >= PREVIEW_PAUSE_S and step < manner.drawn_steps:
                previewed = now
                previews = tuple(preview(drawn.index(order)) or b"" for order in orders)
            if orders:
                tell("step", step, previews)
            return bool(orders)

        tell("loading", 0)
        forget_peak(self._device)
        painter = self._painter(command.model)
        use_threads(self._threads[command.model])
        trace = Trace()
        pictures = painter.draw(
            [self._wish(order, command) for order in drawn],
            manner,
            on_step,
            trace,
        )
        while len(self._encoded) > ENCODED_BEHIND:
            self._encoded.popleft().result()
        tell("encoding", manner.drawn_steps, memory=peak_bytes(self._device))
        wanted = {order.job for order in orders}
        made = [(order, picture) for order, picture in zip(drawn, pictures, strict=True) if order.job in wanted]
        seen = {
            order.job: trace.fingerprints(place, manner.drawn_steps)
            for place, order in enumerate(drawn)
            if order.job in wanted
        }
        sampler = painter.sampler(command.scheduler)
        # Here, as no tokenizer may be used by two threads at once.
        told = {order.job: self._parameters(command, sampler, order, painter) for order, _ in made}
        self._encoded.append(self._encoders.submit(self._deliver, told, made, seen, _elapsed_ms(begin)))

    def _wish(self, order: Order, command: Run) -> Wish:
        """Decode what an order begins from.

        Raises:
            SourceFault: It cannot be decoded.
        """
        given = self._given(order.job)
        source = mask = None
        if given is not None:
            source = read_source(given.source, command.width, command.height)
            mask = read_mask(given.mask, given.source, command.width, command.height) if given.mask else None
        return Wish(order.prompt, order.negative_prompt, order.seed, source, mask)

    def _deliver(
        self,
        told: Mapping[int, Parameters],
        made: Sequence[tuple[Order, Picture | JobFault]],
        seen: Mapping[int, tuple[bytes, ...]],
        generation_ms: int,
    ) -> None:
        """Encode pictures and report them, beside the drawing of the next batch."""
        for order, picture in made:
            if isinstance(picture, JobFault):
                log.error("job %d: %s", order.job, picture)
                self._fail(order, picture.reason)
                continue
            begin = time.perf_counter()
            try:
                data = encode_picture(picture, order.output, order.quality, told[order.job])
            except Exception as error:
                log.exception("job %d failed", order.job)
                self._fail(order, fault_reason(error))
                continue
            digest = Digest(hashlib.sha256(data).digest())
            steps = seen[order.job]
            self._report(
                Done(
                    job=order.job,
                    data=data,
                    digest=digest,
                    fingerprint=fingerprint_root(steps) if steps else NO_FINGERPRINT,
                    fingerprints=b"".join(steps),
                    generation_ms=generation_ms + _elapsed_ms(begin),
                )
            )

    def _parameters(self, command: Run, sampler: str, order: Order, painter: Painter) -> Parameters:
        """Say how a picture was made, and what was asked for only where the app wants that told."""
        read = self._loads[command.model].max_prompt_tokens
        tokens = painter.count_tokens(order.prompt) if read else 0
        return Parameters(
            model=command.model,
            model_hash=self._hashes[command.model],
            steps=command.steps,
            sampler=sampler,
            guidance=command.guidance,
            seed=order.seed,
            strength=None if command.work == "text_to_image" else command.strength,
            prompt=order.prompt if order.embed_prompt else None,
            negative_prompt=order.negative_prompt,
            tokens=tokens if tokens > read else 0,
            tokens_read=read,
        )

    def _fail(self, order: Order, reason: str) -> None:
        self._report(Failed(job=order.job, reason=reason))


def _pieces(orders: Sequence[Order], most: int) -> list[Sequence[Order]]:
    """Cut orders into batches of at most ``most``."""
    return [orders[start : start + most] for start in range(0, len(orders), most)]


def _elapsed_ms(begin: float) -> int:
    """Milliseconds since a moment of ``time.perf_counter``."""
    return round((time.perf_counter() - begin) * 1000)
