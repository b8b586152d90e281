"""A LoRA for the tiny models, as people publish one: ``diffusers`` layout in safetensors."""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

RANK = 2
STRENGTH = 0.3
"""How large its numbers are: enough to show, no more than a trained one's."""


def save_style(model: Path, path: Path, *, foreign: bool = False) -> bytes:
    """Write a LoRA for the attention of a model's UNet, or for layers that it does not have; gives its SHA-256."""
    unet = model / "unet"
    index = unet / "diffusion_pytorch_model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else None
    weights = {}
    for name in names or ["diffusion_pytorch_model.safetensors"]:
        weights |= load_file(unet / name)
    random = np.random.default_rng(1)
    tensors = {}
    for name, values in weights.items():
        if not name.endswith(("to_q.weight", "to_v.weight")):
            continue
        layer = f"{'elsewhere' if foreign else 'unet'}.{name.removesuffix('.weight')}"
        tensors[f"{layer}.lora_A.weight"] = random.normal(0, STRENGTH, (RANK, values.shape[1])).astype(np.float32)
        tensors[f"{layer}.lora_B.weight"] = random.normal(0, STRENGTH, (values.shape[0], RANK)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return hashlib.sha256(path.read_bytes()).digest()
