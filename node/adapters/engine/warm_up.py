"""How fast a model draws here, and how many threads and pictures together pay: measured in the child at loading."""

import time
from typing import Final

from node.adapters.engine.ipc import BatchSpeed, Load
from node.adapters.engine.pipeline import Manner, Painter, Preview, Wish, fault_reason, release_memory, use_threads

MEASURED_STEPS: Final = 4
"""Steps of a measured batch: enough for a mean, short for a slow device."""
LEAST_GAIN: Final = 1.15
"""How many times more pictures a second a larger batch must give to be worth the wait of its first picture, and more
threads to be worth the cores that they take from the rest of the machine."""
LONG_STEP_MS: Final = 100
"""A step (ms) beyond which all threads are taken to pay: it is what they wait for each other in that makes quick ones
slower, and one thread would measure a large model for minutes."""


def choose_threads(painter: Painter, command: Load, threads: int) -> int:
    """Give with how many of ``threads`` a model draws best: all, or one where more do not pay.

    Raises:
        Exception: Whatever the pipeline raises.
    """
    if threads == 1 or not command.fewer_threads:
        return threads
    use_threads(threads)
    _time(painter, command, 1, 1)  # pays for lazy initialisation
    together_ms = _quickest_step_ms(painter, command)
    if together_ms > LONG_STEP_MS:
        return threads
    use_threads(1)
    return 1 if _quickest_step_ms(painter, command) < LEAST_GAIN * together_ms else threads


def measure(painter: Painter, command: Load) -> tuple[int, tuple[BatchSpeed, ...]]:
    """Measure the batches that ``Load`` names, up to the first that does not pay or does not fit.

    Returns:
        (milliseconds of a step of one picture, speed by batch). The first batch is always there.

    Raises:
        Exception: Whatever the pipeline raises for the first batch.
    """
    _time(painter, command, 1, 1)  # pays for lazy initialisation
    first_step_ms = 0
    speeds: list[BatchSpeed] = []
    for batch in command.batches:
        try:
            step_ms, speed = _time(painter, command, batch, MEASURED_STEPS)
        except Exception as error:
            if not speeds or fault_reason(error) != "out_of_memory":
                raise
            release_memory()
            break
        if speeds and not command.measure_all and speed < LEAST_GAIN * speeds[-1].pixel_steps_per_s:
            break
        first_step_ms = first_step_ms or step_ms
        speeds.append(BatchSpeed(batch=batch, pixel_steps_per_s=speed))
    return first_step_ms, tuple(speeds)


def _quickest_step_ms(painter: Painter, command: Load) -> int:
    """Draw one picture with few steps: the quickest, as others' work on the machine only adds to one."""
    return min(_draw(painter, command, 1, MEASURED_STEPS)[1:])


def _time(painter: Painter, command: Load, batch: int, steps: int) -> tuple[int, int]:
    """Draw a batch with few steps: (milliseconds of a step, pixel-steps/s of a batch with the usual number)."""
    begin = time.perf_counter()
    durations = _draw(painter, command, batch, steps)
    total_s = time.perf_counter() - begin
    # The first step of a picture is timed from before its prompt is read, so it stands for what surrounds the steps.
    step_s = sum(durations[1:]) / max(1, len(durations) - 1) / 1000
    usual_s = max(0.001, total_s + (command.steps - steps) * step_s)
    return round(step_s * 1000), max(1, round(batch * command.width * command.height * command.steps / usual_s))


def _draw(painter: Painter, command: Load, batch: int, steps: int) -> list[int]:
    """Draw a batch with few steps: the milliseconds of each."""
    durations: list[int] = []

    def on_step(step: int, step_ms: int, preview: Preview) -> bool:
        del step, preview
        durations.append(step_ms)
        return True

    pictures = painter.draw(
        [Wish("red, green, blue, yellow, black and white", "", seed) for seed in range(batch)],
        Manner(command.width, command.height, steps, command.guidance),
        on_step,
    )
    for picture in pictures:
        if isinstance(picture, Exception):
            raise picture
    return durations
