"""A child of an engine that says what no honest one says: ``LIE`` names it. It loads no libraries."""

import os
import sys

from node.adapters.engine.ipc import BatchSpeed, InMemory, Loaded, LoadFailed, Started, TooLarge, encode

SPEED = (BatchSpeed(batch=1, pixel_steps_per_s=1000),)
LOADED = Loaded(model="pocket-emoji", numbers="float32", load_ms=1, speeds=SPEED)
LIES = {
    "another model": [Loaded(model="other", numbers="float32", load_ms=1, speeds=SPEED)],
    "no such fault": [LoadFailed(model="other", reason="model_corrupt")],
    "no such batch": [TooLarge(model="other", width=64, height=64, batch=1)],
    "twice": [LOADED, LOADED],
}
"""What is said after the start."""

if __name__ == "__main__":
    lie = os.environ["LIE"]
    if lie == "nonsense":
        sys.stdout.buffer.write(b"\x00\x00\x00\x05hello")
    for report in [Started(device="cpu", threads=1), InMemory(models=("pocket-emoji", "other")), *LIES.get(lie, [])]:
        sys.stdout.buffer.write(encode(report))
    sys.stdout.buffer.flush()
    sys.stdin.buffer.read()
