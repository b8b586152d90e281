"""One file with all weights of a Stable Diffusion model, SD 1.5 or SDXL, under the names that its first code gave them.

People publish models in this form; diffusers reads it and cannot write it. ``as_single_file`` renames what a folder in
diffusers layout holds: the same model in both forms must draw the same picture.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file

RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS: Final = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPEN_CLIP: Final = {
    "embeddings.token_embedding": "token_embedding",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
VAE_ATTENTION: Final = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _unet_name(name: str, layers: int, with_attention: set[str]) -> str:
    """Give the name of a U-Net's tensor in such a file."""
    for ours, theirs in UNET_ENDS.items():
        if name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    found = re.fullmatch(r"(down_blocks|up_blocks)\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if found is None:
        _, kind, number, rest = name.split(".", 3)
        return f"middle_block.{2 * int(number) if kind == 'resnets' else 1}.{_resnet(rest)}"
    side, block, kind, number, rest = found.groups()
    down, first = side == "down_blocks", (layers + 1) * int(block)
    match kind:
        case "resnets" | "attentions":
            place = first + int(number) + (1 if down else 0)
            return f"{'input' if down else 'output'}_blocks.{place}.{int(kind == 'attentions')}.{_resnet(rest)}"
        case "downsamplers":
            return f"input_blocks.{first + layers + 1}.0.op.{rest.removeprefix('conv.')}"
        case _:
            behind = 2 if f"{side}.{block}" in with_attention else 1
            return f"output_blocks.{first + layers}.{behind}.{rest}"


def _resnet(rest: str) -> str:
    head, _, tail = rest.partition(".")
    return f"{RESNET[head]}.{tail}" if head in RESNET else rest


def _vae_name(name: str, blocks: int) -> str:
    """Give the name of an autoencoder's tensor in such a file."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    for ours, theirs in VAE_ATTENTION.items():
        name = name.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda found: f"up.{blocks - 1 - int(found[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{blocks - 1 - int(found[1])}.upsample", name)


def _open_clip_tensors(text: dict[str, Any]) -> dict[str, Any]:
    """Give the second text encoder of an SDXL model as OpenCLIP names it: query, key and value in one tensor."""
    renamed = {}
    for name, tensor in text.items():
        theirs = name.removeprefix("text_model.")
        for ours, other in OPEN_CLIP.items():
            theirs = theirs.replace(ours, other)
        if theirs == "text_projection.weight":
            renamed["text_projection"] = tensor.T
        elif ".self_attn.q_proj." in theirs:
            parts = [text[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            renamed[theirs.replace("self_attn.q_proj.", "attn.in_proj_")] = torch.cat(parts)
        elif "self_attn" not in theirs:
            renamed[theirs] = tensor
    return renamed


def _text_tensors(model: Path) -> dict[str, Any]:
    """Give the text encoders' tensors as such a file names them."""
    text = {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in _tensors(model, "text_encoder").items()
    }
    if not (model / "text_encoder_2").exists():
        return {f"cond_stage_model.transformer.{name}": tensor for name, tensor in text.items()}
    second = _open_clip_tensors(_tensors(model, "text_encoder_2"))
    renamed = {f"conditioner.embedders.0.transformer.{name}": tensor for name, tensor in text.items()}
    return renamed | {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in second.items()}


def _tensors(folder: Path, part: str) -> dict[str, Any]:
    (file,) = (folder / part).glob("*.safetensors")
    return load_file(file)


def as_single_file(model: Path, checkpoint: Path, configuration: Path) -> None:
    """Make of a folder in diffusers layout one file with its weights, and a folder with all that is not weights."""
    unet, vae = _tensors(model, "unet"), _tensors(model, "vae")
    layers = json.loads((model / "unet" / "config.json").read_text())["layers_per_block"]
    blocks = len(json.loads((model / "vae" / "config.json").read_text())["block_out_channels"])
    with_attention = {".".join(name.split(".")[:2]) for name in unet if ".attentions." in name}
    renamed = {f"model.diffusion_model.{_unet_name(name, layers, with_attention)}": unet[name] for name in unet}
    for name, tensor in vae.items():
        theirs = _vae_name(name, blocks)
        is_projection = re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight", theirs)
        renamed[f"first_stage_model.{theirs}"] = tensor[:, :, None, None] if is_projection else tensor
    assert len(renamed) == len(unet) + len(vae)
    renamed |= _text_tensors(model)
    save_file({name: tensor.contiguous() for name, tensor in renamed.items()}, checkpoint)
    shutil.copytree(model, configuration, ignore=shutil.ignore_patterns("*.safetensors"))


def save_single_files(model: Path, folder: Path) -> None:
    """Save whole.safetensors, holed.safetensors, which lacks a tensor, and the folder configuration."""
    folder.mkdir(parents=True)
    as_single_file(model, folder / "whole.safetensors", folder / "configuration")
    tensors = load_file(folder / "whole.safetensors")
    del tensors["model.diffusion_model.out.2.weight"]
    save_file(tensors, folder / "holed.safetensors")
