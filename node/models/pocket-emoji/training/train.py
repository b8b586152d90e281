#!/usr/bin/env python3
"""Trains pocket-emoji: first the autoencoder, then text encoder and UNet on its latents (README.md says how).

Limits of time are wall clock from the start of the process. ``<out>/checkpoint.pt`` holds averaged (EMA) weights.
"""

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from autoencoder import encode_all, normalise, report_autoencoder, train_autoencoder
from diffusion import train_diffusion
from network import build_models, build_pipeline
from pictures import decode_pictures
from PIL import Image
from training_run import BEGIN, log
from transformers import CLIPTokenizer

GRID_PROMPTS = [
    "red heart",
    "cat face",
    "pizza",
    "rocket",
    "smiling face with sunglasses",
    "green apple",
    "banana, 3d",
    "banana, flat",
    "banana, noto style",
    "hamburger on a blue background",
    "a cute octopus",
    "red car",
    "tree",
    "robot",
    "a photo of a strawberry",
    "money bag on a pink background",
]


def save_checkpoint(path, models, history):
    """Write weights in fp16 and what has been done to them."""
    saved = {"history": history}
    for name, model in models.items():
        saved[name] = {
            key: value.detach().to("cpu", torch.float16) if value.is_floating_point() else value.cpu()
            for key, value in model.state_dict().items()
        }
    torch.save(saved, path)


def export(models, tokenizer, options):
    """Write the pipeline as fp16 safetensors in diffusers layout."""
    for model in models.values():
        model.eval().half()
    pipeline = build_pipeline(models["autoencoder"], models["unet"], models["text_encoder"], tokenizer)
    pipeline.save_pretrained(options.export, safe_serialization=True, max_shard_size="12MB")
    # The weights are stored in fp16, but a plain from_pretrained must load every part in fp32.
    config_path = options.export / "text_encoder" / "config.json"
    config = json.loads(config_path.read_text())
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    config_path.write_text(json.dumps(config, indent=2))
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):  # transformers 4 reads these
        target = options.export / "tokenizer" / name
        if not target.exists():
            shutil.copy(options.data / "tokenizer" / name, target)


def draw_grid(pipeline, path, steps):
    """Draw the grid of prompts, eight in a row."""
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed(7 + index) for index in range(len(GRID_PROMPTS))]
    pictures = pipeline(GRID_PROMPTS, num_inference_steps=steps, guidance_scale=3.0, generator=generators).images
    grid = Image.new("RGB", (8 * 130, math.ceil(len(pictures) / 8) * 130), (200, 200, 200))
    for index, picture in enumerate(pictures):
        grid.paste(picture, (index % 8 * 130 + 1, index // 8 * 130 + 1))
    grid.save(path)


def read_options():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder for checkpoint and grid")
    parser.add_argument("--resume", type=Path, help="checkpoint to go on from")
    parser.add_argument("--export", type=Path, help="only write the pipeline of --resume to this folder")
    parser.add_argument("--seconds", type=float, default=560, help="when to end, from the start")
    parser.add_argument("--vae-seconds", type=float, default=110, help="when to end the autoencoder's part")
    parser.add_argument("--continue-vae", action="store_true", help="with --resume: train the autoencoder on as well")
    parser.add_argument("--batch", type=int, default=1024, help="latents in a diffusion step")
    parser.add_argument("--vae-batch", type=int, default=128, help="pictures in an autoencoder step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of the diffusion part")
    parser.add_argument("--decay", action="store_true", help="let the learning rate fall to 1 %% at the end")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try things out")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="do not use torch.compile")
    parser.add_argument("--min-steps", type=int, default=0, help="diffusion steps to take whatever the time")
    parser.add_argument("--limit", type=int, default=0, help="take only the first pictures, to try things out")
    return parser.parse_args()


def main():
    """Train one chunk, or export."""
    options = read_options()
    torch.manual_seed(int(time.time()) if options.resume else 0)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    data = np.load(options.data / "data.npz")
    tokenizer = CLIPTokenizer.from_pretrained(str(options.data / "tokenizer"))
    autoencoder, unet, text_encoder = build_models(len(tokenizer))
    models = {"autoencoder": autoencoder, "unet": unet, "text_encoder": text_encoder}
    history = {"steps": 0, "samples": 0, "seconds": 0.0}
    if options.resume:
        checkpoint = torch.load(options.resume, map_location="cpu", weights_only=True)
        for name, model in models.items():
            model.load_state_dict(checkpoint[name])
        history = checkpoint["history"]
    if options.export:
        export(models, tokenizer, options)
        return

    options.out.mkdir(parents=True, exist_ok=True)
    device = options.device
    pictures = decode_pictures(data, options.limit).to(device)
    palette = torch.from_numpy(data["palette"]).to(device)
    log("pictures", tuple(pictures.shape), "torch", torch.__version__, "on", device)
    autoencoder.to(device, memory_format=torch.channels_last)
    unet.to(device, memory_format=torch.channels_last)
    text_encoder.to(device)
    trains_autoencoder = options.continue_vae or not options.resume
    if trains_autoencoder:
        train_autoencoder(autoencoder, pictures, palette, options)
    autoencoder.eval().requires_grad_(False)
    latents = encode_all(autoencoder, pictures, palette, device)
    if trains_autoencoder:
        normalise(autoencoder, latents)
    report_autoencoder(autoencoder, latents, pictures, palette)
    steps, error = train_diffusion(unet, text_encoder, latents, data, options)
    history = {
        "steps": history["steps"] + steps,
        "samples": history["samples"] + steps * options.batch,
        "seconds": history["seconds"] + time.time() - BEGIN,
        "error": error,
    }
    save_checkpoint(options.out / "checkpoint.pt", models, history)
    log("saved", history)
    pipeline = build_pipeline(autoencoder, unet, text_encoder, tokenizer)
    draw_grid(pipeline, options.out / "grid.png", 20 if device == "cuda" else 2)


if __name__ == "__main__":
    main()
