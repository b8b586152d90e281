"""Tiny random pipelines of every family that a miner may serve, saved as people publish models: no weights to fetch.

``python -m tests.support.tiny_pipelines FOLDER`` saves them all, in a process of its own, and two of them as
checkpoints in one file.
Their pictures mean nothing; that they load and draw by the classes of the real ones is what they are for.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tests.support.single_file import save_single_files

WIDTH: Final = 32
"""Width of the text encoders' states."""
POSITIONS: Final = 32
EDGE: Final = 32
"""Edge (pixels) of the pictures that these models draw."""


def _clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Build a tokenizer that knows letters and nothing longer."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    entries = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({entry: place for place, entry in enumerate(entries)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=POSITIONS)


def _t5_tokenizer() -> T5TokenizerFast:
    """Build a tokenizer that knows letters and nothing longer."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(chr(code), -3.0) for code in range(33, 127)] + [("▁", -2.0)]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=2))
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0, model_max_length=POSITIONS)


def _clip(seed: int, *, projected: bool = False, width: int = WIDTH) -> Any:
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=200, hidden_size=width, intermediate_size=37, projection_dim=width, num_attention_heads=4,
        num_hidden_layers=3, max_position_embeddings=POSITIONS, bos_token_id=188, eos_token_id=189, hidden_act="gelu",
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _t5(seed: int) -> T5EncoderModel:
    torch.manual_seed(seed)
    return T5EncoderModel(T5Config(vocab_size=200, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4))


def _decoder(channels: int = 4, **more: Any) -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=[32, 64], in_channels=3, out_channels=3, latent_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2, **more,
    )  # fmt: skip


def _unet(**more: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        **(
            {
                "block_out_channels": (32, 64),
                "layers_per_block": 1,
                "sample_size": EDGE // 2,
                "in_channels": 4,
                "out_channels": 4,
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
                "cross_attention_dim": WIDTH,
            }
            | more
        )
    )


def stable_diffusion(folder: Path, scheduler: Any = None) -> None:
    """Save a model of the family of SD 1.5."""
    StableDiffusionPipeline(
        vae=_decoder(), text_encoder=_clip(0), tokenizer=_clip_tokenizer(folder / "words"), unet=_unet(),
        scheduler=scheduler or DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder / "model")  # fmt: skip


def latent_consistency(folder: Path) -> None:
    """Save a model of the family of LCM, which draws noise anew at every step."""
    stable_diffusion(folder, LCMScheduler(beta_schedule="scaled_linear", clip_sample=False))


def stable_diffusion_xl(folder: Path) -> None:
    """Save a model of the family of SDXL, with a scheduler that draws noise anew at every step, as Turbo does."""
    StableDiffusionXLPipeline(
        # Their widths tell its text encoders apart in a single file.
        vae=_decoder(), text_encoder=_clip(0), text_encoder_2=_clip(1, projected=True, width=2 * WIDTH),
        tokenizer=_clip_tokenizer(folder / "words"), tokenizer_2=_clip_tokenizer(folder / "words"),
        unet=_unet(
            attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=8, transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=6 * 8 + 2 * WIDTH, cross_attention_dim=3 * WIDTH,
        ),
        scheduler=EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="trailing"),
    ).save_pretrained(folder / "model")  # fmt: skip


def stable_diffusion_3(folder: Path) -> None:
    """Save a model of the family of SD 3."""
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=EDGE // 2, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        caption_projection_dim=WIDTH, joint_attention_dim=WIDTH, pooled_projection_dim=2 * WIDTH, out_channels=4,
    )  # fmt: skip
    StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_decoder(shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(0, projected=True), tokenizer=_clip_tokenizer(folder / "words"),
        text_encoder_2=_clip(1, projected=True), tokenizer_2=_clip_tokenizer(folder / "words"),
        text_encoder_3=_t5(2), tokenizer_3=_t5_tokenizer(),
    ).save_pretrained(folder / "model")  # fmt: skip


def flux(folder: Path) -> None:
    """Save a model of the family of FLUX."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    FluxPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_decoder(
            channels=1, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=_clip(0), tokenizer=_clip_tokenizer(folder / "words"),
        text_encoder_2=_t5(2), tokenizer_2=_t5_tokenizer(),
    ).save_pretrained(folder / "model")  # fmt: skip


FAMILIES: Final[dict[str, Callable[[Path], None]]] = {
    "stable-diffusion": stable_diffusion,
    "latent-consistency": latent_consistency,
    "stable-diffusion-xl": stable_diffusion_xl,
    "stable-diffusion-3": stable_diffusion_3,
    "flux": flux,
}
"""How to save a tiny model of each family under a folder, in its subfolder ``model``."""

if __name__ == "__main__":
    for name, save in FAMILIES.items():
        save(Path(sys.argv[1]) / name)
    for name in ("stable-diffusion", "stable-diffusion-xl"):
        save_single_files(Path(sys.argv[1]) / name / "model", Path(sys.argv[1]) / "single" / name)
