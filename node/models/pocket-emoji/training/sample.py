#!/usr/bin/env python3
"""Looks at pocket-emoji on a CPU: a grid of pictures, seeds, timings, and how often it draws what it was asked."""

import argparse
import hashlib
import io
import itertools
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageDraw

PROMPTS = [
    *("red heart", "cat face", "pizza", "rocket", "smiling face with sunglasses", "green apple", "soccer ball", "sun"),
    *("dog", "a house", "hamburger", "guitar", "bicycle", "airplane", "red car", "tree"),
    *("banana, 3d", "banana, flat", "banana, noto style", "octopus, 3d", "octopus, flat", "octopus, noto style"),
    *("robot, 3d", "robot, flat", "pizza on a blue background", "a cat on a pink background"),
    *("rocket, black background", "red rose, light blue background", "a photo of a strawberry", "a cute penguin"),
    *("hot coffee", "fire", "star", "snowman", "thumbs up", "astronaut", "unicorn", "rainbow", "crying cat"),
    *("money bag", "birthday cake", "a beautiful butterfly", "skull", "umbrella with rain drops", "train"),
    *("clown face", "ghost", "camera"),
]
COLUMNS = 8
CELL = 136
CAPTION_HEIGHT = 16


class Painter:
    """Draws with fixed steps and guidance."""

    def __init__(self, folder, steps, guidance):
        """Load the pipeline and say how long that took."""
        begin = time.perf_counter()
        self.pipeline = DiffusionPipeline.from_pretrained(str(folder))
        self.pipeline.set_progress_bar_config(disable=True)
        self.steps = steps
        self.guidance = guidance
        print(f"loaded in {time.perf_counter() - begin:.2f} s, {torch.get_num_threads()} threads")

    def draw(self, prompt, seed, steps=None):
        """Give one picture."""
        return self.pipeline(
            prompt,
            num_inference_steps=steps or self.steps,
            guidance_scale=self.guidance,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]


def name_of(picture):
    """Give the first digits of the SHA-256 of a picture's bytes."""
    return hashlib.sha256(picture.tobytes()).hexdigest()[:12]


def compare_seeds(painter):
    """Show that a seed repeats and that another differs."""
    first, again, other = (painter.draw("red heart", seed) for seed in (1, 1, 2))
    print("seed 1:", name_of(first), "again:", name_of(again), "seed 2:", name_of(other))


def measure(painter):
    """Time pictures of several step counts."""
    painter.draw("pizza", 0, 2)
    for steps in (10, 15, 20):
        durations = []
        for seed in range(5):
            begin = time.perf_counter()
            painter.draw("pizza", seed, steps)
            durations.append(time.perf_counter() - begin)
        print(
            f"{steps} steps: median {statistics.median(durations):.2f} s, {min(durations):.2f} to {max(durations):.2f}"
        )


def draw_grid(painter, seed, path):
    """Draw every prompt with its caption."""
    rows = (len(PROMPTS) + COLUMNS - 1) // COLUMNS
    grid = Image.new("RGB", (COLUMNS * CELL, rows * (CELL + CAPTION_HEIGHT)), (225, 225, 225))
    writer = ImageDraw.Draw(grid)
    for index, prompt in enumerate(PROMPTS):
        left = index % COLUMNS * CELL + 4
        top = index // COLUMNS * (CELL + CAPTION_HEIGHT) + 3
        grid.paste(painter.draw(prompt, seed), (left, top))
        writer.text((left, top + 130), prompt[:25], fill=(0, 0, 0))
    grid.save(path)


def features(picture):
    """Give a picture as 32x32 RGB values from 0 to 1."""
    small = picture.convert("RGB").resize((32, 32), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255


def training_features(data):
    """Give the features of every training picture on white."""
    offsets = data["offsets"]
    blob = data["blob"]
    rows = []
    for start, end in itertools.pairwise(offsets):
        picture = Image.open(io.BytesIO(blob[start:end].tobytes())).convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        white.alpha_composite(picture)
        rows.append(features(white))
    return np.stack(rows)


def measure_accuracy(painter, folder, count):
    """Ask for labels and count how often the nearest training picture is of that emoji."""
    data = np.load(folder / "data.npz")
    emojis = json.loads((folder / "names.json").read_text())["emojis"]
    known = training_features(data)
    emoji_ids = data["emoji_ids"]
    first = 0
    among_five = 0
    distances = []
    missed = []
    for index, emoji in enumerate(np.random.RandomState(0).permutation(len(emojis))[:count]):
        drawn = features(painter.draw(emojis[emoji]["label"], 100 + index))
        squares = ((known - drawn) ** 2).mean(1)
        order = np.argsort(squares)
        distances.append(squares[order[0]] ** 0.5)
        among_five += emoji in emoji_ids[order[:5]]
        if emoji_ids[order[0]] == emoji:
            first += 1
        else:
            missed.append((emojis[emoji]["label"], emojis[emoji_ids[order[0]]]["label"]))
    asked = len(distances)
    print(f"nearest training picture: first {first}/{asked}, among five {among_five}/{asked}")
    print(f"median distance {statistics.median(distances):.3f} of 1; missed: {missed}")


def main():
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("model"), help="pipeline folder")
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help="where the grid goes")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that prepare_data.py wrote")
    parser.add_argument("--accuracy", type=int, default=0, help="labels to ask for; 0 to skip")
    parser.add_argument("--no-grid", dest="grid", action="store_false", help="no grid, seeds and timings")
    options = parser.parse_args()
    painter = Painter(options.model, options.steps, options.guidance)
    if options.grid:
        compare_seeds(painter)
        measure(painter)
        draw_grid(painter, options.seed, options.out)
    if options.accuracy:
        measure_accuracy(painter, options.data, options.accuracy)


if __name__ == "__main__":
    main()
