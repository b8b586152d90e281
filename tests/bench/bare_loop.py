"""What anybody would write with diffusers: load, draw, save as PNG, again. ``tests.bench.ratio`` compares us with it.

It draws one round for each line on its standard input, and answers with pictures, seconds and seconds of CPU.
"""

import io
import json
import sys
import time
from pathlib import Path

import torch
from diffusers.pipelines.auto_pipeline import AutoPipelineForText2Image

STEPS, GUIDANCE, EDGE = 15, 4.0, 128
"""A usual picture of the embedded model."""


def main() -> None:
    """Draw for as many seconds as each line says."""
    torch.set_num_threads(1)
    folder = Path(__file__).parents[2] / "node" / "models" / "pocket-emoji"
    pipeline = AutoPipelineForText2Image.from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    def draw(seed: int) -> None:
        picture = pipeline(
            prompt="a red heart",
            width=EDGE,
            height=EDGE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]
        picture.save(io.BytesIO(), "PNG")

    draw(0)
    print("ready", flush=True)
    for line in sys.stdin:
        begin, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - begin < float(line):
            draw(count)
            count += 1
        print(json.dumps([count, time.perf_counter() - begin, time.process_time() - cpu]), flush=True)


if __name__ == "__main__":
    main()
